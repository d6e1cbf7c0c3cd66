"""
Line: one outgoing connection, from the attempt to its last byte.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from plait.errors import ConfigurationError
from plait.events import describe
from plait.services.protocols import forward

if TYPE_CHECKING:
    from plait.endpoints import Endpoint

#: After a transport was aborted, its end is one pass of the loop away; a guest's loop may differ, but not for long.
_AFTER_ABORT = 1.0


class Line:
    """
    One connection.  *given* is what its users get: ``(reader, writer)``, or a protocol.

    It is *gone* when the other end has closed, or it is broken: nothing will come any more.  It is *lost* when its
    transport is closed and nothing of it is left.
    """

    __slots__ = ("error", "given", "gone", "has_ended", "lost", "transport")

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.gone: asyncio.Future[None] = loop.create_future()
        self.lost: asyncio.Future[None] = loop.create_future()
        self.transport: Any = None
        self.given: Any = None
        self.error: Exception | None = None
        self.has_ended = False  # the other end said so

    @property
    def why(self) -> str:
        """Why it is gone."""
        if self.error is not None:
            return describe(self.error)
        return "closed by the other end" if self.has_ended else "closed"

    def made(self, transport: Any) -> None:
        """Hear of the transport."""
        self.transport = transport

    def is_gone(self, error: Exception | None = None) -> None:
        """Hear that nothing will come any more."""
        if not self.gone.done():
            self.error = error
            self.gone.set_result(None)

    def is_lost(self, error: Exception | None) -> None:
        """Hear that the transport is closed."""
        self.is_gone(error)
        if not self.lost.done():
            self.lost.set_result(None)

    async def close(self, patience: float) -> None:
        """Send what is left to send, close, and see to it that nothing remains; abort after *patience* seconds."""
        if self.transport is None:
            return
        self.transport.close()
        try:
            if not self.lost.done() and patience:
                await asyncio.wait([self.lost], timeout=patience)
        finally:
            if not self.lost.done():
                self.transport.abort()
                await asyncio.wait([self.lost], timeout=_AFTER_ABORT)


class _Stream(asyncio.StreamReaderProtocol):
    """asyncio's own protocol of streams, which also tells a line what happens to it."""

    def __init__(self, line: Line) -> None:
        loop = asyncio.get_running_loop()
        self._line = line
        self._kept_reader = asyncio.StreamReader(loop=loop)
        super().__init__(self._kept_reader, loop=loop)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._line.made(transport)

    def eof_received(self) -> bool | None:
        self._line.has_ended = True
        self._line.is_gone()
        return super().eof_received()

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._line.is_lost(error)


async def connect(endpoint: str | Endpoint) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """
    Connect once to *endpoint*, a text such as ``tls:broker:8883`` or an `Endpoint`; return asyncio's own streams.

    Its ``timeout`` bounds the attempt.  Raises `OSError` (a `TimeoutError`, a refusal, a certificate that is not
    trusted) when it cannot connect, and `ConfigurationError` when that is no place to connect to.  The caller closes
    the writer.  To keep a connection open, use a `Connection`.
    """
    from plait.endpoints import Endpoint
    from plait.errors import ConfigurationError

    endpoint = Endpoint.connecting(endpoint)
    if endpoint.is_datagram:
        raise ConfigurationError(f"connect: {endpoint}: datagrams know no connection: use tcp or unix")
    reader, writer = (await open_stream(endpoint)).given
    return reader, writer


async def open_stream(endpoint: Endpoint) -> Line:
    """Connect to *endpoint*; the line gives ``(reader, writer)``.  What is there when it fails is closed."""
    line = Line()
    protocol = _Stream(line)
    await _connect(endpoint, line, protocol)
    reader = protocol._kept_reader
    loop = asyncio.get_running_loop()
    line.given = (reader, asyncio.StreamWriter(line.transport, protocol, reader, loop))
    return line


async def open_protocol(endpoint: Endpoint, factory: Callable[[], Any]) -> Line:
    """Connect to *endpoint*; the line gives a protocol that *factory* made.  What is there when it fails is closed."""
    line = Line()
    protocol = factory()
    forwarder: Any = forward(protocol, lambda _, error: line.is_lost(error))
    trouble: list[Exception] = []

    def made(transport: asyncio.Transport) -> None:
        line.made(transport)
        try:
            protocol.connection_made(transport)
        except Exception as error:
            trouble.append(error)

    forwarder.connection_made = made
    await _connect(endpoint, line, forwarder)
    if trouble:
        await line.close(0.0)
        raise trouble[0]
    line.given = protocol
    return line


async def _connect(endpoint: Endpoint, line: Line, protocol: asyncio.BaseProtocol) -> None:
    loop = asyncio.get_running_loop()
    options: dict[str, Any] = {}
    if endpoint.tls is not None:
        from plait.certificates import connecting_context

        options["ssl"] = connecting_context(endpoint.tls)
        options["server_hostname"] = endpoint.tls.hostname or endpoint.host
    try:
        async with asyncio.timeout(endpoint.timeout) as limit:
            if endpoint.kind == "unix":
                path = "\0" + endpoint.path[1:] if endpoint.path.startswith("@") else endpoint.path
                await loop.create_unix_connection(lambda: protocol, path, **options)
            else:
                if endpoint.kind == "tcp6":
                    options["family"] = socket.AF_INET6
                if endpoint.bind_address:
                    options["local_addr"] = (endpoint.bind_address, 0)
                await loop.create_connection(lambda: protocol, endpoint.host, endpoint.port, **options)
    except BaseException as error:
        await line.close(0.0)
        if isinstance(error, TimeoutError) and limit.expired():
            error.args = (f"no answer in {endpoint.timeout:g} s",)
        if isinstance(error, NotImplementedError):
            from plait.refusals import explain_loop

            raise ConfigurationError(explain_loop(endpoint, loop)) from None
        raise
