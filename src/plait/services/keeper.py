"""
Keeper: our side of the process that ends our programs when we cannot
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from plait.services import keeper_process
from plait.services.keeper_process import NUMBER_BITS

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncGenerator, Awaitable

#: A keeper that lives no longer, in seconds, has not begun: another one would fare no better.
AT_ONCE = 1.0
SCRIPT = os.path.abspath(keeper_process.__file__)


class Keeper:
    """The keeper of this process: there while somebody holds it."""

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self._owner = os.getpid()
        self._pid = 0
        self._channel: socket.socket | None = None
        self._began = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._holders = 0
        self._timer: asyncio.TimerHandle | None = None
        self._lingering: AsyncGenerator[None] | None = None
        self._programs: dict[int, int] = {}  # pid: pidfd
        # 37 bits of chance make the marks of this process its own.  Bit 62 keeps them far from any real limit, and
        # bit 61 tells those that may outlive it.
        self.prefix = 1 << (62 - NUMBER_BITS) | int.from_bytes(os.urandom(5), "big") >> 3
        self._number = 0

    def next_mark(self, dies_with_us: bool) -> int:
        """Return the mark of the next program."""
        if self._owner != os.getpid():
            self._forget()  # we are a fork
        self._number = (self._number + 1) % (1 << NUMBER_BITS)
        return self.prefix << NUMBER_BITS | (0 if dies_with_us else 1 << 61) | self._number

    def hold(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start the keeper unless it runs; raise `OSError` if that cannot be done."""
        self._linger_no_more()
        if not self._pid:
            self._start()
        self._watch(loop)
        self._holders += 1

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._loop is not loop and self._channel is not None:
            self._loop = loop
            loop.add_reader(self._channel.fileno(), self._hear_end)

    def _hear_end(self) -> None:
        """Replace the keeper, which nobody but us should end; but not one that cannot even begin."""
        lived = time.monotonic() - self._began
        loop = self._loop
        self._end()
        if not self._holders or loop is None:
            return
        log = logging.getLogger("plait.keeper")
        try:
            if lived < AT_ONCE:
                raise OSError("it ended at once")
            self._start()
        except OSError as error:
            log.warning(
                "the keeper cannot run (%s): programs will outlive this process if it is killed with -9:"
                " is %s there for the user that it runs as?", error.strerror or error, sys.executable,
            )  # fmt: skip
            return
        self._watch(loop)
        log.warning("the keeper was killed: there is a new one")

    def _start(self) -> None:
        if not sys.executable or getattr(sys, "frozen", False):
            raise OSError("there is no Python interpreter to run it")
        self._began = time.monotonic()
        owner = os.pidfd_open(os.getpid())
        try:
            self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._channel.setblocking(False)
            self._pid = self._spawn(theirs, owner)
        except BaseException:
            self._end()
            raise
        finally:
            os.close(owner)
        for pid, pidfd in self._programs.items():
            self._send(pid, pidfd)

    def _spawn(self, theirs: socket.socket, owner: int) -> int:
        with theirs:
            numbers = (theirs.fileno(), owner)
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", SCRIPT, *map(str, (*numbers, self.prefix))],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                pass_fds=numbers,
                start_new_session=True,
            )
        process.returncode = 0  # it is reaped here and not by subprocess, which would complain that it still runs
        return process.pid

    def tell(self, pid: int, pidfd: int) -> None:
        """Let the keeper know of a program; *pidfd* must stay open until `forget`."""
        self._programs[pid] = pidfd
        self._send(pid, pidfd)

    def forget(self, pid: int) -> None:
        """Take back `tell`: the pidfd is about to be closed."""
        self._programs.pop(pid, None)

    def _send(self, pid: int, pidfd: int) -> None:
        if self._channel is None:
            return
        try:
            socket.send_fds(self._channel, [b"%d" % pid], [pidfd])
        except OSError:
            pass  # it finds the program by its mark as well

    def release(self, loop: asyncio.AbstractEventLoop, linger: float) -> None:
        """Take back `hold`; the last one ends the keeper, after *linger* seconds."""
        self._holders -= 1
        if self._holders:
            return
        if linger:
            self._timer = loop.call_later(linger, self._end)
            # A loop that ends first forgets its timers, but closes its generators; this one began here and now.
            self._lingering = self._until_closed()
            _step(self._lingering.__anext__())
        else:
            self._end()

    async def _until_closed(self) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            if self._lingering is not None:
                self._lingering = None
                self._end()

    def _linger_no_more(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._lingering is not None:
            lingering, self._lingering = self._lingering, None
            _step(lingering.aclose())

    def _end(self) -> None:
        self._linger_no_more()
        loop, self._loop = self._loop, None
        if self._channel is not None:
            if loop is not None and not loop.is_closed():
                loop.remove_reader(self._channel.fileno())
            self._channel.close()
            self._channel = None
        if self._pid:
            try:
                os.kill(self._pid, signal.SIGKILL)
                os.waitpid(self._pid, 0)
            except OSError:
                pass
            self._pid = 0


def _step(awaited: Awaitable[None]) -> None:
    """Run what never waits."""
    try:
        awaited.__await__().send(None)
    except StopIteration:
        pass


#: One for the whole process: what it guards against is the end of the process.
keeper = Keeper()
