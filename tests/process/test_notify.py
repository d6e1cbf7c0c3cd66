"""What the manager that started us is told, over real datagrams and pipes."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from plait.process.notify import Notifier
from plait.process.prepare import should_daemonize

Make = Callable[[dict[str, str]], Notifier]


@pytest.fixture
def make() -> Iterator[Make]:
    """Make a notifier that is closed at the end."""
    made: list[Notifier] = []

    def make(environ: dict[str, str]) -> Notifier:
        made.append(Notifier(environ))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """A manager that listens at the path notify."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.setblocking(False)
        yield listening


def read(listening: socket.socket) -> list[bytes]:
    """Return all datagrams that have come."""
    datagrams = []
    try:
        while True:
            datagrams.append(listening.recv(4096))
    except BlockingIOError:
        return datagrams


def test_systemd_is_told_ready_and_stopping_once(make: Make, manager: socket.socket) -> None:
    """READY=1 and STOPPING=1 are one datagram each, however often they are said, and nothing is READY after that."""
    notifier = make({"NOTIFY_SOCKET": manager.getsockname()})
    assert read(manager) == []
    for _ in range(2):
        assert notifier.ready() == ""
    notifier.status("stopping web: 3 s\nof 10 s")
    for _ in range(2):
        notifier.stopping()
    notifier.ready()
    assert read(manager) == [b"READY=1", b"STATUS=stopping web: 3 s of 10 s", b"STOPPING=1"]


def test_a_stop_before_ready_is_never_followed_by_ready(make: Make, manager: socket.socket) -> None:
    """Who was told to stop while starting does not report ready any more."""
    notifier = make({"NOTIFY_SOCKET": manager.getsockname()})
    notifier.stopping()
    notifier.ready()
    assert read(manager) == [b"STOPPING=1"]


def test_an_abstract_address_begins_with_an_at_sign(make: Make) -> None:
    """``@name`` is the abstract socket of that name."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        name = f"plait-test-{os.getpid()}"
        listening.bind(f"\0{name}")
        listening.settimeout(5)
        make({"NOTIFY_SOCKET": f"@{name}"}).ready()
        assert listening.recv(100) == b"READY=1"


def test_the_variables_are_taken_out_of_the_environment(make: Make, manager: socket.socket) -> None:
    """No child can speak for us: the variables are gone, and the descriptor is closed on exec."""
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    environ = {"NOTIFY_SOCKET": manager.getsockname(), "PLAIT_NOTIFY_FD": str(writer), "HOME": "/"}
    make(environ)
    assert environ == {"HOME": "/"}
    assert not os.get_inheritable(writer)
    os.close(reader)


def test_s6_reads_one_newline_and_the_end(make: Make) -> None:
    """Readiness for s6: nothing before, a newline, and the descriptor is closed; nothing more, and no STATUS."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    notifier = make({"PLAIT_NOTIFY_FD": str(writer)})
    notifier.status("starting")
    with pytest.raises(BlockingIOError):
        os.read(reader, 100)
    notifier.ready()
    notifier.ready()
    assert os.read(reader, 100) == b"\n"
    assert os.read(reader, 100) == b""
    os.close(reader)


def test_s6_hears_nothing_after_a_stop(make: Make) -> None:
    """A stop before readiness closes the descriptor of s6 without a newline, when it comes to it."""
    reader, writer = os.pipe()
    notifier = make({"PLAIT_NOTIFY_FD": str(writer)})
    notifier.stopping()
    notifier.ready()
    assert os.read(reader, 100) == b""
    os.close(reader)


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"NOTIFY_SOCKET": "", "PLAIT_NOTIFY_FD": ""},
        {"NOTIFY_SOCKET": "/no/such/socket"},
        {"NOTIFY_SOCKET": "/" + "x" * 300},
        {"NOTIFY_SOCKET": "/" + "\udc80" * 3},
        {"NOTIFY_SOCKET": "/nul\0"},
        {"NOTIFY_SOCKET": "vsock:2:1234"},
        {"PLAIT_NOTIFY_FD": "three"},
        {"PLAIT_NOTIFY_FD": "1"},
        {"PLAIT_NOTIFY_FD": "-3"},
        {"PLAIT_NOTIFY_FD": "99999"},
        {"PLAIT_NOTIFY_FD": "9" * 40},
    ],
)
def test_no_manager_is_no_reason_to_fail(make: Make, environ: dict[str, str]) -> None:
    """Without a manager, or with a wrong address, everything is a no-op that neither raises nor touches a stream."""
    notifier = make(environ)
    notifier.ready()
    notifier.status("\udc80\0")
    notifier.stopping()
    os.fstat(1)


@pytest.mark.parametrize(
    ("environ", "what"),
    [
        ({"NOTIFY_SOCKET": "/no/such"}, "NOTIFY_SOCKET=/no/such: cannot be written to (No such file or directory)"),
        (
            {"NOTIFY_SOCKET": "/" + "x" * 300},
            f"NOTIFY_SOCKET=/{'x' * 300}: cannot be written to (AF_UNIX path too long)",
        ),
        ({"PLAIT_NOTIFY_FD": "three"}, "PLAIT_NOTIFY_FD=three: is not an open descriptor beyond 2"),
        ({"PLAIT_NOTIFY_FD": "1"}, "PLAIT_NOTIFY_FD=1: is not an open descriptor beyond 2"),
        ({"PLAIT_NOTIFY_FD": "99999"}, "PLAIT_NOTIFY_FD=99999: is not an open descriptor beyond 2"),
    ],
)
def test_a_manager_that_cannot_hear_is_said_once(make: Make, environ: dict[str, str], what: str) -> None:
    """It will wait in vain for "ready", and nothing else would say why."""
    notifier = make(environ)
    assert notifier.ready() == f"{what}, so nobody hears that this is ready: correct the variable, or unset it"
    notifier.stopping()
    assert notifier.ready() == ""


def test_a_manager_that_died_is_ignored(make: Make, tmp_path: Path, manager: socket.socket) -> None:
    """A dead socket raises nothing; one that is there again is told what comes next."""
    notifier = make({"NOTIFY_SOCKET": manager.getsockname()})
    manager.close()
    notifier.ready()
    (tmp_path / "notify").unlink()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as again:
        again.bind(str(tmp_path / "notify"))
        again.settimeout(5)
        notifier.stopping()
        assert again.recv(100) == b"STOPPING=1"


def test_a_full_queue_delays_a_state_and_blocks_nothing(make: Make, manager: socket.socket) -> None:
    """A manager that does not read does not hold us; READY=1 goes with the first datagram that it takes again."""
    notifier = make({"NOTIFY_SOCKET": manager.getsockname()})
    for number in range(3000):
        notifier.status(f"{number}")
    notifier.ready()
    notifier.status("lost")
    assert b"READY=1" not in read(manager)
    notifier.status("at last")
    notifier.status("more")
    assert read(manager) == [b"READY=1\nSTATUS=at last", b"STATUS=more"]


@pytest.mark.parametrize(
    ("asked", "environ", "pid", "daemonizes"),
    [
        (None, {}, 4711, True),
        (None, {"NOTIFY_SOCKET": "/run/systemd/notify"}, 4711, False),
        (None, {"PLAIT_NOTIFY_FD": "3"}, 4711, False),
        (None, {}, 1, False),
        (True, {"NOTIFY_SOCKET": "/run/systemd/notify", "PLAIT_NOTIFY_FD": "3"}, 1, True),
        (False, {}, 4711, False),
    ],
)
def test_who_watches_its_child_gets_no_fork(
    asked: bool | None, environ: dict[str, str], pid: int, daemonizes: bool
) -> None:
    """The default is to daemonize, but not under systemd, s6 or as process 1; what was asked for goes first."""
    assert should_daemonize(asked, environ, pid) is daemonizes
