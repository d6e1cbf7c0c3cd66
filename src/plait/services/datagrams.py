"""
Datagrams: answer where there are no connections.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

from plait.services.crew import Crew, show_address
from plait.services.protocols import Finishing, Forwards
from plait.tree.service import Context

#: So many datagrams are read in one pass of the loop at most, for everybody else to have their turn.
AT_ONCE = 100
#: So many may be in work on one socket; further ones wait in the kernel, which drops what it has no room for.
IN_WORK = 1000
#: No datagram is longer.
LONGEST = 65536


class DatagramForwarder(Forwards, asyncio.DatagramProtocol):
    """Before a protocol of datagrams."""

    methods = ("datagram_received", "error_received", "pause_writing", "resume_writing")

    def __init__(self, protocol: Any, crew: Datagrams) -> None:
        super().__init__(protocol, crew.lost)
        self.crew = crew

    def connection_made(self, transport: Any) -> None:
        """Tell the crew and the protocol."""
        self.crew.open[self] = transport
        try:
            self.protocol.connection_made(transport)
        except Exception as error:
            self.crew.end(error)


class Datagrams(Finishing):
    """One protocol for each socket; the life ends when one of them loses its socket."""

    unit = "socket"

    def __init__(self, context: Context[Any], over: asyncio.Future[None], handler: Callable[[], Any]) -> None:
        super().__init__(context, over)
        self.handler = handler

    async def serve(self, one: socket.socket) -> None:
        """Begin to answer on a duplicate of *one*."""
        forwarder = DatagramForwarder(self.handler(), self)
        await self.loop.create_datagram_endpoint(lambda: forwarder, sock=one.dup())

    def lost(self, forwarder: asyncio.BaseProtocol, error: Exception | None) -> None:
        """Forget a socket; without having been asked to stop, that is the end."""
        self.open.pop(forwarder, None)
        self.check()
        if not self.stopped:
            self.end(error)

    def end(self, error: Exception | None) -> None:
        """End the life, with *error* if there is one."""
        if self.over.done():
            return
        if error is None:
            self.over.set_result(None)
        else:
            self.over.set_exception(error)

    def say_goodbye(self) -> None:
        """Let every protocol finish."""
        for forwarder, transport in list(self.open.items()):
            assert isinstance(forwarder, DatagramForwarder)
            self.finish(transport, forwarder.protocol)

    def abort(self) -> int:
        """Cut all; only what could not be sent is worth a word."""
        busy = [transport for transport in self.open.values() if transport.get_write_buffer_size()]
        super().abort()
        return len(busy)


class Messages(Crew):
    """A task for each datagram: the handler is ``async def handler(data, address, transport)``."""

    unit = "datagram"

    def __init__(self, context: Context[Any], over: asyncio.Future[None], handler: Callable[..., Any]) -> None:
        super().__init__(context, over)
        self.handler = handler

    async def serve(self, one: socket.socket) -> None:
        """Begin to answer on a duplicate of *one*."""
        mailbox = Mailbox(self.loop, one.dup(), self)
        self.open[mailbox] = mailbox
        mailbox.resume_reading()

    def received(self, data: bytes, address: Any, mailbox: Mailbox) -> None:
        """Start the handler of a datagram."""
        name = f"{self.prefix}{show_address(address)}"
        task = self.loop.create_task(self.handler(data, address, mailbox), name=name)
        self.tasks[task] = mailbox
        task.add_done_callback(self._answered)
        mailbox.in_work += 1
        if mailbox.in_work >= IN_WORK:
            mailbox.pause_reading()

    def _answered(self, task: asyncio.Task[Any]) -> None:
        mailbox = self.tasks.pop(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failed(error, task.get_name().removeprefix(self.prefix))
        mailbox.in_work -= 1
        if not self.stopped:
            mailbox.resume_reading()
        elif not mailbox.in_work:
            mailbox.close()
        self.check()

    def say_goodbye(self) -> None:
        """Leave in the kernel what comes now, for the next life; finish what is in work."""
        for mailbox in list(self.open.values()):
            mailbox.pause_reading()
            if not mailbox.in_work:
                mailbox.close()

    def closed(self, mailbox: Mailbox) -> None:
        """Forget a socket."""
        del self.open[mailbox]
        self.check()

    def abort(self) -> int:
        """Cut all."""
        number = len(self.tasks)
        super().abort()
        return number


class Mailbox(asyncio.DatagramTransport):
    """
    The transport of a socket whose datagrams are read while they are wanted, and answered as long as somebody works.

    The transports of the loops do one only together with the other.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, one: socket.socket, crew: Messages) -> None:
        super().__init__({"socket": one, "sockname": one.getsockname()})
        self.in_work = 0
        self._loop = loop
        self._socket = one
        self._crew = crew
        self._waiting: deque[tuple[bytes, Any]] = deque()
        self._is_reading = False
        self._is_closing = False

    def resume_reading(self) -> None:
        """Read datagrams."""
        if not self._is_reading and not self._is_closing:
            self._is_reading = True
            self._loop.add_reader(self._socket.fileno(), self._read)

    def pause_reading(self) -> None:
        """Leave datagrams in the kernel."""
        if self._is_reading:
            self._is_reading = False
            self._loop.remove_reader(self._socket.fileno())

    def _read(self) -> None:
        for _ in range(AT_ONCE):
            try:
                data, address = self._socket.recvfrom(LONGEST)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                # An answer of before that did not arrive: the socket is as good as ever.
                self._crew.context.log.debug("a datagram could not be received: %s", error)
                continue
            self._crew.received(data, address, self)
            if not self._is_reading:
                return

    def sendto(self, data: bytes | bytearray | memoryview, addr: Any = None) -> None:
        """
        Send *data* to *addr*, now or when the kernel has room.

        Raises ValueError without an address: the sender of a unix datagram has none unless it binds one.  What cannot
        be delivered is dropped, as datagrams are.
        """
        if not addr:
            raise ValueError("sendto: there is no address to send to: the sender has bound none, so it wants no answer")
        if self._is_closing:
            return
        if not self._waiting:
            try:
                self._socket.sendto(data, addr)
                return
            except (BlockingIOError, InterruptedError):
                self._loop.add_writer(self._socket.fileno(), self._send)
            except OSError as error:
                self._dropped(addr, error)
                return
        self._waiting.append((bytes(data), addr))

    def _send(self) -> None:
        while self._waiting:
            data, address = self._waiting[0]
            try:
                self._socket.sendto(data, address)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                self._dropped(address, error)
            self._waiting.popleft()
        self._loop.remove_writer(self._socket.fileno())
        if self._is_closing:
            self._end()

    def _end(self) -> None:
        self._socket.close()
        self._crew.closed(self)

    def _dropped(self, address: Any, error: OSError) -> None:
        self._crew.context.log.debug("%s: the answer was dropped: %s", show_address(address), error)

    def is_closing(self) -> bool:
        """Say whether it is closed, or will be when all is sent."""
        return self._is_closing

    def close(self) -> None:
        """Stop reading; close the socket when all is sent."""
        if self._is_closing:
            return
        self.pause_reading()
        self._is_closing = True
        if not self._waiting:
            self._end()

    def abort(self) -> None:
        """Close the socket; what was not sent yet is lost."""
        self.close()
        if self._waiting:
            self._waiting.clear()
            self._loop.remove_writer(self._socket.fileno())
            self._end()
