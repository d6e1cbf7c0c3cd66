"""
Connection: keep one open, with back-off
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from plait.endpoints import Endpoint
from plait.errors import ConfigurationError
from plait.services.connection_life import Connected, ConnectFailed, Disconnected, Life
from plait.services.gate import gate_to
from plait.services.link import Link
from plait.services.listener import find_problem, is_async, peel
from plait.tree.policy import Backoff
from plait.tree.service import Context, Service, refuse, show
from plait.values import field, value

__all__ = ["ConnectFailed", "Connected", "Connection", "Disconnected", "Link"]

Handler = Callable[..., Any]
Prepare = Callable[..., Awaitable[object]]


@value
class Connection(Service[Link]):
    """
    Keeps one connection to *endpoint* open: when it ends, for whatever reason, another one is made.

    *endpoint* is a text such as ``tcp:broker:1883`` or an `Endpoint`, whose ``timeout`` bounds an attempt, and the
    preparation after it.  *handler* is one of these:

    * an async function ``handler(reader, writer)``, asyncio's own signature.  It runs while the connection lives, and
      the connection is closed when it returns.  When the other end closes, it has *drain* seconds to return by itself;
    * a Protocol class, or anything callable without arguments that returns a protocol;
    * None: the connection is only held open, for those who use it through the `Link`.

    It publishes a `Link`: ``link = await context.need(broker)`` and ``await link.wait()`` give the present connection,
    waiting while there is none.  The service is ready as soon as it runs, so that a server that is away does not keep
    the application from starting; with ``require=True`` it is ready when it is connected for the first time, and
    *start_timeout* counts.

    *prepare*, called as ``prepare(reader, writer)`` or ``prepare(protocol)``, is the first exchange on each new
    connection, such as a login: only after it does the connection count.  If it fails, the attempt has failed.

    *retry* is how long to wait before the next attempt.  All connections of this process to the same destination share
    one probe, to which its cap applies; when a probe gets through, the others follow within a second.  A connection
    whose handler or preparation fails by itself waits up to 30 s.  After *quiet* seconds, an end is nothing unusual.

    What happens is told by the events `Connected`, `Disconnected` and `ConnectFailed`.  An exception that is not the
    network's is also an error in the log, with its traceback.

    When it is stopped, the handler is cancelled; what was written is sent, for at most *drain* seconds, then the
    connection is cut.
    """

    endpoint: str | Endpoint
    handler: Handler | None = None
    prepare: Prepare | None = field(default=None, kw_only=True)
    require: bool = field(default=False, kw_only=True)
    retry: Backoff = field(default=Backoff(base=0.1, cap=0.5, jitter=0.5, quiet=2.0, immediate=False), kw_only=True)
    drain: float = field(default=1.0, kw_only=True)

    def __post_init__(self) -> None:
        endpoint = Endpoint.connecting(self.endpoint)
        object.__setattr__(self, "endpoint", endpoint)
        super().__post_init__()
        if endpoint.is_datagram:
            raise ConfigurationError(
                f"Connection {self.name}: endpoint={endpoint}: datagrams know no connection: use tcp or unix"
            )
        problem = "" if self.handler is None else find_problem(self.handler, False)
        if problem:
            raise ConfigurationError(f"Connection {self.name}: handler={show(self.handler)}: {problem}")
        if self.prepare is not None and not is_async(self.prepare):
            refuse(self, "prepare", "wanted an async function")
        if not isinstance(self.retry, Backoff):
            refuse(self, "retry", "wanted a Backoff, such as Backoff(base=0.1, cap=5)")
        if not self.drain >= 0:
            refuse(self, "drain", "wanted a number of seconds from 0")

    def default_name(self) -> str:
        """Return the name of the handler, if it has one."""
        if self.handler is None:
            return super().default_name()
        handler = peel(self.handler)
        name = getattr(handler, "__name__", type(handler).__name__).removesuffix("Protocol").lower()
        return name if name.isidentifier() else super().default_name()

    def late_hint(self, waits: str) -> str:
        """Return what to do when it was not ready within *start_timeout*, as it may with *require* only."""
        return f"no connection to {self.endpoint} yet: leave out require= to start without one, or raise start_timeout="

    async def run(self, context: Context[Link]) -> None:
        """Keep a connection open until stopped."""
        assert isinstance(self.endpoint, Endpoint)
        link = Link(context.path)
        with gate_to((self.endpoint.host, self.endpoint.port, self.endpoint.path)) as gate:
            try:
                await Life(self, self.endpoint, context, link, gate).live()
            finally:
                link.end()
