"""plaitd --sandbox, in real processes, on whatever Landlock this kernel has."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from plait.process.landlock import read_abi
from tests.system.daemon import PATIENCE, PLAITD, Place
from tests.system.test_log_place import wait_for_file

ABI = read_abi()

needs_files = pytest.mark.skipif(ABI < 1, reason="NOT RUN: this kernel has no Landlock")
needs_ports = pytest.mark.skipif(ABI < 4, reason=f"NOT RUN: this kernel has Landlock {ABI}, ports need 4 (Linux 6.7)")
needs_scopes = pytest.mark.skipif(ABI < 6, reason=f"NOT RUN: this kernel has Landlock {ABI}, signals need 6 (6.12)")

#: Tries what a person names in the file "wanted", and tells what came of each.
TRY = """
import errno, json, socket, subprocess

def attempt(what, where):
    try:
        if what == "read":
            open(where).close()
        elif what == "list":
            os.listdir(where)
        elif what == "write":
            open(where, "a").close()
        elif what == "truncate":
            os.truncate(where, 0)
        elif what == "remove":
            os.unlink(where)
        elif what == "exec":
            subprocess.run([where], check=True)
        elif what == "in a program":
            return subprocess.run(["cat", where], capture_output=True, text=True).stderr.strip().rpartition(": ")[2]
        elif what in ("connect", "bind"):
            with socket.socket() as one:
                getattr(one, what)(("127.0.0.1", int(where)))
        elif what == "signal":
            os.kill(int(where), 0)
        elif what == "abstract":
            with socket.socket(socket.AF_UNIX) as one:
                one.connect(chr(0) + where)
        elif what == "mkdir":
            os.mkdir(where)
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"

@service
async def tries(context):
    with open("wanted") as file:
        wanted = json.load(file)
    context.log.info("found: %s", json.dumps([attempt(*each) for each in wanted]))
    context.ready()
    await asyncio.Event().wait()

application = Application("shop", [tries])
"""


@pytest.fixture
def place() -> Iterator[Place]:
    """A place that every user may enter; the folder for temporary files is inside, and not all of it."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        with Place(Path(folder)) as place:
            yield place


@pytest.fixture
def outside(place: Place) -> Path:
    """A folder outside of the sandbox, with a file and a program."""
    folder = place.root / "outside"
    folder.mkdir()
    (folder / "secret").write_text("precious")
    shutil.copy("/bin/true", folder / "program")
    return folder


def found(place: Place, wanted: list[tuple[str, object]], *options: str) -> list[str]:
    """Run plaitd in the sandbox; return what came of each."""
    (place.folder / "wanted").write_text(json.dumps([[what, str(where)] for what, where in wanted]))
    place.allow("wanted")
    place.write(TRY)
    plaitd = place.foreground("--sandbox", *options)
    line = plaitd.log_until(r"found: (.*)\n")
    ended = plaitd.stop()
    assert ended.code == 0
    assert ended.errors == ""
    assert "--sandbox" not in ended.output or ABI < 4
    result: list[str] = json.loads(line.group(1))
    return result


@needs_files
@pytest.mark.promise(88)
def test_a_file_outside_of_the_list_is_refused(place: Place, outside: Path) -> None:
    """Whatever is done with it, by root too, and by a program that is run: EACCES, and it stays as it is."""
    attempts = ("read", "write", "remove", "exec")
    wanted: list[tuple[str, object]] = [(what, outside / "secret") for what in attempts]
    wanted += [("exec", outside / "program"), ("list", outside), ("mkdir", outside / "new"), ("write", outside / "x")]
    wanted += [("list", "/root"), ("list", "/var/lib"), ("list", "/home")]
    made = [Path("/usr/plait-test"), Path("/etc/plait-test")]
    wanted += [("mkdir", path) for path in made]
    try:
        assert found(place, wanted) == ["EACCES"] * len(wanted)
    finally:
        for path in made:
            if path.exists():
                path.rmdir()
    assert found(place, [("in a program", outside / "secret")]) == ["Permission denied"]
    if ABI >= 3:
        assert found(place, [("truncate", outside / "secret")]) == ["EACCES"]
    assert (outside / "secret").read_text() == "precious"
    assert sorted(path.name for path in outside.iterdir()) == ["program", "secret"]


@needs_files
@pytest.mark.promise(88)
def test_what_every_program_needs_is_open(place: Place) -> None:
    """The folder it works in, temporary files, the system's programs and settings, devices that are none."""
    place.allow("new", "made")
    wanted: list[tuple[str, object]] = [
        *(("write", "new"), ("truncate", "new"), ("remove", "new"), ("mkdir", "made"), ("read", "shop.py")),
        *(("read", "/etc/passwd"), ("read", "/proc/self/status"), ("exec", "/bin/true"), ("write", "/dev/null")),
        *(("read", "/dev/urandom"), ("write", place.root / "tmp" / "new"), ("remove", place.root / "tmp" / "new")),
        *(("list", "/usr/lib"), ("list", Path(os.__file__).parent)),
    ]
    assert found(place, wanted) == ["done"] * len(wanted)


@needs_files
@pytest.mark.promise(88)
def test_more_is_allowed_by_name(place: Place, outside: Path) -> None:
    """--allow opens a file or a folder, and only for what it says; a path is relative to where it is typed."""
    read = [
        ("read", outside / "secret"),
        ("list", outside),
        ("write", outside / "secret"),
        ("exec", outside / "program"),
    ]
    assert found(place, read, "--allow", f"read:{outside}") == ["done", "done", "EACCES", "EACCES"]
    assert found(place, read, "--allow=read:../outside/secret") == ["done", "EACCES", "EACCES", "EACCES"]
    assert found(place, read, f"--allow=exec:{outside}") == ["done", "done", "EACCES", "done"]
    assert found(place, read, f"--allow=write:{outside}") == ["done", "done", "done", "EACCES"]
    assert found(place, read, f"--allow=write:{outside / 'secret'}") == ["done", "EACCES", "done", "EACCES"]


@needs_ports
@pytest.mark.promise(88)
def test_where_any_service_says_that_it_connects_is_open(place: Place) -> None:
    """By whatever name its field has."""
    with socket.create_server(("127.0.0.1", 0)) as there:
        there.settimeout(PATIENCE)
        port = there.getsockname()[1]
        place.write(f"""
from plait import Application
from plait.batteries.portforward import PortForward

application = Application("shop", [PortForward("unix:in.sock", "tcp:127.0.0.1:{port}")])
""")
        running = place.foreground("--sandbox").ready()
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE)
            client.connect(str(place.folder / "in.sock"))
            passed, _ = there.accept()
            with passed:
                passed.sendall(b"through")
                assert client.recv(100) == b"through"
        assert running.stop().code == 0


@needs_ports
@pytest.mark.promise(88)
def test_a_port_outside_of_the_list_is_refused(place: Place) -> None:
    """EACCES, for connecting and for binding; those of --allow are open."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        mine, theirs = one.getsockname()[1], other.getsockname()[1]
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        wanted: list[tuple[str, object]] = [("connect", mine), ("connect", theirs), ("bind", port)]
        assert found(place, wanted) == ["EACCES"] * 3
        assert found(place, wanted, "--allow", f"connect:{mine}") == ["done", "EACCES", "EACCES"]
        assert (
            found(place, wanted, f"--allow=connect:{mine}", f"--allow=connect:{theirs}", f"--allow=bind:{port}")
            == ["done"] * 3
        )


@needs_scopes
@pytest.mark.promise(88)
def test_no_signal_and_no_abstract_socket_leaves_it(place: Place) -> None:
    """Another process of the same user is neither signalled nor talked to by a name that is no file."""
    name = f"plait-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"\0{name}")
        listening.listen()
        assert found(place, [("signal", os.getpid()), ("abstract", name)]) == ["EPERM", "EPERM"]


#: Every kind of service, each of which tells when it has done what it is for.
SUITE = """
from plait import *
done = set()

def note(name):
    done.add(name)
    if len(done) == 7:
        tell("all")

async def echo(reader, writer):
    async for line in reader:
        writer.write(line)

async def talk(reader, writer):
    writer.write(b"hello" + bytes([10]))
    assert await reader.readline() == b"hello" + bytes([10])
    note("connection")
    await asyncio.Event().wait()

async def ask(context):
    reader, writer = await asyncio.open_unix_connection("echo.sock")
    writer.write(b"hello" + bytes([10]))
    assert await reader.readline() == b"hello" + bytes([10])
    writer.close()
    note("unix")
    loop = asyncio.get_running_loop()
    await loop.getaddrinfo("localhost", 80)
    note("names")
    await asyncio.to_thread(lambda: open("kept", "w").close())
    note("file")
    context.ready()
    await asyncio.Event().wait()

def thread(stop):
    note("thread")
    stop.wait()

async def task():
    note("task")

application = Application("shop", [
    Listener("tcp:PORT:interface=127.0.0.1", echo, name="tcp"),
    Listener("unix:echo.sock", echo, name="unix"),
    Connection("tcp:127.0.0.1:PORT", talk, name="connection"),
    service(ask),
    Periodic(3600, lambda: note("periodic"), name="periodic"),
    Cron("* * * * *", lambda: None, name="cron"),
    Thread(thread),
    Task(task),
    Program(["sh", "-c", "echo up; cat; exec sleep 60"], name="program", ready_line="up"),
])
"""


@needs_files
@pytest.mark.promise(88)
def test_every_kind_of_service_works_in_it(place: Place) -> None:
    """As a daemon: its ports, files, threads, programs; its log is opened again; pidfile and sockets are removed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place.write(SUITE.replace("PORT", str(port)))
    place.allow("kept", "plaitd.log.1")
    daemon = place.daemonize("--sandbox", "--allow", f"write:{place.root / 'told'}")
    assert place.heard() == "all", place.log
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(b"hello\n")
        assert client.recv(100) == b"hello\n"
    os.rename(place.folder / "plaitd.log", place.folder / "plaitd.log.1")
    daemon.send(signal.SIGUSR1)
    wait_for_file(place.folder / "plaitd.log")
    ended = daemon.stop()
    assert ended.code == 0
    log = (place.folder / "plaitd.log.1").read_text() + ended.output
    assert not [line for line in log.splitlines() if "#warning]" in line or "#error]" in line]
    place.assert_nothing_left(20)


@needs_files
@pytest.mark.root
@pytest.mark.promise(88)
def test_it_goes_together_with_another_user(place: Place, outside: Path) -> None:
    """What the files' rights allow is refused all the same."""
    (outside / "secret").chmod(0o666)
    (place.root / "tmp").chmod(0o777)  # or it would be /tmp, all of it
    assert found(place, [("read", outside / "secret"), ("read", "/etc/passwd")], "-u", "nobody") == ["EACCES", "done"]


@needs_files
def test_systemd_hears_that_it_is_ready(place: Place) -> None:
    """Also by a name that is no file, which nothing in the sandbox can reach any more."""
    (place.folder / "wanted").write_text("[]")
    place.allow("wanted")
    place.write(TRY)
    name = f"plait-test-notify-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{name}")
        manager.settimeout(20)
        plaitd = place.foreground("--sandbox", environment={"NOTIFY_SOCKET": f"@{name}"})
        while (heard := manager.recv(1000)) != b"READY=1":
            assert heard.startswith(b"STATUS="), heard
        assert plaitd.stop().code == 0


def traced(place: Place, *inject: str) -> tuple[str, ...]:
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("NOT RUN: another kernel is played by strace, which is not installed")
    what = [word for each in inject for word in ("-e", f"inject=landlock_create_ruleset:{each}")]
    options = ("-f", "-qq", "-e", "signal=none", "-e", "trace=landlock_create_ruleset,landlock_restrict_self")
    return (strace, *options, *what, "-o", str(place.root / "calls"), PLAITD)


@pytest.mark.promise(88)
@pytest.mark.parametrize("error", ["ENOSYS", "EOPNOTSUPP"])
def test_without_landlock_it_runs_and_says_so(place: Place, outside: Path, error: str) -> None:
    """A kernel that has none, or in which it is turned off: one warning, and the service serves."""
    (place.folder / "wanted").write_text(json.dumps([["read", str(outside / "secret")]]))
    place.allow("wanted")
    place.write(TRY)
    plaitd = place.foreground("--sandbox", program=traced(place, f"error={error}"))
    plaitd.log_until(
        r"#warning\] --sandbox: this system has no Landlock, so nothing is closed but setuid programs: "
        r"use Linux 6\.7 or later, with lsm=landlock\n"
    )
    plaitd.log_until(r'found: \["done"\]')
    plaitd.ready()
    facts = Path(f"/proc/{traced_pid(place)}/status").read_text()
    assert "NoNewPrivs:\t1" in facts
    os.kill(traced_pid(place), signal.SIGTERM)
    assert plaitd.wait().code == 0
    assert "landlock_restrict_self" not in (place.root / "calls").read_text()


def traced_pid(place: Place) -> int:
    """Return the number of the plaitd that strace runs."""
    return int((place.root / "calls").read_text().split()[0])


@needs_files
@pytest.mark.promise(88)
@pytest.mark.parametrize("abi", [*(pytest.param(abi, marks=pytest.mark.long) for abi in (2, 5)), 1, 3, 4])
def test_an_older_version_holds_to_what_it_knows(place: Place, outside: Path, abi: int) -> None:
    """Files in every one; that ports are not closed before 4 is said in the log."""
    if abi > ABI:
        pytest.skip(f"NOT RUN: this kernel has Landlock {ABI} only")
    with socket.create_server(("127.0.0.1", 0)) as one:
        wanted = [["read", str(outside / "secret")], ["connect", str(one.getsockname()[1])]]
        (place.folder / "wanted").write_text(json.dumps(wanted))
        place.allow("wanted")
        place.write(TRY)
        plaitd = place.foreground("--sandbox", program=traced(place, f"retval={abi}:when=1"))
        plaitd.log_until(rf'found: \["EACCES", "{"EACCES" if abi >= 4 else "done"}"\]')
        plaitd.ready()
        os.kill(traced_pid(place), signal.SIGTERM)
        output = plaitd.wait().output
    assert (f"#warning] --sandbox: this system has version {abi} of Landlock, which does not close " in output) == (
        abi < 4
    )


@needs_files
def test_threads_that_ran_before_are_said(place: Place) -> None:
    """They are not in it: the log says so, as a warning."""
    place.write("import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()\n" + TRY)
    (place.folder / "wanted").write_text("[]")
    place.allow("wanted")
    plaitd = place.foreground("--sandbox").ready()
    assert (
        "#warning] --sandbox: 1 other threads ran already and are not in it: "
        "start threads in a service, not while the application loads\n"
    ) in plaitd.stop().output


@needs_files
@pytest.mark.long
@pytest.mark.promise(88)
@pytest.mark.time_limit(900)
def test_the_suite_of_the_services_passes_in_it() -> None:
    """All tests of the services run inside, with every port open: nothing that they do needs a file outside."""
    root = Path(__file__).parents[2]
    code = """
import os, sys, pytest
from plait.process import landlock
from plait.process.sandbox import Sandbox
folder = sys.argv[1]
allow = [f"write:{folder}", f"read:{os.getcwd()}", f"read:{os.path.dirname(pytest.__file__)}"]
sandbox = Sandbox(allow)
for port in range(65536):
    sandbox._add_port(port, landlock.BIND_TCP | landlock.CONNECT_TCP)
sandbox.open_allowed()
here = os.getcwd()
os.chdir(folder)
sandbox.open_known([])
os.chdir(here)
assert sandbox.close_around() == []
sandbox.close()
try:
    os.listdir("/var/lib")
except PermissionError:
    pass
else:
    sys.exit("not closed")
sys.exit(pytest.main(["tests/services", "-x", f"--basetemp={folder}/tests"]))
"""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-c", code, folder], cwd=root, capture_output=True, text=True, timeout=800, check=False
        )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
