"""
What can be known about an endpoint without opening it.

Nothing is bound, written or connected to.  So it cannot be known whether a port is taken; and a socket file may well
be in use by the very server that is about to be replaced.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from typing import TYPE_CHECKING

from plait.errors import EndpointError

if TYPE_CHECKING:
    from plait.endpoints import Endpoint

CAP_NET_BIND_SERVICE = 10


def inspect_endpoint(endpoint: Endpoint) -> list[str]:
    """Return a sentence for each thing that would keep *endpoint* from being opened or connected by this user."""
    problems = []
    if endpoint.tls is not None:
        from plait.certificates import Certificates, connecting_context

        try:
            if endpoint.connects:
                connecting_context(endpoint.tls)
            else:
                Certificates(endpoint.tls)
        except EndpointError as error:
            problems.append(str(error))
    if endpoint.connects:
        return problems
    try:
        if endpoint.kind in ("unix", "unixgram") and not endpoint.path.startswith("@"):
            inspect_path(endpoint.path)
        elif endpoint.kind not in ("unix", "unixgram", "systemd", "fd"):
            inspect_port(endpoint)
    except OSError as error:
        from plait.refusals import explain_bind

        problems.append(explain_bind(endpoint, error, ()))
    return problems


def inspect_path(path: str) -> None:
    """Raise the OSError that binding *path* would raise."""
    folder = os.path.dirname(os.path.abspath(path))
    if not stat.S_ISDIR(os.stat(folder).st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))


def inspect_port(endpoint: Endpoint) -> None:
    """Raise the OSError that binding the port of *endpoint* would raise, if it is for a name or a missing right."""
    from plait.sockets import resolve

    resolve(endpoint)
    if 0 < endpoint.port < first_free_port() and os.geteuid() != 0 and not has_capability(CAP_NET_BIND_SERVICE):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    if endpoint.kind.endswith("6") and not socket.has_ipv6:
        raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))


def first_free_port() -> int:
    """Return the first port that needs no right."""
    try:
        with open("/proc/sys/net/ipv4/ip_unprivileged_port_start") as file:
            return int(file.read())
    except (OSError, ValueError):
        return 1024


def has_capability(number: int) -> bool:
    """Whether this process has the capability *number* in effect."""
    try:
        with open("/proc/self/status") as file:
            effective = next(line.split()[1] for line in file if line.startswith("CapEff:"))
    except (OSError, StopIteration):
        return False
    return bool(int(effective, 16) >> number & 1)
