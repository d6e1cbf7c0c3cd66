"""
One life of a Twisted service: its privileged start, its start, its children, its stop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from twisted.application.service import IServiceCollection, MultiService
from twisted.application.service import Service as TwistedBase
from twisted.internet.defer import Deferred, maybeDeferred

from plait import Context, Service
from plait.guests.twisted import logs
from plait.guests.twisted.reactor import GuestReactor
from plait.guests.twisted.waiting import settle

Children = Callable[[Any], Iterable[Service[Any]]]

#: What a collection must leave as `MultiService` has it, so that its children can be started one by one.
_PLAIN = ("privilegedStartService", "startService", "stopService")


def is_collection(service: Any) -> bool:
    """Say whether *service* has services of its own."""
    return bool(IServiceCollection.providedBy(service))


def is_plain(service: Any) -> bool:
    """Say whether *service* is a collection that does nothing but start and stop its children."""
    return isinstance(service, MultiService) and all(
        getattr(type(service), name) is getattr(MultiService, name) for name in _PLAIN
    )


def top_of(service: Any) -> Any:
    """Return the outermost collection that *service* is in, or itself."""
    while (parent := getattr(service, "parent", None)) is not None:
        service = parent
    return service


class Life:
    """One life of *service*; *is_top* when it stands in plait's tree rather than in another Twisted service."""

    def __init__(self, service: Any, context: Context[Any], reactor: GuestReactor, *, is_top: bool) -> None:
        self.service = service
        self.context = context
        self.reactor = reactor
        self.failing: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._is_top = is_top
        self._is_plain = is_plain(service)
        self._top = top_of(service)
        self._hosted: list[Any] = []
        self._late: list[tuple[Any, Deferred[Any]]] = []

    async def run(self, children: Children) -> None:
        """Live once."""
        self.reactor.attach(asyncio.get_running_loop())
        logs.begin_unless_begun()
        if self._is_top:
            self.reactor.users.append(self.context)
        try:
            await self._run(children)
        finally:
            if self._is_top:
                await self._leave()

    async def _run(self, children: Children) -> None:
        try:
            await self._start()
        except BaseException:
            await self._undo()
            raise
        try:
            self._hosted = list(self.service) if self._is_plain else []
            await self.context.supervise(
                children(self.service),
                failing=self.failing,
                when_ready=self._ready,
                when_stopping=self._stopping,
            )
        finally:
            await self._stop()

    # The steps --------------------------------------------------------------------------------------------------

    async def _start(self) -> None:
        if self._is_plain:
            # Its children have a life each.
            TwistedBase.privilegedStartService(self.service)
            TwistedBase.startService(self.service)
            return
        done = self.reactor.take_privileged(self.service)
        if done is None:
            await self._call("privilegedStartService")
        elif done.error is not None:
            raise done.error
        else:
            await self._settle("privilegedStartService", done.returned)
        await self._call("startService")

    async def _stop(self) -> None:
        if top_of(self.service) is not self._top:
            return  # it was taken out of its collection, or that out of another: so it was stopped
        if self._is_plain:
            TwistedBase.stopService(self.service)
            for service, returned in self._late:
                await self._settle("stopService", returned, service)
        else:
            await self._call("stopService")

    async def _undo(self) -> None:
        """Stop what a failed start may have begun: a port that is open, a child that runs."""
        try:
            await self._stop()
        except Exception as error:
            # It was never started: what its stop takes for granted need not be there.
            self.context.log.debug("after the failed start its stop failed too: %r", error)

    async def _call(self, method: str) -> Any:
        return await self._settle(method, getattr(self.service, method)())

    async def _settle(self, method: str, returned: Any, service: Any = None) -> Any:
        def describe(deferred: Deferred[Any]) -> str:
            return f"the Deferred of {type(service or self.service).__qualname__}.{method}()"

        return await settle(returned, describe, self.reactor.start_up)

    def _ready(self) -> Any:
        if self._is_top:
            self.reactor.has_served = True
            self.reactor.start_up()
        return self.service

    def _stopping(self) -> None:
        if self.context.is_ending:
            self.reactor.begin_shutdown()
        if self._is_plain:
            # What came into a collection that runs was started by Twisted, and stands in no tree.
            late = [each for each in self.service if not any(each is hosted for hosted in self._hosted)]
            self._late = [(each, maybeDeferred(each.stopService)) for each in reversed(late)]

    async def _leave(self) -> None:
        reactor = self.reactor
        try:
            is_last = reactor.users == [self.context]
            if is_last and (self.context.is_ending or not reactor.has_served):
                await reactor.finish_shutdown()
        finally:
            reactor.users.remove(self.context)
