"""plaitd as people meet it: it starts, serves, is told to stop, and ends with a code that means something."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import time
from pathlib import Path

import pytest

from tests.system.daemon import IDLE, PATIENCE, PLAITD, Ended, Foreground, Place
from tests.system.places import FORMS, start

ECHO = """
from plait import Listener

async def echo(reader, writer):
    async for line in reader:
        writer.write(line)
        await writer.drain()

application = Application("echo", [Listener("unix:echo.sock", echo)])
"""


def ask(place: Place) -> bytes:
    """Connect to the echo application and return its answer."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(place.folder / "echo.sock"))
        client.sendall(b"hello\n")
        return client.recv(100)


# A day in its life ----------------------------------------------------------------------------------------------------


def test_serves_when_it_returns_and_ends_when_it_is_told(place: Place, is_long: bool) -> None:
    """When `plaitd -y` returns, a client is answered; `kill $(cat plaitd.pid)` ends it within a second with 0."""
    place.write(ECHO)
    for _ in range(20 if is_long else 3):
        (place.folder / "plaitd.log").unlink(missing_ok=True)
        daemon = place.daemonize()
        assert ask(place) == b"hello\n"
        assert place.pidfile.read_text() == f"{daemon.pid}\n"
        ended = daemon.stop()
        assert ended.code == 0
        assert ended.seconds < 1.0
        assert re.fullmatch(r"\S+ \[plait#info\] ended: received SIGTERM: exit status 0", ended.last_line)
        assert "Traceback" not in ended.output
        place.assert_nothing_left()


MANY = """
from plait import Group, Listener

async def hello(reader, writer):
    writer.write(b"hello")

@service
async def slow(context):
    await asyncio.sleep(0.2)
    open(os.environ["TMPDIR"] + "/slow", "w").close()
    context.ready()
    await asyncio.Event().wait()

application = Application("shop", [
    Group("web", [Listener(f"unix:{name}.sock", hello, name=name) for name in "abcdef"]),
    slow,
    Listener("unix:last.sock", hello),
])
"""


@pytest.mark.promise(32)
def test_every_listener_accepts_when_it_returns(place: Place, is_long: bool) -> None:
    """Also the last, whose service starts behind a slow one: each client is answered, and by a service."""
    place.write(MANY)
    for _ in range(20 if is_long else 1):
        daemon = place.daemonize()
        (place.root / "tmp" / "slow").unlink()  # it was waited for
        for name in (*"abcdef", "last"):
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(10)
                client.connect(str(place.folder / f"{name}.sock"))
                assert client.recv(100) == b"hello"
        assert daemon.stop().code == 0


@pytest.mark.promise(35, 42)
def test_a_second_start_says_which_process_is_there(place: Place) -> None:
    """A second start in the same folder names the first, exits with 75, and disturbs nobody."""
    place.write(ECHO)
    daemon = place.daemonize()
    for options in ((), ("-n", "--pidfile=plaitd.pid")):
        second = place.run(*options, "-y", "shop.py")
        sentence = f'held by plaitd with pid {daemon.pid}: stop it with "kill {daemon.pid}", or give another --pidfile'
        assert second.errors == f"plaitd: plaitd.pid: {sentence}\n"
        assert (second.code, second.output) == (75, "")
    assert ask(place) == b"hello\n"
    assert place.read_pid() == daemon.pid
    assert daemon.stop().code == 0


def test_two_live_side_by_side_with_other_pidfiles(place: Place) -> None:
    """Another --pidfile, or none, and a second one runs in the same folder."""
    place.write(IDLE)
    first = place.daemonize()
    second = place.foreground("--pidfile=").ready()
    third = place.foreground("--pidfile=other.pid").ready()
    assert (place.folder / "other.pid").read_text() == f"{third.pid}\n"
    assert [each.stop().code for each in (second, third, first)] == [0, 0, 0]


@pytest.mark.parametrize("form", ["foreground", "process of a manager"])
def test_the_foreground_has_no_pidfile_unless_asked(place: Place, form: str) -> None:
    """In front, by -n or by a manager, there is none, and a second one may run there; a name makes one."""
    place.write(IDLE)
    fds = os.pipe()
    how = {"environment": {"PLAIT_NOTIFY_FD": str(fds[1])}, "pass_fds": [fds[1]]} if form != "foreground" else {}

    def start(*options: str) -> Foreground:
        form_options = ("-n",) if not how else ()
        return Foreground(place, place.popen(*form_options, "-y", "shop.py", *options, stdout=-1, **how)).ready()  # type: ignore[arg-type]

    try:
        first, second = start(), start()
        assert not place.pidfile.exists()
        third = start("--pidfile=plaitd.pid")
        assert place.read_pid() == third.pid
        assert [each.stop().code for each in (first, second, third)] == [0, 0, 0]
    finally:
        os.close(fds[0])
        os.close(fds[1])


@pytest.mark.promise(38)
@FORMS
def test_the_pidfile_is_left_when_it_is_not_ours_any_more(place: Place, daemonize: bool) -> None:
    """A pidfile that somebody put in the place of ours stays at the end."""
    place.write(IDLE)
    running = start(place, daemonize, "--pidfile=plaitd.pid")
    place.pidfile.unlink()
    place.pidfile.write_text("4711\n")
    assert running.stop().code == 0
    assert place.pidfile.read_text() == "4711\n"
    place.pidfile.unlink()


@pytest.mark.promise(33)
def test_a_daemon_has_let_go_of_its_starter(place: Place) -> None:
    """No session to lead, no terminal, its rundir and umask, and no descriptor but /dev/null, log, lock and loop."""
    place.write(IDLE)
    (place.folder / "run").mkdir()
    planted = [os.open("/dev/null", os.O_RDONLY) for _ in range(50)]
    try:
        daemon = place.daemonize("-d", "run", "-r", "asyncio", pass_fds=planted)
    finally:
        for descriptor in planted:
            os.close(descriptor)
    deadline = time.monotonic() + PATIENCE
    while "is ready" not in place.log and time.monotonic() < deadline:
        time.sleep(0.01)  # its starter was told a moment before; a file has no event for one line more
    facts = Path(f"/proc/{daemon.pid}/status").read_text()
    assert re.search(r"^Umask:\s0077$", facts, re.MULTILINE)
    assert re.search(r"^SigBlk:\s0+$", facts, re.MULTILINE)
    assert os.getsid(daemon.pid) not in (daemon.pid, os.getsid(0))
    assert Path(f"/proc/{daemon.pid}/stat").read_text().rpartition(")")[2].split()[4] == "0"  # no terminal
    assert os.readlink(f"/proc/{daemon.pid}/cwd") == str(place.folder / "run")
    opened = [os.readlink(f"/proc/{daemon.pid}/fd/{name}") for name in os.listdir(f"/proc/{daemon.pid}/fd")]
    kinds = sorted(re.sub(r"^socket:.*", "socket", each) for each in opened)
    wakers = ["socket"] * 4  # with which asyncio wakes itself, and signals wake it
    assert kinds == sorted(
        ["/dev/null"] * 3 + [str(place.pidfile), str(place.folder / "plaitd.log"), "anon_inode:[eventpoll]", *wakers]
    )
    assert os.stat(place.folder / "plaitd.log").st_mode & 0o777 == 0o600
    assert daemon.stop().code == 0
    (place.folder / "run").rmdir()


@pytest.mark.parametrize(
    ("closed", "program"),
    [
        (">&-", "import sys; sys.exit(0)"),
        ("2>&-", "raise SystemExit(1)"),
        ("<&- >&- 2>&-", "1 / 0"),
    ],
)
def test_closed_streams_change_no_exit_code(place: Place, closed: str, program: str) -> None:
    """Some who start daemons close them; what cannot be said there is not said, and the status is what it is."""
    place.write(program)
    shell = ("sh", "-c", f'exec "$0" "$@" {closed}', PLAITD)
    assert place.run("-n", "-y", "shop.py", program=shell).code == 78


# Managers -------------------------------------------------------------------------------------------------------------


@pytest.mark.promise(34)
def test_under_systemd_it_stays_and_says_so(place: Place) -> None:
    """With NOTIFY_SOCKET it does not fork: the process that was started says READY=1, then STOPPING=1; each once."""
    place.write(IDLE)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(place.aside / "notify"))
        manager.settimeout(10)
        environment = {"NOTIFY_SOCKET": str(place.aside / "notify")}
        process = place.popen("-y", "shop.py", "-l", "plaitd.log", "--pidfile=plaitd.pid", environment=environment)
        assert manager.recv(100) == b"READY=1"
        assert place.read_pid() == process.pid
        process.terminate()
        assert manager.recv(100) == b"STOPPING=1"
        assert process.wait(10) == 0
        manager.setblocking(False)
        with pytest.raises(BlockingIOError):
            manager.recv(100)


def test_a_manager_that_cannot_be_told_is_a_warning(place: Place) -> None:
    """It runs, in the foreground; the log says why systemd goes on waiting."""
    place.write(IDLE)
    ended = place.foreground(environment={"NOTIFY_SOCKET": "/no/such"}).ready().stop()
    assert ended.code == 0
    assert (
        ended.output.count("NOTIFY_SOCKET=/no/such: cannot be written to (No such file or directory), so nobody") == 1
    )


@pytest.mark.promise(34)
def test_under_s6_it_stays_and_says_so(place: Place) -> None:
    """With PLAIT_NOTIFY_FD it does not fork, and writes a newline there when it is ready."""
    place.write(IDLE)
    reader, writer = os.pipe()
    environment = {"PLAIT_NOTIFY_FD": str(writer)}
    process = place.popen(
        "-y", "shop.py", "-l", "plaitd.log", "--pidfile=plaitd.pid", environment=environment, pass_fds=[writer]
    )
    os.close(writer)
    with open(reader, "rb") as told:
        assert told.read() == b"\n"  # up to the end: it closed its end
    assert place.read_pid() == process.pid
    process.terminate()
    assert process.wait(10) == 0


@pytest.mark.promise(34)
def test_systemd_can_be_overruled(place: Place) -> None:
    """--daemon makes a daemon also where it would stay; systemd is told by the daemon."""
    place.write(IDLE)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(place.aside / "notify"))
        manager.settimeout(10)
        daemon = place.daemonize("--daemon", environment={"NOTIFY_SOCKET": str(place.aside / "notify")})
        assert manager.recv(100) == b"READY=1"
    assert daemon.stop().code == 0


@pytest.mark.promise(34)
def test_s6_can_be_overruled(place: Place) -> None:
    """--daemon makes a daemon also here; the newline comes from the daemon, and nothing keeps the descriptor."""
    place.write(IDLE)
    reader, writer = os.pipe()
    daemon = place.daemonize("--daemon", environment={"PLAIT_NOTIFY_FD": str(writer)}, pass_fds=[writer])
    os.close(writer)
    with open(reader, "rb") as told:
        assert told.read() == b"\n"
    assert daemon.stop().code == 0


@pytest.mark.promise(34)
@pytest.mark.root
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130), (signal.SIGHUP, None)])
def test_as_process_1_it_stays_and_stops(place: Place, number: int, code: int | None) -> None:
    """As process 1 of a container it does not fork; TERM ends it with 0, INT with 130 since it cannot die of it."""
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("NOT RUN: needs unshare (util-linux)")
    place.write(IDLE)
    command = (unshare, "--pid", "--fork", "--mount-proc", "--kill-child", PLAITD)
    running = Foreground(place, place.popen("-y", "shop.py", "-l-", program=command, stdout=-1, stderr=-2))
    running.ready()
    (process,) = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
    os.kill(int(process), number)
    if code is None:
        running.log_until("received SIGHUP")
        os.kill(int(process), signal.SIGTERM)
    ended = running.wait()
    assert ended.code == (code or 0), ended
    assert ended.last_line.endswith("by SIGINT" if code else "exit status 0")
    assert "pid=1" in ended.output


# Exit codes -----------------------------------------------------------------------------------------------------------

#: What is wrong, then: exit code, options beside -y shop.py, the application, what is said.
REFUSED = {
    "unknown option": (2, ("--frob",), IDLE, "plaitd: --frob: no such option: see plaitd --help"),
    "two contradictory options": (2, ("-n", "--daemon"), IDLE, "plaitd: --nodaemon, --daemon: one excludes the other"),
    "syntax error": (78, (), "\nservices = [\n", "plaitd: shop.py:2: '[' was never closed: correct the file"),
    "an exception while loading": (78, (), "\n\n1 / 0\n", "plaitd: shop.py:3: ZeroDivisionError: division by zero"),
    "no application": (78, (), "\naplication = 1\n", "plaitd: shop.py: defines no variable `application` (but `apl"),
    "no file": (78, ("-y", "nope.py"), IDLE, "plaitd: nope.py: cannot be read (No such file or directory)"),
    "bad endpoint": (78, (), ECHO.replace("unix:echo.sock", "tcp:http:x"), "plaitd: shop.py:9: "),
    "unknown user": (78, ("-u", "nobdy"), IDLE, "plaitd: --uid nobdy: no such user: give a name"),
    "no rundir": (78, ("-d", "nope"), IDLE, "plaitd: nope: cannot be entered (No such file or directory): make it"),
    "unwritable pidfile": (73, ("--pidfile=no/x",), IDLE, "plaitd: no/x: cannot be written (there is no directory"),
    "unwritable log": (73, ("-l", "no/x"), IDLE, "no/x: cannot be written (No such file or directory): give another"),
    "socket in use": (69, (), ECHO.replace("echo.sock", "{aside}/taken"), "taken: cannot be opened ("),
    "no such folder for a socket": (69, (), ECHO.replace("echo.sock", "no/x"), "plaitd: unix:no/x: cannot be opened"),
}


@pytest.mark.promise(32, 42)
@FORMS
@pytest.mark.parametrize("kind", REFUSED)
def test_a_start_that_is_refused_says_why(place: Place, kind: str, daemonize: bool) -> None:
    """Each way to be refused has its exit code and one sentence, the same for a daemon; nothing is left."""
    code, options, source, sentence = REFUSED[kind]
    place.write(source.replace("{aside}", str(place.aside)))
    form = () if daemonize or "-n" in options else ("-n",)
    with socket.socket(socket.AF_UNIX) as taken:
        taken.bind(str(place.aside / "taken"))
        taken.listen()
        ended = place.run("-y", "shop.py", *form, *options)
    check_sentence(ended, code, sentence)


def check_sentence(ended: Ended, code: int, sentence: str) -> None:
    """Check that *sentence*, and not a line more, was said."""
    assert ended.code == code, ended
    assert sentence in ended.errors
    assert ended.errors.startswith("plaitd: ")
    assert ended.errors.count("\n") == 1
    assert ended.errors.count(": ") >= 2  # where, what, what to do
    assert ended.output == ""


@pytest.mark.promise(42)
@FORMS
def test_who_may_not_become_root_is_told_so(place: Place, daemonize: bool) -> None:
    """An ordinary user who asks for --uid root gets one sentence and exit code 77."""
    place.write(IDLE)
    program: tuple[str, ...] = (PLAITD,)
    if os.geteuid() == 0:
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            pytest.skip("NOT RUN: needs setpriv (util-linux) to be an ordinary user")
        # It may read everything, since Python may be installed where ordinary users cannot look.
        may_read = ("--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search")
        program = (setpriv, "--reuid", "65534", "--regid", "65534", "--clear-groups", *may_read, PLAITD)
        place.folder.chmod(0o777)
    ended = place.run("-y", "shop.py", "--uid", "root", *(() if daemonize else ("-n",)), program=program)
    check_sentence(ended, 77, "--uid root: uid ")


FAILS_TO_START = """
from plait import Group

@service
async def first(context):
    context.ready()
    try:
        await asyncio.Event().wait()
    finally:
        tell("put away")

@service
async def second(context):
    raise ValueError("no luck")

application = Application("shop", [first, Group("web", [second])])
"""


@FORMS
def test_a_service_that_does_not_start_ends_it_with_70(place: Place, daemonize: bool) -> None:
    """Exit code 70, with path and cause in the last line of the log, and on a daemon's starter's standard error."""
    place.write(FAILS_TO_START)
    ended = place.run("-y", "shop.py", *(() if daemonize else ("-n",)))
    assert ended.code == 70
    assert place.heard() == "put away"
    log = place.log if daemonize else ended.output
    why = "shop/web/second: did not start: ValueError: no luck"
    assert log.rstrip().endswith(f"[plait#critical] ended: {why}: exit status 70")
    assert "shop.py" in log  # the traceback
    if daemonize:
        assert ended.errors == f"plaitd: {why}\n"


GIVES_UP = """
from plait import Backoff, Group, Limit

@service(backoff=Backoff(base=0))
async def second(context):
    context.ready()
    if not os.path.exists(os.environ["TMPDIR"] + "/go"):
        await asyncio.to_thread(open, os.environ["TMPDIR"] + "/door")
    raise ValueError("no luck")

application = Application("shop", [Group("web", [second], limit=Limit(2, 60))], limit=Limit(0))
"""


@pytest.mark.promise(42)
@FORMS
def test_a_tree_that_gives_up_ends_it_with_70(place: Place, daemonize: bool) -> None:
    """Escalation to the root ends the process with 70, with the path and the cause in the last line of the log."""
    place.write(GIVES_UP)
    temporary = place.root / "tmp"
    os.mkfifo(temporary / "door")
    running = start(place, daemonize)
    (temporary / "go").touch()
    with open(temporary / "door", "w"):
        ended = running.wait()
    assert ended.code == 70
    assert re.search(
        r"ended: shop: gave up: more than 0 restarts in 60 s, the last for shop/web/second "
        r"\(gave up: .*\(ValueError: no luck\)\): exit status 70$",
        ended.last_line,
    )
    for path in list(temporary.iterdir()):
        path.unlink()


STOPS_ITSELF = """
from plait import StopApplication

@service
async def second(context):
    context.ready()
    raise StopApplication("sold out", {code})

application = Application("shop", [second])
"""


@FORMS
@pytest.mark.parametrize("code", [0, 3])
def test_an_application_may_stop_itself(place: Place, daemonize: bool, code: int) -> None:
    """StopApplication ends it with the exit code and the reason that it brings; a start that was one is a start."""
    place.write(STOPS_ITSELF.replace("{code}", str(code)))
    if daemonize:
        ended = place.run("-y", "shop.py")
        assert wait_for_end_of_all(place)
        log = place.log
    else:
        ended = place.foreground().wait()
        log = ended.output
        assert ended.code == code
    assert f"ended: sold out: exit status {code}" in log


def wait_for_end_of_all(place: Place) -> bool:
    return place.left(10) == []


# Restarts -------------------------------------------------------------------------------------------------------------

LOOP = """
import gc, threading
from plait import Backoff, Limit, Resource, Thread
from contextlib import asynccontextmanager

kind, lives, crashed, took = os.environ["KIND"], 0, 0.0, []

def begin():
    global lives
    lives += 1
    if crashed:
        took.append(time.perf_counter() - crashed)
    if lives in (20, int(os.environ["LIVES"])):
        gc.collect()
        mine = threading.current_thread()
        for other in threading.enumerate():
            if other.name == mine.name and other is not mine:
                other.join()  # of the life before: it has said its last word, and may still be about to end
        status = open("/proc/self/status").read()
        memory = int(status.partition("VmRSS:")[2].split()[0])
        descriptors = sorted(map(int, os.listdir("/proc/self/fd")))[:-1]
        times = sorted(took)
        tell(repr((descriptors, threading.active_count(), len(asyncio.all_tasks(loop)), memory,
                   times[len(times) // 2], times[len(times) * 99 // 100])))

def crash():
    global crashed
    crashed = time.perf_counter()
    raise ValueError("no luck")

@service(name="first")
async def first(context):
    global loop
    loop = asyncio.get_running_loop()
    context.ready()

async def bare(context):
    context.ready()
    begin()
    crash()

def thread(stop, context):
    context.ready()
    begin()
    crash()

@asynccontextmanager
async def resource():
    task = asyncio.current_task()
    yield asyncio.get_running_loop().call_soon(task.cancel)
    begin()
    crash()

policy = {"backoff": Backoff(base=0), "name": "subject"}
subject = {
    "bare": lambda: service(**policy)(bare),
    "thread": lambda: Thread(thread, **policy),
    "resource": lambda: Resource(resource, **policy),
}[kind]()
application = Application("shop", [first, subject], limit=Limit(None))
"""


@pytest.mark.parametrize("kind", ["bare", "thread", "resource"])
def test_a_thousand_restarts_leave_nothing(place: Place, kind: str, is_long: bool) -> None:
    """After 1,000 crashes there are as many descriptors, threads and tasks as before, and less than 1 MiB more used."""
    place.write(LOOP)
    lives = 1020 if is_long or kind == "bare" else 320
    daemon = place.daemonize("-r", "asyncio", environment={"KIND": kind, "LIVES": str(lives)})
    before, after = eval(place.heard()), eval(place.heard())
    assert after[:3] == before[:3]
    assert after[3] - before[3] < 1024
    _, _, _, _, middle, most = after  # from a crash to the next life, its traceback written meanwhile
    assert middle < 0.005
    assert most < 0.005 or kind != "bare" or not is_long
    assert daemon.stop().code == 0
    assert place.log.count("ValueError: no luck") >= lives - 1


def test_a_restart_loop_does_not_hold_the_stop(place: Place) -> None:
    """While a service does nothing but crash and start again, a stop is heard at once."""
    place.write("""
from plait import Backoff, Limit

@service(backoff=Backoff(base=0), restart="always")
async def subject(context):
    context.ready()

application = Application("shop", [subject], limit=Limit(None))
""")
    daemon = place.daemonize("--log-level", "critical")
    ended = daemon.stop()
    assert ended.code == 0
    assert ended.seconds < 1.0
