"""
Another root folder: going in, with nothing in hand that leads out.

Paths that a person typed are outside, those of the application inside.  What was loaded, opened and looked up before
goes on working; whatever is opened later must be in the jail.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from plait.errors import ConfigurationError, PrivilegeError


def enter_jail(folder: str, shown: str) -> None:
    """
    Make *folder* the root of this process, and go there; *shown* is what a person typed.

    A directory that is open is closed before: through it one could walk out.  Raises `ConfigurationError`, or
    `PrivilegeError` if this user may not.
    """
    remember_outside()
    close_directories()
    try:
        os.chdir(folder)
        os.chroot(".")
        os.chdir("/")
    except PermissionError as error:
        if os.geteuid() == 0 and os.path.isdir(folder) and not os.access(folder, os.X_OK):
            raise _refuse(shown, error) from error
        raise PrivilegeError(
            f"--chroot {shown}: uid {os.geteuid()} may not ({error.strerror}): start it as root, or leave that out"
        ) from error
    except OSError as error:
        raise _refuse(shown, error) from error


def inner_path(path: str, folder: str) -> str:
    """Return how the absolute *path* is called in the jail at *folder*; nothing if it lies outside."""
    parent, name = os.path.split(path)
    place = os.path.join(os.path.realpath(parent), name)
    jail = os.path.realpath(folder).rstrip(os.sep)
    return place[len(jail) :] if place.startswith(jail + os.sep) else ""


def remember_outside() -> None:
    """Look up what the C library would look for in the jail later: its time zone, and how names are resolved."""
    # A value that stays the same is not read again at each call, and inside it would be UTC.
    os.environ.setdefault("TZ", ":/etc/localtime")
    import socket
    import time

    time.tzset()
    try:
        socket.getaddrinfo("localhost", None)
    except OSError:
        pass  # there is no such name here; what had to be loaded was


def close_directories() -> None:
    """Close every directory that is open in this process, and put /dev/null in place of a standard stream that is."""
    for descriptor in _find_open():
        try:
            if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
                continue
        except OSError:
            continue  # the listing had a descriptor of its own
        if descriptor > 2:
            os.close(descriptor)
        else:
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, descriptor)
            os.close(null)


def _find_open() -> Iterator[int]:
    try:
        yield from [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:
        import resource

        yield from range(min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 65536))


def _refuse(shown: str, error: OSError) -> ConfigurationError:
    return ConfigurationError(f"--chroot {shown}: cannot be entered ({error.strerror}): make it, or give another")
