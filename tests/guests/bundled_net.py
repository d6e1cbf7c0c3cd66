"""``dns``, ``ftp``, ``socks``, ``portforward``, ``procmon`` and ``inetd``."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.guests.bundled import Rig, Steps, bundled, until
from tests.guests.bundled_talk import need_crypt, people
from tests.guests.network import connect

# dns ------------------------------------------------------------------------------------------------------------------

PYZONE = """\
zone = [
    SOA(
        "example.net", mname="ns.example.net", rname="root.example.net",
        serial=7, refresh="1H", retry="1H", expire="1H", minimum="1H",
    ),
    NS("example.net", "ns.example.net"),
    A("ns.example.net", "127.0.0.1"),
    A("shop.example.net", "127.0.0.7"),
    AAAA("shop.example.net", "::7"),
    CNAME("www.example.net", "shop.example.net"),
    MX("example.net", 10, "shop.example.net"),
    TXT("shop.example.net", b"some words"),
]
"""

BINDZONE = """\
$ORIGIN example.net.
$TTL 3600
example.net. IN SOA ns.example.net. root.example.net. (
    7 ; serial
    3600 3600 3600 3600
    )
example.net. IN NS ns.example.net.
ns.example.net. IN A 127.0.0.1
shop.example.net. IN A 127.0.0.7
"""


def dig(rig: Rig, *words: str, port: int = 53) -> list[str]:
    """Return the lines that dig shows when it is asked to be short."""
    answer = rig.client("dig", "@127.0.0.1", "-p", str(port), "+short", "+time=5", "+tries=1", *words)
    return answer.splitlines()


@bundled("dns")
def pyzone(rig: Rig) -> Steps:
    """A zone in Python, at port 53: by UDP, by TCP, and as a transfer."""
    yield ["--pyzone", rig.write("zone.py", PYZONE)]
    assert dig(rig, "shop.example.net") == ["127.0.0.7"]
    assert dig(rig, "+tcp", "www.example.net")[:2] == ["shop.example.net.", "127.0.0.7"]
    assert dig(rig, "example.net", "MX") == ["10 shop.example.net."]
    assert dig(rig, "shop.example.net", "TXT") == ['"some words"']
    assert len(dig(rig, "example.net", "AXFR")) == 9  # with the first record once more at the end


@bundled("dns")
def bindzone(rig: Rig) -> Steps:
    """A zone as BIND writes it."""
    yield ["-p", "5300", "-i", "127.0.0.1", "--bindzone", rig.write("zone.db", BINDZONE)]
    assert dig(rig, "shop.example.net", port=5300) == ["127.0.0.7"]


@bundled("dns")
def hosts_file(rig: Rig) -> Steps:
    """A file of hosts."""
    yield ["--hosts-file", rig.write("hosts", "127.0.0.9 shop.example.org\n::9 shop.example.org\n"), "-v"]
    assert dig(rig, "shop.example.org") == ["127.0.0.9"]
    assert dig(rig, "shop.example.org", "AAAA") == ["::9"]


@bundled("dns")
def recursive(rig: Rig) -> Steps:
    """What another server knows, and from the cache when that one is gone."""
    zone = rig.write("zone.py", PYZONE)
    resolv = rig.write("resolv.conf", "nameserver 127.0.0.1\n")
    yield ["--recursive", "--cache", "--resolv-conf", resolv, "-p", "5300"]
    with rig.other("dns", "--pyzone", zone):
        assert dig(rig, "shop.example.net", port=5300) == ["127.0.0.7"]
    assert dig(rig, "shop.example.net", port=5300) == ["127.0.0.7"]


@bundled("dns")
def secondary(rig: Rig) -> Steps:
    """A zone that is fetched from another server."""
    zone = rig.write("zone.py", PYZONE)
    with rig.other("dns", "-p", "5300", "--pyzone", zone):
        yield ["--secondary", "127.0.0.1:5300/example.net"]
        until(lambda: dig(rig, "shop.example.net") == ["127.0.0.7"], "the transfer")


# ftp ------------------------------------------------------------------------------------------------------------------


def ftp(rig: Rig, *words: str, **how: object) -> str:
    """Return what curl gets, or fails with."""
    return rig.client("curl", "--silent", "--show-error", *words, **how)


@bundled("ftp")
def anonymous(rig: Rig) -> Steps:
    """Nobody in particular may read, both ways round, and not write."""
    rig.write("site/file.txt", "content")
    yield ["--root", str(rig.data / "site")]
    assert "file.txt" in ftp(rig, "ftp://127.0.0.1:2121/")
    assert ftp(rig, "ftp://127.0.0.1:2121/file.txt") == "content"
    assert ftp(rig, "--ftp-port", "127.0.0.1", "ftp://127.0.0.1:2121/file.txt") == "content"
    assert ftp(rig, "--upload-file", "/etc/hostname", "ftp://127.0.0.1:2121/new", code=25) == ""


@bundled("ftp")
def auth_memory(rig: Rig) -> Steps:
    """Who is known may write, at home; nobody comes in with a wrong word."""
    rig.write("home/alice/mine.txt", "secret things")
    rig.mounts[rig.data / "home"] = "/home"
    yield ["-p", "21", "--auth", "memory:alice:rabbit", "--auth", "anonymous"]
    assert ftp(rig, "-u", "alice:rabbit", "ftp://127.0.0.1/mine.txt") == "secret things"
    ftp(rig, "-u", "alice:rabbit", "--upload-file", "/etc/protocols", "ftp://127.0.0.1/new")
    assert (rig.data / "home/alice/new").read_text() == Path("/etc/protocols").read_text()
    ftp(rig, "-u", "alice:hare", "ftp://127.0.0.1/mine.txt", code=67)


@bundled("ftp")
def password_file(rig: Rig) -> Steps:
    """It starts; that nobody of the file comes in is so under twistd too: see NOT_HERE."""
    rig.expected.append("opt_password_file was deprecated")
    rig.write("site/file.txt", "content")
    yield ["--password-file", rig.write("passwords", "alice:rabbit\n"), "--root", str(rig.data / "site")]
    assert ftp(rig, "ftp://127.0.0.1:2121/file.txt") == "content"
    ftp(rig, "-u", "alice:rabbit", "ftp://127.0.0.1:2121/mine.txt", code=67)


@bundled("ftp")
def auth_unix(rig: Rig) -> Steps:
    """Whoever has an account."""
    need_crypt()
    people(rig)
    rig.write("home/alice/mine.txt", "secret things")
    yield ["--auth", "unix"]
    assert ftp(rig, "-u", "alice:rabbit", "ftp://127.0.0.1:2121/mine.txt") == "secret things"


# socks, portforward ---------------------------------------------------------------------------------------------------


@contextmanager
def page(port: int) -> Iterator[None]:
    """Serve one page to whoever asks, here in the test."""
    server = socket.create_server(("127.0.0.1", port))

    def serve() -> None:
        while True:
            try:
                peer, _ = server.accept()
            except OSError:
                return
            with peer:
                if peer.recv(65536):
                    peer.sendall(b"HTTP/1.0 200 OK\r\n\r\nthe page")

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()


@bundled("socks")
def socks4(rig: Rig) -> Steps:
    """Through it to a page, by address and by name; what is refused."""
    yield []
    with page(8000):
        through = ("curl", "--silent", "--show-error", "--proxy")
        assert rig.client(*through, "socks4://127.0.0.1:1080", "http://127.0.0.1:8000/") == "the page"
        assert rig.client(*through, "socks4a://127.0.0.1:1080", "http://localhost:8000/") == "the page"
    rig.client(*through, "socks4://127.0.0.1:1080", "http://127.0.0.1:8001/", code=97)
    assert "127.0.0.1:8000" in rig.log


@bundled("portforward")
def forward(rig: Rig) -> Steps:
    """Twisted's own, although plait has one of this name."""
    yield ["--port", "tcp:6666:interface=127.0.0.1", "--host", "127.0.0.1", "--dest_port", "8000"]
    rig.spared.add(6666)
    with page(8000):
        assert rig.client("curl", "--silent", "http://127.0.0.1:6666/") == "the page"


# procmon --------------------------------------------------------------------------------------------------------------


def pid_in(path: Path, not_: int = 0) -> int:
    """Wait for a process number in the file at *path* that is another than the one named."""
    found = 0

    def look() -> bool:
        nonlocal found
        text = path.read_text() if path.exists() else ""
        found = int(text) if text.endswith("\n") else 0
        return found not in (0, not_)

    until(look, "a process number")
    return found


@bundled("procmon")
def keeps(rig: Rig) -> Steps:
    """A program that is killed runs again; its words are logged; it ends with its monitor."""
    script = f"echo $$ > {rig.data}/pid; echo hello from $$; exec sleep 1000"
    yield ["-t", "0", "-m", "0.01", "-M", "0.1", "sh", "-c", script]
    first = pid_in(rig.data / "pid")
    os.kill(first, signal.SIGKILL)
    second = pid_in(rig.data / "pid", first)
    until(lambda: f"hello from {second}" in rig.log, "what the program says")


@bundled("procmon", leaves=True)
def kills(rig: Rig) -> Steps:
    """A program that does not listen is killed when its time is over."""
    yield ["-k", "0.2", "sh", "-c", f"trap '' TERM; echo $$ > {rig.data}/pid; exec sleep 1000"]
    pid_in(rig.data / "pid")


# inetd ----------------------------------------------------------------------------------------------------------------

INETD = """\
7777 stream tcp nowait root /bin/cat cat -
echo stream tcp nowait root internal
time stream tcp nowait root internal
discard stream tcp nowait root internal
chargen stream tcp nowait root internal
"""


@bundled("inetd", leaves=True)
def programs(rig: Rig) -> Steps:
    """A program for each connection, and what needs none: by number, and by name below 1024."""
    rig.expected.append("outlived what started it")  # the program of a client that stays
    yield ["--file", rig.write("inetd.conf", INETD)]
    # inetd keeps the connection when the program has ended.
    assert rig.client("nc", "-N", "-w", "1", "127.0.0.1", "7777", input=b"some words\n") == "some words\n"
    assert rig.running is not None
    tasks = Path(f"/proc/{rig.running.pid}/task")
    until(lambda: not "".join(path.read_text() for path in tasks.glob("*/children")), "the end of the program")
    with connect(("127.0.0.1", 7)) as client:
        client.sendall(b"back")
        assert client.recv(100) == b"back"
    with connect(("127.0.0.1", 37)) as client:
        assert len(client.recv(10)) == 4
    with connect(("127.0.0.1", 19)) as client:
        assert client.recv(10)
