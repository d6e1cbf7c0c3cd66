"""Each thing that Twisted's reactor can do, first done as another user, in another root folder, in the sandbox."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
import trustme

from plait.process.landlock import read_abi
from tests.guests.tac import write
from tests.system.daemon import Place
from tests.system.test_drop import place as place

#: One application that does all that its environment asks for, one after the other, and tells what came of it.
FEATURES = """
from twisted.internet import ssl, utils
from twisted.python import log

class Echo(protocol.Protocol):
    def dataReceived(self, data):
        self.transport.write(data)

class Asking(protocol.Protocol):
    def connectionMade(self):
        self.transport.write(b"hello")

    def dataReceived(self, data):
        self.factory.answer.callback(data)
        self.transport.loseConnection()

class Once(protocol.DatagramProtocol):
    def __init__(self):
        self.answer = defer.Deferred()

    def datagramReceived(self, data, address):
        self.answer.callback(data)

def echo():
    return protocol.Factory.forProtocol(Echo)

def asking():
    factory = protocol.ClientFactory.forProtocol(Asking)
    factory.answer = defer.Deferred()
    factory.clientConnectionFailed = lambda connector, reason: factory.answer.errback(reason)
    return factory

async def talk(port, connect):
    client = asking()
    connect(client)
    answer = await client.answer
    await port.stopListening()
    return answer

async def thread():
    return await threads.deferToThread(os.getuid) == os.getuid()

async def process():
    return await utils.getProcessOutput("/bin/echo", ["hello"])

async def resolver():
    return await reactor.resolve("127.0.0.1")

async def name():
    try:
        return await reactor.resolve("b\\u00fccher.invalid")
    except Exception as error:
        return type(error).__name__

async def tcp():
    port = reactor.listenTCP(0, echo(), interface="127.0.0.1")
    return await talk(port, lambda client: reactor.connectTCP("127.0.0.1", port.getHost().port, client))

async def unix():
    port = reactor.listenUNIX("echo.sock", echo())
    return await talk(port, lambda client: reactor.connectUNIX("echo.sock", client))

async def tls():
    port = reactor.listenSSL(0, echo(), certificate.options(), interface="127.0.0.1")
    assert certificate.digest("sha256")
    assert ssl.optionsForClientTLS("localhost", certificate)
    options = ssl.CertificateOptions()
    return await talk(port, lambda client: reactor.connectSSL("127.0.0.1", port.getHost().port, client, options))

async def udp():
    once = Once()
    reactor.listenUDP(0, once, interface="127.0.0.1")
    other = reactor.listenUDP(0, protocol.DatagramProtocol(), interface="127.0.0.1")
    other.write(b"hello", ("127.0.0.1", once.transport.getHost().port))
    return await once.answer

async def later():
    return await task.deferLater(reactor, 0, lambda: "hello")

async def error():
    try:
        raise ValueError("told")
    except ValueError:
        log.err(None, "is to be told")

async def work():
    for each in (thread, process, resolver, name, tcp, unix, tls, udp, later, error):
        if each.__name__ in os.environ["LACKS"].split():
            continue
        try:
            print("does", each.__name__, await each())
        except BaseException as failed:
            print("does not", each.__name__, repr(failed))
    reactor.stop()

with open("shop.pem") as file:
    certificate = ssl.PrivateCertificate.loadPEM(file.read())
reactor.callWhenRunning(lambda: defer.ensureDeferred(work()))
"""

DONE = [
    "does thread True",
    "does process b'hello\\n'",
    "does resolver 127.0.0.1",
    "does name DNSLookupError",
    "does tcp b'hello'",
    "does unix b'hello'",
    "does tls b'hello'",
    "does udp b'hello'",
    "does later hello",
    "does error None",
]


def judge(place: Place, *options: str, lacks: str = "") -> None:
    """Start it with *options*, and see that it does all but what it *lacks*."""
    write(place, FEATURES)
    certificate = trustme.CA().issue_cert("localhost")
    certificate.private_key_and_cert_chain_pem.write_to_path(place.folder / "shop.pem")
    (place.folder / "shop.pem").chmod(0o644)
    place.allow("shop.pem")
    plaitd = place.foreground(*options, name="shop.tac", environment={"LACKS": lacks})
    ended = plaitd.wait()
    assert ended.code == 0, ended
    done = [line.partition("] ")[2] for line in ended.output.splitlines() if "[stdout#info] does" in line]
    assert done == [line for line in DONE if line.split()[1] not in lacks.split()]
    assert 'shop.tac", line' in ended.output  # the traceback of the error
    assert "ValueError: told" in ended.output


def make_inside(place: Place) -> Path:
    """Return a folder to run in, ``jail/run``."""
    inside = place.folder / "jail/run"
    inside.mkdir(parents=True)
    place.allow("jail")
    return inside


@pytest.mark.root
def test_as_another_user(place: Place) -> None:
    """As nobody, who perhaps cannot read where Python is."""
    os.chown(make_inside(place), 65534, 65534)
    judge(place, "-u", "nobody", "--rundir", "jail/run")


@pytest.mark.root
def test_as_another_user_in_another_root_folder(place: Place) -> None:
    """Where there is nothing: no Python, no /etc, no /dev, but a folder to run in; so no program, either."""
    os.chown(make_inside(place), 65534, 65534)
    judge(place, "-u", "nobody", "--chroot", "jail", "--rundir", "run", lacks="process")


TIMER = """
calls = []

def tick():
    calls.append(len(calls))
    if len(calls) == 2:
        raise ValueError("no luck")
    if len(calls) > 2:
        reactor.stop()

internet.TimerService(0.01, tick).setServiceParent(application)
"""


@pytest.mark.root
def test_a_timer_that_fails_in_another_root_folder_is_run_again(place: Place) -> None:
    """What tells of its error is loaded before there is no Python any more."""
    os.chown(make_inside(place), 65534, 65534)
    write(place, TIMER)
    ended = place.foreground("-u", "nobody", "--chroot", "jail", "--rundir", "run", name="shop.tac").wait()
    assert ended.code == 0, ended
    assert "the timer's function failed, and is not called again: ValueError: no luck" in ended.output
    assert "ImportError" not in ended.output


def test_in_the_sandbox(place: Place) -> None:
    """All that needs no port; to bind and to connect has to be allowed."""
    judge(place, "--sandbox", lacks="tcp tls")


#: What opens a port, by when: in the part with privileges, in the start.
PORTS = """
port = int(os.environ["PORT"])

class Late(service.Service):
    def startService(self):
        self.port = reactor.listenTCP(port, protocol.Factory(), interface="127.0.0.1")

    def stopService(self):
        return self.port.stopListening()

kinds = {"early": lambda: internet.TCPServer(port, protocol.Factory(), interface="127.0.0.1"), "late": Late}
add(kinds[os.environ["KIND"]]())
"""


@pytest.mark.parametrize(
    ("kind", "allowed", "code"), [("early", False, 0), ("late", False, 69), ("late", True, 0)], ids=str
)
def test_a_port_in_the_sandbox(place: Place, kind: str, allowed: bool, code: int) -> None:
    """One that is opened with privileges is there before the sandbox is closed; one of the start has to be allowed."""
    if read_abi() < 4:
        pytest.skip("NOT RUN: needs a system whose Landlock knows ports: Linux 6.7")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    write(place, PORTS)
    options = ["--sandbox", *([f"--allow=bind:{port}"] if allowed else [])]
    plaitd = place.foreground(*options, name="shop.tac", environment={"PORT": str(port), "KIND": kind})
    ended = plaitd.wait() if code else plaitd.ready().stop()
    assert ended.code == code, ended
    if code:
        assert f"did not start: cannot listen on 127.0.0.1:{port}: permission denied" in ended.last_line
