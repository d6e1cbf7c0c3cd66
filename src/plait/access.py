"""
What writing a file would meet with, without opening it.

Whoever only checks may leave nothing behind: so a place is looked at, and the system asked what this user may do there.
What nothing but trying tells (a full disk, a quota, a directory made immutable) stays unknown.
"""

from __future__ import annotations

import errno
import os
import stat


def is_steady(path: str, descriptor: int) -> bool:
    """
    Say whether the open *descriptor* is the file at *path*, which has no other name.

    Counting names is not enough: whoever may change the folder can put a second name of another file there, and take
    it away for the moment in which the names are counted.  But the name by which a file was opened is known to the
    system, and when it was removed once, no later one takes its place.
    """
    status = os.fstat(descriptor)
    if status.st_nlink != 1:
        return False
    try:
        os.rename(path, path)  # changes nothing, and waits for a removal that has begun and already counts
    except OSError:
        pass
    try:
        opened = os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:  # a jail without /proc
        return is_at(path, status)
    return opened == os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))


def is_at(path: str, status: os.stat_result) -> bool:
    """Say whether *path* names the file with this *status*."""
    try:
        return os.path.samestat(os.lstat(path), status)
    except FileNotFoundError:
        return False


def look(path: str, wanted: int, *, makes: bool = False) -> os.stat_result | None:
    """
    Return the status of the file at *path*, or None when there is none and one could be made.

    Raises the OSError with which opening it would fail, not following a link, for what is *wanted*: ``os.W_OK``, or
    ``os.R_OK | os.W_OK``.  *makes* says that it is opened with O_CREAT, which has a rule of its own for a file that
    exists.
    """
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        refuse_making(os.path.dirname(path) or ".")
        return None
    kind = stat.S_IFMT(status.st_mode)
    if kind in (stat.S_IFLNK, stat.S_IFDIR):
        raise error_of(errno.ELOOP if kind == stat.S_IFLNK else errno.EISDIR, path)
    if makes and is_protected(path, status):
        raise error_of(errno.EACCES, path)
    if kind == stat.S_IFREG and is_read_only(path):
        raise error_of(errno.EROFS, path)
    if not may(path, wanted):
        raise error_of(errno.EACCES, path)
    if kind == stat.S_IFSOCK:
        raise error_of(errno.ENXIO, path)
    return status


def refuse_making(folder: str) -> None:
    """Raise the OSError with which making a file in *folder* would fail."""
    status = os.stat(folder)
    if not stat.S_ISDIR(status.st_mode):
        raise error_of(errno.ENOTDIR, folder)
    if is_read_only(folder):
        raise error_of(errno.EROFS, folder)
    # There nothing can be made, whatever the rights say.
    for place, number in (("/proc", errno.ENOENT), ("/sys", errno.EACCES)):
        if os.path.ismount(place) and status.st_dev == os.stat(place).st_dev:
            raise error_of(number, folder)
    if not may(folder, os.W_OK | os.X_OK):
        raise error_of(errno.EACCES, folder)


def may(path: str, wanted: int) -> bool:
    """Whether this process may do what is *wanted* at *path*, asked as the user that it is in effect."""
    return os.access(path, wanted, effective_ids=True)


def is_read_only(path: str) -> bool:
    """Whether *path* lies in a file system that is mounted for reading only."""
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY)


def is_protected(path: str, status: os.stat_result) -> bool:
    """
    Whether Linux refuses to open the existing file at *path* with O_CREAT: another's, in a directory like /tmp.

    It does so even to root; see ``fs.protected_regular`` and ``fs.protected_fifos`` in ``proc_sys_fs(5)``.
    """
    names = {stat.S_IFREG: "regular", stat.S_IFIFO: "fifos"}
    name = names.get(stat.S_IFMT(status.st_mode))
    folder = os.stat(os.path.dirname(path) or ".")
    if name is None or not folder.st_mode & stat.S_ISVTX or status.st_uid in (folder.st_uid, os.geteuid()):
        return False
    level = read_protection(name)
    return level >= (1 if folder.st_mode & stat.S_IWOTH else 2 if folder.st_mode & stat.S_IWGRP else 3)


def read_protection(name: str) -> int:
    """Return how far Linux goes with it, for ``regular`` files or for ``fifos``: 0 is not at all."""
    try:
        with open(f"/proc/sys/fs/protected_{name}", "rb") as file:
            return int(file.read())
    except (OSError, ValueError):
        return 0


def error_of(number: int, path: str) -> OSError:
    """Return the error that the system gives with this *number*."""
    return OSError(number, os.strerror(number), path)
