"""
Sockets that somebody else opened: systemd, or whoever gave us the number of a descriptor.

They were there before us and may be after us, so nothing of theirs is removed, and what they are is checked when an
endpoint asks for them: their type and state, never their port.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from collections.abc import MutableMapping, Sequence
from typing import TYPE_CHECKING

from plait.errors import BindError

if TYPE_CHECKING:
    from plait.endpoints import Endpoint

#: The first descriptor that systemd passes (``SD_LISTEN_FDS_START``).
FIRST_PASSED = 3


def take_systemd(environ: MutableMapping[str, str]) -> list[tuple[str, int]]:
    """
    Return the sockets that systemd passed to this process, in order: their names and descriptors.

    Call it before any fork: the variables are for one process id.  They are removed from *environ*, as
    ``sd_listen_fds(3)`` does when asked to, so that no child takes them for its own; those meant for another process
    are removed and ignored.  The descriptors do not reach children either.  What they are is checked when an endpoint
    asks for them.  Without ``LISTEN_FDNAMES`` all are named ``unknown``.  Raises `BindError` when the variables do not
    tell the truth.
    """
    pid, count, names, _ = (
        environ.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID")
    )
    if pid != str(os.getpid()):
        return []
    if not (count.isascii() and count.isdigit()):
        raise BindError(f"LISTEN_FDS={count}: is not a number: leave the variable to systemd")
    labels = names.split(":") if names else ["unknown"] * int(count)
    if len(labels) != int(count):
        raise BindError(
            f"LISTEN_FDNAMES={names}: names {len(labels)} of {count} sockets: leave the variable to systemd"
        )
    passed = [(label, FIRST_PASSED + offset) for offset, label in enumerate(labels)]
    for label, descriptor in passed:
        try:
            os.set_inheritable(descriptor, False)
        except OSError as error:
            msg = f"LISTEN_FDS={count}: descriptor {descriptor} ({label}) is not open: leave the variable to systemd"
            raise BindError(msg) from error
    return passed


def find_passed(endpoint: Endpoint, passed: Sequence[tuple[str, int]]) -> list[int]:
    """Return the descriptors, of those that systemd *passed*, for *endpoint*: names need not be unique."""
    if not passed:
        msg = f"{endpoint}: systemd passed no sockets: start it from a .socket unit, or write such as tcp:8080"
        raise BindError(msg)
    if not endpoint.name:
        if endpoint.index >= len(passed):
            msg = f"{endpoint}: systemd passed {len(passed)} sockets: write an index below that, or a name="
            raise BindError(msg)
        return [passed[endpoint.index][1]]
    found = [descriptor for name, descriptor in passed if name == endpoint.name]
    if not found:
        names = ", ".join(dict.fromkeys(name for name, _ in passed))
        msg = f"{endpoint}: systemd passed no socket of that name, but {names}: set FileDescriptorName= in its unit"
        raise BindError(msg)
    return found


def adopt(endpoint: Endpoint, descriptors: Sequence[int]) -> tuple[socket.socket, ...]:
    """Return duplicates of *descriptors*, which must be what *endpoint* wants, and keep all from children."""
    adopted: list[socket.socket] = []
    try:
        for descriptor in descriptors:
            # A duplicate, so that the endpoint can be closed and opened again.
            adopted.append(duplicate(endpoint, descriptor))
            check(endpoint, descriptor, adopted[-1])
            adopted[-1].setblocking(False)
    except BindError:
        for one in adopted:
            one.close()
        raise
    return tuple(adopted)


def duplicate(endpoint: Endpoint, descriptor: int) -> socket.socket:
    """Return a duplicate of the socket that *descriptor* is; raises `BindError`."""
    copy = -1
    try:
        copy = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, FIRST_PASSED)
        if descriptor >= FIRST_PASSED:
            os.set_inheritable(descriptor, False)
        return socket.socket(fileno=copy)
    except OSError as error:
        if copy >= 0:
            os.close(copy)
        wrong = "is not a socket" if error.errno == errno.ENOTSOCK else "is not open"
        msg = f"{endpoint}: descriptor {descriptor} {wrong}: pass a socket that listens, or write such as tcp:8080"
        raise BindError(msg) from error


def check(endpoint: Endpoint, descriptor: int, one: socket.socket) -> None:
    """Raise `BindError` unless *one* is what a service can listen on and *endpoint* says it is."""
    wrong = ""
    if one.type != socket.SOCK_STREAM:
        wrong = "is not a stream socket: set ListenStream= in its unit"
    elif not one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        wrong = "does not listen: set Accept=no in its unit, or call listen() before it is passed"
    elif endpoint.domain and one.family != socket.AddressFamily[f"AF_{endpoint.domain}"]:
        wrong = f"is of the domain {one.family.name[3:]}: write domain={one.family.name[3:]}, or leave it out"
    if wrong:
        raise BindError(f"{endpoint}: descriptor {descriptor} {wrong}")
