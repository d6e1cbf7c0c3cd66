"""
The child processes of Twisted's reactor: their end is noticed without a signal, and none outlives the stop.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

from twisted.internet.error import ProcessExitedAlready
from twisted.internet.process import reapProcessHandlers
from twisted.logger import Logger

#: How long a child may take to end after TERM, in seconds, before it is killed: as long as Twisted's ProcessMonitor
#: lets its own.
GRACE = 5.0
#: How long the system may take to end what was killed, in seconds.
LAST_MOMENT = 1.0

_log = Logger(namespace="twisted.internet.process")


class Children:
    """Watches the children of a reactor by descriptors of their own (pidfd), on *loop* or its stand-in."""

    def __init__(self) -> None:
        self._watched: dict[int, int] = {}  # from the descriptor to the pid
        self._ended: asyncio.Event | None = None

    def watch(self, process: Any, loop: Any) -> None:
        """Reap *process*, of the class that Twisted has for it, when it ends."""
        pid = process.pid
        if pid is None:
            return  # it could not be started, or has ended already
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            loop.call_soon_threadsafe(process.reapProcess)
            return
        self._watched[fd] = pid
        loop.add_reader(fd, self._reap, fd, process, loop)

    def _reap(self, fd: int, process: Any, loop: Any) -> None:
        self._forget(fd, loop)
        if process.pid is not None:  # else somebody has reaped it already
            process.reapProcess()
        if self._ended is not None:
            self._ended.set()

    def _forget(self, fd: int, loop: Any) -> None:
        if self._watched.pop(fd, None) is not None:
            loop.remove_reader(fd)
            os.close(fd)

    def leave(self, loop: Any) -> None:
        """Watch nobody any more: *loop* is about to be closed."""
        for fd in tuple(self._watched):
            self._forget(fd, loop)

    async def end(self) -> None:
        """End those that are still there when everything else has stopped: by TERM, then by KILL."""
        left = self._left()
        if not left:
            return

        def __plait_where__() -> str:  # noqa: N807
            return "the end of " + ", ".join(f"the child process {pid}" for pid in self._left())

        for pid, process in left.items():
            _log.warn("the child process {pid} outlived what started it: ended by SIGTERM", pid=pid)
            _send(process, "TERM")
        if not await self._wait(GRACE):
            for pid, process in self._left().items():
                _log.warn("the child process {pid} did not end in {grace:g} s: killed", pid=pid, grace=GRACE)
                _send(process, "KILL")
            await self._wait(LAST_MOMENT)

    def _left(self) -> dict[int, Any]:
        watched = set(self._watched.values())
        return {pid: process for pid, process in reapProcessHandlers.items() if pid in watched}

    async def _wait(self, seconds: float) -> bool:
        """Wait until all have ended; say whether they have."""
        self._ended = asyncio.Event()
        try:
            async with asyncio.timeout(seconds):
                while self._left():
                    await self._ended.wait()
                    self._ended.clear()
        except TimeoutError:
            return False
        finally:
            self._ended = None
        return True


def _send(process: Any, signal: str) -> None:
    try:
        process.signalProcess(signal)
    except ProcessExitedAlready:
        pass
