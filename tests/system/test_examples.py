"""
Every file in examples/, started by plaitd as its docstring says, shown by a real client, and stopped by TERM.

The examples listen at fixed ports, so that people can try them; a copy of each runs here, at ports that are free.
"""

from __future__ import annotations

import ast
import os
import random
import re
import signal
import socket
import ssl
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import BufferedRWPair
from pathlib import Path

import pytest
import trustme

from tests.system.daemon import Daemon, Foreground, Place

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = sorted(path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".toml"))

#: How long a client waits for an answer: the machine may be busy.
PATIENCE = 20.0

Play = Callable[["Stage"], None]
PLAYS: dict[str, Play] = {}
REACTORS: dict[str, tuple[str, ...]] = {}


def shows(name: str, *reactors: str) -> Callable[[Play], Play]:
    """Register what shows the purpose of the example *name*, on each of these *reactors* (the default one if none)."""

    def register(play: Play) -> Play:
        PLAYS[name] = play
        REACTORS[name] = reactors or ("auto",)
        return play

    return register


class Stage:
    """A folder with copies of examples at free ports, what runs of them, and clients."""

    def __init__(self, place: Place, reactor: str) -> None:
        self.place = place
        self._reactor = reactor
        self._ports: dict[str, str] = {}

    def copy(self, name: str, **constants: str) -> None:
        """Copy the example *name*, with other ports, and other values of its *constants*."""
        text = (EXAMPLES / name).read_text()
        text = re.sub(r"\b(?:70|81)\d\d\b", lambda match: str(self.port(match[0])), text)
        for constant, value in constants.items():
            text, count = re.subn(rf"^{constant} = .*$", f"{constant} = {value}", text, flags=re.MULTILINE)
            assert count == 1
        (self.place.folder / name).write_text(text)
        self.place.allow(name)

    def port(self, number: object) -> int:
        """Return the port that stands here for the *number* in the examples."""
        return int(self._ports.setdefault(str(number), str(find_free_port())))

    @contextmanager
    def running(self, name: str, *options: str) -> Iterator[Foreground]:
        """Run the example *name* in the foreground, stop it by TERM, and look how it ended."""
        if not (self.place.folder / name).exists():
            self.copy(name)
        plaitd = self.place.foreground("-r", self._reactor, *options, name=name).ready()
        yield plaitd
        check_end(plaitd)

    @contextmanager
    def daemon(self, name: str) -> Iterator[Daemon]:
        """Run the example *name* as a daemon, likewise."""
        self.copy(name)
        plaitd = self.place.daemonize("-r", self._reactor, name=name)
        yield plaitd
        check_end(plaitd)

    @contextmanager
    def client(self, port: int) -> Iterator[Client]:
        """Connect to what listens, in the examples, at *port*."""
        with (
            socket.create_connection(("127.0.0.1", self.port(port)), PATIENCE) as connection,
            connection.makefile("rwb") as stream,
        ):
            yield Client(connection, stream)

    def ask(self, port: int, *lines: str) -> list[str]:
        """Send *lines*, as a client that says no more, and return the lines that come back."""
        with self.client(port) as client:
            client.write(*lines)
            client.connection.shutdown(socket.SHUT_WR)
            return client.read_all()


@dataclass(frozen=True)
class Client:
    """A client that writes and reads lines."""

    connection: socket.socket
    stream: BufferedRWPair

    def write(self, *lines: str) -> None:
        """Send *lines*."""
        self.stream.write("".join(f"{line}\n" for line in lines).encode())
        self.stream.flush()

    def read(self) -> str:
        """Return the next line."""
        return self.stream.readline().decode().removesuffix("\n")

    def read_all(self) -> list[str]:
        """Return the lines that come until the server has no more to say."""
        return self.stream.read().decode().splitlines()


def check_end(plaitd: Daemon | Foreground) -> None:
    """Stop *plaitd* by TERM: it ends with 0, says so, and waits for nobody."""
    ended = plaitd.stop(signal.SIGTERM)
    assert ended.code == 0, ended
    assert ended.seconds < 5
    assert ended.errors == ""
    assert ended.last_line.endswith("exit status 0")


def find_free_port() -> int:
    """Return a port that nobody has, of those that the system gives to nobody by itself."""
    while True:
        number = random.randrange(20000, 32000)
        try:
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                with socket.socket(socket.AF_INET, kind) as one:
                    one.bind(("127.0.0.1", number))
        except OSError:
            continue
        return number


# What each is for -----------------------------------------------------------------------------------------------------


@shows("echo.py", "asyncio", "uvloop")
def show_echo(stage: Stage) -> None:
    """What is sent comes back, in the foreground and as a daemon, whose port answers when the command returns."""
    for running in (stage.running, stage.daemon):
        with running("echo.py"):
            assert stage.ask(7007, "hello", "again") == ["hello", "again"]


@shows("chat.py")
def show_chat(stage: Stage) -> None:
    """Everybody reads what anybody writes, who comes and who goes; at the stop everybody reads the end."""
    with ExitStack() as members:
        with stage.running("chat.py"):
            ada, bob = (members.enter_context(stage.client(7008)) for _ in range(2))
            ada.write("Ada")
            assert ada.read() == "your name? * Ada is here"
            assert stage.ask(7008, "Ada") == ["your name? that will not do"]
            bob.write("Bob")
            assert (bob.read(), ada.read()) == ("your name? * Bob is here", "* Bob is here")
            ada.write("hello, Bob")
            assert (bob.read(), ada.read()) == ("Ada: hello, Bob", "Ada: hello, Bob")
            bob.connection.shutdown(socket.SHUT_WR)
            assert (bob.read_all(), ada.read()) == ([], "* Bob has left")
        assert ada.read_all() == []


@shows("proxy.py")
def show_proxy(stage: Stage) -> None:
    """Clients are answered through one connection to echo.py; while that is away they wait, and are answered then."""
    stage.copy("echo.py")
    with stage.running("proxy.py"), stage.client(8106) as early, stage.client(8106) as late:
        early.write("early")
        with stage.running("echo.py", "--pidfile="):
            assert early.read() == "early"
            late.write("a line", "and another")
            assert (late.read(), late.read()) == ("a line", "and another")
            connections = [line.split()[1:4] for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
            upstream = [each for each in connections if each[1:] == [f"0100007F:{stage.port(7007):04X}", "01"]]
            assert len(upstream) == 1
        late.write("between")
        with stage.running("echo.py", "--pidfile="):
            assert late.read() == "between"


@shows("periodic.py")
def show_periodic(stage: Stage) -> None:
    """Words are counted for clients, and swept away beside them when they are old."""
    stage.copy("periodic.py", FORGET_AFTER="0.5")
    with stage.running("periodic.py") as plaitd, stage.client(8105) as client:
        client.write("one", "two", "one")
        assert [client.read() for _ in range(3)] == ["1", "2", "2"]
        plaitd.log_until(r"\[periodic/sweep#info\] forgot one, two$")
        client.write("three")
        assert client.read() == "1"


@shows("resource.py")
def show_resource(stage: Stage) -> None:
    """What clients send is kept in a database, from one run to the next."""
    stage.place.allow("lines.sqlite")
    with stage.running("resource.py"):
        assert stage.ask(8104, "one", "two") == ["1", "2"]
    with stage.running("resource.py"):
        assert stage.ask(8104, "three") == ["3"]


@shows("program.py", "asyncio", "uvloop")
def show_program(stage: Stage) -> None:
    """The child serves files; killed, it comes back as another process, and it goes when plaitd goes."""
    served = f"http://127.0.0.1:{stage.port(8101)}/program.py"
    with stage.running("program.py") as plaitd:
        pids = []
        for _ in range(2):
            (answer,) = stage.ask(8102)
            found = re.fullmatch(rf"process (\d+) serves http://127.0.0.1:{stage.port(8101)}/", answer)
            assert found
            pids.append(int(found[1]))
            with urllib.request.urlopen(served, timeout=PATIENCE) as response:
                assert response.read() == (stage.place.folder / "program.py").read_bytes()
            os.kill(pids[-1], signal.SIGKILL)
            plaitd.log_until(r"program/files#warning\] waiting, starts again .* was killed by SIGKILL")
            plaitd.log_until(r"Serving HTTP")
        assert pids[0] != pids[1]


@shows("thread.py")
def show_thread(stage: Stage) -> None:
    """The thread finds primes while the listener answers, and is told to stop."""
    with stage.running("thread.py") as plaitd:
        first = last = int(stage.ask(8103)[0])
        deadline = time.monotonic() + PATIENCE
        while last == first:
            assert time.monotonic() < deadline
            (last,) = map(int, stage.ask(8103))
        assert last > first
    assert int(re.findall(r"\[thread/primes#info\] the last prime was (\d+)", plaitd.output)[0]) >= last


@shows("udp_service.py", "asyncio", "uvloop")
def show_udp_service(stage: Stage) -> None:
    """Each datagram is counted, and answered."""
    with stage.running("udp_service.py"), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(PATIENCE)
        client.connect(("127.0.0.1", stage.port(7009)))
        for name, answer in (("apples", "apples 1"), ("pears", "pears 1"), ("apples", "apples 2")):
            client.send(name.encode())
            assert client.recv(100).decode() == f"{answer}\n"


@shows("tls_service.py", "asyncio", "uvloop")
def show_tls_service(stage: Stage) -> None:
    """Clients are told about their connection, over TLS; a certificate that is replaced is shown to the next one."""
    authority = trustme.CA()
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    stage.place.allow("cert.pem", "key.pem")

    def write_certificate() -> None:
        made = authority.issue_cert("localhost")
        for name, blobs in (("cert.pem", made.cert_chain_pems), ("key.pem", [made.private_key_pem])):
            new = stage.place.root / name
            new.write_bytes(b"".join(blob.bytes() for blob in blobs))
            new.replace(stage.place.folder / name)

    def ask() -> int:
        with (
            stage.client(7010) as client,
            trusting.wrap_socket(client.connection, server_hostname="localhost") as connection,
        ):
            host, port = connection.getsockname()
            answer = connection.recv(100).decode()
            assert re.fullmatch(rf"{host} port {port}, TLSv1\.\d, \w+\n", answer), answer
            certificate = connection.getpeercert()
            assert certificate
            return int(str(certificate["serialNumber"]), 16)

    write_certificate()
    with stage.running("tls_service.py"):
        first = ask()
        assert ask() == first
        write_certificate()
        assert ask() != first


@shows("described.toml", "asyncio", "uvloop")
def show_described(stage: Stage) -> None:
    """What the functions of two other examples do, in an application that no Python describes."""
    stage.copy("periodic.py", FORGET_AFTER="0.5")
    stage.copy("echo.py")
    stage.place.allow("__pycache__")
    with stage.running("described.toml") as plaitd:
        assert stage.ask(8107, "one", "two", "one") == ["1", "2", "2"]
        assert stage.ask(8108, "hello") == ["hello"]
        plaitd.log_until(r"\[described/sweep#info\] forgot one, two$")
    with stage.daemon("described.toml"):
        assert stage.ask(8108, "hello") == ["hello"]


@shows("mixed.py", "asyncio", "uvloop")
def show_mixed(stage: Stage) -> None:
    """Twisted takes orders, asyncio counts them, trio reports them, in one tree."""
    stage.copy("mixed.py", PERIOD="0.1")
    with stage.running("mixed.py") as plaitd:
        plaitd.log_until(r"\[mixed/report#info\] 0 orders$")
        assert stage.ask(8111, "apples", "pears") == ["order 1", "order 2"]
        plaitd.log_until(r"\[mixed/report#info\] 2 orders$")
        assert stage.ask(8112) == ["2"]


# The judge ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "reactor"), [(name, reactor) for name in PLAYS for reactor in REACTORS[name]])
def test_an_example_does_what_it_is_for(tmp_path: Path, name: str, reactor: str) -> None:
    """The example *name* runs under plaitd, serves its purpose, ends with 0 at TERM, and leaves nothing behind."""
    if reactor == "uvloop":
        pytest.importorskip("uvloop")
    with Place(tmp_path) as place:
        PLAYS[name](Stage(place, reactor))
        place.assert_nothing_left()


def test_every_example_is_shown() -> None:
    """Each file in examples/ has its entry here, and each entry its file."""
    assert sorted(PLAYS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_an_example_says_how_to_try_it(name: str) -> None:
    """Its docstring says what it is in a sentence, and has the command that runs it; it is short enough to be read."""
    text = (EXAMPLES / name).read_text()
    if name.endswith(".toml"):
        docstring = re.sub("^# ?", "", text.partition("\n\n")[0], flags=re.MULTILINE)
    else:
        docstring = ast.get_docstring(ast.parse(text)) or ""

    assert re.match(r"[A-Z][^\n]+[.:,]\n", docstring)
    assert f"\n    plaitd -n{'f' if name.endswith('.toml') else 'y'} {name}\n" in docstring
    assert len(text.splitlines()) <= 80
