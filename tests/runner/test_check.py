"""What would keep an application from starting: all of it, in the order of a start, with its words and codes."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from plait import access
from plait.endpoints import Endpoint
from plait.errors import PlaitError
from plait.process.pidfile import Pidfile
from plait.runner.check import inspect, inspect_settings, run_in_child
from plait.runner.settings import Settings
from plait.services.listener import Listener
from plait.tree.application import Application

ELSEWHERE = "give another place with --pidfile=FILE, or none with --pidfile="


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer nothing."""


def application(*endpoints: str) -> Application:
    return Application("shop", [Listener(text, echo, name=f"l{number}") for number, text in enumerate(endpoints)])


def found(settings: Settings, *endpoints: str, environ: dict[str, str] | None = None) -> list[tuple[int, str]]:
    """Return the codes and the sentences of all problems."""
    problems = inspect(settings, application(*endpoints), environ or {})
    return [(problem.exit_code, str(problem)) for problem in problems]


def test_what_is_right_has_no_problems_and_nothing_is_left(folder: Path) -> None:
    """As a daemon and in the foreground; no pidfile, no log, no socket."""
    assert found(Settings(), "unix:echo.sock", "tcp:0") == []
    assert found(Settings(nodaemon=True, umask=0o27), "unix:echo.sock", "tcp:0") == []
    assert os.listdir(folder) == []


def test_all_problems_are_found_in_the_order_of_a_start(folder: Path) -> None:
    """The first is what a start would end with; those after it need not be met one by one."""
    (folder / "run").mkdir()
    settings = Settings(nodaemon=True, uid="no-such-user", gid="", pidfile="no/p", rundir="run", logfile="no/log")
    assert found(settings, "unix:no/a.sock", "ssl:0:certKey=no.pem") == [
        (78, "--uid no-such-user: no such user: give a name of the passwd database, or a number"),
        (73, f"no/p: cannot be written (there is no directory {folder}/no): make it, or {ELSEWHERE}"),
        (
            69,
            "unix:no/a.sock: cannot be opened (No such file or directory): "
            f"make the directory {folder}/run/no, or choose another path",
        ),
        (
            78,
            "no.pem: the certificate cannot be read (No such file or directory): "
            "check the path, and that this user may read it",
        ),
        # Nothing about the log: it is opened as the user who is not known.
    ]


def test_without_its_folder_only_what_does_not_lie_there_is_looked_at(folder: Path) -> None:
    """The pidfile and the log are relative to where it was typed; sockets and certificates are not."""
    assert found(Settings(rundir="no", pidfile=".", logfile="."), "unix:echo.sock", "ssl:0:certKey=no.pem") == [
        (73, f".: is a directory: {ELSEWHERE}"),
        (78, "no: cannot be entered (No such file or directory): make it, or give another --rundir"),
        (73, f"{folder}: cannot be written (Is a directory): give another place with --logfile"),
    ]


def test_the_process_stays_where_and_who_it_is(folder: Path) -> None:
    """The steps that change a process are gone through by another."""
    (folder / "run").mkdir()
    before = os.getcwd(), os.getresuid(), os.getresgid(), os.umask(0o22), os.listdir("/proc/self/fd")
    os.umask(before[3])
    found(Settings(rundir="run", uid="nobody", umask=0), "unix:echo.sock")
    after = os.getcwd(), os.getresuid(), os.getresgid(), os.umask(0o22), os.listdir("/proc/self/fd")
    os.umask(after[3])
    assert before == after


def test_a_pidfile_that_a_running_daemon_holds_is_not_a_problem(folder: Path) -> None:
    """It is about to be replaced, perhaps; its file and its lock stay as they are."""
    pidfile = Pidfile.lock(str(folder / "plaitd.pid"))
    assert found(Settings()) == []
    (folder / "twin").hardlink_to(folder / "plaitd.pid")
    assert found(Settings()) == []  # it is not we who would write it
    pidfile.remove()
    (folder / "twin").rename("plaitd.pid")
    (folder / "twin").hardlink_to(folder / "plaitd.pid")
    assert found(Settings()) == [
        (73, f"plaitd.pid: has 2 names (hard links), and somebody may have planted it: remove it, or {ELSEWHERE}")
    ]


PLACES = ["link", "pipe", "socket", "directory", "twin", "file/below", "/dev/full/x"]


@pytest.mark.parametrize("name", PLACES)
def test_a_log_that_cannot_be_opened_is_said_as_opening_it_says(folder: Path, name: str) -> None:
    """The words of `open_logs`, which tries."""
    from plait.runner.logs import LogSettings, open_logs

    (folder / "link").symlink_to("elsewhere")
    os.mkfifo("pipe")
    with socket.socket(socket.AF_UNIX) as left:
        left.bind("socket")
    (folder / "directory").mkdir()
    (folder / "file").touch()
    (folder / "twin").hardlink_to(folder / "file")
    with pytest.raises(PlaitError) as caught:
        open_logs(LogSettings(file=os.path.abspath(name)))
    assert found(Settings(logfile=name)) == [(73, str(caught.value))]


@pytest.mark.parametrize("name", ["", "-", "/dev/stdout", "/dev/null", "new.log"])
def test_logs_that_can_be_opened_are_right(folder: Path, name: str) -> None:
    """Streams, devices, a file that is not there yet."""
    assert found(Settings(nodaemon=True, logfile=name)) == []


@pytest.mark.root
def test_what_the_new_user_may_not_do_is_found(folder: Path) -> None:
    """The log is opened after the change of the user, the pidfile and sockets before it."""
    folder.chmod(0o755)
    assert found(Settings(uid="54321", gid="54321"), "unix:echo.sock", "tcp:81:interface=127.0.0.1") == [
        (73, f"{folder}/plaitd.log: cannot be written (Permission denied): give another place with --logfile")
    ]


@pytest.mark.root
def test_a_log_that_somebody_put_into_a_folder_like_tmp_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log is opened so that Linux refuses that itself; the pidfile is not, and plait refuses it."""
    monkeypatch.setattr(access, "read_protection", lambda name: 1)
    (folder / "file").touch()
    os.chown("file", 54321, 54321)
    folder.chmod(0o1777)
    assert found(Settings(logfile="file")) == [
        (73, f"{folder}/file: cannot be written (Permission denied): give another place with --logfile")
    ]
    assert found(Settings(pidfile="file")) == [
        (73, f"file: belongs to another user (uid 54321), and somebody may have planted it: remove it, or {ELSEWHERE}")
    ]


def test_a_loop_that_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """By name; auto takes what there is."""
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert found(Settings(reactor="uvloop")) == [
        (78, "--reactor=uvloop: is not installed here: pip install plait[uvloop], or take asyncio")
    ]
    assert found(Settings(reactor="auto")) == []


def test_settings_that_contradict_each_other_are_said_before_anything_is_loaded() -> None:
    """And a check of the rest would not know what was meant."""
    both = Settings(nodaemon=True, daemon=True)
    (problem,) = inspect_settings(both, {})
    assert (problem.exit_code, str(problem)) == (
        2,
        "--nodaemon, --daemon: one excludes the other: give one of them",
    )
    assert found(Settings(logfile="-"), "unix:no/a.sock") == [
        (2, "--logfile=-: a daemon has no standard output: name a file, or stay in front with -n")
    ]


def test_a_manager_keeps_it_in_the_foreground(folder: Path) -> None:
    """As it keeps plaitd: what is wrong for a daemon is then not looked for."""
    assert found(Settings(logfile="-"), environ={"NOTIFY_SOCKET": "/run/notify"}) == []


@contextmanager
def running_thread() -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait, name="mine")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_threads_are_a_problem_for_a_daemon_only() -> None:
    """They would be lost by the fork; the check itself gets along with them."""
    with running_thread():
        assert found(Settings(nodaemon=True), "unix:echo.sock") == []
        ((code, sentence),) = found(Settings())
    assert code == 78
    assert sentence.startswith("threads run already (mine): ")


def test_what_systemd_passed_is_looked_at_and_kept() -> None:
    """The variables stay for who starts; a socket that listens is right."""
    environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "x"}
    assert found(Settings(), "systemd:name=shop", environ=environ) == [
        (69, "LISTEN_FDS=x: is not a number: leave the variable to systemd"),
        (69, "systemd:name=shop: systemd passed no sockets: start it from a .socket unit, or write such as tcp:8080"),
    ]
    assert environ["LISTEN_FDS"] == "x"


def test_one_place_for_two_endpoints_is_found() -> None:
    """In the order in which they are opened."""
    assert found(Settings(), "tcp:48124:interface=127.0.0.1", "tcp:48124") == [
        (
            69,
            "tcp:48124: cannot be opened (Address already in use): "
            "this application has it open as tcp:48124:interface=127.0.0.1: write both the same way, or change one",
        )
    ]


def test_a_fault_of_the_check_itself_is_a_problem() -> None:
    """An endpoint of somebody's own that fails when it is asked, say: never "nothing would keep it"."""

    def fail() -> list[PlaitError]:
        raise ZeroDivisionError("division by zero")

    (problem,) = run_in_child(fail)
    assert str(problem) == ("the check could not be finished (ZeroDivisionError: division by zero): report it as a bug")
    assert problem.exit_code == 70


def test_a_child_that_dies_is_a_problem() -> None:
    """Killed for want of memory, say."""

    def die() -> list[PlaitError]:
        os._exit(3)

    (problem,) = run_in_child(die)
    assert str(problem) == "the check could not be finished (its process ended): report it as a bug"


def test_descriptors_keep_their_numbers_in_the_child() -> None:
    """An endpoint names a descriptor by its number: what the check opens for itself is not taken for it."""
    free = os.open("/dev/null", os.O_RDONLY)
    os.close(free)
    ((code, sentence),) = found(Settings(), f"fd:{free}")
    assert code == 69
    assert f"descriptor {free} is not open" in sentence
    assert str(Endpoint.listening(f"fd:{free}")) == f"fd:{free}"
