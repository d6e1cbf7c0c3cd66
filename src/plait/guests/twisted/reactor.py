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
import sys
import time
from collections.abc import Callable
from typing import Any, cast

from twisted.internet import main
from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.base import DelayedCall
from twisted.internet.error import ReactorAlreadyRunning, ReactorNotRunning
from twisted.logger import Logger

from plait import ConfigurationError, Context, LeftBehind
from plait.guests.twisted import inherited
from plait.guests.twisted.carrying import carry
from plait.guests.twisted.children import Children
from plait.guests.twisted.early import EarlyLoop
from plait.guests.twisted.pools import NoPool, Pools
from plait.guests.twisted.privileged import PrivilegedStarts
from plait.guests.twisted.shutdown import Shutdown
from plait.guests.twisted.writing import SoonWriting

_log = Logger(namespace="twisted.internet.base")

_install = main.installReactor  # before `install` puts another one into its place

is_callable = callable  # Twisted calls parameters so

#: A loop whose clock is so many seconds from the system's has one of its own.
_FAR = 1.0


class GuestReactor(SoonWriting):
    """The reactor of Twisted services in a tree of plait; there is one in a process."""

    def __init__(self) -> None:
        self._early = EarlyLoop()
        self._ran = False
        self._ahead: float | None = None
        super().__init__(cast("Any", self._early))
        self._asyncioEventloop: Any
        self.users: list[Context[Any]] = []
        """The services that need the reactor."""
        self.has_served = False
        """Whether one of them was ready."""
        self._owner: Context[Any] | None = None
        self.privileged = PrivilegedStarts(self)
        self._takes_back = False
        self._children = Children(lambda: self._asyncioEventloop)
        self._pools = Pools()
        self._shutdown = Shutdown(self._children, self._pools)

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

    def abandon(self) -> None:
        """
        Close what was opened, and end who was begun, for something that will not run: sockets have files.

        Raises `LeftBehind`, when that is done, for services whose stop took too long.
        """
        if self._ran:
            return
        left: list[str] = []  # who did not stop in its time
        try:
            if self.privileged:
                loop = asyncio.new_event_loop()
                self.attach(loop)
                try:
                    loop.run_until_complete(self._take_back(left.append))
                finally:
                    self.detach()
                    loop.close()
        finally:
            self.disconnectAll()
            self._children.give_up()
        if left:
            raise LeftBehind("; ".join(left), "")

    async def _take_back(self, tell: Callable[[str], object]) -> None:
        # Their stops may need time, but what was to happen in a run is not to happen now.
        for call in self.getDelayedCalls():
            cast("DelayedCall", call).cancel()
        self._takes_back = True
        await self.privileged.take_back(tell)
        await self._children.end()

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
        super().addSystemEventTrigger("before", "shutdown", self._shutdown.hold())
        self.startRunning(installSignalHandlers=False)
        self._reschedule()

    def _reschedule(self) -> None:
        # What is called later waits for all that is started before, as in Twisted.
        if self._started or self._takes_back:
            super()._reschedule()

    def begin_shutdown(self) -> None:
        """Call the triggers that come before a shutdown, unless that was done; `finish_shutdown` calls the others."""
        if self._started and not self._shutdown.is_begun:
            self._stopped = True
            self._shutdown.begin(lambda: self.fireSystemEvent("shutdown"))

    async def finish_shutdown(self) -> None:
        """Wait for what the first triggers returned, call the others, and leave the loop."""
        self.begin_shutdown()
        self.privileged.forget()
        try:
            await self._shutdown.finish()
        finally:
            self._owner = None
            self.detach()

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
        if self._shutdown.is_begun:
            self._shutdown.end_soon()
        else:
            self.stop_application("reactor.crash()")

    def run(self, installSignalHandlers: bool = True) -> None:  # noqa: N803 - its name in Twisted
        """Refuse: plait runs the loop."""
        raise ReactorAlreadyRunning("the reactor is run by plait: leave reactor.run() out")

    # What belongs to whom ---------------------------------------------------------------------------------------

    def callLater(self, delay: float, callable: Callable[..., Any], *args: Any, **kw: Any) -> Any:  # noqa: N802
        """Call later, for the service that asks for it."""
        return super().callLater(delay, carry("while handling timed call", callable), *args, **kw)

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
        carried = carry("While calling system event trigger handler", callable)
        if (phase, eventType) == ("before", "shutdown"):
            carried = self._shutdown.noting(carried, callable)
        return super().addSystemEventTrigger(phase, eventType, carried, *args, **kw)

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
        self._pools.carry(self.threadpool)

    def _stopThreadPool(self) -> None:  # noqa: N802
        pool, self.threadpool = self.threadpool, NoPool()  # type: ignore[assignment]
        super()._stopThreadPool()
        self._pools.stop(pool)


#: The modules of reactors that this one can stand in for: all that they can do, it can.
_LIKE = tuple(f"twisted.internet.{name}reactor" for name in ("asyncio", "epoll", "poll", "select"))


def _leave_out(reactor: Any) -> None:
    """Leave *reactor* out that the application installs, where ours can do the same, and say so; else refuse it."""
    kind = type(reactor)
    if kind.__module__ not in _LIKE:
        raise ConfigurationError(
            f"{kind.__name__}: is no reactor that plait can stand in for: run this with twistd, or leave it out"
        )
    for reader in reactor._internalReaders:
        reader.connectionLost(None)
    _log.warn("{name}.install() was left out: plait's reactor stands in for it", name=kind.__module__)


def install() -> GuestReactor:
    """Install the reactor, unless it is; raises `ConfigurationError` when there is another one."""
    name = "twisted.internet.reactor"
    installed: Any = sys.modules.get(name)
    if name not in sys.modules:
        installed = GuestReactor()
        _install(installed)
        main.installReactor = _leave_out
        installed._children.install()
        inherited.take()
    if not isinstance(installed, GuestReactor):
        raise ConfigurationError(
            f"Twisted's reactor is {type(installed).__name__} already: import plait.guests.twisted before anything "
            "that imports twisted.internet.reactor, and leave out whatever installs another"
        )
    return installed
