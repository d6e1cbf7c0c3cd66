"""
One life of a connection: attempt, follow, wait, and again.
"""

from __future__ import annotations

import asyncio
import logging
from random import random
from typing import TYPE_CHECKING

from plait.errors import StopApplication
from plait.events import Event, describe
from plait.services.gate import NETWORK_ERRORS, Gate, Turn
from plait.services.line import Line, open_protocol, open_stream
from plait.services.listener import is_async
from plait.values import replace, value

if TYPE_CHECKING:
    from plait.endpoints import Endpoint
    from plait.services.connection import Connection
    from plait.services.link import Link
    from plait.tree.service import Context

#: A connection whose handler or login fails by itself, each time, waits up to so many seconds: there is nothing to be
#: probed, only a fault to be repeated.
FAULT_CAP = 30.0
#: Why a connection ended that nothing was wrong with.
STOPPED = "asked to stop"


@value
class Connected(Event):
    """A connection to *endpoint* was made, and prepared."""

    endpoint: str

    @property
    def level(self) -> int:
        """Information."""
        return logging.INFO

    def __str__(self) -> str:
        return f"{self.path}: connected to {self.endpoint}"


@value
class Disconnected(Event):
    """The connection to *endpoint* ended, *why* in words, after so many seconds (*lasted*)."""

    endpoint: str
    why: str
    lasted: float

    @property
    def level(self) -> int:
        """A warning, unless we were asked to stop."""
        return logging.DEBUG if self.why == STOPPED else logging.WARNING

    def __str__(self) -> str:
        return f"{self.path}: connection to {self.endpoint} ended after {self.lasted:.3g} s: {self.why}"


@value
class ConnectFailed(Event):
    """
    An attempt to connect to *endpoint*, or to prepare the connection, failed with *error*.

    *failures* counts those in a row: of the destination, which all connections to it share, or, when the error is not
    the network's, of this connection.
    """

    endpoint: str
    error: BaseException
    failures: int

    @property
    def level(self) -> int:
        """A warning at the first failure in a row and whenever their number has doubled: all would fill the log."""
        is_told = self.failures & (self.failures - 1) == 0 and isinstance(self.error, NETWORK_ERRORS)
        return logging.WARNING if is_told else logging.DEBUG

    def __str__(self) -> str:
        return f"{self.path}: cannot connect to {self.endpoint} ({describe(self.error)})"


class Life:
    """One life of a connection."""

    def __init__(self, service: Connection, endpoint: Endpoint, context: Context[Link], link: Link, gate: Gate) -> None:
        self.service = service
        self.endpoint = endpoint
        self.where = str(endpoint)
        self.context = context
        self.link = link
        self.gate = gate
        self.loop = asyncio.get_running_loop()
        self.failures = 0  # of this connection itself, in a row
        self.is_ready = False
        self.streams = service.handler is None or is_async(service.handler)

    async def live(self) -> None:
        """Connect, follow, and again."""
        if not self.service.require:
            self.say_ready()
        while True:
            made = await self.attempt()
            if made is not None:
                await self.follow(*made)

    def say_ready(self) -> None:
        """Publish the link, once."""
        if not self.is_ready:
            self.is_ready = True
            self.context.ready(self.link)

    async def attempt(self) -> tuple[Turn, Line] | None:
        """Try once, when it is our turn; return what was made."""
        turn = self.gate.turn(self.service.retry)
        fault: Exception | None = None
        try:
            async with turn:
                line = await self.open()
                try:
                    await self.prepare(line)
                except BaseException as error:
                    await line.close(0.0)
                    if not isinstance(error, Exception) or isinstance(error, NETWORK_ERRORS):
                        raise
                    fault = error  # the destination has answered: this is between it and us
        except NETWORK_ERRORS as error:
            self.publish_failure(error, turn.failures)
            return None
        except Exception as error:
            fault = error
        if fault is None:
            return turn, line
        if isinstance(fault, StopApplication):
            raise fault
        self.failures += 1
        self.publish_failure(fault, self.failures)
        self.context.log.error("cannot connect to %s (%s)", self.where, describe(fault), exc_info=fault)
        await self.wait(is_fault=True)
        return None

    async def open(self) -> Line:
        """Connect."""
        if self.streams:
            return await open_stream(self.endpoint)
        assert self.service.handler is not None
        return await open_protocol(self.endpoint, self.service.handler)

    async def prepare(self, line: Line) -> None:
        """Let the first exchange happen."""
        if self.service.prepare is None:
            return
        try:
            async with asyncio.timeout(self.endpoint.timeout) as limit:
                await self.service.prepare(*(line.given if self.streams else (line.given,)))
        except TimeoutError as error:
            if limit.expired():
                error.args = (f"not prepared in {self.endpoint.timeout:g} s",)
            raise
        if line.gone.done():
            raise line.error or ConnectionResetError("closed by the other end while it was prepared")

    async def follow(self, turn: Turn, line: Line) -> None:
        """Stay with a connection until it ends; wait as long as its end demands."""
        began = self.loop.time()
        self.context.publish(Connected(self.context.path, began, self.where))
        self.link.up(line.given)
        line.gone.add_done_callback(self.link.down)
        self.say_ready()
        fault: BaseException | None = None
        why = STOPPED
        try:
            try:
                why = await self.handle(line)
            except NETWORK_ERRORS as error:
                why = describe(error)
            except StopApplication:
                raise
            except (Exception, asyncio.CancelledError) as error:
                if isinstance(error, asyncio.CancelledError) and self.is_stopping():
                    raise
                fault, why = error, describe(error)
        finally:
            self.link.down()
            line.gone.remove_done_callback(self.link.down)
            lasted = self.loop.time() - began
            is_gone = line.gone.done()
            await line.close(self.service.drain)
            self.context.publish(Disconnected(self.context.path, self.loop.time(), self.where, why, lasted))
        if fault is not None:
            why = describe(fault)
            self.context.log.error("the handler of the connection to %s failed (%s)", self.where, why, exc_info=fault)
        elif is_gone and lasted < self.service.retry.quiet:
            turn.died()
        self.failures = self.service.retry.failures(self.failures, lasted)
        await self.wait(is_fault=not is_gone)

    async def handle(self, line: Line) -> str:
        """Let the handler do its work, and return why the connection has ended."""
        handler = self.service.handler
        if handler is None or not self.streams:
            await line.gone
            return line.why
        is_over = False
        try:
            async with asyncio.timeout(None) as patience:

                def hurry(_: object) -> None:
                    if not is_over:
                        patience.reschedule(self.loop.time() + self.service.drain)

                line.gone.add_done_callback(hurry)
                try:
                    await handler(*line.given)
                finally:
                    is_over = True
                    line.gone.remove_done_callback(hurry)
        except TimeoutError:
            if not patience.expired():
                raise
        return line.why if line.gone.done() else "the handler returned"

    async def wait(self, is_fault: bool) -> None:
        """Wait before the next attempt, as our own failures demand; the gate has its own."""
        retry = self.service.retry
        if is_fault:
            retry = replace(retry, cap=max(retry.cap, FAULT_CAP))
        delay = retry.delay(self.failures, random())
        if delay:
            await asyncio.sleep(delay)

    def is_stopping(self) -> bool:
        """Whether we are asked to stop."""
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0

    def publish_failure(self, error: BaseException, failures: int) -> None:
        """Tell of an attempt that failed."""
        self.context.publish(ConnectFailed(self.context.path, self.loop.time(), self.where, error, failures))
