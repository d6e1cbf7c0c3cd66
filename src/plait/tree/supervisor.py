"""
One inbox that keeps a group alive.

Everything a supervisor hears goes through one inbox and is handled by one reader, one message after the other, so
there are no locks and nothing is heard twice.  A message is handled at once when the supervisor is idle, and after the
present one when it is not; every message names the life it speaks of, and one from an earlier life is dropped.

What a supervisor does over time is a `Sweep`: stop these, one by one, in reverse of their actual start order; then,
when the back-off is over, start those, one by one, each after the one before is ready.  The start of a group, the
restart of some of its children, a reload and the final stop are all sweeps.

The rules are those of Erlang/OTP's supervisor: order of start and stop, strategies, one unit of the limit for each
restart and for each failed attempt, return to the inbox between attempts.  Added are the back-off, and the time limits
of a start and of a stop, since a coroutine cannot be killed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from plait.errors import LeftBehind, PlaitError, StopApplication
from plait.events import State, describe
from plait.tree.alarm import Alarm
from plait.tree.application import Group
from plait.tree.child import Child
from plait.tree.policy import affected, should_restart
from plait.tree.sweep import Sweep

if TYPE_CHECKING:
    from plait.tree.service import Service
    from plait.tree.tree import Tree


class Supervisor:
    """Keeps the children of one group alive, from one life of the group to the next."""

    def __init__(self, tree: Tree, child: Child) -> None:
        self.tree = tree
        self.child = child
        self.path = child.path
        self.children: dict[str, Child] = {}
        self.leaving: list[Child] = []  # replaced or removed, and not yet ended
        self.alarm = Alarm(self)
        self._inbox: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._busy = False
        self._forget_life()
        self.is_live = False
        self.describe()

    @property
    def group(self) -> Group:
        """The value that this supervisor keeps alive."""
        return self.child.service  # type: ignore[return-value]

    @property
    def is_alive(self) -> bool:
        """Whether the group lives and is not about to stop."""
        return self.is_live and self.child.task is not None and self.final is None

    def describe(self, services: Iterable[Service[Any]] | None = None) -> None:
        """Take the children from *services*, or from the value; those added at run time are gone."""
        known, self.children = self.children, {}
        for service in self.group if services is None else services:
            child = known.get(service.name)
            if child is None or child.service is not service or child.dynamic:
                lives = child.life if child is not None else 0
                child = Child(self.tree, service, self)
                child.life = lives
            self.children[service.name] = child

    def _forget_life(self) -> None:
        self.times: tuple[float, ...] = ()
        self.sweeps: dict[Sweep, None] = {}
        self.stopping: list[Sweep] = []  # those sweeps that still wait for an end
        self.final: Sweep | None = None
        self.ending: BaseException | None = None
        self.stop_errors: list[BaseException] = []
        self.is_ready = False
        self.hurried: float | None = None
        self.over = 0
        self._order = 0
        self._stop_asked = False
        self._finished = False
        self.is_live = True  # the children are seen to
        self.is_done = False  # the children have ended, while the life of the group may go on
        self._waiter: asyncio.Future[None] | None = None
        self._when_ready: Callable[[], Any] = lambda: None
        self._when_stopping: Callable[[], object] = lambda: None

    # The life of the group --------------------------------------------------------------------------------------

    async def live(
        self,
        children: Iterable[Service[Any]] | None = None,
        *,
        failing: asyncio.Future[Any] | None = None,
        when_ready: Callable[[], Any] = lambda: None,
        when_stopping: Callable[[], object] = lambda: None,
    ) -> None:
        """Live once: start the children, keep them alive, stop them when cancelled; see `Context.supervise`."""
        self._forget_life()
        self._when_ready, self._when_stopping = when_ready, when_stopping
        if self.child.life > 1 or children is not None:
            self.describe(children)
        if self.group.is_one and self.children and self.child.group is not None:
            self.child.group.alarm.clear(self.child)  # what it does itself for its start, it has done
        for child in self.children.values():
            child.was_ready = child.over = child.held = False
            child.failures = 0
        self.post(self._start_all)
        if failing is not None:
            failing.add_done_callback(self._fails)
        while not self._finished:
            self._waiter = self.tree.loop.create_future()
            is_asked = False
            try:
                await self._waiter
            except asyncio.CancelledError:
                is_asked = True
            if is_asked:  # out there: what fails in the course of it has nothing to do with the cancellation
                self.post(self._stop_all)
        self.alarm.stop()
        self.leaving.clear()
        self.is_live = False
        self.is_done = True
        (self.child.group or self.tree).let_end(self.child)
        if self.ending is not None:
            for error in self.stop_errors:
                self.ending.add_note(f"while stopping: {describe(error)}")
            raise self.ending
        if self.stop_errors:
            raise BaseExceptionGroup(f"{self.path}: errors while stopping", self.stop_errors)

    def _fails(self, failing: asyncio.Future[Any]) -> None:
        error = None if failing.cancelled() else failing.exception()
        if error is not None and not self._finished:
            self.post(self._fail, error)

    def _start_all(self) -> None:
        if not self._stop_asked:
            self.run(Sweep((), self.children.values()))

    def _stop_all(self) -> None:
        if self._stop_asked:
            self._hurry(0.0)  # cancelled twice: the parent's patience is at its end
        self._stop_asked = True
        self._end(None)

    def _fail(self, error: BaseException) -> None:
        """Stop the children, then fail with *error*; the parent decides what follows."""
        if self.ending is None:
            self.ending = error
        self._end(error)

    def _end(self, error: BaseException | None) -> None:
        if self.final is not None:
            return
        if self.child.group is None:
            self.tree.begin_end()
        stops_itself = self._when_stopping()
        self.stopping = []
        for child in self.children.values():
            child.sweep = None
            if child.state is State.WAITING:
                self.drop_timer(child)
                child.move(State.STOPPED)
        self.final = Sweep((*self.children.values(), *self.leaving), ())
        if isinstance(stops_itself, asyncio.Future) and not stops_itself.done():
            self._let_stop(self.final, stops_itself)
        for sweep in tuple(self.sweeps):
            self._finish_sweep(sweep, error or PlaitError(f"{self.path}: is stopping"))
        self.advance(self.final)

    def _let_stop(self, sweep: Sweep, stops_itself: asyncio.Future[Any]) -> None:
        """Ask no child to stop until *stops_itself* is done: it is what stops them."""

        def ask(_: object) -> None:
            sweep.due = True
            if not self._finished:
                self.post(self.advance, sweep)

        sweep.due = False
        stops_itself.add_done_callback(ask, context=self.tree.variables)

    def hurry(self, patience: float) -> None:
        """Ask all at once, and leave behind after *patience* seconds those that do not end."""
        self.post(self._hurry, patience)

    def _hurry(self, patience: float) -> None:
        self.hurried = patience
        for child in self._alive():
            if not child.is_alone:
                assert child.supervisor is not None
                child.supervisor.hurry(patience)
            if child.state is not State.STOPPING:
                self.ask(child)
            elif child.is_alone and child.task is not None and not child.insisted:
                child.insisted = True
                child.task.cancel()
                self.alarm.set(child, self.tree.loop.time() + max(patience, self.tree.last_moment))

    # The inbox --------------------------------------------------------------------------------------------------

    def post(self, handle: Callable[..., None], *details: Any) -> None:
        """Put a message into the inbox; it is handled now, or right after the one that is being handled."""
        self._inbox.append((handle, details))
        if self._busy:
            return
        self._busy = True
        try:
            while self._inbox:
                handle, details = self._inbox.popleft()
                handle(*details)
        except Exception as error:
            self._break(error)
        finally:
            self._busy = False

    def _break(self, error: Exception) -> None:
        """A bug of plait itself must not be swallowed by whoever sent the message: the group fails with it."""
        self._inbox.clear()
        self.ending = error
        for child in self._alive():
            if child.task is not None:
                child.task.cancel()
        self._finish()

    def post_ready(self, child: Child, life: int, value: Any) -> None:
        """Hear that *child* can serve."""
        self.post(self._ready, child, life, value)

    def post_ended(self, child: Child, task: asyncio.Task[None]) -> None:
        """Hear that a life of *child* is over."""
        self.post(self._ended, child, task)

    # What children say ------------------------------------------------------------------------------------------

    def _ready(self, child: Child, life: int, value: Any) -> None:
        if child.life != life or child.state is not State.STARTING:
            return
        child.value = value
        child.was_ready = True
        child.ready_at = self.tree.loop.time()
        child.ready_life = life
        self.alarm.clear(child)
        child.move(State.READY)
        self._started(child)

    def _started(self, child: Child) -> None:
        sweep = child.sweep
        if sweep is not None:
            child.sweep = None
            self.advance(sweep)

    def _ended(self, child: Child, task: asyncio.Task[None]) -> None:
        error = outcome(task)
        if task is not child.task:
            return  # it had been left behind; its end changes nothing any more
        child.task = None
        self.alarm.clear(child)
        if child.state is State.STOPPING:
            self._ended_as_asked(child, error)
        else:
            self._ended_by_itself(child, error)
        self._advance_stopping()

    def _ended_as_asked(self, child: Child, error: BaseException | None) -> None:
        if isinstance(error, asyncio.CancelledError):
            error = None
        if child.late:
            assert child.error is not None
            self._failed(child, child.error)
            return
        if error is not None:
            child.error = error
            if self.final is not None:
                self.stop_errors.append(error)
        if isinstance(error, LeftBehind):  # it says itself that it cannot end something of its own
            self.tree.left.append(error)
            child.move(State.LEFT_BEHIND, error)
        else:
            child.move(State.STOPPED, error)
        self._refresh_dependants(child)

    def _ended_by_itself(self, child: Child, error: BaseException | None) -> None:
        was_starting = child.state is State.STARTING and not child.doomed
        if isinstance(error, BaseExceptionGroup):
            from plait.tree.verdict import order_in

            error = order_in(error, child) or error
        if isinstance(error, SystemExit):
            # sys.exit() in a service means: stop the program with this code.
            code = error.code if isinstance(error.code, int) else int(error.code is not None)
            error = StopApplication(f"{child.path}: sys.exit({error.code!r})", code)
        if isinstance(error, asyncio.CancelledError):
            error = asyncio.CancelledError(f"{child.path}: cancelled by somebody who is not its supervisor")
        if isinstance(error, StopApplication):
            child.move(State.DONE)
            # Before the tree hears that this was perhaps the last one: the first reason counts.
            self.tree.stop_soon(error.reason or f"asked by {child.path}", error.exit_code)
            self.set_over(child)
        elif error is not None:
            self._failed(child, error)
        elif child.doomed or self.final is not None or not should_restart(child.service.restart, failed=False):
            child.was_ready = True
            child.move(State.DONE)
            self.set_over(child)
        else:
            child.was_ready = True
            self._restart(child, None)
        if child.state is State.DONE and was_starting:
            self._started(child)  # returning counts as ready

    def _failed(self, child: Child, error: BaseException) -> None:
        child.error = error
        sweep = child.sweep
        if self.final is not None or child.doomed:
            # It failed while its stop was coming: the sweep decides whether it runs again; the error is not lost.
            if self.final is not None:
                self.stop_errors.append(error)
            child.move(State.FAILED, error)
        elif sweep is not None and (sweep.by_hand or sweep.first is child):
            child.held = True
            child.move(State.FAILED, error)
            if sweep.first is child:
                self.children.pop(child.service.name, None)
            child.sweep = None
            from plait.tree.verdict import start_failed

            self._finish_sweep(sweep, start_failed(child, error))
        elif not self.is_ready and not child.was_ready:
            child.move(State.FAILED, error)
            from plait.tree.verdict import start_failed

            self._fail(start_failed(child, error))
        elif should_restart(child.service.restart, failed=True):
            self._restart(child, error)
        else:
            child.move(State.FAILED, error)
            self.set_over(child)
            if sweep is not None:
                child.sweep = None
                self.advance(sweep)

    # Restarts ---------------------------------------------------------------------------------------------------

    def _restart(self, child: Child, error: BaseException | None) -> None:
        now = self.tree.loop.time()
        backoff = child.service.backoff or self.group.backoff
        ready_seconds = now - child.ready_at if child.ready_life == child.life else 0.0
        child.failures = backoff.failures(child.failures, ready_seconds)
        self.times, allowed = self.group.limit.count(self.times, now)
        if not allowed:
            child.move(State.FAILED if error is not None else State.DONE, error)
            from plait.tree.verdict import gave_up

            self._fail(gave_up(self.path, self.group.limit, child, error))
            return
        delay = backoff.delay(child.failures, self.tree.random.random())
        child.move(State.WAITING, error, delay)
        self.replace(child, delay)
        self._refresh_dependants(child)

    def replace(self, child: Child, delay: float) -> None:
        """Start *child* anew after *delay* seconds, and with it those whom the strategy names."""
        self.drop_timer(child)
        names = affected(self.group.strategy, list(self.children), child.service.name)
        others = [self.children[name] for name in names]
        starts = [other for other in others if other is child or self._comes_again(other)]
        before = {other.sweep: None for other in starts if other.sweep is not None}
        sweep = Sweep(others, starts, due=not delay)
        if delay:
            child.timer = self.tree.call_later(delay, self.post, self._due, sweep, child)
        self.run(sweep)
        for other in before:
            self.advance(other)  # what it wanted to start has a new sweep

    def _comes_again(self, child: Child) -> bool:
        if child.state is State.IDLE or (child.sweep is not None and child.task is None):
            self.drop_timer(child)
            return True  # it was on its way already
        if child.held or (child.service.restart == "never"):
            return False
        if child.state is State.WAITING:
            self.drop_timer(child)
        return True

    def _due(self, sweep: Sweep, child: Child) -> None:
        child.timer = None
        sweep.due = True
        self.advance(sweep)

    def drop_timer(self, child: Child) -> None:
        """Forget the back-off of *child*."""
        if child.timer is not None:
            child.timer.cancel()
            child.timer = None

    def _refresh_dependants(self, child: Child) -> None:
        """Replace those elsewhere in the tree who hold the value of the life that ended, where a strategy says so."""
        dependants, child.dependants = child.dependants, None
        if dependants and self.final is None:
            self.tree.refresh(child, dependants)

    def refresh(self, child: Child, life: int) -> None:
        """Replace *child*, whose dependency was restarted, as the strategy says; nothing is counted."""
        self.post(self._refresh, child, life)

    def _refresh(self, child: Child, life: int) -> None:
        if self.final is None and child.life == life and child.task is not None and not child.doomed:
            self.replace(child, 0.0)

    # Sweeps -----------------------------------------------------------------------------------------------------

    def run(self, sweep: Sweep) -> None:
        """Begin *sweep*."""
        self.sweeps[sweep] = None
        if sweep.stops:
            self.stopping.append(sweep)
        self.advance(sweep)

    def _advance_stopping(self) -> None:
        for sweep in tuple(self.stopping):
            self.advance(sweep)
        if self.final is not None:
            self.advance(self.final)

    def advance(self, sweep: Sweep) -> None:
        """Do the next step of *sweep*, unless it must wait for a child or for its time."""
        while sweep.stops:
            child, task = sweep.stops[-1]
            if child.task is task:
                if child.state is not State.STOPPING and (sweep.due or sweep is not self.final):
                    self.ask(child)
                return
            sweep.stops.pop()
        if sweep is self.final:
            self._finish()
            return
        if sweep in self.stopping:
            self.stopping.remove(sweep)
        starts = sweep.starts
        while starts:
            child = starts[0]
            if child.sweep is not sweep:
                starts.popleft()  # it is ready, or another sweep has it now
            elif not sweep.due or child.task is not None:
                return
            else:
                self._begin(child)
                return
        self._finish_sweep(sweep, None)

    def _finish_sweep(self, sweep: Sweep, error: BaseException | None) -> None:
        self.sweeps.pop(sweep, None)
        for child in sweep.starts:
            if child.sweep is sweep:
                child.sweep = None
        if sweep.done is not None and not sweep.done.done():
            if error is None:
                sweep.done.set_result(None)
            else:
                sweep.done.set_exception(error)
        if not self.sweeps and not self.is_ready and self.final is None and error is None:
            self.is_ready = True
            try:
                value = self._when_ready()
            except Exception as problem:
                self._fail(problem)
            else:
                self.child.say_ready(self.child.life, value)
        self._look_whether_over()

    def _begin(self, child: Child) -> None:
        if child.over:
            self.set_over(child, False)
        self._order += 1
        child.order = self._order
        child.begin()
        timeout = child.service.start_timeout
        if timeout is not None:
            self.alarm.set(child, self.tree.loop.time() + timeout)

    def ask(self, child: Child) -> None:
        """Ask *child* to stop: one cancellation."""
        assert child.task is not None
        now = self.tree.loop.time()
        timeout = child.service.stop_timeout
        if child.supervisor is not None and child.supervisor.is_live and child.supervisor.group.is_one:
            timeout = None  # it is for what follows when its children have stopped
        if self.hurried is not None and child.is_alone:
            timeout = self.hurried if timeout is None else min(timeout, self.hurried)
        child.move(State.STOPPING)
        child.asked_at = now
        self.alarm.set(child, None if timeout is None else now + timeout)
        child.task.cancel()

    def let_end(self, child: Child) -> None:
        """Bound what the group *child* still does after its children have stopped, as the life of any service is."""
        assert isinstance(child.service, Group)
        timeout = child.service.end_timeout if self.hurried is None else min(child.service.end_timeout, self.hurried)
        now = self.tree.loop.time()
        if child.state is State.STOPPING:
            child.asked_at = child.notice_at = now  # what its children took is told of them
        self.alarm.set(child, now + timeout)

    def overdue(self, child: Child, now: float) -> None:
        """Hear from the alarm that the time of *child*, to start or to stop, is over."""
        self.post(self._overdue, child, now)

    def _overdue(self, child: Child, now: float) -> None:
        if child.supervisor is not None and child.supervisor.is_done and child.state is not State.STOPPING:
            child.late = True
            child.error = child.supervisor.ending or TimeoutError("its run() goes on without its children")
            self.ask(child)
        elif child.state is State.STARTING:
            from plait.tree.verdict import too_late

            child.late = True
            child.error = too_late(child)
            self.ask(child)
        elif child.state is State.STOPPING and not child.is_alone:
            assert child.supervisor is not None
            child.supervisor.hurry(0.0)  # a group always ends: it leaves behind what does not
        elif child.state is State.STOPPING and not child.insisted:
            assert child.task is not None
            child.insisted = True
            child.task.cancel()
            self.alarm.set(child, now + self.tree.last_moment)
        elif child.state is State.STOPPING:
            self._leave_behind(child, now)

    def _leave_behind(self, child: Child, now: float) -> None:
        task = child.task
        assert task is not None
        child.task = None
        error = self.tree.leave_behind(child, task, now - child.asked_at)
        child.move(State.LEFT_BEHIND, error)
        if child.late and self.final is None:
            assert child.error is not None
            self._failed(child, child.error)
        else:
            child.error = error
            if self.final is not None:
                self.stop_errors.append(error)
        self._advance_stopping()

    # The end ----------------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        self._finished = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def set_over(self, child: Child, over: bool = True) -> None:
        """Note that *child* ended for good, or began again after all."""
        if child.over is not over:
            child.over = over
            self.over += 1 if over else -1
            if over:
                self._look_whether_over()
            elif self.child.over and self.child.group is not None:
                self.child.group.post(self.child.group.set_over, self.child, False)

    def _look_whether_over(self) -> None:
        """All have ended for good: so has this group, in the eyes of its parent; the root stops."""
        if not self.children or self.over < len(self.children) or self.sweeps or self.final is not None:
            return
        if not self.is_ready:
            return
        if self.child.group is not None:
            self.child.group.post(self.child.group.set_over, self.child)
        else:
            self.tree.stop_soon("all services have ended", 0)

    # Looking ----------------------------------------------------------------------------------------------------

    def _alive(self) -> list[Child]:
        return [child for child in (*self.children.values(), *self.leaving) if child.task is not None]

    def walk(self) -> Iterator[Child]:
        """Yield all that is in this group, parents first."""
        for child in self.children.values():
            yield child
            if child.supervisor is not None:
                yield from child.supervisor.walk()


def outcome(task: asyncio.Task[None]) -> BaseException | None:
    """Return the error that a task ended with, a cancellation included."""
    if task.cancelled():
        return asyncio.CancelledError()
    return task.exception()
