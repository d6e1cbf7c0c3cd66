"""
One life of a Twisted service: its privileged start, its start, its children, its stop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import Any

from twisted.application.service import MultiService
from twisted.application.service import Service as TwistedBase
from twisted.internet.error import CannotListenError
from twisted.python.failure import Failure

from plait import Context, LeftBehind, PlaitError, Service, current
from plait.guests.twisted import failures, logs, troubles, watching
from plait.guests.twisted.parts import Parts
from plait.guests.twisted.reactor import GuestReactor, install
from plait.guests.twisted.stopping import Stop
from plait.guests.twisted.troubles import Policies, Trouble, cannot_listen
from plait.guests.twisted.waiting import Outcome

#: What a collection must leave as `MultiService` has it, so that its children can be started one by one.
_PLAIN = ("privilegedStartService", "startService", "stopService")

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
        ready_after: float | None,
        policies: Policies,
        make_part: Callable[[Any, str], Service[Any]],
        is_top: bool,
    ) -> None:
        self.service = service
        self.context = context
        self.reactor = reactor
        self.failing: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._is_top = is_top
        self._is_plain = is_plain(service)
        self._is_up = False
        self._ready_after = ready_after
        self._goes_on = False  # its start, while it counts as ready
        self._troubles: list[Trouble] = []
        self._watch = watching.watch(service, policies)
        self.parts = Parts(self._watch, context, make_part)
        self._stop = Stop(self._watch, self.parts, context, reactor, is_plain=self._is_plain, timeout=stop_timeout)

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
            self._stop.forget()
            if self.failing.done() and not self.failing.cancelled():
                self.failing.exception()  # it has been told
            if self._is_top:
                watch.end()
                await self.reactor.leave(self.context)

    async def _run(self) -> None:
        try:
            await self._start()
        except BaseException:
            # It was never started: what its stop takes for granted need not be there.
            await self._stop_too(logging.DEBUG)
            raise
        starts_them = self._is_plain and not self._watch.stopping
        try:
            await self.context.supervise(
                self.parts.begin(starts_them=starts_them),
                failing=self.failing,
                when_ready=self._ready,
                when_stopping=self._stop.begin,
            )
        except Exception:
            self.parts.end()
            await self._stop_too(logging.WARNING)
            raise
        except BaseException:
            self.parts.end()
            await self._stop.finish()
            raise
        self.parts.end()
        await self._stop.finish()

    # The start --------------------------------------------------------------------------------------------------

    async def _start(self) -> None:
        watch = self._watch
        since = asyncio.get_running_loop().time()
        try:
            if watch.is_started:
                pass  # by its collection, or by the application itself
            elif self._is_plain:
                # Its children have a life each.
                TwistedBase.privilegedStartService(self.service)
                TwistedBase.startService(self.service)
                watch.is_started = watch.is_touched = True
            else:
                done = self.reactor.privileged.take(watch)
                if done is None:
                    watch.start_privileged()
                elif done.error is not None:
                    raise done.error
                await self._settled(since)
                watch.start()
            await self._settled(since)
        except CannotListenError as error:
            raise cannot_listen(self.context.path, error) from error
        self._troubles += watch.troubles
        watch.troubles.clear()
        self._is_up = True
        for outcome in tuple(watch.pending):
            outcome.when_done(partial(self._started_late, outcome))
        for trouble in self._troubles:
            failure = self._follow(trouble)
            if failure is not None and trouble.kind == "listen":
                raise failure
            if failure is not None and not self.failing.done():
                self.failing.set_exception(failure)

    async def _settled(self, since: float) -> None:
        """Wait for all that the start has returned, or until the service counts as ready without that."""
        watch = self._watch
        while watch.pending and not self._goes_on:
            outcome = watch.pending[0]
            try:
                async with asyncio.timeout_at(None if self._ready_after is None else since + self._ready_after):
                    await outcome.wait(self.reactor.start_up)
            except TimeoutError:
                if outcome.is_done:
                    raise  # that is its own
                self._let_go_on(since, outcome)
            else:
                if outcome in watch.pending:
                    watch.pending.remove(outcome)

    def _let_go_on(self, since: float, outcome: Outcome) -> None:
        """Tell that the start takes long, and wait for it no more."""
        from plait.guests.twisted.events import StartGoesOn

        self._goes_on = True
        now = asyncio.get_running_loop().time()
        self.context.publish(StartGoesOn(self.context.path, now, now - since, outcome.where()))

    def _started_late(self, outcome: Outcome) -> None:
        """Hear what came of a start that went on."""
        pending = self._watch.pending
        if outcome not in pending:
            return  # it is being stopped
        pending.remove(outcome)
        if outcome.error is not None and not self.failing.done():
            self.failing.set_exception(outcome.error)
        elif not pending:
            self.context.log.info("its start has ended")

    async def _stop_too(self, level: int) -> None:
        """Stop what has failed, or its start, with what that has begun; what it failed with counts more than this."""
        try:
            await self._stop.finish()
        except LeftBehind as left:
            if not self._is_plain:
                raise
            self.context.log.error("%s", left)  # one whose turn to start had not come
        except Exception as error:
            trace = error if level > logging.DEBUG else None
            self.context.log.log(level, "it failed, and its stop failed too: %r", error, exc_info=trace)

    def _ready(self) -> Any:
        if self._is_top:
            self.reactor.has_served = True
            self.reactor.start_up()
        return self.service

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
            error = cannot_listen(self.context.path, error)
        from plait.guests.twisted import events  # most applications need none

        event = getattr(events, _EVENTS[trouble.kind])
        self.context.publish(event(self.context.path, asyncio.get_running_loop().time(), error))
        return error if self._watch.policy(trouble.kind) == "fail" else None


def _hear(failure: Failure | None, event: dict[str, Any]) -> None:
    """Hear of an error that was logged, in the context where it happened, perhaps in a thread."""
    if failure is None or troubles.tells_itself:
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
