"""
portforward: pass each connection on to somewhere else
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable
from dataclasses import field
from typing import Annotated, Any

from plait import Application, ConfigurationError, Context, Endpoint, Listener, Service, UsageError, connect, value

#: How much is read at once, in bytes: what a stream holds before it stops reading.
_CHUNK = 65536
#: What a stop may take beyond the time to drain, in seconds, and then the application beyond that.
_MARGIN = 5.0


#: As twistd's.
_LISTEN = Endpoint.listening("tcp:6666")


def portforward(
    *,
    listen: Annotated[Endpoint, "-l -p --port", "where to listen"] = _LISTEN,
    to: Annotated[
        Endpoint | None,
        Endpoint.connecting,
        "-t",
        "where to pass connections on to (default: what --host and --dest-port say)",
    ] = None,
    host: Annotated[str, "-h HOST", "the host to pass connections on to"] = "localhost",
    dest_port: Annotated[int, "-d --dest_port PORT", "the port to pass connections on to"] = 6665,
    limit: Annotated[int | None, "NUMBER", "close who comes while so many connections are open"] = None,
    idle: Annotated[float | None, "SECONDS", "reset a connection on which nothing moved for so long"] = None,
    drain: Annotated[float, "SECONDS", "how long connections may take to finish when it is stopped"] = 5.0,
) -> Application:
    """
    Pass each connection on to another endpoint.

    Both ends are endpoints, so either may be a unix socket or speak TLS: it takes TLS off with
    --listen ssl:443:certKey=FILE:privateKey=FILE, and puts it on with --to tls:HOST:PORT.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"--limit {limit}: wanted a whole number from 1")
    if idle is not None and not idle > 0:
        raise UsageError(f"--idle {idle:g}: wanted a number of seconds above 0")
    if not drain >= 0:
        raise UsageError(f"--drain {drain:g}: wanted a number of seconds from 0")
    for name, endpoint in (("listen", listen), ("to", to)):
        if endpoint is not None and endpoint.is_datagram:
            raise UsageError(f"--{name} {endpoint}: wanted a place for connections: use tcp or unix")
    if to is not None and (host, dest_port) != ("localhost", 6665):
        raise UsageError("--to, --host, --dest-port: all say where to: give --to alone")
    forward = PortForward(
        listen,
        to or Endpoint("tcp", host=host, port=dest_port, connects=True),
        limit=limit,
        idle=idle,
        drain=drain,
        stop_timeout=drain + _MARGIN,
    )
    return Application("portforward", [forward], stop_timeout=drain + 2 * _MARGIN)


@value
class PortForward(Service[tuple[Any, ...]]):
    """
    Passes each connection to *listen* on to *to*; both are texts such as ``tcp:8080``, or an `Endpoint`.

    What one side has sent is read only as fast as the other takes it.  The end of one direction is passed on, and the
    other goes on.  A side that breaks off is told to the other by a reset, so that half of an answer is not taken for a
    whole one.  TLS cannot end one direction alone: a TLS side is closed *drain* seconds after the other has said all.

    When *to* cannot be reached (its ``timeout`` bounds the attempt), the client is closed; it is a warning in the log
    the first time, and a line again when it can be reached.  Above *limit* connections at once, new ones are closed
    likewise.  With *idle*, a connection on which nothing moved for so many seconds is reset.

    When it is to stop, each destination reads the end of its stream, as though its client had said goodbye, and has
    *drain* seconds to finish; the rest is cut.  It publishes what a `Listener` does.
    """

    listen: str | Endpoint
    to: str | Endpoint
    limit: int | None = field(default=None, kw_only=True)
    idle: float | None = field(default=None, kw_only=True)
    drain: float = field(default=5.0, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "listen", Endpoint.listening(self.listen))
        object.__setattr__(self, "to", Endpoint.connecting(self.to))
        super().__post_init__()
        for name in ("listen", "to"):
            if getattr(self, name).is_datagram:
                self._refuse(name, "wanted a place for connections: use tcp or unix")
        if self.limit is not None and self.limit < 1:
            self._refuse("limit", "wanted a whole number from 1, or None")
        if self.idle is not None and not self.idle > 0:
            self._refuse("idle", "wanted a number of seconds above 0, or None")
        self._listener(_never)  # it judges the rest

    def _refuse(self, name: str, wanted: str) -> None:
        raise ConfigurationError(f"PortForward {self.name}: {name}={getattr(self, name)}: {wanted}")

    def _listener(self, handler: Callable[..., Any]) -> Listener:
        return Listener(self.listen, handler, name=self.name, drain=self.drain, stop_timeout=self.stop_timeout)

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return where it listens."""
        assert isinstance(self.listen, Endpoint)
        return (self.listen,)

    async def run(self, context: Context[tuple[Any, ...]]) -> None:
        """Pass connections on until asked to stop, then drain."""
        await self._listener(_Life(self, context).answer).run(context)


async def _never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer nobody."""


class _Life:
    """What one life of a `PortForward` remembers."""

    def __init__(self, service: PortForward, context: Context[Any]) -> None:
        self.service = service
        self.log = context.log
        self.loop = asyncio.get_running_loop()
        self.open = 0
        self.is_full = False
        self.is_unreachable = False

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass one connection on."""
        service = self.service
        if service.limit is not None and self.open >= service.limit:
            if not self.is_full:
                self.log.warning("limit=%d is reached: whoever comes now is closed at once", self.open)
            self.is_full = True
            return
        self.open += 1
        try:
            there = await self._connect()
            if there is not None:
                await self._forward((reader, writer), there)
        finally:
            self.open -= 1
            self.is_full = False

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        to = self.service.to
        try:
            there = await connect(to)
        except OSError as error:
            if not self.is_unreachable:
                self.log.warning("cannot connect to %s (%s): clients are closed until it answers", to, _tell(error))
            self.is_unreachable = True
            return None
        if self.is_unreachable:
            self.log.info("%s answers again", to)
        self.is_unreachable = False
        return there

    async def _forward(
        self,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        there: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        idle = self.service.idle
        limit = asyncio.timeout(idle)
        # Now: asyncio's TLS transports know nothing any more when they are closed.
        connections = [writer.get_extra_info("socket") for _, writer in (client, there)]
        _reset_when_closed(connections, True)
        try:
            async with limit, asyncio.TaskGroup() as both:

                def moved() -> None:
                    if idle is not None and not limit.expired():
                        limit.reschedule(self.loop.time() + idle)

                up = both.create_task(self._pump(client[0], there[1], moved, lambda: down))
                down = both.create_task(self._pump(there[0], client[1], moved, lambda: up))
            _reset_when_closed(connections, False)
            there[1].close()
            await there[1].wait_closed()
        except* OSError as group:  # the TimeoutError of *limit* is one, too
            why = f"nothing moved for {idle:g} s" if limit.expired() else "; ".join(map(_tell, group.exceptions))
            self.log.debug("broke off: %s", why)
            _abort(client[1])
        finally:
            _abort(there[1])  # if it is not closed yet

    async def _pump(
        self,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        moved: Callable[[], None],
        other: Callable[[], asyncio.Task[None]],
    ) -> None:
        """Pass on what *source* says, then its end."""
        while data := await source.read(_CHUNK):
            try:
                sink.write(data)
                await sink.drain()
            except OSError:
                return  # it takes no more, but may have said something: the other direction tells
            moved()
        if sink.can_write_eof():
            try:
                sink.write_eof()
            except OSError:
                pass  # as above
        else:
            await asyncio.wait([other()], timeout=self.service.drain)
            sink.close()


def _tell(error: BaseException) -> str:
    """Return why a connection failed, without what asyncio adds."""
    if isinstance(error, ConnectionError) and error.errno:
        return os.strerror(error.errno)
    return str(getattr(error, "strerror", None) or error)


def _abort(writer: asyncio.StreamWriter) -> None:
    try:
        writer.transport.abort()
    except AttributeError:
        pass  # asyncio forgets that a transport is gone when it was closed with something still to send


def _reset_when_closed(connections: list[Any], wanted: bool) -> None:
    """Let the end of these *connections* be a reset, whoever brings it about, or let it be an end."""
    for connection in connections:
        try:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", wanted, 0))
        except (OSError, ValueError, AttributeError):
            pass  # it is closed, which each loop tells in its own way
