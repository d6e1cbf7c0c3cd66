"""
The file of the log, while root can still make it for the user who will write there.

That user must never be able to choose which file is given to it (CVE-2016-1247), so nothing is done by a path that it
could change meanwhile: each folder from the root down is opened and looked at, and what is given is one open file.
"""

from __future__ import annotations

import os
import stat

from plait.process.privileges import Identity

_READ, _WRITE, _ENTER = 4, 2, 1


def give_log(path: str, identity: Identity, *, only_look: bool = False) -> bool:
    """
    Make the log at the absolute *path* belong to *identity*, if it could not make or write it itself.

    That is so in a folder of root's, such as /var/log.  A file that is missing is made there; one of root's is given
    away when nobody but root could have put it there.  Anything else stays as it is.  Says whether *identity* can open
    the log thanks to that; *only_look* changes nothing.  Raises OSError.
    """
    if identity.uid in (None, 0):
        return False
    directory, is_roots_alone = _open_folder(os.path.dirname(path), identity)
    if directory < 0:
        return False
    name = os.path.basename(path)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
    file = -1
    try:
        try:
            status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            if only_look:
                return not os.fstatvfs(directory).f_flag & os.ST_RDONLY
            file = os.open(name, flags | os.O_CREAT | os.O_EXCL, 0o666, dir_fd=directory)
            os.fchown(file, identity.uid, -1 if identity.gid is None else identity.gid)
            return True
        if not is_roots_alone or not _is_simple(status) or _may(status, identity, _WRITE):
            return False
        if not only_look:
            file = os.open(name, flags, dir_fd=directory)
            if not _is_simple(os.fstat(file)):
                return False
            os.fchown(file, identity.uid, -1)  # the group may be that of those who read logs
        return True
    finally:
        for descriptor in (file, directory):
            if descriptor >= 0:
                os.close(descriptor)


def _open_folder(path: str, identity: Identity) -> tuple[int, bool]:
    """
    Return a descriptor of the folder at *path*, and whether nobody but root can put anything there.

    The descriptor is -1 unless it is a folder of root's that *identity* can reach and not change, nor any above it.
    """
    is_roots_alone = True
    directory = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    names = [name for name in os.path.realpath(path).split(os.sep) if name]
    try:
        for place in range(len(names) + 1):
            status = os.fstat(directory)
            is_last = place == len(names)
            # In a sticky folder, such as /tmp, only root moves what is root's.
            may_change = _may(status, identity, _WRITE) and (is_last or not status.st_mode & stat.S_ISVTX)
            if status.st_uid != 0 or may_change or not _may(status, identity, _ENTER) or _has_rules(directory):
                os.close(directory)
                return -1, False
            others = stat.S_IWOTH | (0 if status.st_gid == 0 else stat.S_IWGRP)
            if status.st_mode & others and (is_last or not status.st_mode & stat.S_ISVTX):
                is_roots_alone = False
            if not is_last:
                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
                above, directory = directory, os.open(names[place], flags, dir_fd=directory)
                os.close(above)
    except BaseException:
        os.close(directory)
        raise
    return directory, is_roots_alone


def _may(status: os.stat_result, identity: Identity, wanted: int) -> bool:
    """Whether *identity* may do what is *wanted* with a file of this *status*."""
    if status.st_uid == identity.uid:
        return bool(status.st_mode >> 6 & wanted)
    if status.st_gid == identity.gid or status.st_gid in identity.groups:
        return bool(status.st_mode >> 3 & wanted)
    return bool(status.st_mode & wanted)


def _has_rules(descriptor: int) -> bool:
    """Whether a folder has an access control list: what is allowed there is more than its mode says."""
    try:
        os.getxattr(descriptor, "system.posix_acl_access")
    except OSError:
        return False
    return True


def _is_simple(status: os.stat_result) -> bool:
    """Whether it is a regular file of root's with one name."""
    return stat.S_ISREG(status.st_mode) and status.st_uid == 0 and status.st_nlink == 1
