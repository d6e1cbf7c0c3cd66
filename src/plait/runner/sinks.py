"""
How the bytes of a log reach a file or standard output, whole lines only

Nothing is buffered: what is written is written by the system call.  A sink knows nothing about records and formats,
and is used by one at a time: see `plait.runner.writer.Writer`, which owns it.
"""

from __future__ import annotations

import errno
import os
import select
import stat
import time
from collections.abc import Sequence

_PATIENCE = 1.0  # seconds for which a pipe that is full is waited for, once

# The names under which people know the streams of their process; container images link their log files to these.
STREAMS = {
    "": (1, "standard output"),
    "-": (1, "standard output"),
    "/dev/stdout": (1, "standard output"),
    "/dev/stderr": (2, "standard error"),
}


class Sink:
    """
    An open descriptor that takes whole lines; the sink closes it.

    *path* is what ``reopen`` opens again; without one there is nothing to open, or there is *unreachable*: why not.
    """

    def __init__(self, descriptor: int, path: str = "", unreachable: str = "") -> None:
        self._descriptor = descriptor
        self._path = path
        self._unreachable = unreachable
        self._rest = b""  # what is missing of a line that was written in part
        self._stuck = False

    @property
    def descriptor(self) -> int:
        return self._descriptor

    def write(self, data: bytes, notice: bytes = b"") -> None:
        """
        Write *notice* and *data*, which are whole lines, after whatever is missing of the last ones.

        Raises OSError when nothing of *data* could be written.  When a part of it could, it counts as written: the rest
        goes first the next time, so that no line stays torn.
        """
        if self._rest:
            self._finish()
        data = notice + data
        try:
            written = os.write(self._descriptor, data)
        except BlockingIOError:
            written = self._write_patiently(data)
        if written != len(data):
            self._rest = data[written:]
            try:
                self._finish()
            except OSError:
                return  # said by the next write, which meets the same error
        self._stuck = False

    def write_many(self, lines: Sequence[bytes]) -> int:
        """
        Write *lines* with one call as far as that goes; return how many are done, of which the last may be torn.

        Never raises: what `write` raises for the next line says why it was not more.
        """
        if self._rest:
            return 0
        data = b"".join(lines)
        try:
            written = os.write(self._descriptor, data)
        except OSError:
            return 0
        if written == len(data):
            self._stuck = False
            return len(lines)
        for number, line in enumerate(lines):
            if written < len(line):
                self._rest = line[written:] if written else b""
                return number + bool(written)
            written -= len(line)
        return len(lines)

    def reopen(self) -> int:
        """
        Open the path again and write there from now on; raises OSError, and changes nothing, when that fails.

        Returns how many lines stay torn in the old file: 0 or 1.
        """
        if not self._path:
            if self._unreachable:
                raise OSError(errno.EXDEV, self._unreachable)
            return 0
        if self._rest:
            try:
                self._finish()
            except OSError:
                pass
        descriptor = open_log_file(self._path)
        try:
            # The number stays the same: there is no moment without a file, and none in which it means another one.
            os.dup2(descriptor, self._descriptor, inheritable=False)
        finally:
            os.close(descriptor)
        torn = 1 if self._rest else 0
        self._rest = b""
        self._stuck = False
        return torn

    def close(self) -> int:
        """Finish the last line and close the descriptor; returns how many lines stay torn: 0 or 1."""
        if self._rest:
            try:
                self._finish()
            except OSError:
                pass
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
        torn = 1 if self._rest else 0
        self._rest = b""
        return torn

    def _finish(self) -> None:
        while self._rest:
            try:
                written = os.write(self._descriptor, self._rest)
            except BlockingIOError:
                written = self._write_patiently(self._rest)
            self._rest = self._rest[written:]

    def _write_patiently(self, data: bytes) -> int:
        # Standard output can be a pipe that somebody else made non-blocking.  A reader that is only slow gets its time;
        # for one that does not read at all the service does not wait at each record again.
        if not self._stuck:
            poll = select.poll()
            poll.register(self._descriptor, select.POLLOUT)
            deadline = time.monotonic() + _PATIENCE
            while (left := deadline - time.monotonic()) > 0:
                poll.poll(left * 1000)
                try:
                    return os.write(self._descriptor, data)
                except BlockingIOError:
                    continue
            self._stuck = True
        raise OSError(errno.EAGAIN, "nobody reads it")


def open_log_file(path: str) -> int:
    """
    Open *path* to append to it, and make it where it is missing; the mode is what the umask leaves of 666.

    Raises OSError, without having written anything, also for a file that somebody could have planted there: a symbolic
    link, a second name of another file, a pipe, a file of another user than this one and root.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NOCTTY
    try:
        # Without O_NONBLOCK a named pipe would hold us until somebody reads it.
        descriptor = os.open(path, flags | os.O_NONBLOCK, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP and os.path.islink(path):
            raise OSError(errno.ELOOP, "it is a symbolic link", path) from None
        if error.errno == errno.ENXIO:
            raise OSError(errno.ENXIO, "it is not a file", path) from None
        raise
    try:
        status = os.fstat(descriptor)
        problem = _problem_of(status)
        if not problem and stat.S_ISREG(status.st_mode):
            from plait.access import is_steady  # who logs to a stream needs none of it

            problem = "" if is_steady(path, descriptor) else "it is being replaced"
        if problem:
            raise OSError(errno.EPERM, problem, path)
        os.set_blocking(descriptor, True)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def open_stream(number: int) -> int:
    """A descriptor of our own for standard output or error, so that nobody who closes theirs takes it from the log."""
    return os.dup(number)


def _problem_of(status: os.stat_result) -> str:
    if stat.S_ISCHR(status.st_mode):  # a terminal, /dev/null
        return ""
    if not stat.S_ISREG(status.st_mode):
        return "it is not a file"
    if status.st_nlink > 1:
        return "it is a hard link: the same file has another name"
    if status.st_uid not in (0, os.geteuid()):
        return f"it belongs to user {status.st_uid}, perhaps from a start with --uid"
    return ""
