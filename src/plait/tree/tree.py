"""
Tree: what is alive, and what can be asked of it.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from plait.errors import ConfigurationError, LeftBehind, NotFound, PlaitError
from plait.events import Event, State, describe
from plait.tree.application import Application, Group, draw
from plait.tree.child import Child
from plait.tree.supervisor import Supervisor, outcome

if TYPE_CHECKING:
    import random

    from plait.sockets import Sockets
    from plait.tree.last import Bound
    from plait.tree.service import Service

#: How long the second cancellation of a service that did not end in its time may take, in seconds.
LAST_MOMENT = 0.02
#: How long everybody together has when a stop is hurried, in seconds.
PATIENCE = 1.0

Watcher = Callable[[Event], object]


class Tree:
    """
    A living application: its services, their states, and what can be done to them.

    Paths begin with the application's name: ``shop/web/api``.  All methods belong to the loop's thread.  A tree is
    opened and closed once.
    """

    def __init__(
        self, application: Application, *, sockets: Sockets | None = None, chance: random.Random | None = None
    ) -> None:
        if not isinstance(application, Application):
            raise ConfigurationError(f"{application!r} is not an Application: wrap it in Application(name, [...])")
        self.loop = asyncio.get_running_loop()
        self.variables = contextvars.copy_context()
        self._chance = chance
        self.watchers: tuple[Watcher, ...] = ()
        self.needs: set[asyncio.Future[None]] = set()
        self.last_moment = LAST_MOMENT
        self.reason = ""
        self.exit_code = 0
        self.error: BaseException | None = None
        self.left: list[LeftBehind] = []
        # The loop holds its tasks weakly: without this, one that was left behind might vanish unheard.
        self._left_tasks: set[asyncio.Task[None]] = set()
        self._sockets = sockets
        self._own_sockets = sockets is None
        self._ended = self.loop.create_future()
        #: Called once, when the end of everything begins, whatever it comes from: a last resort may be prepared.
        self.on_end: Callable[[], object] = lambda: None
        self.at_end: list[Callable[[], Awaitable[object]]] = []  # to be awaited when all services have stopped
        self.is_ending = False  # everything is about to stop, or has stopped
        self._limit: asyncio.TimerHandle | None = None
        self._bound: Bound | None = None
        self._end_at = float("inf")
        self.root = Child(self, application, None)

    # The life of the tree ---------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Start everything, in order; return when all is ready.  Raise what went wrong, with nothing left running."""
        if self.root.life:
            raise PlaitError(f"{self.root.path}: a tree is opened once: make another Tree")
        self.root.begin()
        while self.root.state is State.STARTING:
            await self.root.changed()
        if self.root.state is not State.READY:
            await self.wait()

    async def wait(self) -> None:
        """
        Wait until the tree has ended, then raise what ended it badly, if anything did.

        `StartFailed` or `GaveUp` come as they are; errors raised while stopping come as one exception group, in the
        order in which they happened.
        """
        await asyncio.shield(self._ended)
        if self.error is not None:
            raise self.error

    async def close(self, reason: str = "") -> None:
        """Stop everything, in reverse order, and wait for the end; raise as `wait` does."""
        self.stop_soon(reason)
        await self.wait()

    @property
    def has_ended(self) -> bool:
        """Whether nothing of the tree runs any more, but for what was left behind."""
        return self._ended.done()

    def stop_soon(self, reason: str = "", exit_code: int = 0) -> None:
        """Begin to stop everything; the first *reason* and *exit_code* are kept."""
        root = self.root
        if root.state not in (State.STARTING, State.READY):
            return
        self.reason, self.exit_code = reason, exit_code
        assert root.task is not None
        assert root.supervisor is not None
        root.move(State.STOPPING)
        self.begin_end()
        root.task.cancel()

    def begin_end(self) -> None:
        """Bound the end of everything, which begins now: because it was asked for, or because the root gave up."""
        if self.is_ending:
            return
        self.is_ending = True
        self.on_end()
        timeout = self.root.service.stop_timeout
        if timeout is not None:
            assert self.root.supervisor is not None
            self._end_at = self.loop.time() + timeout
            self._limit = self.call_at(self._end_at, self.root.supervisor.hurry, 0.0)

    def hurry(self, patience: float = PATIENCE) -> None:
        """Stop everything at once rather than in order, and leave behind after *patience* seconds what still runs."""
        self.stop_soon()
        assert self.root.supervisor is not None
        self.root.supervisor.hurry(patience)
        if self._bound is not None:
            self._bound.hasten(self.loop.time() + patience)

    # The root has no group: the tree hears it ----------------------------------------------------------------------

    def post_ready(self, child: Child, life: int, value: object) -> None:
        """Hear that everything is ready."""
        if child.state is State.STARTING:
            child.move(State.READY)

    def post_ended(self, child: Child, task: asyncio.Task[None]) -> None:
        """Hear that everything has ended."""
        if task is not child.task:
            return  # it had been left behind
        error = outcome(task)
        child.task = None
        if child.state is State.STOPPING:
            error = None if isinstance(error, asyncio.CancelledError) else error
            child.move(State.STOPPED, error)
        else:
            if isinstance(error, asyncio.CancelledError) and self._ending is not None:
                error = self._ending  # what it did itself was cut short: why its services ended counts
                error.add_note(f"while stopping: what {child.path} did itself took too long")
            child.move(State.FAILED if error is not None else State.DONE, error)
        self.error = child.error = error
        self._do_last()

    def let_end(self, root: Child) -> None:
        """Bound what the application itself still does after all its services have stopped."""
        assert root.task is not None
        self._bind(root.task, max(self.loop.time(), self._end_at), self._leave_root)

    def _leave_root(self, error: LeftBehind) -> None:
        root = self.root
        root.task = None
        if root.state is not State.STOPPING:
            root.move(State.STOPPING)
        root.move(State.LEFT_BEHIND, error)
        self.error = root.error = self._ending
        self._add_error(error)
        self._do_last()

    @property
    def _ending(self) -> BaseException | None:
        """What the services of the root have ended with, if by themselves."""
        return self.root.supervisor.ending if self.root.supervisor is not None else None

    def _do_last(self) -> None:
        """Do what is to be done when all services have stopped; then the tree has ended."""
        self._lift()
        if not self.at_end:
            self._finish()
            return
        from plait.tree.last import do_last

        self.is_ending = True
        task = self.loop.create_task(do_last(self.root.path, self.at_end), name=self.root.path, context=self.variables)

        def ended(_: object) -> None:
            if task.cancelled():
                self._add_error(TimeoutError(f"{self.root.path}: what is done at the end took too long"))
            elif task.exception() is not None:
                self._add_error(task.exception())
            self._finish()

        def leave(error: LeftBehind) -> None:
            task.remove_done_callback(ended)
            self._add_error(error)
            self._finish()

        self._bind(task, float("inf"), leave)
        task.add_done_callback(ended, context=self.variables)

    def _bind(self, task: asyncio.Task[None], until: float, leave: Callable[[LeftBehind], object]) -> None:
        """Give *task* the time that the end of the application may take, and at most *until*."""
        from plait.tree.last import Bound

        assert isinstance(self.root.service, Group)
        when = min(self.loop.time() + self.root.service.end_timeout, until)
        self._bound = Bound(self, task, when, leave)

    def _lift(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
        if self._bound is not None:
            self._bound.lift()

    def _add_error(self, error: BaseException | None) -> None:
        assert error is not None
        if self.error is None:
            text = f"{self.root.path}: errors while stopping"
            self.error = self.root.error = BaseExceptionGroup(text, [error])
        else:
            self.error.add_note(f"while stopping: {describe(error)}")

    def _finish(self) -> None:
        self._lift()
        if self._own_sockets and self._sockets is not None:
            self._sockets.close_all()
        self._ended.set_result(None)

    # Steering ---------------------------------------------------------------------------------------------------

    async def start(self, path: str) -> None:
        """Start the service at *path*, stopped or ended before; return when it is ready, or raise why it is not."""
        child = self.find(path)
        self._order(child, _steering().start_by_hand)
        await self._until_ready(child)

    async def stop(self, path: str) -> None:
        """
        Stop the service at *path* and wait for its end; it stays stopped until it is started by hand.

        The path of the application itself stops everything, as `close` does.
        """
        child = self.find(path)
        if child is self.root:
            await self.close("asked")
            return
        self._order(child, _steering().stop_by_hand)
        while child.task is not None:
            await self._change(child)

    async def restart(self, path: str) -> None:
        """
        Stop the service at *path* and start it anew, with those whom the group's strategy names.

        It does not count against the group's limit.  Return when it is ready, or raise why it is not.
        """
        child = self.find(path)
        life = child.life
        self._order(child, _steering().restart_by_hand)
        while child.life == life and _is_on_its_way(child):
            await self._change(child)
        await self._until_ready(child)

    async def add(self, service: Service[Any], to: str = "") -> str:
        """
        Add *service* to the group at *to* (the application itself by default) and start it; return its path.

        It comes after those that are there.  If it does not start, it is dropped and the reason raised; nothing else
        is touched.  A restart of the group brings back only what its value lists.
        """
        group = self.find(to) if to else self.root
        if group.supervisor is None:
            raise PlaitError(f"{group.path}: is not a group: give the path of a group")
        path: str = await _steering().add(group.supervisor, service)
        return path

    async def remove(self, path: str) -> None:
        """Stop the service at *path*, wait for its end, and forget it; its listening sockets are closed."""
        child = self.find(path)
        if child.group is None:
            raise PlaitError(f"{path}: is the application itself: stop it instead")
        await _steering().remove(child.group, child)

    async def apply(self, application: Application) -> None:
        """
        Turn the living tree into *application*: stop what is gone or changed, then start what is new or changed.

        Services that are equal in both keep their lives.  Raise what kept a new one from starting; it is then tried
        again as its restart says.
        """
        if not isinstance(application, Application):
            raise ConfigurationError(f"{application!r} is not an Application: wrap it in Application(name, [...])")
        if application.name != self.root.service.name:
            raise ConfigurationError(
                f"{self.root.path}: cannot become {application.name!r}: the application's name stays; run another one"
            )
        changes: list[tuple[Supervisor, Group, tuple[str, ...], tuple[str, ...]]] = []
        self._compare(self.root, application, changes)
        steering = _steering()
        for supervisor, _, stop, _ in reversed(changes):
            await steering.retire(supervisor, stop)
        for supervisor, new, _, _ in changes:
            steering.rewrite(supervisor, new)
        for supervisor, _, _, start in changes:
            await steering.enter(supervisor, start)

    def _compare(self, child: Child, new: Group, changes: list[Any]) -> None:
        from plait.tree.difference import difference

        old = child.service
        assert isinstance(old, Group)
        assert child.supervisor is not None
        found = difference(old, new)
        changes.append((child.supervisor, new, found.stop, found.start))
        others = {service.name: service for service in new}
        for name in found.inside:
            other = others[name]
            assert isinstance(other, Group)
            self._compare(child.supervisor.children[name], other, changes)

    def _order(self, child: Child, command: Callable[[Supervisor, Child], None]) -> None:
        group = child.group
        if group is None:
            raise PlaitError(f"{child.path}: is the application itself: start and stop its services instead")
        if not group.is_alive:
            raise PlaitError(f"{child.path}: its group {group.path} is {group.child.state}: start that first")
        group.post(command, group, child)

    async def _until_ready(self, child: Child) -> None:
        while child.state is not State.WAITING and child.state is not State.READY and _is_on_its_way(child):
            await self._change(child)
        if child.state not in (State.READY, State.DONE):
            from plait.tree.verdict import start_failed

            raise start_failed(child, child.error or PlaitError(f"is {child.state}"))

    async def _change(self, child: Child) -> None:
        """Wait until *child*, or any group, changes its state."""
        waiter = child.changed()
        self.needs.add(waiter)
        try:
            await waiter
        finally:
            self.needs.discard(waiter)

    # Looking ----------------------------------------------------------------------------------------------------

    def find(self, path: str) -> Child:
        """Return the child at *path*; raise `NotFound` with the nearest that exists."""
        name, *rest = path.strip("/").split("/")
        child: Child | None = self.root if name == self.root.path else None
        for step in rest:
            if child is None or child.supervisor is None:
                child = None
                break
            child = child.supervisor.children.get(step)
        if child is None:
            import difflib

            near = difflib.get_close_matches(path, self.states(), n=1, cutoff=0.5)
            raise NotFound(f"{path}: no such service" + (f": did you mean {near[0]}?" if near else ""))
        return child

    def state(self, path: str) -> State:
        """Return the state of the service at *path*."""
        return self.find(path).state

    def states(self) -> dict[str, State]:
        """Return the state of everything, by path, parents first."""
        assert self.root.supervisor is not None
        return {child.path: child.state for child in (self.root, *self.root.supervisor.walk())}

    def __str__(self) -> str:
        states = self.states()
        assert isinstance(self.root.service, Group)
        return draw(self.root.service, lambda path: states.get(path, ""))

    def subscribe(self, watcher: Watcher) -> Callable[[], None]:
        """Call *watcher* with each event from now on; return a function that ends it."""
        self.watchers = (*self.watchers, watcher)

        def unsubscribe() -> None:
            self.watchers = tuple(other for other in self.watchers if other is not watcher)

        return unsubscribe

    async def events(self, keep: int = 10_000) -> AsyncIterator[Event]:
        """Stream the events from now on until the tree has ended; a reader too slow loses the oldest beyond *keep*."""
        waiting: deque[Event] = deque(maxlen=keep)
        arrived = asyncio.Event()

        def watch(event: Event) -> None:
            waiting.append(event)
            arrived.set()

        unsubscribe = self.subscribe(watch)
        self._ended.add_done_callback(lambda _: arrived.set())
        try:
            while waiting or not self.has_ended:
                await arrived.wait()
                arrived.clear()
                while waiting:
                    yield waiting.popleft()
        finally:
            unsubscribe()

    # For the supervisors ------------------------------------------------------------------------------------------

    @property
    def random(self) -> random.Random:
        """What draws the jitter; made at first use, for most trees never."""
        if self._chance is None:
            import random

            self._chance = random.Random()
        return self._chance

    @property
    def sockets(self) -> Sockets:
        """The open sockets; made at first use where nobody prepared them."""
        if self._sockets is None:
            from plait.sockets import Sockets

            self._sockets = Sockets()
        return self._sockets

    def make_supervisor(self, child: Child) -> Supervisor:
        """Make the supervisor of the group *child*."""
        return Supervisor(self, child)

    def call_later(self, delay: float, function: Callable[..., object], *arguments: Any) -> asyncio.TimerHandle:
        """Call *function* later, in nobody's context."""
        return self.loop.call_later(delay, function, *arguments, context=self.variables)

    def call_at(self, when: float, function: Callable[..., object], *arguments: Any) -> asyncio.TimerHandle:
        """Call *function* at *when*, in nobody's context."""
        return self.loop.call_at(when, function, *arguments, context=self.variables)

    def publish(self, event: Event) -> None:
        """Tell *event* to all watchers."""
        for watcher in self.watchers:
            try:
                watcher(event)
            except Exception:
                logging.getLogger("plait").exception("a watcher of the tree failed on: %s", event)

    def wake_needs(self) -> None:
        """Wake all who wait for another service: the state of a group above it changed."""
        for waiter in tuple(self.needs):
            if not waiter.done():
                waiter.set_result(None)

    def refresh(self, provider: Child, dependants: dict[Child, int]) -> None:
        """Replace *dependants* of *provider* that live in other groups, where the group above both says so."""
        from plait.tree.needs import common_group

        for child, life in dependants.items():
            found = common_group(child, provider)
            if found is None or child.life != life or child.group is None:
                continue
            common, own, other = found
            strategy = common.group.strategy
            if common is child.group and common is provider.group:
                continue  # its own strategy has already decided
            names = list(common.children)
            after = names.index(own.service.name) > names.index(other.service.name)
            if strategy == "one_for_all" or (strategy == "rest_for_one" and after):
                child.group.refresh(child, life)

    def leave_behind(self, child: Child, task: asyncio.Task[None], waited: float) -> LeftBehind:
        """Note that *task* did not end in its time."""
        from plait.tree.stack import where

        error = LeftBehind(f"{child.path}: left behind: did not stop in {waited:.3g} s, at {where(task)}", child.path)
        self.left.append(error)
        self._left_tasks.add(task)
        task.add_done_callback(self._left_tasks.discard)
        return error

    def release(self, service: Service[Any]) -> None:
        """Close the sockets of *service*, unless another service of the tree listens there too."""
        if self._sockets is None:
            return
        assert isinstance(self.root.service, Group)
        used = {str(endpoint) for endpoint in self.root.service.endpoints()}
        for endpoint in service.endpoints():
            if str(endpoint) not in used:
                self._sockets.close(endpoint)


def _steering() -> ModuleType:
    """Return the module that steers; most trees are never steered."""
    from plait.tree import steering

    return steering


def _is_on_its_way(child: Child) -> bool:
    return child.task is not None or child.sweep is not None
