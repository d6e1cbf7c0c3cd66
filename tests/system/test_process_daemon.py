"""What a daemon and the process that started it owe to each other, with real forks."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
import subprocess
import termios
from pathlib import Path

import pytest

from tests.system.daemons import end, read_pid, run, start, status

#: A daemon that shows in a FIFO that it is there, and is ready when it is told so in there.
PATIENT = """
    with daemon() as prepared:
        with open("door") as door:
            door.read()
        serve(prepared)
"""


@pytest.mark.promise(32)
def test_the_parent_waits_until_the_daemon_is_ready(tmp_path: Path) -> None:
    """The parent exits with 0 when the daemon says that it is ready, and not a moment before."""
    os.mkfifo(tmp_path / "door")
    with start(tmp_path, PATIENT) as parent:
        with open(tmp_path / "door", "w"):
            pid = read_pid(tmp_path)
            assert pid != parent.pid
            assert parent.poll() is None
            between = int(status(pid)["PPid"])
        assert parent.wait(20) == 0
    with pytest.raises(ProcessLookupError):
        os.kill(between, 0)
    end(pid)
    assert not (tmp_path / "plaitd.pid").exists()


@pytest.mark.promise(32)
def test_the_port_answers_when_the_parent_returns(tmp_path: Path) -> None:
    """A client connects at once after the parent's return: the socket listens since before the fork."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code, errors = run(
        tmp_path,
        f"""
        with daemon("tcp:{port}:interface=127.0.0.1") as prepared:
            serve(prepared)
        """,
    )
    assert (code, errors) == (0, "")
    socket.create_connection(("127.0.0.1", port), 5).close()
    end(read_pid(tmp_path))


@pytest.mark.promise(33)
def test_a_daemon_lets_go_of_what_its_starter_had(tmp_path: Path) -> None:
    """No session of its own to lead, no terminal, /dev/null, no planted descriptor, an empty mask, rundir, umask."""
    planted = [os.open("/dev/null", os.O_RDONLY) for _ in range(50)]
    (tmp_path / "run").mkdir()
    os.mkfifo(tmp_path / "door")

    def block() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1})

    try:
        code, errors = run(
            tmp_path,
            """
            own = open(__file__)
            with daemon("tcp:0:interface=127.0.0.1", "unix:sock", rundir="run") as prepared:
                open("kept", "w").write(repr([
                    own.fileno(), prepared.pidfile.fileno(), *sorted(prepared.sockets.descriptors())
                ]))
                prepared.ready()
                open("../door", "w").close()
                signal.pause()
            """,
            pass_fds=planted,
            preexec_fn=block,
        )
    finally:
        for descriptor in planted:
            os.close(descriptor)
    assert (code, errors) == (0, "")
    pid = read_pid(tmp_path)
    (tmp_path / "door").read_bytes()  # it has let go of its parent, too
    try:
        facts = status(pid)
        assert os.getsid(pid) != pid
        assert os.getsid(pid) != os.getsid(0)
        assert Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[4] == "0"  # tty_nr
        assert os.readlink(f"/proc/{pid}/cwd") == str(tmp_path / "run")
        assert facts["Umask"] == "0077"
        assert int(facts["SigBlk"], 16) == 0
        descriptors = {int(name): os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")}
        assert [descriptors.pop(number) for number in (0, 1, 2)] == ["/dev/null"] * 3
        assert sorted(descriptors) == sorted(eval((tmp_path / "run/kept").read_text()))
        assert os.stat(tmp_path / "run/kept").st_mode & 0o777 == 0o600
    finally:
        end(pid, signal.SIGKILL)


@pytest.mark.promise(33)
def test_a_daemon_has_left_the_terminal_for_good(tmp_path: Path) -> None:
    """Started in a session with a terminal, it has none, cannot open it by name, and gets none by opening another."""
    master, slave = os.openpty()
    terminal = os.ttyname(slave)
    body = f"""
        def tty():
            return open("/proc/self/stat").read().rpartition(")")[2].split()[4]

        before = tty()
        with daemon() as prepared:
            try:
                os.close(os.open("/dev/tty", os.O_RDWR))
                name = "it has one"
            except OSError as error:
                name = error.strerror
            os.open({terminal!r}, os.O_RDWR)  # without O_NOCTTY: a leader of a session would get it
            open("seen", "w").write(repr((before, name, tty(), os.getsid(0) == os.getpid())))
            serve(prepared)
    """

    def take_terminal() -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    try:
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), slave)
        with start(tmp_path, body, start_new_session=True, preexec_fn=take_terminal, **streams) as parent:
            assert parent.wait(20) == 0
    finally:
        os.close(slave)
        os.close(master)
    end(read_pid(tmp_path))
    before, *now = eval((tmp_path / "seen").read_text())
    assert before != "0"  # or there was nothing to leave
    assert now == ["No such device or address", "0", False]


def test_closed_standard_streams_do_no_harm(tmp_path: Path) -> None:
    """Started with 0, 1 and 2 closed, no socket gets one of those numbers, and is not replaced by /dev/null."""
    code, _ = run(
        tmp_path,
        """
        with daemon("tcp:0:interface=127.0.0.1") as prepared:
            open("numbers", "w").write(repr([prepared.pidfile.fileno(), *prepared.sockets.descriptors()]))
            serve(prepared)
        """,
        preexec_fn=lambda: os.closerange(0, 3),
    )
    assert code == 0
    pid = read_pid(tmp_path)
    numbers = eval((tmp_path / "numbers").read_text())
    shown = [os.readlink(f"/proc/{pid}/fd/{number}") for number in numbers]
    end(pid)
    assert min(numbers) > 2
    assert shown[0] == str(tmp_path / "plaitd.pid")
    assert shown[1].startswith("socket:")


FAILURES = {
    "killed": ("daemon(); os.kill(os.getpid(), 9)", 70, "was killed by SIGKILL before it was ready"),
    "crashed": ("daemon(); os.kill(os.getpid(), 11)", 70, "was killed by SIGSEGV before it was ready"),
    "told to stop": ("daemon(); os.kill(os.getpid(), 15)", 70, "was killed by SIGTERM before it was ready"),
    "killed by a signal without a name": (
        "daemon(); os.kill(os.getpid(), 40)",
        70,
        "was killed by signal 40 before it was ready",
    ),
    "left": ("daemon(); os._exit(5)", 5, "ended with exit code 5 before it was ready"),
    "left as if well": ("daemon(); os._exit(0)", 70, "ended with exit code 0 before it was ready"),
    "sys.exit": ("with daemon(): sys.exit(3)", 3, "plaitd: sys.exit(3)\n"),
    "an error of ours": (
        "from plait.errors import CannotCreate\nwith daemon(): raise CannotCreate('a: b: c')",
        73,
        "plaitd: a: b: c\n",
    ),
    "an error of theirs": ("with daemon(): 1 / 0", 70, "ZeroDivisionError: division by zero\n"),
    "failed": ("with daemon() as p: p.failed('web: not\\nready: hm \\udc80', 69)", 69, "plaitd: web: not\nready: hm "),
    "failed with 0": ("with daemon() as p: p.failed('it ended', 0)", 70, "plaitd: it ended\n"),
    "port in use": ("daemon('tcp:{port}:interface=127.0.0.1')", 69, "tcp:{port}:interface=127.0.0.1: cannot be opened"),
    "second socket bad": ("daemon('unix:sock', 'unix:no/where')", 69, "unix:no/where: cannot be opened"),
    "pidfile is a directory": ("daemon(pidfile='folder')", 73, "plaitd: folder: is a directory: give"),
    "pidfile in no directory": ("daemon(pidfile='no/x')", 73, "no/x: cannot be written (there is no directory"),
    "unknown user": ("daemon(uid='nobdy')", 78, "plaitd: --uid nobdy: no such user: give a name"),
    "unknown group": ("daemon(gid='nobdy')", 78, "plaitd: --gid nobdy: no such group: give a name"),
    "no rundir": ("daemon(rundir='no')", 78, "no: cannot be entered (No such file or directory): make it, or"),
    "rundir is a file": ("daemon(rundir='program.py')", 78, "program.py: cannot be entered (Not a directory)"),
    "threads": (
        "threading.Thread(target=time.sleep, args=(1,), name='poller').start(); daemon()",
        78,
        "plaitd: threads run already (poller): start them in a service, not while the application loads",
    ),
    "no /dev/null": (
        "os.devnull = '/dev/nothing'; daemon()",
        70,
        "/dev/nothing: cannot be opened (No such file or directory): a daemon needs it: make it, or use --nodaemon\n",
    ),
    "no more processes": (
        "import resource; resource.setrlimit(resource.RLIMIT_NPROC, (0, 0)); os.setuid(65534)\n"
        "daemon(pidfile='', rundir='/')",
        70,
        "plaitd: cannot fork (Resource temporarily unavailable): raise the limit of processes, or use --nodaemon\n",
    ),
}


@pytest.mark.promise(32)
@pytest.mark.parametrize("kind", FAILURES)
def test_a_failure_is_told_by_the_parent(tmp_path: Path, kind: str) -> None:
    """Whatever a start fails of, before the fork or after it: one text, the exit code, and nothing is left behind."""
    if kind == "no more processes" and os.getuid() != 0:
        pytest.skip("only root may become somebody who has no processes left")
    body, code, text = FAILURES[kind]
    (tmp_path / "folder").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        # What main does with an error in the process that was started.
        wrapped = "\n".join(f"    {line}" for line in body.replace("{port}", port).splitlines())
        found, errors = run(
            tmp_path,
            f"""
from plait.errors import PlaitError
try:
{wrapped}
except PlaitError as error:
    print(f"plaitd: {{error}}", file=sys.stderr)
    sys.exit(error.exit_code)
            """,
        )
    assert text.replace("{port}", port) in errors
    assert found == code
    assert errors.startswith("plaitd: ")
    if "before it was ready" in errors:
        assert errors.endswith("before it was ready: look into plaitd.log, or start it with --nodaemon\n")
        assert errors.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"program.py", "folder"}


def test_there_are_twenty_kinds_of_failure() -> None:
    """As many as the promise counts, before the fork and after it."""
    assert len(FAILURES) >= 20


def test_a_long_text_arrives_whole(tmp_path: Path) -> None:
    """The parent prints all of a text that is longer than any pipe holds."""
    code, errors = run(tmp_path, "with daemon() as prepared: prepared.failed('é\\\\n' * 100_000, 77)")
    assert code == 77
    assert errors == "plaitd: " + "é\\n" * 100_000 + "\n"


def test_only_the_first_answer_counts(tmp_path: Path) -> None:
    """What fails after the daemon was ready is for the log: its parent has returned."""
    assert run(tmp_path, "with daemon() as p: p.ready(); p.ready(); p.failed('late', 70)") == (0, "")


def test_a_failed_daemon_is_gone_when_the_parent_returns(tmp_path: Path) -> None:
    """The parent says at once what failed, and returns when the daemon has ended: the next start finds all free."""
    os.mkfifo(tmp_path / "door")
    body = """
        prepared = daemon()
        prepared.failed("web: hm", 70)
        open("door").read()
        open("end", "w")
    """
    with start(tmp_path, body) as parent:
        assert parent.stderr is not None
        assert parent.stderr.readline() == "plaitd: web: hm\n"
        with open(tmp_path / "door", "w"):
            assert parent.poll() is None
        assert parent.wait(20) == 70
    assert (tmp_path / "end").exists()
    assert not (tmp_path / "plaitd.pid").exists()  # the daemon forgot to remove it


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, -2), (signal.SIGQUIT, 131)])
def test_a_signal_to_the_waiting_parent_stops_the_daemon(tmp_path: Path, number: int, code: int) -> None:
    """The parent passes the signal on as SIGTERM and waits for what the daemon answers; it does not exit with 0."""
    os.mkfifo(tmp_path / "door")
    body = """
        prepared = daemon()
        def stop(number, frame):
            prepared.failed(f"stopped by {signal.Signals(number).name} before it was ready", 70)
            prepared.close()
            os._exit(0)
        signal.signal(signal.SIGTERM, stop)
        open("door").read()
        signal.pause()
    """
    with start(tmp_path, body) as parent:
        with open(tmp_path / "door", "w"):
            pid = read_pid(tmp_path)
        parent.send_signal(number)
        _, errors = parent.communicate(timeout=20)
    assert errors == "plaitd: stopped by SIGTERM before it was ready\n"
    assert parent.returncode == code
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_signal_that_kills_the_daemon_is_told(tmp_path: Path) -> None:
    """A daemon that has no handler yet dies of the signal that was passed on; the parent removes its pidfile."""
    os.mkfifo(tmp_path / "door")
    with start(tmp_path, PATIENT) as parent, open(tmp_path / "door", "w"):
        parent.terminate()
        _, errors = parent.communicate(timeout=20)
    assert errors == "plaitd: stopped by SIGTERM before it was ready\n"
    assert parent.returncode == 143
    assert not (tmp_path / "plaitd.pid").exists()


def test_a_parent_that_was_told_to_stop_never_exits_with_zero(tmp_path: Path) -> None:
    """Also when the daemon became ready all the same."""
    os.mkfifo(tmp_path / "door")
    body = (
        "prepared = daemon(); signal.signal(signal.SIGTERM, lambda *_: prepared.ready()); open('door'); signal.pause()"
    )
    with start(tmp_path, body) as parent:
        with open(tmp_path / "door", "w"):
            pid = read_pid(tmp_path)
        parent.terminate()
        _, errors = parent.communicate(timeout=20)
    end(pid, signal.SIGKILL)
    assert errors == f"plaitd: was ready when SIGTERM came, and stops: pid {pid}\n"
    assert parent.returncode == 143


def test_the_third_signal_ends_the_waiting(tmp_path: Path) -> None:
    """A daemon that does not listen cannot hold the shell."""
    os.mkfifo(tmp_path / "door")
    os.mkfifo(tmp_path / "heard")
    body = """
        signal.signal(signal.SIGTERM, lambda *_: open("heard", "w").close())
        daemon()
        open("door")
        while True:
            signal.pause()
    """
    with start(tmp_path, body) as parent:
        with open(tmp_path / "door", "w"):
            pid = read_pid(tmp_path)
        for _ in range(2):
            parent.terminate()
            (tmp_path / "heard").read_bytes()  # the daemon heard
        assert parent.poll() is None
        parent.terminate()
        _, errors = parent.communicate(timeout=20)
    end(pid, signal.SIGKILL)
    assert errors == f"plaitd: does not wait for the end of its start any longer: pid {pid} was told to stop\n"
    assert parent.returncode == 143


def test_other_signals_do_not_end_the_waiting(tmp_path: Path) -> None:
    """HUP, USR1 and USR2 are meant for the daemon, or for a terminal that the daemon has left."""
    os.mkfifo(tmp_path / "door")
    with start(tmp_path, PATIENT) as parent:
        with open(tmp_path / "door", "w"):
            for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
                parent.send_signal(number)
        assert parent.wait(20) == 0
    end(read_pid(tmp_path))


def test_the_daemon_outlives_a_parent_that_is_killed(tmp_path: Path) -> None:
    """With its parent killed while it waits, the daemon starts all the same, and nobody is left between them."""
    os.mkfifo(tmp_path / "door")
    body = """
        with daemon() as prepared:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            open("door").read()
            serve(prepared)
    """
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with start(tmp_path, body, **silent) as parent, open(tmp_path / "door", "w"):
        pid = read_pid(tmp_path)
        between = int(status(pid)["PPid"])
        assert status(between)["PPid"] == str(parent.pid)
        handle = os.pidfd_open(between)
        parent.kill()
        parent.wait(20)
        assert select.select([handle], [], [], 20)[0]
        os.close(handle)
    end(pid)
    assert not (tmp_path / "plaitd.pid").exists()


def test_a_child_that_keeps_the_pipe_does_not_hold_the_parent(tmp_path: Path) -> None:
    """A daemon that dies is noticed although a forked child of it still has its end of the pipe."""
    body = """
        daemon()
        child = os.fork()
        if child == 0:
            signal.alarm(30)
            signal.pause()
        open("child", "w").write(str(child))
        os.kill(os.getpid(), signal.SIGKILL)
    """
    # No pipes for its output: the child would hold those too.
    with open(tmp_path / "errors", "w") as errors:
        code, _ = run(tmp_path, body, stdout=subprocess.DEVNULL, stderr=errors)
    end(int((tmp_path / "child").read_text()))
    assert code == 70
    assert "was killed by SIGKILL before it was ready" in (tmp_path / "errors").read_text()


def test_what_was_printed_before_the_fork_is_printed_once(tmp_path: Path) -> None:
    """Buffers are written before the fork: neither lost nor doubled."""
    with start(tmp_path, "print('hello'); daemon().ready(); sys.stdout.flush()") as parent:
        assert parent.communicate(timeout=20) == ("hello\n", "")
