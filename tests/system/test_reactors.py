"""Each event loop serves: connections, datagrams, programs, signals, as a daemon and in the foreground."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator

import pytest
import trustme

from plait.runner.reactors import KNOWN
from tests.system.daemon import IDLE, PATIENCE, PLAITD, Place
from tests.system.places import FORMS
from tests.system.test_examples import find_free_port

ECHO = """
from plait import Listener, Program

async def echo(reader, writer):
    async for line in reader:
        writer.write(line)
        await writer.drain()

class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
    def data_received(self, data):
        self.transport.write(data)

class Datagrams(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport
    def datagram_received(self, data, address):
        self.transport.sendto(data, address)

@service
async def wakes(context):
    context.ready()
    await asyncio.sleep(0.01)
    async with asyncio.timeout(60):
        await asyncio.to_thread(tell, type(asyncio.get_running_loop()).__module__.partition(".")[0])

application = Application("shop", [
    Listener("tcp:{streams}:interface=127.0.0.1", echo, name="streams"),
    Listener("tcp:{protocols}:interface=127.0.0.1", Echo, name="protocols"),
    Listener("unix:shop.sock", echo, name="unix"),
    Listener("udp:{udp}:interface=127.0.0.1", Datagrams, name="udp"),
    Program(["sh", "-c", "echo hello; exec sleep 1000"], name="program"),
    wakes,
])
"""

MODULES = {"uvloop": "uvloop", "auto": "uvloop", "rloop": "rloop"}


@pytest.fixture
def place(place: Place) -> Iterator[Place]:
    """One whose processes may take their time to end."""
    yield place
    place.assert_nothing_left(PATIENCE)


def exchange(connection: socket.socket, data: bytes = b"a line\n") -> bytes:
    """Send *data* and return what comes back."""
    connection.sendall(data)
    return connection.recv(100)


@pytest.mark.parametrize("name", KNOWN)
def test_a_loop_does_all_that_plait_needs(place: Place, name: str) -> None:
    """As a daemon: it answers in every way, hears every signal, runs a program, and stops while clients are there."""
    ports = {kind: find_free_port() for kind in ("streams", "protocols", "udp")}
    source = ECHO
    for kind, port in ports.items():
        source = source.replace("{" + kind + "}", str(port))
    place.write(source)
    daemon = place.daemonize("-r", name)
    assert place.heard() == MODULES.get(name, "asyncio")
    with (
        socket.create_connection(("127.0.0.1", ports["streams"]), PATIENCE) as streams,
        socket.create_connection(("127.0.0.1", ports["protocols"]), PATIENCE) as protocols,
        socket.socket(socket.AF_UNIX) as unix,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
    ):
        unix.settimeout(PATIENCE)
        unix.connect(str(place.folder / "shop.sock"))
        udp.settimeout(PATIENCE)
        udp.connect(("127.0.0.1", ports["udp"]))
        assert [exchange(one) for one in (streams, protocols, unix, udp)] == [b"a line\n"] * 4
        log = place.folder / "plaitd.log"
        log.rename(place.folder / "old.log")
        place.allow("old.log")
        daemon.send(signal.SIGHUP)
        daemon.send(signal.SIGUSR2)
        # Heard between two lines of an idle loop as well: the answer to the next line comes after.
        assert [exchange(one) for one in (streams, protocols, unix, udp)] == [b"a line\n"] * 4
        ended = daemon.stop()
        assert [one.recv(100) for one in (streams, protocols, unix)] == [b"", b"", b""]
    assert ended.code == 0, ended
    # The program may have said it before the log was moved, or after.
    assert "[shop/program#info] hello" in (place.folder / "old.log").read_text() + ended.output
    assert ended.seconds < 5
    text = (place.folder / "old.log").read_text() + place.log
    assert "received SIGHUP: opened the log again" in text
    assert "task shop/streams: at " in text
    assert "error]" not in text
    assert ended.last_line.endswith("ended: received SIGTERM: exit status 0")


@pytest.mark.parametrize("name", KNOWN)
def test_an_idle_loop_hears_a_signal_at_once(place: Place, name: str) -> None:
    """Nothing else happens that would wake it."""
    place.write(IDLE)
    running = place.foreground("-r", name).ready()
    ended = running.stop(signal.SIGINT)
    assert (ended.code, ended.errors) == (-signal.SIGINT, "")
    assert ended.seconds < 5


LACKS = """
from plait import Connection, Listener

async def follow(reader, writer):
    await reader.read()

application = Application("shop", [{service}])
"""


def test_what_rloop_lacks_is_said(place: Place) -> None:
    """A connection that it cannot make fails in a sentence, not in silence."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(place.aside / "a.sock"))
        listening.listen()
        place.write(LACKS.replace("{service}", f'Connection("unix:{place.aside}/a.sock", follow, name="link")'))
        running = place.foreground("-r", "rloop").ready()
        running.log_until(
            rf"unix:{place.aside}/a.sock: the event loop rloop has no connections of the kind unix: "
            "take --reactor=asyncio"
        )
        assert running.stop().code == 0


def test_tls_with_rloop_is_said(place: Place) -> None:
    """By the first client: then the listener has failed, and its group with it."""
    trustme.CA().issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(place.folder / "cert.pem"))
    place.allow("cert.pem")
    port = find_free_port()
    endpoint = f"ssl:{port}:privateKey=cert.pem:interface=127.0.0.1"
    place.write(LACKS.replace("{service}", f'Listener("{endpoint}", follow, name="web", restart="never")'))
    running = place.foreground("-r", "rloop").ready()
    with socket.create_connection(("127.0.0.1", port), PATIENCE):
        running.log_until(
            r"\[shop/web#error\] failed \(ConfigurationError: ssl:.*: the event loop rloop has no TLS: "
            r"take --reactor=asyncio\)"
        )
        running.stop()


# The command line -----------------------------------------------------------------------------------------------------


def test_help_reactors_is_printed() -> None:
    """And nothing is wanted besides it."""
    done = subprocess.run([PLAITD, "--help-reactors"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Event loops for --reactor=NAME that can be used here:\n\n  auto     uvloop where")


def test_a_name_that_there_is_not_ends_it_at_once(place: Place) -> None:
    """With the nearest."""
    place.write("application = None")
    ended = place.run("-r", "uvlop", "-y", "shop.py")
    assert (ended.code, ended.errors) == (
        2,
        "plaitd: -r: 'uvlop': there is no such event loop, did you mean uvloop?: see plaitd --help-reactors\n",
    )


@FORMS
def test_a_package_whose_loop_cannot_be_made_is_told(place: Place, daemonize: bool) -> None:
    """The loop is made after the fork: whoever waits hears it all the same, and nothing is left."""
    packages = place.aside
    (packages / "acme.py").write_text("def make():\n    raise OSError('no ring to be had')\n")
    info = packages / "acme_loops-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-loops\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[plait.reactors]\nacme = acme:make\n")
    place.write("application = Application('shop', [])\n")
    options = () if daemonize else ("-n", "-l", "plaitd.log")
    path = os.pathsep.join([str(packages), *filter(None, [os.environ.get("PYTHONPATH")])])
    ended = place.run(*options, "-r", "acme", "-y", "shop.py", environment={"PYTHONPATH": path})
    sentence = "--reactor=acme: acme-loops cannot make its event loop (OSError: no ring to be had): take asyncio"
    assert (ended.code, ended.errors) == (78, f"plaitd: {sentence}\n")
    assert place.log.endswith(f"ended: {sentence}: exit status 78\n")


def test_no_package_is_searched_by_a_start_that_needs_none(place: Place) -> None:
    """``importlib.metadata`` stays unloaded, and so do the debugger and the profiler."""
    place.write(
        "\n@service\nasync def looks(context):\n"
        "    names = ('importlib.metadata', 'pdb', 'cProfile', 'pstats', 'setproctitle', 'plait.runner.stacks')\n"
        "    tell(' '.join(name for name in names if name in sys.modules) or 'none')\n"
        'application = Application("shop", [looks])\n'
    )
    for name in ("auto", "asyncio", "epoll"):
        assert place.run("-n", "-r", name, "-y", "shop.py").code == 0
        assert place.heard() == "none"
