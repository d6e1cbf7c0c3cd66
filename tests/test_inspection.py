"""What `plait check` can know of an endpoint without opening it, and that it then opens nothing."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from pathlib import Path

import pytest

from plait import inspection
from plait.endpoints import Endpoint
from plait.errors import BindError, EndpointError
from plait.sockets import Sockets


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def problems(text: str) -> list[str]:
    return [str(problem) for problem in Endpoint.listening(text).problems()]


@pytest.mark.parametrize(
    "text", ["tcp:0", "tcp:8080:interface=127.0.0.1", "udp:5353", "unix:shop", "unix:@shop", "fd:9"]
)
def test_what_is_right_has_no_problems(folder: Path, text: str) -> None:
    """And no file is left."""
    assert problems(text) == []
    assert os.listdir(folder) == []


def test_a_port_in_use_is_not_known(folder: Path) -> None:
    """To know it would mean to bind; a check never does."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        assert problems(f"tcp:{holder.getsockname()[1]}:interface=127.0.0.1") == []


def test_a_socket_that_is_in_use_or_stale_is_no_problem(folder: Path) -> None:
    """The server to be replaced may be using it; a stale one is replaced."""
    with socket.socket(socket.AF_UNIX) as holder:
        holder.bind("shop")
        assert problems("unix:shop") == []


def test_paths_that_cannot_be_bound_are_said(folder: Path) -> None:
    """In the words of the start."""
    (folder / "file").write_text("precious")
    assert problems("unix:file") == [
        "unix:file: cannot be opened (File exists): what is there is not a socket: move it away, or choose another path"
    ]
    assert problems("unix:no/shop") == [
        f"unix:no/shop: cannot be opened (No such file or directory): make the directory {folder}/no, "
        "or choose another path"
    ]
    assert problems("unix:file/shop") == [
        f"unix:file/shop: cannot be opened (Not a directory): make the directory {folder}/file, or choose another path"
    ]


def test_a_low_port_without_the_right_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Root, the capability, or a system that has no low ports make it right."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(inspection, "first_free_port", lambda: 1024)
    monkeypatch.setattr(inspection, "has_capability", lambda number: False)
    assert problems("tcp:80") == [
        "tcp:80: cannot be opened (Permission denied): ports under 1024 need root or CAP_NET_BIND_SERVICE"
    ]
    assert problems("tcp:1024") == problems("tcp:0") == []
    monkeypatch.setattr(inspection, "has_capability", lambda number: number == 10)
    assert problems("tcp:80") == []
    monkeypatch.setattr(inspection, "has_capability", lambda number: False)
    monkeypatch.setattr(inspection, "first_free_port", lambda: 80)
    assert problems("tcp:80") == []


def test_the_rights_of_this_process_are_read() -> None:
    """From the kernel: a process that is root has them all, unless some were taken from it."""
    assert 0 <= inspection.first_free_port() <= 65536
    effective = next(line for line in Path("/proc/self/status").read_text().splitlines() if "CapEff:" in line)
    assert inspection.has_capability(10) == bool(int(effective.split()[1], 16) & 1 << 10)


def test_certificates_are_tried() -> None:
    """For both sides."""
    sentence = (
        "no.pem: the certificate cannot be read (No such file or directory): "
        "check the path, and that this user may read it"
    )
    assert problems("ssl:8443:certKey=no.pem") == [sentence]
    (problem,) = Endpoint.connecting("tls:h:443:certificate=no.pem:verify=0").problems()
    assert str(problem) == sentence
    assert Endpoint.connecting("h:1").problems() == []


def test_problems_are_errors_with_the_exit_code_of_the_start() -> None:
    """69 for what cannot be bound, 78 for a certificate that cannot be used."""
    certificate, binding = Endpoint.listening("unix:no/shop:certKey=no.pem").problems()
    assert (type(certificate), certificate.exit_code) == (EndpointError, 78)
    assert (type(binding), binding.exit_code) == (BindError, 69)


# What the start says --------------------------------------------------------------------------------------------------


def said(*texts: str) -> list[str]:
    """Return what is said of endpoints that one process would open, in this order."""
    opened: list[Endpoint] = []
    sentences = []
    for endpoint in map(Endpoint.listening, texts):
        refused = inspection.inspect_binding(endpoint, opened)
        opened += [] if refused else [endpoint]
        sentences += [str(error) for error in refused]
    return sentences


def found(*texts: str) -> list[str]:
    """Return what opening them says."""
    sockets = Sockets()
    sentences = []
    for endpoint in map(Endpoint.listening, texts):
        try:
            sockets.open(endpoint)
        except BindError as error:
            sentences.append(str(error))
    sockets.close_all()
    return sentences


def port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """Return a port that is free for both protocols."""
    with socket.socket(socket.AF_INET6, kind) as one:
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        one.bind(("::", 0))
        number: int = one.getsockname()[1]
        return number


SHARED = {
    "all and one": ("tcp:{}", "tcp:{}:interface=127.0.0.1"),
    "one and all": ("tcp:{}:interface=127.0.0.1", "tcp:{}"),
    "two addresses": ("tcp:{}:interface=127.0.0.1", "tcp:{}:interface=127.0.0.2"),
    "the same twice": ("tcp:{}:interface=127.0.0.1", "tcp:{}:interface=127.0.0.1"),
    "two spellings": ("tcp:{}:interface=127.0.0.1", "tcp:{}:interface=localhost"),
    "two backlogs": ("tcp:{}:interface=127.0.0.1", "tcp:{}:interface=127.0.0.1:backlog=5"),
    "shared ports": ("tcp:{}:interface=127.0.0.1:reuseport=1", "tcp:{}:interface=127.0.0.1:backlog=5:reuseport=1"),
    "shared by one": ("tcp:{}:interface=127.0.0.1:reuseport=1", "tcp:{}:interface=127.0.0.1:backlog=5"),
    "all of both and IPv4": ("tcp6:{}", "tcp:{}:interface=127.0.0.1"),
    "IPv4 and all of both": ("tcp:{}", "tcp6:{}"),
    "the two loopbacks": ("tcp:{}:interface=127.0.0.1", "tcp6:{}:interface=\\:\\:1"),
    "all of IPv4 and an IPv6": ("tcp:{}", "tcp6:{}:interface=\\:\\:1"),
    "datagrams and connections": ("tcp:{}:interface=127.0.0.1", "udp:{}:interface=127.0.0.1"),
    "datagrams twice": ("udp:{}", "udp:{}:interface=127.0.0.1"),
    "any free port": ("tcp:0", "tcp:0:interface=127.0.0.1"),
    "one path": ("unix:shop", "unix:./shop"),
    "one path, two kinds": ("unix:shop", "unixgram:shop"),
    "two paths": ("unix:shop", "unix:other"),
    "one name": ("unix:@plait{}", "unix:@plait{}:mode=600"),
    "one name, two kinds": ("unix:@plait{}", "unixgram:@plait{}"),
    "two modes": ("unix:shop", "unix:shop:mode=600"),
}


@pytest.mark.parametrize("texts", SHARED.values(), ids=SHARED)
def test_what_an_application_takes_from_itself_is_known(folder: Path, texts: tuple[str, str]) -> None:
    """Two endpoints of one process for the same place: as the start says it, and only then."""
    number = port()
    written = [text.format(number) for text in texts]
    assert said(*written) == found(*written)


PLACES = [
    "tcp:0:interface=127.0.0.1",
    "tcp:0:interface=127.1.2.3",
    "tcp:0:interface=203.0.113.7",
    "tcp:0:interface=224.0.0.1",
    "udp:0:interface=255.255.255.255",
    "udp:0:interface=127.255.255.255",
    "tcp:0:interface=localhost",
    "tcp:0:interface=no-such-name.invalid",
    "tcp6:0",
    "tcp6:0:interface=\\:\\:1",
    "tcp6:0:interface=2001\\:db8\\:\\:7",
    "tcp6:0:interface=127.0.0.1",
    "unix:sock",
    "unix:file",
    "unix:folder",
    "unix:link",
    "unix:no/shop",
    "unix:file/shop",
    "fd:9",
    "fd:99",
    "systemd:name=shop",
]


@pytest.mark.parametrize("text", PLACES)
def test_what_is_said_is_what_opening_says(folder: Path, text: str) -> None:
    """Addresses that this machine has not, names, paths, descriptors."""
    (folder / "file").touch()
    (folder / "folder").mkdir()
    (folder / "link").symlink_to("nowhere")
    with socket.socket(socket.AF_UNIX) as left:
        left.bind("sock")
    assert said(text) == found(text)


@pytest.mark.parametrize("mode", [0o777, 0o333, 0o555, 0o000], ids=oct)
@pytest.mark.parametrize("text", ["unix:new", "unix:left", "unix:locked", "unix:file"])
def test_what_an_ordinary_user_is_told_is_what_opening_says(text: str, mode: int) -> None:
    """Of a folder that is closed, and of somebody else's socket, at which it cannot be asked who answers."""
    where = os.getcwd()
    folder = tempfile.mkdtemp(prefix="plait-")
    try:
        os.chdir(folder)
        for name in ("left", "locked"):
            with socket.socket(socket.AF_UNIX) as one:
                one.bind(name)
            os.chmod(name, 0o666 if name == "left" else 0o000)
        Path("file").touch()
        os.chmod(folder, mode)
        was = os.geteuid()
        if was == 0:
            os.seteuid(65534)
        try:
            told = said(text)
            opened = found(text)
        finally:
            os.seteuid(was)
        assert told == opened
    finally:
        os.chmod(folder, 0o755)
        os.chdir(where)
        shutil.rmtree(folder)


def test_descriptors_that_were_passed_are_looked_at_and_stay_as_they_are() -> None:
    """One that listens is right, one that does not is said; neither is closed, nor made non-blocking."""
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket() as idle:
        passed = [("shop", listening.fileno()), ("idle", idle.fileno())]
        assert inspection.inspect_binding(Endpoint.listening("systemd:name=shop"), (), passed) == []
        (error,) = inspection.inspect_binding(Endpoint.listening("systemd:index=1"), (), passed)
        assert str(error) == (
            f"systemd:index=1: descriptor {idle.fileno()} does not listen: "
            "set Accept=no in its unit, or call listen() before it is passed"
        )
        assert listening.getblocking()
        assert listening.getsockname()
