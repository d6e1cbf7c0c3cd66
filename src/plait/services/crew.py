"""
Crew: who answers in one life of a listener, and how that ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from plait.errors import StopApplication
from plait.events import describe
from plait.tree.service import Context

#: A loop needs so many passes to read what has arrived on a connection that was just accepted.
PASSES = 3


class Crew:
    """
    What one life of a listener has open: its tasks, and those connections that have to be heard of.

    A subclass says how to answer, and how to say goodbye.
    """

    unit = "connection"  # what is cut off

    def __init__(self, context: Context[Any], over: asyncio.Future[None]) -> None:
        self.context = context
        self.prefix = f"{context.path} "  # of the names of tasks
        self.loop = asyncio.get_running_loop()
        self.over = over  # ends the life
        self.tasks: dict[asyncio.Task[Any], Any] = {}
        self.open: dict[Any, Any] = {}  # those that are heard of when they close: to the transport
        self.unwatched = -1  # how many connections until one is shown to *watch*; below 0, none
        self.watch: Callable[[asyncio.BaseTransport], None] = self._look_away
        self.stopped = False
        self._gone: asyncio.Future[None] | None = None

    def _look_away(self, transport: asyncio.BaseTransport) -> None:
        pass

    def make_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol of a connection that is being accepted."""
        raise NotImplementedError

    def keep_protocols(self) -> None:
        """Make protocols that a transport can keep: not every loop lets it change them."""

    def say_goodbye(self) -> None:
        """Ask everybody to finish."""
        raise NotImplementedError

    async def drain(self, seconds: float) -> None:
        """Let everybody finish within so many *seconds*; cut the rest.  A cancellation cuts at once."""
        try:
            if seconds:
                await let_pass()  # what has arrived by now is still delivered
                self.stopped = True
                self.say_goodbye()
                if self.tasks or self.open:
                    self._gone = self.loop.create_future()
                    await asyncio.wait([self._gone], timeout=seconds)
        finally:
            self.stopped = True
            await self._cut(seconds)

    async def _cut(self, seconds: float) -> None:
        number = self.abort()
        if number:
            self.context.log.warning("cut off %s still busy (drain=%g s)", count(number, self.unit), seconds)
        if self.tasks:
            # As long as their cleaning up takes: what bounds it is the stop_timeout of the service.
            await asyncio.wait(list(self.tasks))
        await let_pass()

    def abort(self) -> int:
        """Cancel every task and abort every connection; return how many there were."""
        number = max(len(self.tasks), len(self.open))
        for task in self.tasks:
            task.cancel()
        for transport in list(self.open.values()):
            transport.abort()
        return number

    def check(self) -> None:
        """Notice that nothing is left to wait for."""
        if self._gone is not None and not self.tasks and not self.open and not self._gone.done():
            self._gone.set_result(None)

    def failed(self, error: BaseException, peer: str) -> None:
        """Say that the handler for *peer* failed, or do what it ordered."""
        if isinstance(error, StopApplication):
            if not self.over.done():
                self.over.set_exception(error)
            return
        self.context.log.error("%s: the handler failed: %s", peer, describe(error), exc_info=error)


async def let_pass() -> None:
    """Let the loop read what has arrived, and close what is closing."""
    for _ in range(PASSES):
        await asyncio.sleep(0)


def count(number: int, unit: str) -> str:
    """Return *number* of *unit* in words."""
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"


def show_peer(transport: asyncio.BaseTransport) -> str:
    """Return who is at the other end of *transport*."""
    try:
        return show_address(transport.get_extra_info("peername"))
    except AttributeError:  # asyncio's TLS transports know nothing any more when they were closed twice
        return "a client"


def show_address(address: object) -> str:
    """Return an address of a peer as a person would write it."""
    if isinstance(address, (tuple, list)) and len(address) >= 2:
        host, port = address[:2]
        return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
    if isinstance(address, bytes):
        return "@" + address.lstrip(b"\0").decode("ascii", "backslashreplace")
    return str(address) if address else "a local client"
