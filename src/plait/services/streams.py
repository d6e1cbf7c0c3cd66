"""
Streams: a task for each connection, in asyncio's own streams.

The reader, the writer and their protocol are asyncio's; what is added happens once a connection, and never once a
message.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from typing import Any

from plait.services.crew import Crew, show_peer
from plait.tree.service import Context

StreamHandler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, Any]]


class Stream(asyncio.StreamReaderProtocol):
    """asyncio's protocol for streams; its crew knows when its connection is there and when it is lost."""

    def __init__(self, crew: Streams) -> None:
        # The callback is the crew's and not a method of this object, which would be a cycle for the garbage collector.
        super().__init__(asyncio.StreamReader(loop=crew.loop), crew.connected, crew.loop)
        self.crew = crew

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to answer."""
        self.crew.open[self] = transport
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        """Forget the connection; the handler hears of it through its reader and writer."""
        crew = self.crew
        crew.open.pop(self, None)
        super().connection_lost(error)
        crew.check()

    def ignore(self, data: bytes) -> None:
        """Do nothing with what comes after the goodbye: a reader takes no data after the end of the stream."""


class Streams(Crew):
    """The handlers of a listener whose handler is ``async def handler(reader, writer)``."""

    def __init__(self, context: Context[Any], over: asyncio.Future[None], handler: StreamHandler) -> None:
        super().__init__(context, over)
        self.handler = handler

    def make_protocol(self) -> asyncio.BaseProtocol:
        """Return a new stream."""
        return Stream(self)

    def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Start the handler of a connection."""
        transport = writer.transport
        self.unwatched -= 1
        if not self.unwatched:
            self.watch(transport)
        if self.stopped:
            transport.abort()
            return
        peer = show_peer(transport)
        try:
            task = self.loop.create_task(self.handler(reader, writer), name=f"{self.prefix}{peer}")
        except Exception as error:
            self.failed(error, peer)
            transport.abort()
            return
        self.tasks[task] = reader, writer, transport.get_protocol()
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        reader, writer, _ = self.tasks.pop(task)
        if not task.cancelled():
            error = task.exception()
            if error is not None:
                peer = task.get_name().removeprefix(self.prefix)
                if left(error, reader, writer):
                    self.context.log.debug("%s: went away: %r", peer, error)
                else:
                    self.failed(error, peer)
        # Not twice: asyncio's TLS transports could not be aborted afterwards.
        if not writer.is_closing():
            writer.close()
        self.check()

    def say_goodbye(self) -> None:
        """Let every handler that waits for its client read the end of the stream."""
        for reader, writer, stream in self.tasks.values():
            # Reading goes on, to throw away what comes: bytes left in the socket would turn its closing into a reset,
            # and a reset can destroy the answer on its way.
            stream.data_received = stream.ignore
            if not writer.is_closing():
                try:
                    writer.transport.set_protocol(stream)  # uvloop remembers the method of before
                except NotImplementedError:
                    pass  # rloop does not, and cannot change it
            reader.feed_eof()


def left(error: BaseException, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Say whether *error* only means that the client went away, and not that the handler's own work failed."""
    if isinstance(error, asyncio.IncompleteReadError):
        return reader.at_eof()
    if isinstance(error, (ConnectionError, TimeoutError, ssl.SSLError)):
        return writer.is_closing()
    return False
