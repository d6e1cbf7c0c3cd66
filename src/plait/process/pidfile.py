"""
One plaitd a pidfile: lock it, write it, remove it.

The lock is the truth and the number is for people.  It is ``flock``'s, which belongs to the open file: it survives
forks, ends with the last process that has it, whatever that died of, and is not lost when somebody else opens and
closes the same file (a lock of ``fcntl`` is).  So nothing is ever guessed from a number that was left behind.

A second lock, on the first byte, says that the number is the holder's: between the first lock and the first write the
file still holds what was left behind, which may well be the number of some living stranger.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
import time

from plait.errors import AlreadyRunning, CannotCreate

#: How long a loser waits for the winner to write its number, in seconds.  It needs some microseconds, but among fifty
#: that start at once on a busy machine its turn may come late.
NUMBER_TIMEOUT = 2.0
#: How often the file may be replaced between opening and locking it; honest starters do it a few times at most.
REPLACEMENTS = 1000

ELSEWHERE = "give another place with --pidfile=FILE, or none with --pidfile="


class Pidfile:
    """
    A locked pidfile.  Make it with `lock`; `remove` it at the end, as the process that called `write`.

    *path* is absolute, *shown* is what a person typed and is used in sentences.  In another root folder the file may
    have another *path*, or none: then it is emptied at the end instead of removed.
    """

    def __init__(self, path: str, shown: str, descriptor: int) -> None:
        self.path = path
        self.shown = shown
        self._descriptor = descriptor
        self._writer = 0

    @classmethod
    def lock(cls, path: str, shown: str = "") -> Pidfile:
        """
        Return the pidfile at *path*, created if needed, locked, with the number of this process in it.

        The number is written at once, although a daemon will write another after its forks: whoever comes second is
        told a number that can be stopped, from the first moment on, and never one that was left behind.

        Raises `AlreadyRunning` when another process has the lock, and `CannotCreate` when the file cannot be made or
        is not what it should be: a regular file, with one name, that belongs to this user or to root.  A file that
        fails that test was planted, perhaps, and is left as it is.
        """
        from plait.access import is_at, is_steady  # who wants no pidfile needs none of it

        shown = shown or path
        for _ in range(REPLACEMENTS):
            try:
                descriptor = _open(path)
                if descriptor < 0:
                    continue
            except OSError as error:
                raise CannotCreate(f"{shown}: {_explain(path, error)}") from error
            try:
                _refuse_irregular(shown, os.fstat(descriptor))
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                status = os.fstat(descriptor)
                # Its owner may have removed it between our opening and our locking: then the lock is worth nothing.
                if is_at(path, status):
                    _refuse_planted(shown, status)
                    if not is_steady(path, descriptor):
                        continue
                    pidfile = cls(path, shown, descriptor)
                    try:
                        pidfile.write()
                    except CannotCreate:
                        if not status.st_size:
                            os.unlink(path)  # it was made just now, for nothing
                        raise
                    descriptor = -1
                    return pidfile
            except BlockingIOError:
                raise _already_running(shown, _read_holder(descriptor)) from None
            except OSError as error:
                raise CannotCreate(f"{shown}: cannot be locked ({error.strerror}): {ELSEWHERE}") from error
            finally:
                if descriptor >= 0:
                    os.close(descriptor)
        raise CannotCreate(f"{shown}: was replaced {REPLACEMENTS} times while it was being locked: {ELSEWHERE}")

    def write(self) -> None:
        """Write the number of this process, which has the file from now on; raises `CannotCreate`."""
        number = b"%d\n" % os.getpid()
        try:
            # Written over the old number and cut afterwards, so that a reader never finds the file empty.
            os.pwrite(self._descriptor, number, 0)
            os.ftruncate(self._descriptor, len(number))
            _mark(self._descriptor)
        except OSError as error:
            raise CannotCreate(f"{self.shown}: {_explain(self.path, error)}") from error
        self._writer = os.getpid()

    def fileno(self) -> int:
        """Return the descriptor that has the lock."""
        return self._descriptor

    def remove(self) -> str:
        """
        Remove the file if it is still the one that was locked, then give up the lock.

        Does nothing in any other process than the one that wrote its number, such as a forked child, nor a second
        time.  Where this user may not remove it (privileges were dropped) it is emptied instead, and the sentence
        that is returned says so; it is empty otherwise.
        """
        if self._descriptor < 0 or self._writer != os.getpid():
            return ""
        from plait.access import is_at

        problem = ""
        try:
            if not self.path:
                os.ftruncate(self._descriptor, 0)
            elif is_at(self.path, os.fstat(self._descriptor)):
                os.unlink(self.path)
        except FileNotFoundError:
            pass
        except OSError as error:
            os.ftruncate(self._descriptor, 0)
            problem = (
                f"{self.shown}: cannot be removed ({error.strerror}), so it was emptied: "
                f"put it in a folder where uid {os.geteuid()} may write"
            )
        # The lock goes last: until then nobody else can take the name.
        os.close(self._descriptor)
        self._descriptor = -1
        return problem


def inspect_pidfile(path: str, shown: str = "") -> None:
    """
    Raise the `CannotCreate` that `Pidfile.lock` would raise, as far as it can be known without making or locking it.

    That a plaitd runs and holds it is no problem of the place: it may be the one that is to be stopped first.
    """
    from plait.access import look

    shown = shown or path
    try:
        status = look(path, os.R_OK | os.W_OK)
        if status is not None:
            _refuse_irregular(shown, status)
            if not _is_held(path):
                _refuse_planted(shown, status)
    except OSError as error:
        raise CannotCreate(f"{shown}: {_explain(path, error)}") from error


def refuse_held(path: str, shown: str = "") -> None:
    """
    Raise the `AlreadyRunning` of `Pidfile.lock` if another process has the file at *path*; look, and lock nothing.

    So a second start can be refused before it has run code of the application.  A file that is not there, or not what
    it should be, is left to `Pidfile.lock`, and so is a file system that cannot say who holds it.
    """
    try:
        descriptor = _open_to_look(path)
    except OSError:
        return
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode) and _is_marked(descriptor, unknown=False):
            raise _already_running(shown or path, _read_holder(descriptor))
    finally:
        os.close(descriptor)


def _is_held(path: str) -> bool:
    """Say whether somebody has locked the file at *path*, without a moment in which a starter finds it locked by us."""
    descriptor = _open_to_look(path)
    try:
        return _is_marked(descriptor)
    finally:
        os.close(descriptor)


def _open_to_look(path: str) -> int:
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY)


def _open(path: str) -> int:
    """Return a descriptor of the file at *path*, new or old, or -1 if it came or went meanwhile; raises OSError."""
    # O_NONBLOCK and O_NOCTTY: a FIFO or a terminal that somebody put there must not hold us.
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
    try:
        return os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        pass
    try:
        # Without O_CREAT: the system would refuse a file of another user in /tmp, with words that say less than ours.
        return os.open(path, flags)
    except FileNotFoundError:
        return -1


def _explain(path: str, error: OSError) -> str:
    """Say why the file at *path* could not be opened or written, and what to do."""
    if error.errno == errno.ELOOP:
        return f"is a symbolic link, and somebody may have planted it: remove it, or {ELSEWHERE}"
    if error.errno == errno.EISDIR:
        return f"is a directory: {ELSEWHERE}"
    if error.errno == errno.ENXIO:
        return f"is not a regular file: {ELSEWHERE}"
    folder = os.path.dirname(path)
    if error.errno == errno.ENOENT and not os.path.isdir(folder):  # in /proc it says so of the file
        return f"cannot be written (there is no directory {folder}): make it, or {ELSEWHERE}"
    return f"cannot be written ({error.strerror}): {ELSEWHERE}"


def _refuse_irregular(shown: str, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise CannotCreate(f"{shown}: is not a regular file: {ELSEWHERE}")


def _refuse_planted(shown: str, status: os.stat_result) -> None:
    """Raise `CannotCreate` for a file that somebody else may have put there, to have us write or remove it."""
    planted = ""
    if status.st_nlink != 1:
        planted = f"has {status.st_nlink} names (hard links)"
    elif status.st_uid not in (0, os.geteuid()):
        planted = f"belongs to another user (uid {status.st_uid})"
    if planted:
        raise CannotCreate(f"{shown}: {planted}, and somebody may have planted it: remove it, or {ELSEWHERE}")


def _mark(descriptor: int) -> None:
    """Say by a lock on its first byte, which belongs to the open file as the other does, that the number is right."""
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, 0, 1, 0))
    except OSError:
        pass  # some network file system: losers then believe the number


def _is_marked(descriptor: int, *, unknown: bool = True) -> bool:
    """Say whether the number is that of a holder; *unknown* is the answer where the file system has none."""
    question = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, 0, 1, 0)
    try:
        answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, question)
    except OSError:
        return unknown
    return bool(struct.unpack("hhqqi", answer)[0] != fcntl.F_UNLCK)


def _read_holder(descriptor: int) -> int | None:
    """Return the number that the holder of a locked file wrote, or None if it did not yet."""
    deadline = time.monotonic() + NUMBER_TIMEOUT
    pause = 0.002
    while not _is_marked(descriptor):
        if time.monotonic() > deadline:
            return None
        time.sleep(pause)  # a lock can be waited for, but for "locked" there is no event
        pause = min(2 * pause, 0.05)  # or many losers would keep the winner from its turn
    number = os.pread(descriptor, 32, 0).partition(b"\n")[0]
    return int(number) if number.isdigit() else None


def _already_running(shown: str, pid: int | None) -> AlreadyRunning:
    if pid is None:
        return AlreadyRunning(
            f"{shown}: held by a process that has not written its pid yet: wait for it, or give another --pidfile"
        )
    return AlreadyRunning(
        f'{shown}: held by plaitd with pid {pid}: stop it with "kill {pid}", or give another --pidfile', pid
    )
