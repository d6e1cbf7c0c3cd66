"""What signals do to plaitd, at any moment of its life, and that a stop always ends."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.system.daemon import IDLE, PATIENCE, Daemon, Foreground, Place
from tests.system.places import FORMS, start

OTHERS = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH)

#: What an application with several things to start and stop looks like, in the middle of which signals come.
BUSY = """
from plait import Group, Listener
time.sleep(0.03)

def slow(name):
    @service(name=name)
    async def live(context):
        await asyncio.sleep(0.01)
        context.ready()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
    return live

async def echo(reader, writer):
    writer.write(await reader.read(100))

application = Application("shop", [slow("one"), Group("web", [Listener("unix:echo.sock", echo), slow("two")])])
"""

#: One that does not stop.
HANGS = """
@service(stop_timeout=30)
async def first(context):
    context.ready()
    try:
        await asyncio.Event().wait()
    finally:
        context.log.info("put away")

@service(stop_timeout={limit})
async def second(context):
    context.ready()
    while True:
        try:
            await asyncio.Event().wait()  # here
        except asyncio.CancelledError:
            context.log.info("asked")

application = Application("shop", [first, second], stop_timeout={whole})
"""


# What each means ------------------------------------------------------------------------------------------------------


@FORMS
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGQUIT, 0), (signal.SIGINT, -2)])
def test_it_is_stopped_in_order(place: Place, number: int, code: int, daemonize: bool) -> None:
    """TERM and QUIT stop it in order, with 0; INT too, and the process then ends by SIGINT."""
    place.write(IDLE)
    ended = start(place, daemonize).stop(number)
    assert ended.code == code
    assert ended.seconds < 1.0
    assert [line.partition("] ")[2] for line in ended.output.splitlines()[-3:]] == [
        f"received {signal.Signals(number).name}: stopping",
        "put away",
        f"ended: received {signal.Signals(number).name}: {'by SIGINT' if code else 'exit status 0'}",
    ]


def test_a_shell_notices_that_it_was_interrupted(place: Place) -> None:
    """After Ctrl-C on a script that runs plaitd, the script ends too: it would go on after an ordinary exit."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("NOT RUN: needs bash")
    place.write(IDLE)
    script = '"$0" -n -y shop.py; echo "went on"'
    running = Foreground(place, place.popen(program=(bash, "-c", script, _plaitd()), stdout=-1, start_new_session=True))
    running.ready()
    os.killpg(running.pid, signal.SIGINT)
    ended = running.wait()
    assert ended.code == -signal.SIGINT
    assert "put away" in ended.output
    assert "went on" not in ended.output


def _plaitd() -> str:
    from tests.system.daemon import PLAITD

    return PLAITD


@FORMS
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1])
def test_the_log_is_opened_again(place: Place, number: int, daemonize: bool) -> None:
    """After `mv plaitd.log plaitd.log.1`, HUP or USR1 makes a new plaitd.log; no line is lost, none comes twice."""
    place.write(IDLE.replace("context.ready()", "context.ready(); tell('ready')"))
    running = place.daemonize() if daemonize else place.foreground("-l", "plaitd.log")
    assert place.heard() == "ready"
    log = place.folder / "plaitd.log"
    log.rename(place.folder / "plaitd.log.1")
    place.allow("plaitd.log.1")
    running.send(number)
    assert running.stop().code == 0
    old, new = (place.folder / "plaitd.log.1").read_text(), log.read_text()
    assert "received SIGTERM" not in old
    lines = [line.partition("] ")[2] for line in new.splitlines()]
    assert lines[-3:] == ["received SIGTERM: stopping", "put away", "ended: received SIGTERM: exit status 0"]
    assert lines[:-3] in ([f"received {signal.Signals(number).name}: opened the log again"], [])
    assert (old + new).count("opened the log again") == 1


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1])
def test_a_log_that_is_no_file_is_not_said_to_be_opened(place: Place, number: int) -> None:
    """Where standard output is the log there is nothing to open again, and it says so."""
    place.write(IDLE)
    running = place.foreground().ready()
    running.send(number)
    running.log_until(rf"\[plait#info\] received {signal.Signals(number).name}: there is no log file to open again$")
    assert running.stop().code == 0


def test_a_log_that_cannot_be_opened_again_goes_on(place: Place) -> None:
    """When the place of the log has gone, that is said in the old file, which is written on."""
    place.write(IDLE)
    (place.aside / "log").mkdir()
    running = place.daemonize("-l", str(place.aside / "log/plaitd.log"))
    (place.aside / "log").rename(place.aside / "old")
    running.send(signal.SIGHUP)
    running.send(signal.SIGTERM)
    from tests.system.daemon import wait_for_end

    assert wait_for_end(running.pid)
    assert os.waitpid(running.pid, 0)[1] == 0
    text = (place.aside / "old/plaitd.log").read_text()
    problem = r"received SIGHUP: \S+/log/plaitd.log: cannot be opened again \(No such file or directory\): writing goes"
    assert re.search(problem, text)
    assert text.endswith("ended: received SIGTERM: exit status 0\n")


def test_usr2_shows_where_every_task_is(place: Place) -> None:
    """USR2 writes each task with its path, file and line to the log, and changes nothing."""
    place.write(HANGS.format(limit=0.1, whole=1))
    running = place.foreground().ready()
    running.send(signal.SIGUSR2)
    running.log_until(r"task shop: at \S+supervisor.py:\d+ in ")
    running.log_until(r"task shop/first: at \S*shop.py:\d+ in first$")
    running.log_until(rf"task shop/second: at {place.line_of('# here')} in second$")
    assert running.stop().code == 70


def test_who_asks_where_every_task_is_and_stops_it_hears_both(place: Place) -> None:
    """What was asked just before the end is written, however soon that comes."""
    place.write(IDLE)
    for _ in range(10):
        running = place.foreground().ready()
        running.send(signal.SIGUSR2)
        ended = running.stop()
        assert ended.code == 0
        assert "task shop/idle: at " in ended.output


@FORMS
def test_no_other_signal_ends_it_by_accident(place: Place, daemonize: bool) -> None:
    """HUP, USR1, USR2, WINCH, PIPE and CONT leave it serving, also where standard output is its log."""
    place.write(IDLE)
    running = start(place, daemonize)
    for number in (*OTHERS, signal.SIGPIPE, signal.SIGCONT):
        running.send(number)
    ended = running.stop()
    assert ended.code == 0
    assert "Traceback" not in ended.output
    assert "WINCH" not in ended.output


def test_an_ignored_interrupt_is_heard_all_the_same(place: Place) -> None:
    """A shell starts what runs in its background with SIGINT ignored: plaitd hears it nevertheless."""
    place.write(IDLE)
    running = place.foreground(preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)).ready()
    assert running.stop(signal.SIGINT).code == -signal.SIGINT


# The second and the third ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_hurries(place: Place, number: int) -> None:
    """What does not stop has a second left after the second signal; it is then left behind by name, file and line."""
    place.write(HANGS.format(limit=30, whole=30))
    running = place.foreground().ready()
    running.send(number)
    running.log_until("asked")
    ended = running.stop(number)
    assert ended.code == 70
    assert 0.9 < ended.seconds < 2.0
    name = signal.Signals(number).name
    assert f"received {name} again: stopping in a hurry" in ended.output
    where = f"{place.line_of('# here')} in second"
    assert re.search(rf"\[shop/second#error\] left behind \(.*: did not stop in [\d.]+ s, at {where}", ended.output)
    assert "put away" in ended.output
    assert ended.last_line.endswith(f"ended: received {name}: exit status 70")


def test_a_second_signal_cuts_short_what_only_takes_its_time(place: Place) -> None:
    """Services that wait in their clean-up are cancelled once more, all at once, and it ends with 0."""
    place.write("""
def slow(name):
    @service(name=name, stop_timeout=20)
    async def live(context):
        context.ready()
        try:
            await asyncio.Event().wait()
        finally:
            context.log.info("begins")
            await asyncio.sleep(15)
    return live

application = Application("shop", [slow("one"), slow("two"), slow("three")], stop_timeout=60)
""")
    running = place.foreground().ready()
    running.send(signal.SIGTERM)
    running.log_until(r"shop/three#info\] begins")
    ended = running.stop()
    # The first two are asked now, and cut short when the second of patience is over.
    assert ended.seconds < 2.0
    assert ended.code == 0
    assert ended.output.count("begins") == 3


def test_a_third_signal_ends_it_at_once(place: Place) -> None:
    """At the third it ends without waiting for anything, with 70, its log complete and its pidfile gone."""
    place.write(HANGS.format(limit=30, whole=30))
    running = place.foreground().ready()
    running.send(signal.SIGTERM)
    running.log_until("received SIGTERM: stopping")
    running.send(signal.SIGTERM)
    running.log_until("in a hurry")
    ended = running.stop()
    assert ended.code == 70
    assert ended.seconds < 0.5
    assert "[plait#critical] SIGTERM for the third time: ends at once" in ended.output
    assert ended.output.count("in a hurry") == 1


# At any moment --------------------------------------------------------------------------------------------------------


def instants(count: int, seconds: float) -> list[float]:
    """Return *count* random moments, spread over so many *seconds*; always the same ones."""
    chance = random.Random(4711)
    return [(number + chance.random()) * seconds / count for number in range(count)]


def has_handler(pid: int, number: int) -> bool:
    """Say whether plaitd's own handlers are there; Python has one for INT long before."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    number = signal.SIGTERM if number == signal.SIGINT else number
    return bool(int(status.partition("SigCgt:")[2].split()[0], 16) >> (number - 1) & 1)


def wait_until(moment: float) -> None:
    """Wait for the *moment*: that it is a random one is what is tested."""
    time.sleep(max(0.0, moment - time.monotonic()))


@pytest.fixture(scope="module")
def start_seconds(tmp_path_factory: pytest.TempPathFactory) -> float:
    """How long a start takes here and now."""
    with Place(tmp_path_factory.mktemp("start")) as place:
        place.write(BUSY)
        began = time.monotonic()
        running = place.foreground().ready()
        seconds = time.monotonic() - began
        assert running.stop().code == 0
    return seconds


@pytest.mark.promise(40)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
@pytest.mark.time_limit(180)
def test_a_stop_is_right_at_any_moment_of_the_start(
    place: Place, number: int, start_seconds: float, is_long: bool
) -> None:
    """During load, preparation or start: exit code 0 (INT: by SIGINT), one word about it, and nothing is left."""
    place.write(BUSY)
    count = 100 if is_long else 15 if number == signal.SIGTERM else 5
    for moment in instants(count, start_seconds * 1.2):
        began = time.monotonic()
        running = place.foreground()
        wait_until(began + moment)
        could_hear = has_handler(running.pid, number)
        ended = running.stop(number)
        said = f"{number} after {moment:.3f} s: {ended}"
        if could_hear:
            assert ended.code == (-number if number == signal.SIGINT else 0), said
            name = signal.Signals(number).name
            if ended.output:
                assert re.search(
                    rf"ended: (received|stopped by) {name}.*: (by SIGINT|exit status 0)$", ended.last_line
                ), said
                assert ended.errors == "", said
            else:
                assert ended.errors == f"plaitd: stopped by {name} before anything was started\n", said
        else:
            # It was not plaitd yet, but Python, which dies of SIGINT with 1 while it is setting itself up.
            assert ended.code in ((0, 1, -number) if number == signal.SIGINT else (0, -number)), said
        assert "Traceback" not in ended.output, said
        assert ended.seconds < 1.0, said
        place.assert_nothing_left()


@pytest.mark.promise(40)
@pytest.mark.time_limit(180)
def test_a_second_stop_is_right_at_any_moment_of_the_start(place: Place, start_seconds: float, is_long: bool) -> None:
    """TERM and TERM again while it loads, prepares or starts: it ends with 0, says so once, and nothing is left."""
    place.write(BUSY)
    chance = random.Random(4712)
    for moment in instants(100 if is_long else 15, start_seconds * 1.2):
        began = time.monotonic()
        running = place.foreground()
        wait_until(began + moment)
        could_hear = has_handler(running.pid, signal.SIGTERM)
        running.send(signal.SIGTERM)
        pause = chance.random() * 0.1
        wait_until(began + moment + pause)
        ended = running.stop()
        said = f"after {moment:.3f} s and {pause:.3f} s: {ended}"
        assert ended.code in ((0,) if could_hear else (0, -signal.SIGTERM)), said
        assert "Traceback" not in ended.output + ended.errors, said
        assert ended.output.count("ended: ") + ended.errors.count("before anything was started") <= 1, said
        assert ended.seconds < 1.0, said
        place.assert_nothing_left()


def test_a_second_stop_after_the_end_of_a_load_changes_nothing(place: Place) -> None:
    """One that comes when the first has ended the load, and Python puts itself away, is not to kill it."""
    place.write("""
import atexit
atexit.register(lambda: (tell("ends"), time.sleep(0.3)))
signal.raise_signal(signal.SIGTERM)
time.sleep(20)
""")
    running = place.foreground()
    assert place.heard() == "ends"
    ended = running.stop()
    assert ended.code == 0
    assert ended.errors == "plaitd: stopped by SIGTERM before anything was started\n"


#: Tells a word, and closes the file itself: what is raised while a destructor closes it is lost.
TELL = """
def tell(word):
    with open(os.environ["TOLD"], "w") as told:
        told.write(word + chr(10))
"""


def test_a_second_stop_ends_a_load_that_lost_the_first(place: Place) -> None:
    """What is raised in a destructor is lost to Python, without a word about that; the second is raised again."""
    place.write(f"""
{TELL}
class Deaf:
    def __del__(self):
        signal.raise_signal(signal.SIGTERM)

Deaf()
tell("deaf")
time.sleep(20)
""")
    running = place.foreground()
    assert place.heard() == "deaf"
    ended = running.stop(signal.SIGINT)
    assert ended.code == 0
    assert ended.seconds < 1.0
    assert ended.errors == "plaitd: stopped by SIGTERM before anything was started\n"


@FORMS
def test_a_third_stop_ends_a_load_that_hears_none(place: Place, daemonize: bool) -> None:
    """A file that lets nothing through ends all the same, with 70, in a sentence."""
    place.write(f"""
{TELL}
while True:
    try:
        tell("deaf")
        time.sleep(20)
    except BaseException:
        pass
""")
    with open(place.root / "errors", "wb") as errors:
        process = place.popen(*([] if daemonize else ["-n"]), "-y", "shop.py", stderr=errors)
    for _ in range(3):
        assert place.heard() == "deaf"
        process.terminate()
    assert process.wait(10) == 70
    assert (place.root / "errors").read_text() == "plaitd: SIGTERM for the third time: ends at once\n"


@pytest.mark.promise(40)
@pytest.mark.parametrize("number", OTHERS)
@pytest.mark.time_limit(180)
def test_other_signals_harm_no_start(place: Place, number: int, start_seconds: float, is_long: bool) -> None:
    """HUP, USR1, USR2 or WINCH at any moment of the start: it becomes ready all the same, and stops with 0."""
    place.write(BUSY)
    for moment in instants(100 if is_long else 4, start_seconds * 1.2):
        began = time.monotonic()
        running = place.foreground()
        wait_until(began + moment)
        could_hear = number == signal.SIGWINCH or has_handler(running.pid, number)
        running.send(number)
        try:
            running.ready()
        except AssertionError:
            # It was not plaitd yet when it met the signal, but Python, which dies of it.
            assert not could_hear, f"{number} after {moment:.3f} s"
            assert running.wait().code == -number
            continue
        ended = running.stop()
        assert ended.code == 0, f"{number} after {moment:.3f} s: {ended}"
        assert ended.errors == ""
        assert "Traceback" not in ended.output
        place.assert_nothing_left()


@pytest.mark.promise(40)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("whom", ["the starter", "the pidfile"])
@pytest.mark.time_limit(240)
def test_a_daemon_can_be_stopped_at_any_moment_of_its_start(
    place: Place, whom: str, number: int, start_seconds: float, is_long: bool
) -> None:
    """
    Whether the starter is told or who is in the pidfile: either all of it ends, and the starter says so with a code
    that is not 0, or it is ready, and the starter says 0.
    """
    place.write(BUSY)
    for moment in instants(100 if is_long else 8, start_seconds * 1.2):
        (place.folder / "plaitd.log").unlink(missing_ok=True)
        with open(place.root / "errors", "wb") as file:
            began = time.monotonic()
            process = place.popen("-y", "shop.py", stderr=file)
        wait_until(began + moment)
        pid = process.pid
        if whom == "the pidfile":
            try:
                pid = place.read_pid()
            except (FileNotFoundError, ValueError):  # there is none yet, or it has just been made
                continue_without(process, place)
                continue
        could_hear = has_handler(pid, number)
        alive = process.poll() is None
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            alive = False
        code = process.wait(PATIENCE)
        errors = (place.root / "errors").read_text()
        said = f"{whom}, {number} after {moment:.3f} s: {code} {errors!r}"
        assert "Traceback" not in errors or not could_hear, said
        if code == 0 and whom == "the starter":
            # Then it was ready before the signal came, and still is.
            assert place.pidfile.exists(), said
            assert Daemon(place, place.read_pid()).stop().code == 0, said
        elif code != 0:
            assert errors.startswith("plaitd: ") or not could_hear, said
            if number == signal.SIGINT and whom == "the starter" and could_hear:
                # The shell is to notice; in the instant before the fork it is the daemon that hears of it.
                assert code in (-number, 128 + number), said
        else:
            assert "is ready" in place.log, said
        assert alive or code == 0, said
        place.assert_nothing_left(5.0)
        place.reap()


def continue_without(process: subprocess.Popen[bytes], place: Place) -> None:
    """Let the start go on to its end, and stop the daemon."""
    assert process.wait(PATIENCE) == 0
    assert Daemon(place, place.read_pid()).stop().code == 0
    place.reap()


@pytest.mark.promise(40)
@pytest.mark.parametrize("number", OTHERS)
@pytest.mark.time_limit(240)
def test_other_signals_harm_no_start_of_a_daemon(
    place: Place, number: int, start_seconds: float, is_long: bool
) -> None:
    """Sent to the starter and to who is in the pidfile, at any moment: the daemon is ready, its starter says 0."""
    place.write(BUSY)
    for moment in instants(100 if is_long else 3, start_seconds * 1.2):
        (place.folder / "plaitd.log").unlink(missing_ok=True)
        with open(place.root / "errors", "wb") as file:
            began = time.monotonic()
            process = place.popen("-y", "shop.py", stderr=file)
        wait_until(began + moment)
        told = {process.pid}
        try:
            told.add(place.read_pid())
        except (FileNotFoundError, ValueError):
            pass  # there is none yet
        could_hear = all(number == signal.SIGWINCH or has_handler(pid, number) for pid in told)
        for pid in told:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass  # the starter has returned
        code = process.wait(PATIENCE)
        said = f"{number} after {moment:.3f} s: {code} {(place.root / 'errors').read_text()!r}"
        if code == -number:  # it was not plaitd yet when it met the signal, but Python
            assert not could_hear, said
        else:
            assert code == 0, said
            assert Daemon(place, place.read_pid()).stop().code == 0, said
        place.assert_nothing_left(5.0)
        place.reap()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
@pytest.mark.time_limit(180)
def test_a_signal_at_any_moment_of_the_stop_changes_nothing(place: Place, number: int, is_long: bool) -> None:
    """A second signal, to the last moment of the process: it has stopped in order, and its exit code says so."""
    place.write(BUSY)
    for moment in instants(100 if is_long else 8, 0.12):
        running = place.foreground().ready()
        began = time.monotonic()
        running.send(signal.SIGTERM)
        wait_until(began + moment)
        running.send(number)
        ended = running.wait()
        # If both are there before Python looks, it takes the lower number first.
        comes_first = number == signal.SIGINT and "received SIGINT: stopping" in ended.output
        assert ended.code == (-number if comes_first else 0), f"{number} after {moment:.3f} s: {ended}"
        assert "Traceback" not in ended.output + ended.errors
        place.assert_nothing_left()


#: An application that tells of each HUP as soon as that is logged: the log itself is written some milliseconds later.
TELLING = f"""
import logging

class Teller(logging.Handler):
    def emit(self, record):
        if "received SIGHUP" in record.getMessage():
            tell("heard")

logging.getLogger("plait").addHandler(Teller())
{IDLE}
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_no_signal_waits_for_something_else_to_happen(place: Place, loop: str, is_long: bool) -> None:
    """One that comes just before the loop waits is heard then, and not when the next client comes."""
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    place.write(TELLING)
    running = place.foreground("-r", loop).ready()
    for number in range(100_000 if is_long else 5_000):  # without what wakes the loop, one of some 30,000 is not heard
        running.send(signal.SIGHUP)
        assert place.heard() == "heard"
        if number % 100 == 0:
            running.log_until("received SIGHUP")
            running.forget()
    assert running.stop().code == 0


@pytest.mark.promise(41)
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_storm_of_signals_changes_nothing(place: Place, loop: str, is_long: bool) -> None:
    """10,000 HUP and USR1 in 10 s, the log moved away now and then: it serves, nothing grew, and it stops with 0."""
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    place.write(BUSY)
    running = place.daemonize("-r", loop)
    chance = random.Random(4711)
    log = place.folder / "plaitd.log"
    counts = []
    moves = 0
    count = 10_000 if is_long else 1_000
    began = time.monotonic()
    for number in range(count):
        if number in (count // 10, count - 1):
            assert ask(place) == b"hello"  # it has caught up
            counts.append(count_of(running.pid))
        if number % 100 == 50 and log.exists():  # or it had no time yet to open it again
            os.replace(log, place.folder / "plaitd.log.1")
            moves += 1
        running.send(chance.choice((signal.SIGHUP, signal.SIGUSR1)))
        wait_until(began + number * 0.001)
    place.allow("plaitd.log.1")
    assert moves >= 2
    assert ask(place) == b"hello"
    (descriptors, threads, memory), after = counts
    assert after[:2] == (descriptors, threads)
    assert after[2] - memory < 1024
    if log.exists():
        os.replace(log, place.folder / "plaitd.log.1")
    running.send(signal.SIGHUP)
    ended = running.stop()
    assert ended.code == 0
    assert ended.output.endswith("ended: received SIGTERM: exit status 0\n")
    assert "Traceback" not in ended.output


def ask(place: Place) -> bytes:
    """Connect to the echo service and return its answer."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(place.folder / "echo.sock"))
        client.sendall(b"hello")
        answer = client.recv(100)
        assert client.recv(100) == b""
        return answer


def count_of(pid: int) -> tuple[int, int, int]:
    """
    Return how many descriptors and threads process *pid* has, and its memory in KiB.

    It is looked at often, and the least counts: a log that is being opened again is there twice for a moment, and so is
    a client who has just left.  What was not put away is there each time.
    """
    looks = []
    for _ in range(50):
        status = Path(f"/proc/{pid}/status").read_text()
        threads, memory = (int(status.partition(f"{key}:")[2].split()[0]) for key in ("Threads", "VmRSS"))
        looks.append((len(os.listdir(f"/proc/{pid}/fd")), threads, memory))
    descriptors, threads, memory = (min(column) for column in zip(*looks, strict=True))
    return descriptors, threads, memory


# A stop always ends ---------------------------------------------------------------------------------------------------


def test_a_stop_that_waits_says_for_whom(place: Place) -> None:
    """After a second the log says for whom the stop waits, how long of how long, and at which file and line."""
    place.write("""
@service
async def slow(context):
    context.ready()
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(1.2)  # here

application = Application("shop", [slow])
""")
    ended = place.foreground().ready().stop()
    assert ended.code == 0
    text = rf"\[shop/slow#warning\] still stopping after 1\.\d s of 10 s, at {place.line_of('# here')} in slow$"
    assert re.search(text, ended.output, re.MULTILINE)


@pytest.mark.parametrize(("limit", "least", "most"), [(0, 0.0, 0.3), (0.3, 0.3, 0.5), (None, 0.5, 0.8)])
def test_each_service_has_its_own_time(place: Place, limit: float | None, least: float, most: float) -> None:
    """A service that swallows its cancellation delays the stop by its own time-out, or by the whole stop's (0.5 s)."""
    place.write(HANGS.format(limit=limit, whole=0.5))
    ended = place.foreground().ready().stop()
    assert ended.code == 70
    (waited,) = re.findall(r"LeftBehind: shop/second: left behind: did not stop in ([\d.e-]+) s", ended.output)[:1]
    assert least <= float(waited) < most
    assert ended.seconds < most + 1.0


@FORMS
def test_a_blocked_loop_ends_by_the_deadline(place: Place, daemonize: bool) -> None:
    """A handler that blocks the loop cannot hold the stop: the line is named, and the process ends by force."""
    place.write("""
from plait import Listener

async def shop(reader, writer):
    tell("blocks")
    time.sleep(60)  # here

application = Application("shop", [Listener("unix:shop.sock", shop)])
""")
    place.allow("shop.sock")
    running = start(place, daemonize, "--stop-timeout", "0.2")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(place.folder / "shop.sock"))
        assert place.heard() == "blocks"
        ended = running.stop()
    assert ended.code == 70
    assert 2.5 < ended.seconds < 4.5
    where = rf"\S*{place.line_of('# here')}"
    assert re.search(rf"did not stop in 0.2 s, the loop is blocked at {where}: ends by force$", ended.last_line)
    assert not place.pidfile.exists()


def test_a_third_signal_ends_a_blocked_loop(place: Place) -> None:
    """Three signals end it at once, also when the loop is blocked and hears none of them."""
    place.write("""
@service
async def shop(context):
    context.ready()
    await asyncio.sleep(0)
    tell("blocks")
    time.sleep(60)

application = Application("shop", [shop])
""")
    running = place.foreground()
    assert place.heard() == "blocks"
    for _ in range(2):
        running.send(signal.SIGTERM)
        wait_until_delivered(running.pid)
    ended = running.stop()
    assert ended.code == 70
    assert ended.seconds < 0.5


def wait_until_delivered(pid: int) -> None:
    """Wait until no signal of process *pid* is pending: two of the same kind would be heard as one."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        status = Path(f"/proc/{pid}/status").read_text()
        pending = [int(status.partition(f"{key}:")[2].split()[0], 16) for key in ("SigPnd", "ShdPnd")]
        if not any(pending):
            time.sleep(0.05)  # Python has taken it, and now calls the handler: nothing outside shows when
            return


@pytest.mark.parametrize("how", ["the deadline", "the third signal"])
def test_a_log_that_nobody_reads_does_not_hold_the_end(place: Place, how: str) -> None:
    """With standard output a full pipe, even writing the last words blocks: it ends all the same, its pidfile gone."""
    place.write(
        """
@service
async def chatter(context):
    context.ready()
    while True:
        context.log.info("x" * 4000)
        await asyncio.sleep(0)

application = Application("shop", [chatter], stop_timeout={whole})
""".replace("{whole}", "0.2" if how == "the deadline" else "30")
    )
    reader, writer = os.pipe()
    running = place.foreground(stdout=writer)
    os.close(writer)
    try:
        wait_until_full(reader, running.pid)
        running.send(signal.SIGTERM)
        if how == "the third signal":
            for _ in range(2):
                wait_until_delivered(running.pid)
                running.send(signal.SIGTERM)
        ended = running.wait(8)
    finally:
        os.close(reader)
    assert ended.code == 70
    assert ended.seconds < 6.0


def wait_until_full(pipe: int, pid: int) -> None:
    """Wait until process *pid* is blocked in writing to *pipe*."""
    import fcntl
    import struct
    import termios

    deadline = time.monotonic() + PATIENCE
    last = -1
    while time.monotonic() < deadline:
        size = struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, b"\0\0\0\0"))[0]
        if size == last and size > 32_768:
            return
        last = size
        time.sleep(0.05)  # that a pipe is full is an event for its writers only
    raise AssertionError("the pipe does not fill")


@pytest.mark.parametrize("why", ["gave up", "asked to"])
def test_a_stop_without_a_signal_ends_too(place: Place, why: str) -> None:
    """The time of the whole stop counts too when a service gave up, or stopped the application, and another hangs."""
    place.write(
        HANGS.format(limit=None, whole=0.3).rpartition("application =")[0]
        + """
from plait import StopApplication

@service(restart="always")
async def third(context):
    context.ready()
    raise {error}

from plait import Limit
application = Application("shop", [first, second, third], stop_timeout=0.3, limit=Limit(0))
""".replace("{error}", "ValueError('no luck')" if why == "gave up" else "StopApplication('sold out')")
    )
    ended = place.foreground().ready().wait(8)
    assert ended.code == 70
    assert "put away" in ended.output
    assert re.search(rf"left behind: did not stop in 0\.3\d* s, at {place.line_of('# here')}", ended.output)


@pytest.mark.parametrize("why", ["gave up", "asked to"])
def test_a_loop_that_is_blocked_in_a_stop_without_a_signal_ends_too(place: Place, why: str) -> None:
    """Somebody who blocks the loop while it stops does not hold it, whatever the stop came from."""
    place.write(
        """
from plait import Limit, StopApplication

@service
async def first(context):
    context.ready()
    try:
        await asyncio.Event().wait()
    finally:
        time.sleep(60)  # here

@service
async def second(context):
    context.ready()
    raise {error}

application = Application("shop", [first, second], stop_timeout=0.2, limit=Limit(0))
""".replace("{error}", "ValueError('no luck')" if why == "gave up" else "StopApplication('sold out')")
    )
    ended = place.foreground().ready().wait(8)
    assert ended.code == 70
    assert re.search(rf"the loop is blocked at \S*{place.line_of('# here')}: ends by force$", ended.last_line)


# Without plaitd -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_script_lives_on_after_its_run(place: Place, number: int) -> None:
    """`plait.run` returns after a stop; what the script does then may take longer than any stop may."""
    place.write(
        IDLE.replace("context.ready()", "context.ready(); tell('ready')")
        + """
import plait, dataclasses
import plait.runner.runner
plait.runner.runner.MARGIN = 0.2  # or the script would have to be longer
try:
    plait.run(dataclasses.replace(application, stop_timeout=0.1))
    name = "nothing"
except KeyboardInterrupt:
    name = "KeyboardInterrupt"
time.sleep(0.6)
print(name, signal.getsignal(signal.SIGTERM) == signal.SIG_DFL)
sys.exit(5)
"""
    )
    with place.popen("shop.py", program=(sys.executable,), stdout=-1) as process:
        assert place.heard() == "ready"
        process.send_signal(number)
        output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 5
    assert output.decode().split() == ["KeyboardInterrupt" if number == signal.SIGINT else "nothing", "True"]
