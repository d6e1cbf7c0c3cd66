"""
The file of the log, while root can still make it for the user who will write there.

That user must never be able to choose which file is given to it (CVE-2016-1247), so nothing is done by a path that it
could change meanwhile: each folder from the root down is opened and looked at, and what is given is one open file.
"""

from __future__ import annotations

import os
import stat

from plait.process.privileges import Identity

_WRITE, _ENTER = 2, 1
#: How many symbolic links the way may have, as for the system.
_LINKS = 40


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

    The descriptor is -1 unless it is a folder of root's that *identity* can reach and not change, nor any above it, nor
    a link on the way.
    """
    for _ in range(_LINKS):
        is_roots_alone = True
        directory = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            names = [name for name in path.split(os.sep) if name]
            for place, name in enumerate(names):
                judged = _judge(directory, identity, is_last=False)
                if judged is None:
                    return -1, False
                is_roots_alone = is_roots_alone and judged
                status = os.stat(name, dir_fd=directory, follow_symlinks=False)
                if stat.S_ISLNK(status.st_mode):
                    if status.st_uid != 0:
                        return -1, False
                    target = os.readlink(name, dir_fd=directory)
                    path = os.path.normpath(os.path.join("/", *names[:place], target, *names[place + 1 :]))
                    break
                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
                above, directory = directory, os.open(name, flags, dir_fd=directory)
                os.close(above)
            else:
                judged = _judge(directory, identity, is_last=True)
                if judged is None:
                    return -1, False
                found, directory = directory, -1
                return found, is_roots_alone and judged
        finally:
            if directory >= 0:
                os.close(directory)
    return -1, False


def _judge(directory: int, identity: Identity, *, is_last: bool) -> bool | None:
    """Say whether only root can change *directory*, None if *identity* can or does not get there, or it is unclear."""
    status = os.fstat(directory)
    # In a sticky folder, such as /tmp, only root moves what is root's; but anybody makes what is not there yet.
    is_held = bool(status.st_mode & stat.S_ISVTX) and not is_last
    if status.st_uid != 0 or not _may(status, identity, _ENTER) or _has_rules(directory):
        return None
    if _may(status, identity, _WRITE) and not is_held:
        return None
    others = stat.S_IWOTH | (0 if status.st_gid == 0 else stat.S_IWGRP)
    return is_held or not status.st_mode & others


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
