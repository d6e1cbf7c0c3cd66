"""
What can be known about an endpoint without opening it.

Nothing is bound, written or connected to.  So it cannot be known whether another program has a port; and a socket file
may well be in use by the very server that is about to be replaced.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import stat
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from plait.access import error_of, may, refuse_making
from plait.errors import BindError, EndpointError, PlaitError
from plait.sockets import resolve

if TYPE_CHECKING:
    from plait.endpoints import Endpoint

CAP_NET_BIND_SERVICE = 10
#: The files in which Linux tells the addresses of this machine.
IPV4_ADDRESSES = "/proc/net/fib_trie"
IPV6_ADDRESSES = "/proc/net/if_inet6"


def inspect_endpoint(endpoint: Endpoint) -> list[PlaitError]:
    """Return an error for each thing that would keep *endpoint* from being opened or connected by this user."""
    problems: list[PlaitError] = [*inspect_certificates(endpoint)]
    if not endpoint.connects and endpoint.kind not in ("systemd", "fd"):
        problems += inspect_binding(endpoint)
    return problems


def inspect_certificates(endpoint: Endpoint) -> list[EndpointError]:
    """Return the error with which the TLS files of *endpoint* cannot be used by this user, if any."""
    if endpoint.tls is None:
        return []
    from plait.certificates import Certificates, connecting_context

    try:
        if endpoint.connects:
            connecting_context(endpoint.tls)
        else:
            Certificates(endpoint.tls)
    except EndpointError as error:
        return [error]
    return []


def inspect_binding(
    endpoint: Endpoint, opened: Sequence[Endpoint] = (), passed: Sequence[tuple[str, int]] = ()
) -> list[BindError]:
    """
    Return the error with which *endpoint* cannot be opened by this process, if any.

    *opened* are the endpoints that the same process opens before, *passed* the sockets that systemd passed to it.
    """
    if endpoint in opened:
        return []
    try:
        if endpoint.kind in ("systemd", "fd"):
            inspect_passed(endpoint, passed)
        elif endpoint.kind in ("unix", "unixgram"):
            inspect_path(endpoint, opened)
        else:
            inspect_network(endpoint, opened)
    except BindError as error:
        return [error]
    except OSError as error:
        from plait.refusals import explain_bind

        return [BindError(explain_bind(endpoint, error, opened))]
    return []


def inspect_passed(endpoint: Endpoint, passed: Sequence[tuple[str, int]]) -> None:
    """Raise the `BindError` with which a descriptor that was passed cannot be used."""
    from plait.passed_sockets import check, duplicate, find_passed

    for descriptor in [endpoint.index] if endpoint.kind == "fd" else find_passed(endpoint, passed):
        with duplicate(endpoint, descriptor) as one:
            check(endpoint, descriptor, one)


def inspect_path(endpoint: Endpoint, opened: Sequence[Endpoint]) -> None:
    """Raise the OSError that binding the path of *endpoint* would raise."""
    place = name_of(endpoint)
    if any(name_of(other) == place for other in opened):
        raise error_of(errno.EADDRINUSE, endpoint.path)
    if endpoint.path.startswith("@"):
        return
    # In the order of `plait.socket_files`: the folder is locked, what is there is looked at, then it is bound.
    folder = os.path.dirname(os.path.abspath(endpoint.path))
    if not stat.S_ISDIR(os.stat(folder).st_mode):
        raise error_of(errno.ENOTDIR, folder)
    if not may(folder, os.R_OK):
        raise error_of(errno.EACCES, folder)
    try:
        mode = os.lstat(endpoint.path).st_mode
    except FileNotFoundError:
        pass
    else:
        if not stat.S_ISSOCK(mode):
            raise error_of(errno.EEXIST, endpoint.path)
        if not may(endpoint.path, os.W_OK):  # whether anybody answers there is found out by connecting
            raise error_of(errno.EACCES, endpoint.path)
    refuse_making(folder)


def name_of(endpoint: Endpoint) -> tuple[str, ...]:
    """Return what two endpoints with a path have in common when they cannot both be bound."""
    if endpoint.path.startswith("@"):
        return endpoint.path, endpoint.kind  # a file has one kind; of abstract names each kind has its own
    return (os.path.abspath(endpoint.path) if endpoint.path else "",)


def inspect_network(endpoint: Endpoint, opened: Sequence[Endpoint]) -> None:
    """Raise the OSError that binding the port of *endpoint* would raise, as far as other programs are not involved."""
    refused: OSError | None = None
    usable = 0
    for family, address in resolve(endpoint):
        # As it is opened: a name may have an address of a protocol that is turned off here.
        try:
            inspect_address(endpoint, family, address)
        except OSError as error:
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                raise
            refused = error
        else:
            usable += 1
            if any(collides(endpoint, address[0], other) for other in opened):
                raise error_of(errno.EADDRINUSE, str(endpoint))
    if refused is not None and not usable:
        raise refused


def inspect_address(endpoint: Endpoint, family: int, address: tuple[Any, ...]) -> None:
    """Raise the OSError that binding *address* would raise for what it is, or for a missing right."""
    if family == socket.AF_INET6 and not os.path.exists(IPV6_ADDRESSES):
        raise error_of(errno.EAFNOSUPPORT, str(endpoint))
    if not is_of_this_machine(address[0]):
        raise error_of(errno.EADDRNOTAVAIL, str(endpoint))
    if 0 < endpoint.port < first_free_port() and not has_capability(CAP_NET_BIND_SERVICE):
        raise error_of(errno.EACCES, str(endpoint))


def collides(endpoint: Endpoint, address: str, other: Endpoint) -> bool:
    """Whether *other*, when it is open, keeps *endpoint* from having its port on this *address*."""
    if not endpoint.port or other.port != endpoint.port or other.is_datagram != endpoint.is_datagram:
        return False
    if endpoint.reuse_port and other.reuse_port:
        return False
    return any(overlap(address, its[0]) for _, its in resolve(other))


def overlap(one: str, other: str) -> bool:
    """Whether two addresses have one in common: ``::`` is all of both protocols, ``0.0.0.0`` all of IPv4."""
    return one == other or "::" in (one, other) or ("0.0.0.0" in (one, other) and ":" not in one + other)


def is_of_this_machine(text: str) -> bool:
    """Whether *text* is an address that can be bound here; yes if that cannot be found out."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if address.is_unspecified or address.is_multicast or text == "255.255.255.255":
        return True
    try:
        if address.version == 6:
            with open(IPV6_ADDRESSES, encoding="ascii") as file:
                return any(line.split()[0] == address.packed.hex() for line in file)
        with open("/proc/sys/net/ipv4/ip_nonlocal_bind", encoding="ascii") as file:
            if file.read().strip() == "1":
                return True
        with open(IPV4_ADDRESSES, encoding="ascii") as file:
            return any(address in network for network in local_networks(file.read()))
    except (OSError, IndexError):
        return True


def local_networks(table: str) -> list[ipaddress.IPv4Network]:
    """Return what of the routing *table* of Linux this machine itself answers for."""
    networks = []
    name = ""
    for line in table.splitlines():
        words = line.split()
        if words[:1] == ["|--"]:
            name = words[1]
        elif words[-1:] in (["LOCAL"], ["BROADCAST"]):
            networks.append(ipaddress.IPv4Network(name + words[0]))
    return networks


def first_free_port() -> int:
    """Return the first port that needs no right."""
    try:
        with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return 1024


def has_capability(number: int) -> bool:
    """Whether this process has the capability *number* in effect."""
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            effective = next(line.split()[1] for line in file if line.startswith("CapEff:"))
    except (OSError, StopIteration):
        return os.geteuid() == 0
    return bool(int(effective, 16) >> number & 1)
