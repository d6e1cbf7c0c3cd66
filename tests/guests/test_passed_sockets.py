"""Sockets that systemd passed to a Twisted application: each life of a service listens on them."""

from __future__ import annotations

import socket

import pytest

from tests.guests.tac import write
from tests.system.daemon import PLAITD, Daemon, Foreground, Place
from tests.system.places import FORMS

PASS = 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$@" 3<&0 </dev/null'

FALLIBLE = """
from twisted.internet import endpoints

class Serving(internet.TimerService):
    lives = 0
    wanted = False

    def __init__(self, endpoint):
        super().__init__(0.02, self.tick)
        self.endpoint = endpoints.serverFromString(reactor, endpoint)

    async def startService(self):
        self.lives += 1
        self.factory = protocol.Factory.forProtocol(Life)
        self.port = await self.endpoint.listen(self.factory)
        try:
            await self.endpoint.listen(self.factory)
        except Exception as error:
            second = type(error).__name__
        super().startService()
        tell(f"life {{self.lives}} {{second}}")

    def stopService(self):
        return defer.gatherResults([super().stopService(), self.port.stopListening()])

    def tick(self):
        if self.wanted:
            self.wanted = False
            raise RuntimeError("no luck")

class Life(protocol.Protocol):
    def connectionMade(self):
        self.transport.write(b"life %d" % serving.lives)

    def dataReceived(self, data):
        serving.wanted = True
        self.transport.loseConnection()

serving = Serving("systemd:domain={family}:index=0")
add(serving)
"""


@FORMS
@pytest.mark.parametrize("family", ["INET", "UNIX"])
def test_a_passed_socket_serves_each_life_of_a_service(place: Place, family: str, daemonize: bool) -> None:
    """A service that listens on it fails, is run again, and serves on it again; it stays systemd's."""
    write(place, FALLIBLE.format(family=family))
    file = place.aside / "passed.sock"
    with socket.socket(getattr(socket, f"AF_{family}")) as passed:
        passed.bind(("127.0.0.1", 0) if family == "INET" else str(file))
        passed.listen()
        begin = place.daemonize if daemonize else place.foreground
        running: Daemon | Foreground = begin(name="shop.tac", program=("sh", "-c", PASS, "sh", PLAITD), stdin=passed)
        for life in (1, 2):
            assert place.heard() == f"life {life} AlreadyListened"
            with socket.socket(passed.family) as client:
                client.settimeout(20)
                client.connect(passed.getsockname())
                assert client.recv(10) == b"life %d" % life
                if life == 1:
                    client.sendall(b"fail")
                    assert client.recv(10) == b""
        ended = running.stop()
    assert ended.code == 0
    assert "[shop/Serving#warning] waiting, starts again" in ended.output
    assert file.exists() == (family == "UNIX")
