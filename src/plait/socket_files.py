"""
The files of unix sockets: whose they are, and when one may be replaced.

A server that was killed leaves its file behind, and the next one must be able to start.  A file is replaced when it is
a socket and nobody answers there; a socket in use, and anything that is no socket, is left alone.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from plait.access import is_steady

if TYPE_CHECKING:
    from plait.endpoints import Endpoint

#: How long to wait for another starter in the same directory, in seconds; it needs a millisecond.
LOCK_TIMEOUT = 5.0
#: Where a file can be named by its descriptor.
DESCRIPTORS = "/proc/self/fd"


class SocketFile:
    """The file of a unix socket that we bound."""

    def __init__(self, path: str, status: os.stat_result) -> None:
        self.path = path
        self._identity = (status.st_dev, status.st_ino)

    def remove(self) -> None:
        """
        Remove the file if it is still the one that we made; what cannot be removed stays, silently.

        Call it while the socket is still open.
        """
        # No lock: while the socket is open nobody takes it for stale, and no other file can have its inode number.
        try:
            status = os.lstat(self.path)
            if (status.st_dev, status.st_ino) == self._identity:
                os.unlink(self.path)
        except OSError:
            pass  # gone, out of reach (chroot), or not ours to remove any more (privileges): the next start replaces it


def bind_file(endpoint: Endpoint) -> tuple[socket.socket, SocketFile | None]:
    """Return a socket bound to the path of *endpoint*, and its file unless it is abstract; raises OSError."""
    one = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM if endpoint.is_datagram else socket.SOCK_STREAM)
    try:
        one.setblocking(False)
        if endpoint.path.startswith("@"):
            one.bind("\0" + endpoint.path[1:])
            listen(one, endpoint)
            return one, None
        path = os.path.abspath(endpoint.path)
        folder, name = os.path.split(path)
        # Nobody else that asks first may come between looking, removing and binding, nor see a socket that is bound
        # and does not listen yet, which looks like one left behind.
        with locked(folder) as directory:
            remove_stale(endpoint, one.type, directory, name)
            # Linux gives a new file the mode of the socket, less the umask: never, not for a moment, more than asked.
            os.fchmod(one.fileno(), endpoint.mode)
            has_proc = os.path.exists(DESCRIPTORS)
            if has_proc:
                one.bind(endpoint.path)
            else:
                bind_exactly(one, endpoint)
            try:
                file = SocketFile(path, widen(directory, path, endpoint.mode if has_proc else None))
                listen(one, endpoint)
            except BaseException:
                os.unlink(name, dir_fd=directory)
                raise
        return one, file
    except BaseException:
        one.close()
        raise


def listen(one: socket.socket, endpoint: Endpoint) -> None:
    """Let *one* listen, if it is a stream."""
    if not endpoint.is_datagram:
        one.listen(endpoint.backlog)


def remove_stale(endpoint: Endpoint, kind: int, directory: int, name: str) -> None:
    """Remove a socket that nobody answers at; raise OSError when the name is taken by anything else."""
    try:
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(status.st_mode):
        raise FileExistsError(errno.EEXIST, "File exists")
    with socket.socket(socket.AF_UNIX, kind) as probe:
        # A full queue answers at once this way, and means that somebody is there.
        probe.setblocking(False)
        try:
            probe.connect(endpoint.path)
        except ConnectionRefusedError:
            os.unlink(name, dir_fd=directory)
            return
        except FileNotFoundError:
            return
        except PermissionError:
            raise  # it cannot be known whether anybody is there
        except OSError:
            pass  # a full queue, or a socket of the other type: in use either way
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def bind_exactly(one: socket.socket, endpoint: Endpoint) -> None:
    """Bind *one* under a umask that takes nothing of its mode, where it cannot be given back: a jail without /proc."""
    before = os.umask(0o777 & ~endpoint.mode)
    try:
        one.bind(endpoint.path)
    finally:
        os.umask(before)


def widen(directory: int, path: str, mode: int | None) -> os.stat_result:
    """
    Give back to the socket at *path*, in *directory*, what the umask took of *mode*, unless it is None.

    Returns its status; raises OSError when somebody else's took its place meanwhile.
    """
    # By a descriptor of the file itself: a name could meanwhile be a link to something else.
    file = os.open(os.path.basename(path), os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        status = os.fstat(file)
        if not (stat.S_ISSOCK(status.st_mode) and is_steady(path, file)):
            raise FileExistsError(errno.EEXIST, "File exists")
        if mode is not None and stat.S_IMODE(status.st_mode) != mode:
            os.chmod(f"{DESCRIPTORS}/{file}", mode)
        return status
    finally:
        os.close(file)


@contextmanager
def locked(folder: str) -> Iterator[int]:
    """Hold the lock on *folder*, and give a descriptor of it; raises OSError, also when it cannot be had in time."""
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        deadline = time.monotonic() + LOCK_TIMEOUT
        while True:
            try:
                fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                # The system has no lock with a time limit, and whoever may read a directory may lock it for ever: a
                # stranger must not be able to hang our start.
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.005)
        yield directory
    finally:
        os.close(directory)
