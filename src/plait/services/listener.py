"""
Listener: answer connections, drain on stop.

This module has the value and its one life.  `plait.services.acceptor` takes connections in; a crew answers them:
`plait.services.streams` with a task for each, `plait.services.protocols` with a protocol for each, and
`plait.services.datagrams` where there are no connections.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from plait.endpoints import Endpoint
from plait.errors import ConfigurationError
from plait.tree.service import Context, Service, refuse, show
from plait.values import field, value

if TYPE_CHECKING:
    from plait.services.crew import Crew

Handler = Callable[..., Any]


@value
class Listener(Service[tuple[Any, ...]]):
    """
    Answers those who connect to *endpoint*, or send datagrams to it.

    *endpoint* is a text such as ``tcp:8080`` or an `Endpoint`.  *handler* is one of these:

    * an async function ``handler(reader, writer)`` as in ``asyncio.start_server``: each connection runs it in a task of
      its own, and is closed when it returns;
    * a Protocol class, or anything callable without arguments that returns a protocol: each connection gets one, with
      nothing between it and its transport;
    * for datagrams, a DatagramProtocol class, which serves a socket as long as it is open, or an async function
      ``handler(data, address, transport)``, which runs in a task for each datagram and answers with
      ``transport.sendto(answer, address)``.

    It publishes the bound addresses, as ``socket.getsockname()`` gives them: ``((host, port),)`` for ``tcp:0``.

    An exception of a handler ends its connection, and only that.  It is logged with the peer's address; at DEBUG only
    when it was the client who broke off.  `StopApplication` stops the application as it does elsewhere.

    When it is to stop, it accepts nobody more and delivers what has arrived.  Then a stream handler that waits for its
    client reads the end of the stream, as though the client had said goodbye, and ends by itself; one that is busy
    finishes its answer.  A protocol that has a method ``drain()`` is told to finish and close by itself (if the method
    is async, the connection is closed when it returns); any other is closed after what it wrote has been sent.  Who is
    not done after *drain* seconds is cut off: cancelled and aborted.  0 cuts at once.  *drain* may not be longer than
    *stop_timeout*.

    When the process runs out of descriptors, clients wait at the socket, and are accepted when there are some again.

    The sockets stay open from one life to the next, so nobody is refused while the service starts again.  With TLS,
    certificates are read again when their files changed, and a handshake may take *handshake_timeout* seconds.
    """

    endpoint: str | Endpoint
    handler: Handler
    drain: float = field(default=5.0, kw_only=True)
    handshake_timeout: float = field(default=10.0, kw_only=True)

    def __post_init__(self) -> None:
        endpoint = Endpoint.listening(self.endpoint)
        object.__setattr__(self, "endpoint", endpoint)
        super().__post_init__()
        problem = find_problem(self.handler, endpoint.is_datagram)
        if problem:
            raise ConfigurationError(f"Listener {self.name}: handler={show(self.handler)}: {problem}")
        if not self.drain >= 0:
            refuse(self, "drain", "wanted a number of seconds from 0")
        if self.stop_timeout is not None and self.drain > self.stop_timeout:
            wanted = f"wanted at most the {self.stop_timeout:g} s of stop_timeout: lower drain=, or raise stop_timeout="
            refuse(self, "drain", wanted)
        if not self.handshake_timeout > 0:
            refuse(self, "handshake_timeout", "wanted a number of seconds above 0")

    def default_name(self) -> str:
        """Return the name of the handler: ``echo`` for ``echo`` and for ``EchoProtocol``."""
        handler = peel(self.handler)
        name = getattr(handler, "__name__", type(handler).__name__)
        name = name.removesuffix("Protocol").lower()
        return name if name.isidentifier() else "listener"

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return its endpoint."""
        assert isinstance(self.endpoint, Endpoint)
        return (self.endpoint,)

    async def run(self, context: Context[tuple[Any, ...]]) -> None:
        """Serve until asked to stop, then drain."""
        (endpoint,) = self.endpoints()
        sockets = context.sockets(endpoint)
        try:
            over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            if endpoint.is_datagram:
                await self._serve_datagrams(context, sockets, over)
            else:
                await self._serve_connections(context, sockets, endpoint, over)
        finally:
            for each in sockets:
                each.close()

    async def _serve_connections(
        self,
        context: Context[tuple[Any, ...]],
        sockets: tuple[socket.socket, ...],
        endpoint: Endpoint,
        over: asyncio.Future[None],
    ) -> None:
        from plait.services.acceptor import Acceptor

        crew: Crew
        if is_async(self.handler):
            from plait.services.streams import Streams

            crew = Streams(context, over, self.handler)
        else:
            from plait.services.protocols import Protocols

            crew = Protocols(context, over, self.handler, has_tls=endpoint.tls is not None)
        acceptor = Acceptor(context, sockets, endpoint, crew, self.handshake_timeout, self.drain)
        try:
            await acceptor.open()
            _be_ready(context, sockets)
            await over
        finally:
            acceptor.close()
            await crew.drain(self.drain)

    async def _serve_datagrams(
        self, context: Context[tuple[Any, ...]], sockets: tuple[socket.socket, ...], over: asyncio.Future[None]
    ) -> None:
        from plait.services.datagrams import Datagrams, Messages

        crew = (Messages if is_async(self.handler) else Datagrams)(context, over, self.handler)
        try:
            for each in sockets:
                await crew.serve(each)
            if not over.done():  # a protocol may refuse its socket
                _be_ready(context, sockets)
            await over
        finally:
            await crew.drain(self.drain)


# Which kind a handler is --------------------------------------------------------------------------------------------


def _be_ready(context: Context[tuple[Any, ...]], sockets: tuple[socket.socket, ...]) -> None:
    """Publish where it listens, and say it: with port 0 nobody else knows."""
    from plait.services.crew import show_address

    addresses = tuple(each.getsockname() for each in sockets)
    context.log.info("listens on %s", ", ".join(show_address(address) for address in addresses))
    context.ready(addresses)


def peel(handler: Any) -> Any:
    """Return what is inside of partials and well-behaved decorators."""
    while True:
        if isinstance(handler, functools.partial):
            handler = handler.func
        elif hasattr(handler, "__wrapped__"):
            handler = handler.__wrapped__
        else:
            return handler


def is_async(handler: Any) -> bool:
    """Say whether calling *handler* gives a coroutine."""
    inner = peel(handler)
    return inspect.iscoroutinefunction(inner) or (
        not isinstance(inner, type) and inspect.iscoroutinefunction(getattr(inner, "__call__", None))  # noqa: B004
    )


def takes(handler: Handler, count: int) -> bool:
    """Say whether *handler* can be called with so many arguments; yes when that cannot be known."""
    try:
        signature = inspect.signature(handler)
    except (TypeError, ValueError):
        return True
    try:
        signature.bind(*[None] * count)
    except TypeError:
        return False
    return True


def find_problem(handler: Any, datagrams: bool) -> str:
    """Return why *handler* cannot be used, and what to do; an empty string if it can."""
    wanted, count = ("(data, address, transport)", 3) if datagrams else ("(reader, writer)", 2)
    if inspect.iscoroutine(handler):
        handler.close()
        return "is called already: give the function itself, without the brackets"
    if isinstance(handler, asyncio.BaseProtocol):
        return f"is one protocol, and each connection needs its own: give the class, {type(handler).__name__}"
    if not callable(handler):
        return f"wanted an async function {wanted} or a Protocol class"
    if is_async(handler):
        return "" if takes(handler, count) else f"its parameters do not fit: wanted async def {wanted}"
    inner = peel(handler)
    if isinstance(inner, type):
        problem = find_class_problem(inner, datagrams)
        if problem:
            return problem
    elif not takes(handler, 0) and takes(handler, count):
        return f"is not async: write async def {show(inner)}{wanted}"
    return "" if takes(handler, 0) else "wants arguments: bind them with functools.partial"


def find_class_problem(inner: type, datagrams: bool) -> str:
    """Return why the instances of *inner* are not the protocols that are needed."""
    if not hasattr(inner, "connection_made"):
        return "is not a Protocol: derive it from asyncio." + ("DatagramProtocol" if datagrams else "Protocol")
    if datagrams and not hasattr(inner, "datagram_received"):
        return "is for connections, and these are datagrams: derive it from asyncio.DatagramProtocol"
    if not datagrams and not hasattr(inner, "data_received") and not hasattr(inner, "get_buffer"):
        return "is for datagrams, and these are connections: derive it from asyncio.Protocol"
    return ""
