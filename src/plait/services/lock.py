"""
A lock that a program carries: a second copy of it never runs

The lock is flock(2) on a descriptor that the program and all that comes of it inherit.  It is gone with the last of
them and not before, also when plaitd was killed between taking the lock and starting the program; there is no stale
lock to guess about.
"""

from __future__ import annotations

import asyncio
import fcntl
import os

from plait.errors import AlreadyRunning, CannotCreate
from plait.services.descendants import over


class ProgramLock:
    """The lock file at *file*, opened and locked; *path* names the service in errors."""

    __slots__ = ("_file", "_path", "descriptor")

    def __init__(self, path: str, file: str) -> None:
        self._path = path
        self._file = file
        try:
            self.descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        except OSError as error:
            raise CannotCreate(
                f"{path}: lock {file!r} cannot be written ({error.strerror}): give another place with lock="
            ) from error

    async def take(self, patience: float | None) -> None:
        """
        Take the lock, waiting at most *patience* seconds for those who hold it to end.

        Raise `AlreadyRunning`, which names them, when they do not.
        """
        try:
            async with asyncio.timeout(patience):
                while not self._try():
                    await self._wait()
        except TimeoutError:
            raise self._refusal() from None

    def _try(self) -> bool:
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    async def _wait(self) -> None:
        """Wait for the end of one process that holds the lock."""
        holders = self._holders()
        if not holders:
            if self._try():
                return
            raise self._refusal()
        try:
            pidfd = os.pidfd_open(holders[0])
        except ProcessLookupError:
            return
        try:
            if holders[0] in self._holders():
                await over(pidfd)
        finally:
            os.close(pidfd)

    def _holders(self) -> list[int]:
        """Return the processes that hold the lock: the pid in the file may be of one that is long gone."""
        wanted = os.fstat(self.descriptor)
        found = []
        for entry in os.listdir("/proc"):
            if not entry.isdecimal() or int(entry) == os.getpid():
                continue
            try:
                for number in os.listdir(f"/proc/{entry}/fd"):
                    link = f"/proc/{entry}/fd/{number}"
                    # Following every link would touch devices and dead network mounts; names are looked at first.
                    if os.path.basename(os.readlink(link)).startswith(os.path.basename(self._file)):
                        status = os.stat(link)
                        same = (status.st_dev, status.st_ino) == (wanted.st_dev, wanted.st_ino)
                        # Others may have the file open because they wait as we do.
                        if same and _is_locked(f"/proc/{entry}/fdinfo/{number}"):
                            found.append(int(entry))
                            break
            except OSError:
                pass
        return found

    def _refusal(self) -> AlreadyRunning:
        holders = self._holders()
        try:
            written = int(os.pread(self.descriptor, 32, 0))
        except ValueError:
            written = 0
        pid = written if written in holders else holders[0] if holders else None
        who = f"process {pid}" if pid else "a process that cannot be seen from here"
        advice = f"stop it (kill {pid}), or give another lock=" if pid else "give another lock="
        return AlreadyRunning(f"{self._path}: lock {self._file!r} is held by {who}: {advice}", pid)

    def write(self, pid: int) -> None:
        """Write down who runs under the lock, for people."""
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, b"%d\n" % pid, 0)

    def close(self) -> None:
        """Let go: the lock stays while somebody else carries it."""
        os.close(self.descriptor)


def _is_locked(info: str) -> bool:
    with open(info, "rb") as file:
        return b"FLOCK" in file.read()
