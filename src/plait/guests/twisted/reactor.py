"""
Twisted's reactor on plait's loop: installed before there is a loop, started and stopped by the services that need it.

It is Twisted's own asyncio reactor, with these differences.  It has no loop until `attach`.  ``reactor.stop()`` asks
the application to stop instead of stopping the loop; the triggers of a shutdown are called in their phases, the first
before any service stops, the others when all have stopped.  It installs no signal handlers, not even that for children:
each child is watched by a descriptor of its own.  What is called later, in a thread or by an event of the system,
belongs to the service that asked for it.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ReactorAlreadyRunning, ReactorNotRunning
from twisted.internet.main import installReactor
from twisted.internet.tcp import Connection
from twisted.logger import Logger
from twisted.python.log import callWithLogger

from plait import ConfigurationError, Context
from plait.guests.twisted import inherited
from plait.guests.twisted.children import Children
from plait.guests.twisted.early import EarlyLoop

is_callable = callable  # Twisted calls parameters so

#: A loop whose clock is so many seconds from the system's has one of its own.
_FAR = 1.0

_log = Logger(namespace="twisted.internet.base")


def _carry(text: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return *function* to be called once, later, for the service that it belongs to; its error is logged as such."""
    context = contextvars.copy_context()

    def guarded(*arguments: Any, **options: Any) -> Any:
        try:
            return function(*arguments, **options)
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError | GeneratorExit):
                raise
            _log.failure(text)
            return None

    def carried(*arguments: Any, **options: Any) -> Any:
        return context.run(guarded, *arguments, **options)

    return carried


@dataclass(frozen=True)
class PrivilegedStart:
    """What came of the privileged start of *service*: what it *returned* or raised, and what it began to watch."""

    service: Any
    returned: Any
    error: Exception | None
    readers: tuple[Any, ...]


class GuestReactor(AsyncioSelectorReactor):
    """The reactor of Twisted services in a tree of plait; there is one in a process."""

    def __init__(self) -> None:
        self._early = EarlyLoop()
        self._ran = False
        self._soon: dict[Any, None] = {}
        self._ahead: float | None = None
        super().__init__(cast("Any", self._early))
        self._asyncioEventloop: Any
        self.users: list[Context[Any]] = []
        """The services that need the reactor."""
        self.has_served = False
        """Whether one of them was ready."""
        self._owner: Context[Any] | None = None
        self.privileged: list[PrivilegedStart] = []
        self._held: Deferred[None] | None = None
        self._finished: asyncio.Future[None] | None = None
        self._awaited: dict[Deferred[Any], str] = {}  # what the triggers before a shutdown wait for, and whose it is
        self._children = Children(lambda: self._asyncioEventloop)
        self._pools: list[tuple[threading.Thread, Any]] = []

    # The loop ---------------------------------------------------------------------------------------------------

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Work on *loop* from now on, with all that was asked for before."""
        if self._asyncioEventloop is loop:
            return
        early = self._early
        if self._asyncioEventloop is not early and not self._asyncioEventloop.is_closed():
            raise ConfigurationError("Twisted's reactor has a loop already: run one application at a time")
        self._asyncioEventloop = loop
        # A clock of tests, that jumps: what is due later must be due by that.
        is_virtual = abs(loop.time() - time.monotonic()) > _FAR
        self._ahead = self.seconds() - loop.time() if is_virtual else None
        for watched, again in ((self._readers, self.addReader), (self._writers, self.addWriter)):
            kept = dict(watched)
            watched.clear()
            for each, fd in kept.items():
                early.others.pop(fd, None)
                again(each)
        for fd, (call, context) in early.others.items():
            context.run(loop.add_reader, fd, *call)
        for function, arguments, context in early.calls:
            loop.call_soon(function, *arguments, context=context)
        self._early = EarlyLoop()
        self._scheduledAt = self._timerHandle = None
        self._reschedule()

    def attach_running(self) -> None:
        """Work on the loop that runs here."""
        self.attach(asyncio.get_running_loop())

    def seconds(self) -> float:
        """Return the time, in seconds since 1970; it goes with the loop's clock where that is a virtual one."""
        ahead = self._ahead
        return time.time() if ahead is None else ahead + self._asyncioEventloop.time()

    def take_privileged(self, service: object) -> PrivilegedStart | None:
        """
        Return the privileged start of *service* that was done before there was a tree, once.

        What that has begun to watch belongs from now on to the service in whose life this is called.
        """
        start = next((each for each in self.privileged if each.service is service), None)
        if start is not None:
            self.privileged.remove(start)
            for reader in start.readers:
                if reader in self._readers:
                    self.removeReader(reader)
                    self.addReader(reader)
        return start

    def start_privileged(self, service: Any) -> None:
        """Do the privileged start of *service* now; what comes of it is for `take_privileged`."""
        before = set(self._readers)
        returned, error = None, None
        try:
            returned = service.privilegedStartService()
        except Exception as raised:
            error = raised
        self.privileged.append(PrivilegedStart(service, returned, error, tuple(self._readers.keys() - before)))

    def detach(self) -> None:
        """Leave the loop, which is about to be closed."""
        loop = self._asyncioEventloop
        if self._timerHandle is not None:
            self._timerHandle.cancel()
        self._scheduledAt = self._timerHandle = None
        for fd in self._readers.values():
            loop.remove_reader(fd)
        for fd in self._writers.values():
            loop.remove_writer(fd)
        self._children.leave()
        self._asyncioEventloop = self._early
        self._ahead = None

    # Start and stop ---------------------------------------------------------------------------------------------

    def start_up(self) -> None:
        """Start, unless it runs: call what waited for that."""
        if self._started:
            return
        self._startedBefore = False
        if self._ran:
            # In Twisted, where a reactor starts once, these two are used up by its end.
            self.addSystemEventTrigger("during", "shutdown", self.crash)
            self.addSystemEventTrigger("during", "shutdown", self.disconnectAll)
        self._ran = True
        self._held = Deferred()
        held = self._held
        super().addSystemEventTrigger("before", "shutdown", lambda: held)
        self.startRunning(installSignalHandlers=False)
        self._reschedule()

    def _reschedule(self) -> None:
        if self._started:  # what is called later waits for all that is started before, as in Twisted
            super()._reschedule()

    def begin_shutdown(self) -> None:
        """Call the triggers that come before a shutdown, unless that was done; `finish_shutdown` calls the others."""
        if self._finished is None and self._started:
            self._stopped = True
            self._children.begin_stop()
            self._finished = asyncio.get_running_loop().create_future()
            self.fireSystemEvent("shutdown")

    async def finish_shutdown(self) -> None:
        """Wait for what the first triggers returned, call the others, and leave the loop."""
        self.begin_shutdown()
        try:
            try:
                await self._children.ending()
            finally:
                if self._finished is not None and self._held is not None:
                    self._held.callback(None)  # with the next phase their pipes are closed
            if self._finished is not None:
                await self._triggered(self._finished)
            await self._children.end()
            if self._finished is not None:
                for thread, pool in self._pools:
                    await _joined(thread, pool)
                self._pools.clear()
        finally:
            self._finished = self._held = self._owner = None
            self._children.kill("was still there when there was no more time")
            self.detach()

    async def _triggered(self, finished: asyncio.Future[None]) -> None:
        """Wait until all triggers of the shutdown were called; cancelled, cancel what the first ones wait for."""

        def __plait_where__() -> str:  # noqa: N807
            return "the Deferred of " + " and of ".join(self._awaited.values()) if self._awaited else "a trigger"

        try:
            await finished
        except asyncio.CancelledError:
            for deferred in tuple(self._awaited):
                deferred.addErrback(lambda failure: failure.trap(CancelledError) and None)
                deferred.cancel()
            raise

    def enter(self, context: Context[Any]) -> None:
        """Hear of a service that needs the reactor: that ends with the application, for which *context* speaks."""
        self.users.append(context)
        if self._owner is None:
            self._owner = context
            context.at_end(self._finish_for_good)

    async def leave(self, context: Context[Any]) -> None:
        """Hear of the end of a service: when the application ends, and this is the last one, the reactor ends."""
        try:
            if context.is_ending and self.users == [context]:
                await self.finish_shutdown()
        finally:
            self.users.remove(context)

    async def _finish_for_good(self) -> None:
        # The last service may have failed long before the application ended.
        if self._owner is not None:
            await self.finish_shutdown()

    def stop(self) -> None:
        """Ask the application to stop; raises ReactorNotRunning as Twisted's does."""
        if self._stopped:
            raise ReactorNotRunning("Can't stop reactor that isn't running.")
        self._stopped = self._startedBefore = True
        self.stop_application("reactor.stop()")

    def stop_application(self, reason: str, exit_code: int = 0) -> None:
        """Stop the application whose services these are."""
        if self._owner is not None:
            self._owner.stop(reason, exit_code)

    def crash(self) -> None:
        """End without the triggers, as in Twisted; in the course of a shutdown, this is its end."""
        super(AsyncioSelectorReactor, self).crash()
        self._stopped = True
        if self._finished is None:
            self.stop_application("reactor.crash()")
        elif not self._finished.done():
            # All triggers of this phase and the next are called without a pause: after them.
            self._asyncioEventloop.call_soon(_finish, self._finished)

    def run(self, installSignalHandlers: bool = True) -> None:  # noqa: N803 - its name in Twisted
        """Refuse: plait runs the loop."""
        raise ReactorAlreadyRunning("the reactor is run by plait: leave reactor.run() out")

    # Writing ----------------------------------------------------------------------------------------------------

    def addWriter(self, writer: Any) -> None:  # noqa: N802
        """
        Have *writer* write, as soon as it can.

        A connection can nearly always write at once.  To try that in the next turn of the loop, and to watch its socket
        only where something is left, spares two calls of the system for each answer of a server.
        """
        if not (isinstance(writer, Connection) and writer.connected) or self._asyncioEventloop is self._early:
            super().addWriter(writer)
        elif writer not in self._soon and not self._is_watched(writer):
            self._soon[writer] = None
            self._asyncioEventloop.call_soon(self._write_soon, writer)

    def _is_watched(self, writer: Any) -> bool:
        return writer in self._writers

    def _write_soon(self, writer: Any) -> None:
        if writer in self._soon:
            callWithLogger(writer, self._readOrWrite, writer, False)
            if self._soon.pop(writer, writer) is None:
                super().addWriter(writer)

    def removeWriter(self, writer: Any) -> None:  # noqa: N802
        """Let *writer* write no more."""
        if self._soon.pop(writer, writer) is not None:
            super().removeWriter(writer)

    def getWriters(self) -> list[Any]:  # noqa: N802
        """Return all that is to write."""
        return [*super().getWriters(), *self._soon]

    def removeAll(self) -> list[Any]:  # noqa: N802
        """Forget all that reads and writes, and return it."""
        soon, self._soon = self._soon, {}
        return list(dict.fromkeys([*super().removeAll(), *soon]))

    # What belongs to whom ---------------------------------------------------------------------------------------

    def callLater(self, delay: float, callable: Callable[..., Any], *args: Any, **kw: Any) -> Any:  # noqa: N802
        """Call later, for the service that asks for it."""
        return super().callLater(delay, _carry("while handling timed call", callable), *args, **kw)

    def addSystemEventTrigger(  # noqa: N802
        self,
        phase: str,
        eventType: str,  # noqa: N803 - its name in Twisted
        callable: Callable[..., Any],
        *args: Any,
        **kw: Any,
    ) -> Any:
        """Add a trigger that belongs to the service that asks for it."""
        assert is_callable(callable), f"{callable} is not callable"
        carried = _carry("While calling system event trigger handler", callable)
        if (phase, eventType) == ("before", "shutdown"):
            carried = self._noting(carried, callable)
        return super().addSystemEventTrigger(phase, eventType, carried, *args, **kw)

    def _noting(self, carried: Callable[..., Any], trigger: Callable[..., Any]) -> Callable[..., Any]:
        """Return *carried*, which notes what it returns as awaited, for *trigger*, until that fires."""

        def noted(*arguments: Any, **options: Any) -> Any:
            returned = carried(*arguments, **options)
            if isinstance(returned, Deferred) and not returned.called:

                def forget(result: Any) -> Any:
                    self._awaited.pop(returned, None)
                    return result

                self._awaited[returned] = f"{_name_of(trigger)}(), a trigger before the shutdown"
                returned.addBoth(forget)
            return returned

        return noted

    def callFromThread(self, callable: Callable[..., Any], *args: Any, **kw: Any) -> None:  # type: ignore[override]  # noqa: N802
        """Call in the thread of the loop; once that is closed there is nobody left to call."""
        assert is_callable(callable), f"{callable} is not callable"
        try:
            super().callFromThread(callable, *args, **kw)
        except RuntimeError:
            if not self._asyncioEventloop.is_closed():
                raise

    # Threads ----------------------------------------------------------------------------------------------------

    def _initThreadPool(self) -> None:  # noqa: N802
        super()._initThreadPool()
        pool: Any = self.threadpool
        call = pool.callInThreadWithCallback

        def call_carried(on_result: Any, function: Callable[..., Any], *args: Any, **kw: Any) -> None:
            context = contextvars.copy_context()
            if on_result is None:
                call(None, _carry("Unhandled Error", function), *args, **kw)
            else:
                call(functools.partial(context.copy().run, on_result), context.run, function, *args, **kw)

        pool.callInThreadWithCallback = call_carried

    def _stopThreadPool(self) -> None:  # noqa: N802
        # Twisted waits for the threads here, and nothing else can happen: see `finish_shutdown`.
        pool, self.threadpool = self.threadpool, _NoPool()  # type: ignore[assignment]
        super()._stopThreadPool()
        assert pool is not None
        thread = threading.Thread(target=pool.stop, name="plait-twisted-threads", daemon=True)
        thread.start()
        self._pools.append((thread, pool))


def _name_of(function: Any) -> str:
    return str(getattr(function, "__qualname__", function))


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():  # cancelled: who waited for it has run out of time
        future.set_result(None)


class _NoPool:
    """In the place of a pool that is stopped elsewhere."""

    def stop(self) -> None:
        """Do nothing."""


async def _joined(thread: threading.Thread, pool: Any) -> None:
    """Wait for *thread*, which waits for the threads of *pool*."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def wait() -> None:
        thread.join()
        try:
            loop.call_soon_threadsafe(done.set_result, None)
        except RuntimeError:
            pass  # left behind, and the loop has closed since

    def __plait_where__() -> str:  # noqa: N807
        frames = sys._current_frames()
        for each in pool.threads:
            frame = frames.get(each.ident)
            if frame is not None:
                return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_qualname}, thread {each.name}"
        return "the end of the reactor's threads"

    threading.Thread(target=wait, name="plait-twisted-wait", daemon=True).start()
    await done


def install() -> GuestReactor:
    """Install the reactor, unless it is; raises `ConfigurationError` when there is another one."""
    installed: Any = sys.modules.get("twisted.internet.reactor")
    if installed is None:
        installed = GuestReactor()
        installReactor(installed)
        installed._children.install()
        inherited.take()
    if not isinstance(installed, GuestReactor):
        raise ConfigurationError(
            f"Twisted's reactor is {type(installed).__name__} already: import plait.guests.twisted before anything "
            "that imports twisted.internet.reactor, and leave out whatever installs another"
        )
    return installed
