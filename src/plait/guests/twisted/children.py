"""
The child processes of Twisted's reactor: their end is noticed without a signal, and none outlives the stop.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any

from twisted.internet import process as processes
from twisted.logger import Logger

#: How long a child may take to end after TERM, in seconds, before it is killed: as long as Twisted's ProcessMonitor
#: lets its own.
GRACE = 5.0
#: How long the system may take to end what was killed, and what was written may take to be read, in seconds.
LAST_MOMENT = 1.0
#: What tells a process to end, by name and by number, as Twisted takes a signal.
ENDING = {word for name in ("HUP", "INT", "KILL", "QUIT", "TERM") for word in (name, signal.Signals[f"SIG{name}"])}

_log = Logger(namespace="twisted.internet.process")


class Children:
    """
    Watches all children that Twisted knows of by descriptors of their own (pidfd), those too that were not spawned by
    the reactor's method, as inetd does it.

    *loop_of* returns the loop that the reactor works on, or its stand-in.
    """

    def __init__(self, loop_of: Callable[[], Any]) -> None:
        self._loop_of = loop_of
        self._watched: dict[int, tuple[int, Any]] = {}  # from the descriptor to the pid, and what Twisted has for it
        self._told: set[int] = set()
        self._ended: list[Any] | None = None  # those that have ended since the stop began
        self._waiting: asyncio.Future[None] | None = None

    def install(self) -> None:
        """Hear of every child that begins, and of every signal that one is sent."""
        register, send = processes.registerReapProcessHandler, processes._BaseProcess.signalProcess

        def begin(pid: int, process: Any) -> None:
            register(pid, process)
            if pid in processes.reapProcessHandlers:  # else it has ended already
                fd = os.pidfd_open(pid)
                self._watched[fd] = pid, process
                self._loop_of().add_reader(fd, self._reap, fd)

        def tell(process: Any, number: Any) -> None:
            send(process, number)
            if process.pid in processes.reapProcessHandlers and number in ENDING:
                self._told.add(process.pid)

        processes.registerReapProcessHandler = begin
        processes._BaseProcess.signalProcess = tell  # type: ignore[method-assign]

    def _reap(self, fd: int) -> None:
        pid, process = self._watched[fd]
        self._forget(fd)
        self._told.discard(pid)
        if self._ended is not None:
            self._ended.append(process)
        if process.pid is not None:  # else somebody has reaped it already
            process.reapProcess()
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def _forget(self, fd: int) -> None:
        del self._watched[fd]
        self._loop_of().remove_reader(fd)
        os.close(fd)

    def leave(self) -> None:
        """Watch nobody any more: the loop is about to be closed."""
        self._ended = None
        for fd, (pid, _) in tuple(self._watched.items()):
            self._forget(fd)
            processes.reapProcessHandlers.pop(pid, None)

    # The end ----------------------------------------------------------------------------------------------------

    def begin_stop(self) -> None:
        """Forget who was told to end: whoever is told from now on is told because all stops."""
        self._told.clear()
        self._ended = []

    async def ending(self) -> None:
        """Wait for the end of those that were told by whoever started them, and for what they have to say."""
        ended = self._ended = self._ended or []  # without `begin_stop` where the reactor never ran
        await self._gone(self._told)
        with suppress(TimeoutError):  # somebody else may write there without end
            async with asyncio.timeout(LAST_MOMENT):
                while any(_has_news(process) for process in ended):
                    await asyncio.sleep(0)

    async def end(self) -> None:
        """
        End those that are still there when everything else has stopped: by TERM, then by KILL.

        Who was told to end is not told again: to many programs a second signal means something else.
        """
        for pid in processes.reapProcessHandlers.keys() - self._told:
            _log.warn("the child process {pid} outlived what started it: ended by SIGTERM", pid=pid)
            os.kill(pid, signal.SIGTERM)
        try:
            async with asyncio.timeout(GRACE):
                await self._gone(processes.reapProcessHandlers)
        except TimeoutError:
            self.kill(f"did not end in {GRACE:g} s")
            with suppress(TimeoutError):  # the system is not done with it
                async with asyncio.timeout(LAST_MOMENT):
                    await self._gone(processes.reapProcessHandlers)

    def give_up(self) -> None:
        """Tell those that are there to end, unless they were told, where nobody can wait for it."""
        for pid in processes.reapProcessHandlers.keys() - self._told:
            os.kill(pid, signal.SIGTERM)

    def kill(self, reason: str) -> None:
        """Kill those that are left."""
        for pid in processes.reapProcessHandlers:
            _log.warn("the child process {pid} {reason}: killed", pid=pid, reason=reason)
            os.kill(pid, signal.SIGKILL)

    async def _gone(self, pids: Collection[int]) -> None:
        """Wait until there is none in *pids*, which becomes smaller with each end."""

        def __plait_where__() -> str:  # noqa: N807
            return "the end of " + ", ".join(f"the child process {pid}" for pid in pids)

        while pids:
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting


def _has_news(process: Any) -> bool:
    """Say whether there is something to read of *process*, its end included."""
    poll = select.poll()
    for pipe in getattr(process, "pipes", {}).values():
        poll.register(pipe.fileno(), select.POLLIN)
    return bool(poll.poll(0))
