"""
The open listening sockets of a process, by endpoint.

They are opened once, before privileges are dropped, and outlive the services that use them: between two lives of a
service its clients wait in the queue of the kernel instead of being refused.  Two things are never done here, since a
listening socket may be shared with another process: O_NONBLOCK is never cleared, and ``shutdown`` is never called.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from plait.errors import BindError

if TYPE_CHECKING:
    from plait.endpoints import Endpoint
    from plait.socket_files import SocketFile


class Sockets:
    """
    The open listening sockets of a process, by endpoint; they outlive the services that use them.

    *systemd* is what `plait.passed_sockets.take_systemd` returned.  *inherited* are sockets from the process that is
    being replaced, by the text of their endpoint; the ownership passes to here.

    Equal endpoints share one entry, and nobody counts who opened it: `close` closes it for all.  Who may still need it
    is known from the descriptions (``application.endpoints()``), which a counter could only contradict.

    What systemd passed, and descriptors named by ``fd:``, stay open until `close_all`, so that an endpoint can be
    closed and opened again; nobody passes them twice.

    Not for several threads at once.
    """

    def __init__(
        self,
        inherited: Mapping[str, Iterable[socket.socket]] | None = None,
        systemd: Sequence[tuple[str, int]] = (),
    ) -> None:
        self._opened: dict[Endpoint, tuple[socket.socket, ...]] = {}
        self._files: dict[Endpoint, SocketFile] = {}
        self._inherited = {text: tuple(sockets) for text, sockets in (inherited or {}).items()}
        self._passed = tuple(systemd)
        self._descriptors = {descriptor for _, descriptor in systemd}

    def open(self, endpoint: Endpoint) -> tuple[socket.socket, ...]:
        """
        Return the sockets of *endpoint*, opened at the first call and the same ones afterwards.

        They are bound and listening, non-blocking, and not inherited by children.  They stay the property of this
        object: use `get` for some of your own.  A host name is looked up, which may take its time, and every address
        that it has on this machine is bound.  Raises `BindError`; then nothing was opened.
        """
        opened = self._opened.get(endpoint)
        if opened is None:
            if endpoint.connects:
                raise BindError(f"{endpoint}: is a place to connect to: make it with Endpoint.listening()")
            try:
                opened = self._open(endpoint)
            except OSError as error:
                raise self._explain(endpoint, error) from error
            self._opened[endpoint] = opened
        return opened

    def get(self, endpoint: Endpoint) -> tuple[socket.socket, ...]:
        """Return duplicates of the sockets of *endpoint*, opening it if needed; the caller closes them."""
        duplicates: list[socket.socket] = []
        try:
            for opened in self.open(endpoint):
                duplicates.append(opened.dup())
        except OSError as error:
            close(duplicates)
            raise self._explain(endpoint, error) from error
        return tuple(duplicates)

    def close(self, endpoint: Endpoint) -> None:
        """
        Close the sockets of *endpoint*, and remove the file of a unix socket that was bound here and is still ours.

        One that somebody handed to us, or that replaced ours, stays.  Unknown endpoints are ignored.
        """
        # The file goes first: while the socket is open no other file can have its inode number.
        file = self._files.pop(endpoint, None)
        if file is not None:
            file.remove()
        close(self._opened.pop(endpoint, ()))

    def close_all(self) -> None:
        """Close everything, also what was handed to us and never used."""
        for endpoint in list(self._opened):
            self.close(endpoint)
        for sockets in self._inherited.values():
            close(sockets)
        self._inherited.clear()
        for descriptor in self._descriptors:
            try:
                os.close(descriptor)
            except OSError:
                pass  # somebody closed it before: that is what was wanted
        self._descriptors.clear()
        self._passed = ()

    def descriptors(self) -> set[int]:
        """Return the numbers of all descriptors held here: those that a daemon must keep when it closes the others."""
        held = {one.fileno() for sockets in (*self._opened.values(), *self._inherited.values()) for one in sockets}
        return held | self._descriptors

    def _open(self, endpoint: Endpoint) -> tuple[socket.socket, ...]:
        inherited = self._inherited.pop(str(endpoint), None)
        if inherited is not None:
            for one in inherited:
                one.setblocking(False)
                one.set_inheritable(False)
            return inherited
        if endpoint.kind in ("systemd", "fd"):
            return self._adopt(endpoint)
        if endpoint.kind in ("unix", "unixgram"):
            from plait.socket_files import bind_file

            bound, file = bind_file(endpoint)
            if file is not None:
                self._files[endpoint] = file
            return (bound,)
        return bind_network(endpoint)

    def _adopt(self, endpoint: Endpoint) -> tuple[socket.socket, ...]:
        from plait.passed_sockets import FIRST_PASSED, adopt, find_passed

        descriptors = [endpoint.index] if endpoint.kind == "fd" else find_passed(endpoint, self._passed)
        adopted = adopt(endpoint, descriptors)
        # Standard input, output and error are not ours to close.
        self._descriptors.update(descriptor for descriptor in descriptors if descriptor >= FIRST_PASSED)
        return adopted

    def _explain(self, endpoint: Endpoint, error: OSError) -> BindError:
        from plait.refusals import explain_bind

        return BindError(explain_bind(endpoint, error, list(self._opened)))


def bind_network(endpoint: Endpoint) -> tuple[socket.socket, ...]:
    """Return sockets bound to every address of *endpoint*; raises OSError, and then none is open."""
    bound: list[socket.socket] = []
    refused: OSError | None = None
    port = endpoint.port
    try:
        for family, address in resolve(endpoint):
            # All addresses of one name get the same port, also when the system chose the first.
            try:
                bound.append(bind(endpoint, family, (address[0], port, *address[2:])))
            except OSError as error:
                # A name such as localhost may have an address of a protocol that is turned off here.
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
                refused = error
            else:
                port = bound[-1].getsockname()[1]
        if refused is not None and not bound:
            raise refused
    except BaseException:
        close(bound)
        raise
    return tuple(bound)


def resolve(endpoint: Endpoint) -> list[tuple[int, tuple[Any, ...]]]:
    """Return the families and addresses that the host of *endpoint* stands for, each once."""
    if not endpoint.host:
        return [(socket.AF_INET, ("0.0.0.0", endpoint.port))]
    family = socket.AF_INET6 if endpoint.kind in ("tcp6", "udp6") else socket.AF_UNSPEC
    if family == socket.AF_UNSPEC:
        try:
            socket.inet_pton(socket.AF_INET, endpoint.host)
        except (OSError, ValueError):
            pass
        else:
            # Nothing to look up; and getaddrinfo would load the IDNA codec for it, a fiftieth of a whole start.
            return [(socket.AF_INET, (endpoint.host, endpoint.port))]
    try:
        found = socket.getaddrinfo(endpoint.host, endpoint.port, family, socket.SOCK_STREAM, 0, socket.AI_PASSIVE)
    except UnicodeError as error:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known") from error
    return list(dict.fromkeys((info[0], info[4]) for info in found))


def bind(endpoint: Endpoint, family: int, address: tuple[Any, ...]) -> socket.socket:
    """Return a socket bound to *address*, as *endpoint* wants it; raises OSError, and then it is closed."""
    one = socket.socket(family, socket.SOCK_DGRAM if endpoint.is_datagram else socket.SOCK_STREAM)
    try:
        one.setblocking(False)
        if not endpoint.is_datagram:
            # Old connections that the kernel still remembers must not keep the port.  Not for datagrams: there it
            # would let a second program take the port as well.
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if endpoint.reuse_port:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            # "::" means IPv4 as well, as it does for Twisted on Linux, whatever net.ipv6.bindv6only says.
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if endpoint.host == "::" else 1)
        one.bind(address)
        if not endpoint.is_datagram:
            one.listen(endpoint.backlog)
    except BaseException:
        one.close()
        raise
    return one


def close(sockets: Iterable[socket.socket]) -> None:
    """Close all of *sockets*."""
    for one in sockets:
        one.close()
