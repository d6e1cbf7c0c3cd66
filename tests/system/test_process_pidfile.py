"""One plaitd a pidfile, with real processes."""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.daemon import HEAD, IDLE, PLAITD
from tests.system.daemons import end, read_pid, run, start

READY = """
    with daemon() as prepared:
        serve(prepared)
"""

#: Starts many daemons at the same moment, as often as it is told, and prints what each of the first parents met.
RACE = """
import json, os, select, signal, sys
from plait.errors import AlreadyRunning
from plait.process.prepare import ProcessSettings, prepare

def compete(barrier):
    os.read(barrier, 1)
    try:
        with prepare(ProcessSettings(daemonize=True), ()) as prepared:
            signal.alarm(30)
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            prepared.ready()
            signal.sigwait({signal.SIGTERM})
    except AlreadyRunning as error:
        os.write(2, str(error).encode())
        os._exit(error.exit_code)
    os._exit(0)

for number in range(int(sys.argv[1])):
    with open("plaitd.pid", "w") as file:
        file.write(f"{os.getpid()}\\n" if number % 2 else "")  # left behind, by one whose pid is somebody else's now
    barrier, opened = os.pipe()
    told = {}
    for _ in range(50):
        reader, writer = os.pipe()
        pid = os.fork()
        if not pid:
            os.close(opened)
            os.dup2(writer, 2)
            os.close(writer)
            compete(barrier)
        os.close(writer)
        told[pid] = reader
    os.close(barrier)
    os.close(opened)
    results = []
    for pid, reader in told.items():
        text = os.read(reader, 1000).decode()
        os.close(reader)
        results.append((pid, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), text))
    winner = int(open("plaitd.pid").read())
    handle = os.pidfd_open(winner)
    os.kill(winner, signal.SIGTERM)
    select.select([handle], [], [], 20)
    os.close(handle)
    print(json.dumps([winner, results]), flush=True)
"""


@pytest.mark.promise(35)
@pytest.mark.time_limit(300)
def test_of_fifty_starts_at_once_one_wins(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Exactly one of 50 runs; the others exit with 75 and name it, by the pid of its daemon or of who starts it."""
    rounds = 200 if request.config.getoption("--long", default=False) else 3
    (tmp_path / "race.py").write_text(RACE)
    command = [sys.executable, "race.py", str(rounds)]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = process.stdout.readlines()
    assert process.returncode == 0
    assert len(lines) == rounds
    for line in lines:
        winner, results = json.loads(line)
        winners = [pid for pid, code, _ in results if code == 0]
        assert len(winners) == 1
        sentences = {
            f'plaitd.pid: held by plaitd with pid {pid}: stop it with "kill {pid}", or give another --pidfile'
            for pid in (winner, *winners)
        }
        assert all(code == 75 and text in sentences for pid, code, text in results if pid not in winners)
    assert not (tmp_path / "plaitd.pid").exists()


def test_a_file_that_goes_while_it_is_being_locked_is_not_enough(tmp_path: Path) -> None:
    """Many that come and go at once: a lock on a file that its owner has just removed lets nobody in."""
    turns = """
import os
from plait.errors import AlreadyRunning
from plait.process.pidfile import Pidfile

for _ in range(4):
    if os.fork() == 0:
        for _ in range(1500):
            try:
                pidfile = Pidfile.lock(os.path.abspath("plaitd.pid"))
            except AlreadyRunning:
                continue
            os.close(os.open("inside", os.O_CREAT | os.O_EXCL))
            os.unlink("inside")
            pidfile.remove()
        os._exit(0)
print([os.wait()[1] for _ in range(4)])
"""
    done = subprocess.run(
        [sys.executable, "-c", turns], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("[0, 0, 0, 0]\n", "")


def test_the_second_start_hears_who_runs_and_not_address_in_use(tmp_path: Path) -> None:
    """The lock comes before the port: exit code 75 and the pid of the daemon, which goes on undisturbed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    body = f"""
        from plait.errors import PlaitError
        try:
            with daemon("tcp:{port}:interface=127.0.0.1", "unix:sock") as prepared:
                serve(prepared)
        except PlaitError as error:
            print(error, file=sys.stderr)
            sys.exit(error.exit_code)
    """
    assert run(tmp_path, body) == (0, "")
    pid = read_pid(tmp_path)
    code, errors = run(tmp_path, body)
    assert (
        errors == f'plaitd.pid: held by plaitd with pid {pid}: stop it with "kill {pid}", or give another --pidfile\n'
    )
    assert code == 75
    assert read_pid(tmp_path) == pid
    socket.create_connection(("127.0.0.1", port), 5).close()
    end(pid)
    assert {path.name for path in tmp_path.iterdir()} == {"program.py"}


@pytest.mark.promise(36)
@pytest.mark.parametrize(
    "content", ["{alive}\n", "1\n", "0\n", "-1\n", "", "99999999999999999999\n", "not a number", "\0" * 4096]
)
def test_a_stale_pidfile_never_blocks(tmp_path: Path, content: str) -> None:
    """Whatever was left in it, the pid of a living stranger too: no lock, no daemon."""
    (tmp_path / "plaitd.pid").write_text(content.format(alive=os.getpid()))
    assert run(tmp_path, READY) == (0, "")
    pid = read_pid(tmp_path)
    assert (tmp_path / "plaitd.pid").read_text() == f"{pid}\n"
    end(pid)
    assert not (tmp_path / "plaitd.pid").exists()


#: As process 1 of a namespace: a plaitd is killed, its number is given to a stranger, and it is started again.
REUSE = """
import json, os, signal, subprocess, sys, time
plaitd, name = sys.argv[1:]

def start():
    done = subprocess.run([plaitd, "--daemon", "-y", "shop.py"], capture_output=True, text=True, timeout=20)
    return done.returncode, done.stderr, int(open("plaitd.pid").read())

def sleep_as(number):
    with open("/proc/sys/kernel/ns_last_pid", "w") as last:
        last.write(str(number - 1))
    pid = os.fork()
    if not pid:
        os.execv("/bin/sleep", [name, "60"])
    assert pid == number, (pid, number)

def end(pid, number):
    os.kill(pid, number)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

first = start()
end(first[2], signal.SIGKILL)
stale = int(open("plaitd.pid").read())
sleep_as(stale)
second = start()
third = start()
with open("plaitd.pid", "r+") as file:
    file.write(f"{stale}\\n")  # a held lock counts, whatever the number
fourth = start()
ended = end(second[2], signal.SIGTERM), end(stale, signal.SIGTERM), os.path.exists("plaitd.pid")
print(json.dumps([first, stale, second, third, fourth, ended]))
"""


@pytest.mark.promise(36)
@pytest.mark.root
@pytest.mark.parametrize("name", ["sleep", "plaitd"])
def test_a_number_that_was_given_to_somebody_else_does_not_block(tmp_path: Path, name: str) -> None:
    """Killed, its number reused by a stranger, by one called plaitd too: it starts; a held lock keeps others out."""
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("NOT RUN: needs unshare (util-linux)")
    if not os.access("/proc/sys/kernel/ns_last_pid", os.W_OK):
        pytest.skip("NOT RUN: this kernel does not let a number be given again (CONFIG_CHECKPOINT_RESTORE)")
    (tmp_path / "shop.py").write_text(HEAD + IDLE)
    (tmp_path / "reuse.py").write_text(REUSE)
    command = [unshare, "--pid", "--fork", "--mount-proc", "--kill-child", sys.executable, "reuse.py", PLAITD, name]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    first, stale, second, third, fourth, ended = json.loads(done.stdout)
    assert first == [0, "", stale]
    assert second[:2] == [0, ""]
    assert second[2] != stale
    assert third == [75, f"plaitd: {sentence_of(second[2])}", second[2]]
    assert fourth[0] == 75
    assert ended == [0, -signal.SIGTERM, False]


def sentence_of(pid: int) -> str:
    """Return what the second of two starts says."""
    return f'plaitd.pid: held by plaitd with pid {pid}: stop it with "kill {pid}", or give another --pidfile\n'


def test_a_killed_daemon_does_not_block(tmp_path: Path) -> None:
    """After kill -9 the pidfile remains, and the next start takes it."""
    assert run(tmp_path, READY) == (0, "")
    first = read_pid(tmp_path)
    end(first, signal.SIGKILL)
    assert read_pid(tmp_path) == first
    assert run(tmp_path, READY) == (0, "")
    assert read_pid(tmp_path) != first
    end(read_pid(tmp_path))


@pytest.mark.promise(36)
def test_a_held_lock_blocks_whatever_the_number(tmp_path: Path) -> None:
    """The lock is the truth; a number that its holder did not write is nobody's, and is not named."""
    (tmp_path / "plaitd.pid").write_text(f"{os.getpid()}\n")
    with open(tmp_path / "plaitd.pid") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        code, errors = run(tmp_path, READY)
    assert code == 1  # the program lets the exception through
    assert errors.endswith(
        "AlreadyRunning: plaitd.pid: held by a process that has not written its pid yet: "
        "wait for it, or give another --pidfile\n"
    )


@pytest.mark.promise(38)
@pytest.mark.parametrize("daemonize", [True, False])
def test_a_pidfile_that_was_replaced_is_left(tmp_path: Path, daemonize: bool) -> None:
    """At the end only the file that was locked is removed: one that took its place is somebody else's."""
    os.mkfifo(tmp_path / "door")
    body = f"""
        with daemon(daemonize={daemonize}) as prepared:
            prepared.ready()
            open("door").read()
    """
    with start(tmp_path, body) as process:
        with open(tmp_path / "door", "w"):
            handle = os.pidfd_open(read_pid(tmp_path))
            (tmp_path / "other").write_text("4711\n")
            (tmp_path / "other").rename(tmp_path / "plaitd.pid")
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert handle in select.select([handle], [], [], 20)[0]
        os.close(handle)
    assert (tmp_path / "plaitd.pid").read_text() == "4711\n"


def test_a_forked_child_does_not_remove_the_pidfile(tmp_path: Path) -> None:
    """A child that leaves through the same code, as forks of libraries do, leaves the file to its owner."""
    body = """
        prepared = daemon(daemonize=False)
        if os.fork() == 0:
            prepared.close()
            os._exit(0)
        os.wait()
        print(open("plaitd.pid").read() == f"{os.getpid()}\\n")
        prepared.close()
        print(os.path.exists("plaitd.pid"))
    """
    with start(tmp_path, body) as process:
        assert process.communicate(timeout=20) == ("True\nFalse\n", "")
