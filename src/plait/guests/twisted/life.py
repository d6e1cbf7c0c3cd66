"""
One life of a Twisted service: its privileged start, its start, its children, its stop.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

from twisted.application.service import MultiService
from twisted.application.service import Service as TwistedBase
from twisted.internet.error import CannotListenError
from twisted.python.failure import Failure

from plait import BindError, Context, LeftBehind, PlaitError, Service, current
from plait.guests.twisted import failures, logs, watching
from plait.guests.twisted.parts import Parts
from plait.guests.twisted.policies import Policies
from plait.guests.twisted.reactor import GuestReactor, install
from plait.guests.twisted.waiting import Outcome
from plait.guests.twisted.watching import Trouble

#: What a collection must leave as `MultiService` has it, so that its children can be started one by one.
_PLAIN = ("privilegedStartService", "startService", "stopService")

#: How many seconds before it would be left behind a service that does not stop says so itself; and for how many it
#: waits at the most when it is told to hurry.
_MARGIN = 0.05
_LONGEST = 60.0

#: The event that tells of each kind of trouble.
_EVENTS = {"timer": "TimerFailed", "listen": "ListenFailed", "unhandled": "ErrorUnhandled"}

#: The present lives, by path: whose an error is, that nobody handled, is known by the path of its context.
_lives: dict[str, Life] = {}


def is_plain(service: Any) -> bool:
    """Say whether *service* is a collection that does nothing but start and stop its children."""
    return isinstance(service, MultiService) and all(
        getattr(type(service), name) is getattr(MultiService, name) for name in _PLAIN
    )


class Life:
    """
    One life of *service*.

    *make_part(service, name)* makes the value of what is in it; *is_top* when it stands in plait's tree rather than in
    another Twisted service.

    What begins here, ends here: `run` leaves nothing of the service behind but what it says with `LeftBehind`.
    """

    def __init__(
        self,
        service: Any,
        context: Context[Any],
        reactor: GuestReactor,
        *,
        stop_timeout: float | None,
        policies: Policies,
        make_part: Callable[[Any, str], Service[Any]],
        is_top: bool,
    ) -> None:
        self.service = service
        self.context = context
        self.reactor = reactor
        self.failing: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._is_top = is_top
        self._stop_timeout = stop_timeout
        self._is_plain = is_plain(service)
        self._is_up = False
        self._stops_itself: asyncio.Future[None] | None = None
        self._troubles: list[Trouble] = []
        self._watch = watching.watch(service, policies)
        self.parts = Parts(self._watch, context, make_part)

    async def run(self) -> None:
        """Live once."""
        self.reactor.attach_running()
        logs.begin_unless_begun()
        watch, path = self._watch, self.context.path
        watch.life, watch.stopping, watch.variables = self, None, copy_context()
        _lives[path] = self
        if self._is_top:
            self.reactor.enter(self.context)
        try:
            await self._run()
        finally:
            if _lives.get(path) is self:
                del _lives[path]
            if watch.life is self:
                watch.life = watch.variables = None
            if self._stops_itself is not None:
                self._stops_itself.cancel()
            if self.failing.done() and not self.failing.cancelled():
                self.failing.exception()  # it has been told
            if self._is_top:
                watch.end()
                await self.reactor.leave(self.context)

    async def _run(self) -> None:
        try:
            await self._start()
        except BaseException:
            await self._undo()
            raise
        starts_them = self._is_plain and not self._watch.stopping
        try:
            await self.context.supervise(
                self.parts.begin(starts_them=starts_them),
                failing=self.failing,
                when_ready=self._ready,
                when_stopping=self._stopping,
            )
        finally:
            self.parts.end()
            await self._stop()

    # The start --------------------------------------------------------------------------------------------------

    async def _start(self) -> None:
        watch = self._watch
        try:
            if watch.is_started:
                pass  # by its collection, or by the application itself
            elif self._is_plain:
                # Its children have a life each.
                TwistedBase.privilegedStartService(self.service)
                TwistedBase.startService(self.service)
                watch.is_started = watch.is_touched = True
            else:
                done = self.reactor.take_privileged(self.service)
                if done is None:
                    watch.start_privileged()
                elif done.error is not None:
                    raise done.error
                await self._settled()
                watch.start()
            await self._settled()
        except CannotListenError as error:
            raise self._cannot_listen(error) from error
        self._troubles += watch.troubles
        watch.troubles.clear()
        self._is_up = True
        for trouble in self._troubles:
            failure = self._follow(trouble)
            if failure is not None and trouble.kind == "listen":
                raise failure
            if failure is not None and not self.failing.done():
                self.failing.set_exception(failure)

    async def _settled(self) -> None:
        """Wait for all that the start has returned."""
        pending = self._watch.pending
        while pending:
            await pending[0].wait(self.reactor.start_up)
            if pending:
                del pending[0]

    async def _undo(self) -> None:
        """Stop what a failed start may have begun: a port that is open, a child that runs."""
        try:
            await self._stop()
        except LeftBehind:
            raise
        except Exception as error:
            # It was never started: what its stop takes for granted need not be there.
            self.context.log.debug("after the failed start its stop failed too: %r", error)

    def _ready(self) -> Any:
        if self._is_top:
            self.reactor.has_served = True
            self.reactor.start_up()
        return self.service

    # The stop ---------------------------------------------------------------------------------------------------

    def _stopping(self) -> asyncio.Future[None] | None:
        """Begin to stop, before the children do: who has a method of its own for that, stops them itself."""
        if self.context.is_ending:
            self.reactor.begin_shutdown()
        watch = self._watch
        if watch.stopping is None and not self._is_plain:
            watch.stop()
        if watch.stopping is None or watch.stopping.is_done:
            return None
        self._stops_itself = future = watch.stopping.future()
        self._look_whether_it_hangs()
        return future

    def _until(self, outcome: Outcome) -> float | None:
        """Return when its own stop has taken too long; while its services come to their ends, it has not."""
        return None if self._stop_timeout is None else max(outcome.since, self.parts.progress_at) + self._stop_timeout

    def _look_whether_it_hangs(self) -> None:
        """If it stops no service any more, let the tree stop those that are left."""
        future, outcome, loop = self._stops_itself, self._watch.stopping, asyncio.get_running_loop()
        assert outcome is not None
        assert future is not None
        until = self._until(outcome)
        if until is None or future.done():
            return
        waits = any(each.stopping and not each.stopping.is_done for each in self._watch.children.values())
        now = loop.time() + 1e-6  # it may ring a little early
        if until <= now and waits:
            assert self._stop_timeout is not None
            until = now + self._stop_timeout
        if until <= now:
            future.set_result(None)
        else:
            timer = loop.call_at(until, self._look_whether_it_hangs)
            future.add_done_callback(lambda _: timer.cancel())

    async def _stop(self) -> None:
        watch = self._watch
        if watch.stopping is None and self._is_plain:
            watch.forget_start()
            TwistedBase.stopService(self.service)
            outcomes = [child.stop() for child in reversed(watch.children.values())]  # those that are in no tree
        elif watch.stopping is None:
            outcomes = [watch.stop()]
        else:
            outcomes = [watch.stopping]
        errors: list[Exception] = []
        for outcome in outcomes:
            try:
                if outcome is not None:
                    await self._ended(outcome)
            except Exception as error:
                errors.append(error)
        if len(errors) > 1:
            raise ExceptionGroup(f"{self.context.path}: errors while stopping", errors)
        if errors:
            raise errors[0]

    async def _ends_soon(self, outcome: Outcome) -> bool:
        """Say whether *outcome* comes in the time that is left when a stop is hurried, or its time is nearly over."""
        left = self.context.time_left - _MARGIN
        if left > 0 and not outcome.is_done:
            try:
                await asyncio.wait({outcome.future()}, timeout=min(left, _LONGEST))
            except asyncio.CancelledError:
                pass  # there is no more patience
        return outcome.is_done

    async def _ended(self, outcome: Outcome) -> None:
        """Wait for the end of a stop; asked a second time to come to an end, leave it behind."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        while True:
            try:
                async with asyncio.timeout_at(self._until(outcome)) as limit:
                    await outcome.wait(self.reactor.start_up)
                return
            except asyncio.CancelledError:
                if task.cancelling() < 2 or await self._ends_soon(outcome):
                    continue  # that it is to stop, it knows; or there is nothing more to wait for
            except TimeoutError:
                if not limit.expired():
                    raise
            path, waited, where = self.context.path, loop.time() - outcome.since, outcome.where()
            outcome.give_up()
            raise LeftBehind(f"{path}: left behind: did not stop in {waited:.3g} s, at {where}", path) from None

    # What happens meanwhile -------------------------------------------------------------------------------------

    def happened(self, trouble: Trouble) -> None:
        """Hear what went wrong."""
        if not self._is_up:
            self._troubles.append(trouble)
            return
        error = self._follow(trouble)
        if error is not None and not self.failing.done():
            self.failing.set_exception(error)

    def _follow(self, trouble: Trouble) -> BaseException | None:
        """Tell of *trouble*; return what the service fails with because of it, if it does."""
        error = trouble.error
        if isinstance(error, CannotListenError):
            error = self._cannot_listen(error)
        from plait.guests.twisted import events  # most applications need none

        event = getattr(events, _EVENTS[trouble.kind])
        self.context.publish(event(self.context.path, asyncio.get_running_loop().time(), error))
        return error if self._watch.policy(trouble.kind) == "fail" else None

    def _cannot_listen(self, error: CannotListenError) -> BindError:
        host, port, cause = (*error.args, None, None, None)[:3]
        where = f"{host}:{port}" if host else f"port {port}" if isinstance(port, int) else f"{port}"
        code = getattr(cause, "errno", None)
        why = os.strerror(code).lower() if isinstance(code, int) else str(cause)
        found = BindError(f"{self.context.path}: cannot listen on {where}: {why}")
        found.__cause__ = error
        return found


def _hear(failure: Failure | None, event: dict[str, Any]) -> None:
    """Hear of an error that was logged, in the context where it happened, perhaps in a thread."""
    if failure is None or watching.tells_itself:
        return
    try:
        path = current().path
    except PlaitError:
        return  # nobody's
    error = failure.value
    if not isinstance(error, BaseException):
        return
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        install().callFromThread(_pass_on, path, error)
    else:
        _pass_on(path, error)


def _pass_on(path: str, error: BaseException) -> None:
    while path:
        life = _lives.get(path)
        if life is not None:
            life.happened(Trouble("unhandled", error))
            return
        path = path.rpartition("/")[0]


failures.listen(_hear)
