"""
Protocols: a protocol for each connection, and nothing between it and its transport.

A connection is remembered by a weak reference to its transport, which is all that accepting it costs, and is found
again at the stop.  Only those that need time to end are listened to, from then on.
"""

from __future__ import annotations

import asyncio
import inspect
import weakref
from collections.abc import Callable
from itertools import repeat
from typing import Any

from plait.services.crew import Crew, show_peer
from plait.tree.service import Context

Lost = Callable[[Any, Exception | None], None]


class Forwards:
    """
    Stands before a protocol to hear of the end of its connection.

    The other methods of the protocol become attributes of this object, so the loop calls them as directly as before.
    """

    methods: tuple[str, ...] = (
        "data_received",
        "get_buffer",
        "buffer_updated",
        "eof_received",
        "pause_writing",
        "resume_writing",
    )

    def __init__(self, protocol: Any, lost: Lost) -> None:
        self.protocol = protocol
        self.lost = lost
        for name in self.methods:
            method = getattr(protocol, name, None)
            if method is not None:
                setattr(self, name, method)

    def connection_lost(self, error: Exception | None) -> None:
        """Tell the crew and the protocol."""
        self.lost(self, error)
        self.protocol.connection_lost(error)


class Forwarder(Forwards, asyncio.Protocol):
    """Before a protocol that is given its data."""


class BufferedForwarder(Forwards, asyncio.BufferedProtocol):
    """Before a protocol that brings its own buffer: loops tell the two by their class."""


def forward(protocol: Any, lost: Lost) -> Forwarder | BufferedForwarder:
    """Return a forwarder that fits to *protocol*."""
    if hasattr(protocol, "get_buffer") and not isinstance(protocol, asyncio.Protocol):
        return BufferedForwarder(protocol, lost)
    return Forwarder(protocol, lost)


class Finishing(Crew):
    """A crew of protocols: how one of them is asked to finish."""

    def finish(self, transport: Any, protocol: Any) -> None:
        """Call the ``drain()`` of *protocol*, or close its *transport*, which sends first what is left to send."""
        if transport.is_closing():
            return
        hook = getattr(protocol, "drain", None)
        if hook is None:
            transport.close()
            return
        try:
            result = hook()
        except Exception as error:
            self.failed(error, show_peer(transport))
            transport.close()
            return
        if inspect.iscoroutine(result):
            task = self.loop.create_task(result, name=f"{self.prefix}{show_peer(transport)}")
            self.tasks[task] = transport
            task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        transport = self.tasks.pop(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failed(error, task.get_name().removeprefix(self.prefix))
        if not transport.is_closing():
            transport.close()
        self.check()


class Protocols(Finishing, asyncio.Protocol):
    """The protocols of a listener whose handler makes protocols; itself the first protocol of each connection."""

    def __init__(
        self, context: Context[Any], over: asyncio.Future[None], handler: Callable[[], Any], has_tls: bool
    ) -> None:
        super().__init__(context, over)
        self.handler = handler
        self.has_tls = has_tls
        self.seen: set[weakref.ref[Any]] = set()
        self._unsee = self.seen.discard
        # One object is the first protocol of all, and this gives it without calling a Python function.
        self.make_protocol = repeat(self).__next__  # type: ignore[method-assign]

    def connection_made(self, transport: Any) -> None:
        """Make the connection's own protocol and step aside."""
        self.unwatched -= 1
        if not self.unwatched:
            self.watch(transport)
        if self.stopped:
            transport.abort()
            return
        try:
            protocol = self.handler()
            if self.has_tls:
                # uvloop's have no weak references, asyncio's forget their protocol when they are closed twice.
                self._listen_to(transport, protocol)
            else:
                self.seen.add(weakref.ref(transport, self._unsee))
                transport.set_protocol(protocol)
            protocol.connection_made(transport)
        except Exception as error:
            self.failed(error, show_peer(transport))
            transport.abort()

    def keep_protocols(self) -> None:
        """Listen to every connection from its beginning: nothing can step aside."""
        self.make_protocol = self._make_kept  # type: ignore[method-assign]

    def _make_kept(self) -> asyncio.BaseProtocol:
        try:
            protocol = self.handler()
        except Exception as error:
            self.failed(error, "a client")
            raise
        forwarder = forward(protocol, self._lost)

        def connection_made(transport: Any) -> None:
            self.open[forwarder] = transport
            if self.stopped:
                transport.abort()
                return
            try:
                protocol.connection_made(transport)
            except Exception as error:
                self.failed(error, show_peer(transport))
                transport.abort()

        forwarder.connection_made = connection_made  # type: ignore[method-assign]
        return forwarder

    def _listen_to(self, transport: Any, protocol: Any) -> None:
        forwarder = forward(protocol, self._lost)
        self.open[forwarder] = transport
        transport.set_protocol(forwarder)

    def _lost(self, forwarder: asyncio.BaseProtocol, error: Exception | None) -> None:
        self.open.pop(forwarder, None)
        self.check()

    def say_goodbye(self) -> None:
        """Let every protocol finish; begin to listen to those that need time for it."""
        for forwarder, transport in list(self.open.items()):
            assert isinstance(forwarder, Forwards)
            self.finish(transport, forwarder.protocol)
        for transport in self._unheard():
            protocol = transport.get_protocol()
            if hasattr(protocol, "drain") or transport.get_write_buffer_size():
                self._listen_to(transport, protocol)
                self.finish(transport, protocol)
            else:
                transport.abort()  # the same as to close it when nothing is left to send, and quicker

    def abort(self) -> int:
        """Cut all, also those that nobody listens to."""
        unheard = self._unheard()
        for transport in unheard:
            transport.abort()
        return super().abort() + len(unheard)

    def _unheard(self) -> list[Any]:
        """Return the transports that nobody listens to, but for those that end within this pass of the loop."""
        transports = [transport for each in list(self.seen) if (transport := each()) is not None]
        return [
            transport
            for transport in transports
            if (protocol := transport.get_protocol()) is not None  # else its connection is lost
            and protocol not in self.open
            and not (transport.is_closing() and not transport.get_write_buffer_size())
        ]
