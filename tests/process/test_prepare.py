"""Preparation in the foreground: order, and undoing; daemons are in tests/system."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plait.endpoints import Endpoint
from plait.errors import BindError, ConfigurationError, PlaitError
from plait.process.prepare import ProcessSettings, prepare


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Be in a folder of its own, and take the umask back afterwards."""
    monkeypatch.chdir(tmp_path)
    before = os.umask(0o022)
    yield tmp_path
    os.umask(before)


def test_paths_mean_what_they_meant_where_they_were_typed(folder: Path) -> None:
    """The pidfile is where the program was started, also when it then changes to another directory."""
    (folder / "run").mkdir()
    with prepare(ProcessSettings(pidfile="my.pid", rundir="run", umask=0o027), [], {}) as prepared:
        assert Path.cwd() == folder / "run"
        assert (folder / "my.pid").read_text() == f"{os.getpid()}\n"
        assert os.umask(0o022) == 0o027
        assert not prepared.is_daemon
    assert not (folder / "my.pid").exists()


def test_in_the_foreground_the_mask_stays(folder: Path) -> None:
    """Without --umask nothing changes, as in twistd."""
    with prepare(ProcessSettings(), [], {}):
        assert os.umask(0o022) == 0o022


def test_an_empty_pidfile_is_none(folder: Path) -> None:
    """--pidfile= writes nothing."""
    with prepare(ProcessSettings(pidfile=""), [], {}) as prepared:
        assert prepared.pidfile is None
        assert list(folder.iterdir()) == []
        assert prepared.close() == ""


def test_sockets_listen_while_it_is_prepared(folder: Path) -> None:
    """What the endpoints name is open, and closed at the end, with its file."""
    endpoint = Endpoint.listening("unix:sock")
    with prepare(ProcessSettings(), [endpoint], {}) as prepared:
        (listening,) = prepared.sockets.open(endpoint)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect("sock")
    assert listening.fileno() == -1
    assert list(folder.iterdir()) == []


def test_what_fails_leaves_nothing_behind(folder: Path) -> None:
    """A second endpoint that cannot be opened: the first is closed and the pidfile gone."""
    with pytest.raises(BindError):
        prepare(ProcessSettings(), map(Endpoint.listening, ("unix:sock", "unix:no/sock")), {})
    assert list(folder.iterdir()) == []


def test_an_unknown_user_is_found_before_anything_is_touched(folder: Path) -> None:
    """Neither pidfile nor socket was ever there, and the directory is the same."""
    (folder / "run").mkdir()
    asked = []

    def endpoints() -> Iterator[Endpoint]:
        asked.append(True)
        yield Endpoint.listening("unix:sock")

    with pytest.raises(ConfigurationError, match=r"^--uid nobdy: no such user: "):
        prepare(ProcessSettings(uid="nobdy", rundir="run"), endpoints(), {})
    assert asked == []
    assert Path.cwd() == folder


def test_a_daemon_is_not_made_beside_threads(folder: Path) -> None:
    """Refused in words, before anything is touched: a fork would lose the threads and keep their locks."""
    end = threading.Event()
    thread = threading.Thread(target=end.wait, name="poller")
    thread.start()
    try:
        with pytest.raises(ConfigurationError) as caught:
            prepare(ProcessSettings(daemonize=True), [], {})
    finally:
        end.set()
        thread.join()
    assert str(caught.value) == (
        "threads run already (poller): start them in a service, not while the application loads, "
        "or stay in the foreground with --nodaemon"
    )
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "sentence", "code"),
    [
        ({"chroot": "no"}, "--chroot no: cannot be entered (No such file or directory): make it, or give another", 78),
        ({"chroot": "file"}, "--chroot file: cannot be entered (Not a directory): make it, or give another", 78),
        ({"euid": True}, "--euid: says how to become somebody else: give --uid or --gid too", 2),
        ({"allow": ("read:/etc",)}, "--allow read:/etc: means nothing without --sandbox: give that too", 2),
        (
            {"sandbox": True, "allow": ("read:no",)},
            "--allow read:no: cannot be opened (No such file or directory): make it, or leave that out",
            78,
        ),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_is_left(
    folder: Path, settings: dict[str, Any], sentence: str, code: int
) -> None:
    """A folder that is none, an option that means nothing: neither pidfile nor socket stays."""
    (folder / "file").touch()
    with pytest.raises(PlaitError) as caught:
        prepare(ProcessSettings(**settings), [Endpoint.listening("unix:sock")], {})
    assert (str(caught.value), caught.value.exit_code) == (sentence, code)
    assert [path.name for path in folder.iterdir()] == ["file"]


def test_whoever_started_us_hears_all_of_it(folder: Path) -> None:
    """Ready, status and stopping reach systemd; nobody is told of a failure in the foreground."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("notify")
        manager.settimeout(5)
        environ = {"NOTIFY_SOCKET": str(folder / "notify")}
        with prepare(ProcessSettings(), [], environ) as prepared:
            assert environ == {}
            prepared.failed("nobody waits", 70)
            prepared.ready()
            prepared.ready()
            prepared.status("hm")
            prepared.stopping()
        assert [manager.recv(100) for _ in range(3)] == [b"READY=1", b"STATUS=hm", b"STOPPING=1"]


def test_sockets_of_systemd_come_before_those_that_are_bound(folder: Path) -> None:
    """LISTEN_FDS is taken out of the environment, and an endpoint finds its socket by name."""
    code = """
import os, socket
os.dup2(socket.create_server(("127.0.0.1", 0)).detach(), 3)
from plait.endpoints import Endpoint
from plait.process.prepare import ProcessSettings, prepare
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="web")
endpoint = Endpoint.listening("systemd:name=web")
with prepare(ProcessSettings(), [endpoint]) as prepared:
    print(len(prepared.sockets.open(endpoint)), [name for name in os.environ if name.startswith("LISTEN_")])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=False)
    assert (done.stdout, done.stderr) == ("1 []\n", "")


def test_preparing_imports_neither_asyncio_nor_the_tree() -> None:
    """The process layer is cheap, and no loop can cross its forks."""
    code = """
import sys
import plait.process.prepare, plait.process.waiting
print([name for name in sys.modules if name.startswith(("asyncio", "plait.tree", "plait.runner", "pwd", "ctypes"))])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")
