"""
Sockets that systemd passed, as endpoints of Twisted that can listen again: a service that failed is to serve again
"""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

from twisted.internet import endpoints, tcp, unix
from twisted.internet.defer import Deferred
from twisted.python.systemd import ListenFDs


class PassedEndpoint(endpoints.AdoptedStreamServerEndpoint):
    """
    A passed socket, on which one port at a time can listen.

    Twisted's own endpoint closes the descriptor when it first listens; here it stays open, as it does with systemd.
    """

    _ports: ClassVar[dict[int, Any]] = {}

    @staticmethod
    def _close(fileno: int) -> None:  # type: ignore[override]  # it is a function in a class
        """Leave it open: the port has a copy."""

    def listen(self, factory: Any) -> Deferred[Any]:
        """Listen, unless a port does; fails with AlreadyListened then."""
        port = self._ports.get(self.fileno)
        self._used = port is not None and port.connected
        deferred: Deferred[Any] = super().listen(factory)
        return deferred.addCallback(self._opened)

    def _opened(self, port: Any) -> Any:
        self._ports[self.fileno] = port
        if isinstance(port, unix.Port):
            # As a port of TCP does by itself: its end is not that of the socket, nor of systemd's file.
            port._shouldShutdown = False
            port.connectionLost = partial(tcp.Port.connectionLost, port)  # type: ignore[method-assign]
        return port


def pass_on(sockets: ListenFDs) -> None:
    """Let *sockets* be those that Twisted's endpoints find."""
    parser: Any = endpoints._SystemdParser
    find = parser._parseServer

    def find_again(self: Any, *arguments: Any, **options: Any) -> PassedEndpoint:
        found = find(self, *arguments, **options)
        return PassedEndpoint(found.reactor, found.fileno, found.addressFamily)

    parser._sddaemon = sockets
    parser._parseServer = find_again
