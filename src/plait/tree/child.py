"""
One place in a group: its state, and its present life.

A child says what happens to it (`say_ready`, `ended`) and asks for what it needs; its group's supervisor decides.
"""

from __future__ import annotations

import asyncio
import contextvars
from typing import TYPE_CHECKING, Any

from plait.errors import NotFound, PlaitError
from plait.events import TRANSITIONS, Event, State, StateChanged, check_transition
from plait.tree.application import Group
from plait.tree.service import Context, Service, _current

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Coroutine, Iterable

    from plait.endpoints import Endpoint
    from plait.tree.supervisor import Supervisor
    from plait.tree.sweep import Sweep
    from plait.tree.tree import Tree

#: The states in which a life is going on.
ALIVE = frozenset({State.STARTING, State.READY, State.STOPPING})


class Child:
    """One place in a group.  Slots and late creation, because a tree may have a hundred thousand."""

    __slots__ = (
        "asked_at",  # when it was asked to stop
        "deadline",  # when it is late, starting or stopping
        "dependants",  # who got its value in their present life: {child: life}
        "doomed",  # it is in the way of a sweep, and will be asked to stop when its turn comes
        "dynamic",  # added at run time, not part of the value
        "error",  # why its last life failed
        "failures",  # failures in a row, for the back-off
        "group",  # the supervisor that decides about it; None for the root
        "held",  # stopped by hand: stays so until started by hand
        "insisted",  # it was cancelled a second time
        "late",  # it is being stopped because it was not ready in its time
        "life",  # how often run was called
        "needs",  # whom it is waiting for just now, in context.need
        "notice_at",  # when to say that its stop waits
        "order",  # position in the actual start order
        "over",  # it ended for good
        "path",
        "ready_at",
        "ready_life",  # the last life that became ready
        "service",
        "state",
        "supervisor",  # of its own children, when it is a group
        "sweep",  # the sweep that is to start it
        "task",
        "timer",  # the end of its back-off
        "tree",
        "value",
        "waiters",  # futures that wake at its next change of state
        "was_ready",  # in the present life of the group
    )

    def __init__(self, tree: Tree, service: Service[Any], group: Supervisor | None) -> None:
        self.tree = tree
        self.service = service
        self.group = group
        self.path: str = service.name if group is None else f"{group.path}/{service.name}"
        self.state = State.IDLE
        self.task: asyncio.Task[None] | None = None
        self.life = 0
        self.order = 0
        self.failures = 0
        self.ready_life = 0
        self.ready_at = 0.0
        self.deadline = 0.0
        self.asked_at = 0.0
        self.notice_at = 0.0
        self.value: Any = None
        self.error: BaseException | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.sweep: Sweep | None = None
        self.supervisor: Supervisor | None = None
        self.waiters: list[asyncio.Future[None]] | None = None
        self.dependants: dict[Child, int] | None = None
        self.needs: Child | None = None
        self.held = self.doomed = self.late = self.insisted = self.over = self.was_ready = self.dynamic = False
        if isinstance(service, Group):
            self.supervisor = tree.make_supervisor(self)

    def __repr__(self) -> str:
        return f"<{self.path}: {self.state}>"

    def begin(self) -> None:
        """Begin a new life."""
        self.life += 1
        self.insisted = self.late = self.doomed = self.held = False
        self.value = self.error = None
        if self.supervisor is not None:
            self.supervisor.is_done = False
        self.move(State.STARTING)
        tree = self.tree
        context: Context[Any] = Context(self, self.life)
        variables = tree.variables.copy()
        variables.run(_current.set, context)
        self.task = task = tree.loop.create_task(self._call(context, variables), name=self.path, context=variables)
        task.add_done_callback(self.ended, context=tree.variables)

    def _call(self, context: Context[Any], variables: contextvars.Context) -> Coroutine[Any, Any, None]:
        # The call itself may fail (a wrong signature), or give no coroutine: both are a failed life like any other.
        try:
            coroutine = variables.run(self.service.run, context)
        except Exception as error:
            return _fail(error)
        if not asyncio.iscoroutine(coroutine):
            return _fail(TypeError(f"{type(self.service).__name__}.run is no coroutine: write async def run(...)"))
        return coroutine

    def ended(self, task: asyncio.Task[None]) -> None:
        """Tell the group that the life in *task* is over."""
        owner = self.group or self.tree
        owner.post_ended(self, task)

    def move(self, new: State, cause: BaseException | None = None, delay: float = 0.0) -> None:
        """Change the state, tell the watchers, wake who waits for a change."""
        old = self.state
        if new not in TRANSITIONS[old]:
            check_transition(self.path, old, new)
        self.state = new
        tree = self.tree
        if tree.watchers:
            tree.publish(StateChanged(self.path, tree.loop.time(), old, new, self.life, cause, delay))
        if self.waiters is not None:
            self.wake()
        if self.supervisor is not None and tree.needs:
            tree.wake_needs()

    def wake(self) -> None:
        """Wake those who wait for a change of state."""
        waiters, self.waiters = self.waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None)

    def changed(self) -> asyncio.Future[None]:
        """Return a future that is done at the next change of state."""
        waiter: asyncio.Future[None] = self.tree.loop.create_future()
        if self.waiters is None:
            self.waiters = []
        self.waiters.append(waiter)
        return waiter

    # What a Context asks for ------------------------------------------------------------------------------------

    def say_ready(self, life: int, value: Any) -> None:
        """Hear ``context.ready(value)``; a word from an earlier life is dropped."""
        if life != self.life or self.task is None:
            return
        if self.state is State.READY:
            raise PlaitError(f"{self.path}: ready() was said twice in one life: say it once, when it can serve")
        owner = self.group or self.tree
        owner.post_ready(self, life, value)

    async def need(self, life: int, service: Service[Any]) -> Any:
        """Wait for what *service* publishes."""
        from plait.tree.needs import need

        return await need(self, life, service)

    def open_sockets(self, endpoint: Endpoint) -> tuple[socket.socket, ...]:
        """Return duplicates of the sockets of *endpoint*."""
        return self.tree.sockets.get(endpoint)

    def publish(self, event: Event) -> None:
        """Tell *event* to the watchers."""
        self.tree.publish(event)

    async def supervise(self, children: Iterable[Service[Any]] | None, **options: Any) -> None:
        """Live as a group."""
        if self.supervisor is None:
            raise PlaitError(f"{self.path}: is not a group: let its class inherit Group")
        await self.supervisor.live(children, **options)

    async def add(self, service: Service[Any]) -> str:
        """Add *service* to this group."""
        return await self.tree.add(service, self.path)

    async def remove(self, name: str) -> None:
        """Remove the service *name* from this group."""
        await self.tree.remove(f"{self.path}/{name}")

    def ask(self, name: str) -> None:
        """Ask the service *name* of this group to stop."""
        self.steer(name, "stop_by_hand")

    def begin_again(self, name: str) -> None:
        """Start the service *name* of this group."""
        self.steer(name, "start_by_hand")

    def steer(self, name: str, command: str) -> None:
        """Give the group's supervisor a *command* about its child *name*."""
        from plait.tree import steering

        group = self.supervisor
        if group is None or not group.is_live or name not in group.children:
            raise NotFound(f"{self.path}/{name}: no such service")
        group.post(getattr(steering, command), group, group.children[name])

    def at_end(self, function: Callable[[], Awaitable[object]]) -> None:
        """Await *function* when everything has stopped."""
        self.tree.at_end.append(function)

    def stop(self, reason: str, exit_code: int) -> None:
        """Stop everything."""
        self.tree.stop_soon(reason, exit_code)

    @property
    def time_left(self) -> float:
        """How long its stop may still take."""
        return self.deadline - self.tree.loop.time()

    @property
    def is_ending(self) -> bool:
        """Whether everything is about to stop."""
        return self.tree.is_ending

    @property
    def is_alone(self) -> bool:
        """Whether there are no children (yet, or any more) whose supervisor would see to their end."""
        return self.supervisor is None or not self.supervisor.is_live


async def _fail(error: Exception) -> None:
    raise error
