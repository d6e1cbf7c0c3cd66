"""
Acceptor: take connections in, and let clients wait when there are no descriptors left.

Loops have their own servers, and what those do without descriptors is not good enough: asyncio's writes a hundred
tracebacks a second, uvloop's accepts and closes at once without a word, and may stop listening for good.  So here
connections are accepted first and then handed to the loop.  It costs nothing on asyncio.  uvloop's own server is half
again as fast, and is used as long as descriptors are plenty.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any

from plait.errors import ConfigurationError
from plait.events import describe
from plait.services.crew import Crew, show_address
from plait.tree.service import Context

if TYPE_CHECKING:
    from plait.certificates import Certificates
    from plait.endpoints import Endpoint

#: So many connections are accepted in one pass of the loop at most, for everybody else to have their turn.
AT_ONCE = 100
#: How long clients wait when they cannot be accepted, in seconds: the kernel does not tell when descriptors are free.
PAUSE = 0.25
#: The shortest time that a TLS connection gets to say goodbye, in seconds: loops refuse 0.
SHUTDOWN_TIMEOUT = 0.1
#: How often it is looked at how many descriptors are in use: each time that many parts of them could have been taken.
SHARE = 16
#: Errors of accept(2) that speak of one client, who is gone, and not of the socket.
GONE = (
    errno.ECONNABORTED,
    errno.EPROTO,
    errno.EPERM,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
)


class Acceptor:
    """Takes in the connections of one life of a listener; *sockets* stay the property of the caller."""

    def __init__(
        self,
        context: Context[Any],
        sockets: tuple[socket.socket, ...],
        endpoint: Endpoint,
        crew: Crew,
        handshake_timeout: float,
        drain: float,
    ) -> None:
        self.context = context
        self.sockets = sockets
        self.endpoint = endpoint
        self.crew = crew
        self.loop = crew.loop
        self.certificates: Certificates | None = None
        self.limits = {
            "ssl_handshake_timeout": handshake_timeout,
            "ssl_shutdown_timeout": max(drain, SHUTDOWN_TIMEOUT),
        }
        self.limit = 0  # of descriptors, where uvloop's server is used
        self.is_reading = False
        self.servers: list[asyncio.AbstractServer] = []
        self.handshakes: dict[asyncio.Task[None], socket.socket] = {}
        self.retry: asyncio.TimerHandle | None = None
        self.full_since: float | None = None
        self._adopt: Callable[[socket.socket], Coroutine[Any, Any, Any]] = self._adopt_as_accepted

    async def open(self) -> None:
        """Begin to accept."""
        if self.endpoint.tls is not None:
            from plait.certificates import certificates_of

            self.certificates = certificates_of(self.endpoint.tls)
        elif type(self.loop).__module__.partition(".")[0] == "uvloop":
            import resource

            soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
            self.limit = soft if soft != resource.RLIM_INFINITY else 1 << 30
            self.crew.watch = self.watch
            self.crew.unwatched = max(1, self.limit // SHARE)
            for each in self.sockets:
                self.servers.append(await self._serve(each.dup()))
            return
        self.resume()

    def close(self) -> None:
        """Accept nobody more, and break off the handshakes."""
        self._stop_servers()
        self._stop_reading()
        if self.retry is not None:
            self.retry.cancel()
        for task in self.handshakes:
            task.cancel()

    # By ourselves -----------------------------------------------------------------------------------------------

    def resume(self) -> None:
        """Accept, or try to again."""
        self.retry = None
        self.is_reading = True
        for each in self.sockets:
            self.loop.add_reader(each.fileno(), self._accept, each)

    def _stop_reading(self) -> None:
        if self.is_reading:
            self.is_reading = False
            for each in self.sockets:
                self.loop.remove_reader(each.fileno())

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(AT_ONCE):
            try:
                connection, address = listening.accept()
            except (BlockingIOError, InterruptedError):
                self._all_accepted()
                return
            except OSError as error:
                if error.errno in GONE:
                    continue
                self._pause(error)
                return
            if self.certificates is None:
                self._hand_over(connection, address)
            else:
                task = self.loop.create_task(
                    self._shake_hands(connection, address, self.certificates), name=f"{self.context.path} handshake"
                )
                self.handshakes[task] = connection
                task.add_done_callback(self._shaken)

    def _pause(self, error: OSError) -> None:
        self._stop_reading()
        self.retry = self.loop.call_later(PAUSE, self.resume)
        if self.full_since is None:
            self.full_since = self.loop.time()
            what = error.strerror or type(error).__name__
            advice = ""
            if error.errno in (errno.EMFILE, errno.ENFILE):
                advice = ": close something, or raise the limit of open files (ulimit -n, LimitNOFILE=)"
            self.context.log.error("%s: nobody can be accepted (%s), clients wait%s", self.endpoint, what, advice)

    def _all_accepted(self) -> None:
        if self.full_since is not None:
            waited = self.loop.time() - self.full_since
            self.full_since = None
            self.context.log.info("%s: clients are accepted again, after %.1f s", self.endpoint, waited)

    def _hand_over(self, connection: socket.socket, address: object) -> None:
        # The loop's coroutine makes the transport and then waits, for a pass of the loop, for the protocol to be told.
        # Going these two steps by hand saves a task for each connection, which is the difference to asyncio's server.
        adoption = self._adopt(connection)
        try:
            told = adoption.send(None)
        except StopIteration:
            pass  # a loop that tells the protocol at once
        except Exception as error:
            if isinstance(error, NotImplementedError) and self._adopt == self._adopt_as_accepted:
                # rloop has only the other way to make a transport of a connection that is there.
                self._adopt = self._adopt_as_ours
                self.crew.keep_protocols()
                self.loop.call_soon(self._hand_over, connection, address)
                return
            connection.close()
            self._not_adopted(error, address)
        else:
            told.add_done_callback(partial(self._adopted, adoption, address))

    def _adopt_as_accepted(self, connection: socket.socket) -> Coroutine[Any, Any, Any]:
        return self.loop.connect_accepted_socket(self.crew.make_protocol, connection)

    def _adopt_as_ours(self, connection: socket.socket) -> Coroutine[Any, Any, Any]:
        return self.loop.create_connection(self.crew.make_protocol, sock=connection)

    def _adopted(self, adoption: Coroutine[Any, Any, Any], address: object, _: asyncio.Future[Any]) -> None:
        try:
            adoption.send(None)
        except StopIteration:
            pass
        except Exception as error:
            self._not_adopted(error, address)

    def _not_adopted(self, error: Exception, address: object) -> None:
        self.context.log.debug("%s: gone before it was served: %s", show_address(address), describe(error))

    async def _shake_hands(self, connection: socket.socket, address: object, certificates: Certificates) -> None:
        problem = certificates.refresh()
        if problem:
            self.context.log.error("%s", problem)
        try:
            await self.loop.connect_accepted_socket(
                self.crew.make_protocol, connection, ssl=certificates.context, **self.limits
            )
        except NotImplementedError:
            from plait.refusals import explain_loop

            if not self.crew.over.done():
                self.crew.over.set_exception(ConfigurationError(explain_loop(self.endpoint, self.loop)))
        except OSError as error:
            # Whoever scans the network causes these: they say nothing about the service.
            self.context.log.debug("%s: no TLS handshake: %s", show_address(address), describe(error))

    def _shaken(self, task: asyncio.Task[None]) -> None:
        connection = self.handshakes.pop(task)
        if task.cancelled():
            connection.close()  # perhaps before it had a transport that does it

    # By uvloop's server -----------------------------------------------------------------------------------------

    async def _serve(self, duplicate: socket.socket) -> asyncio.AbstractServer:
        backlog = self.endpoint.backlog
        if duplicate.family != socket.AF_UNIX:
            return await self.loop.create_server(self.crew.make_protocol, sock=duplicate, backlog=backlog)
        # From 3.13 on, servers remove the file of their socket unless told that it is not theirs.
        options: Any = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
        return await self.loop.create_unix_server(self.crew.make_protocol, sock=duplicate, backlog=backlog, **options)

    def watch(self, transport: asyncio.BaseTransport) -> None:
        """Take over from uvloop's server, for the rest of this life, when half of the descriptors are in use."""
        if not self.servers:
            return
        if transport.get_extra_info("socket").fileno() < self.limit // 2:
            self.crew.unwatched = max(1, self.limit // SHARE)
            return
        self._stop_servers()
        self.resume()

    def _stop_servers(self) -> None:
        for server in self.servers:
            server.close()
        self.servers.clear()
