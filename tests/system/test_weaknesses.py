"""
What was seen to go wrong with twistd does not go wrong here: one test for each weakness of the list.

`WEAKNESSES` is that list, by its numbers: which test shows it, here or elsewhere.
"""

from __future__ import annotations

import ast
import asyncio
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from plait import Application, Listener
from plait.tree.running import running
from tests.system.daemon import IDLE, PLAITD, Daemon, Place
from tests.system.places import FORMS, accept_third, start_five_at_once, stop_while_it_starts

HERE = "test_weaknesses.py"

#: Its number, what was seen, and the test: a name in this file, or ``file::name``.
WEAKNESSES = {
    "1": (
        "a failed start: a truncated line; what started before is never stopped",
        "test_a_failed_start_is_told_whole",
    ),
    "2": ("a failed start in the foreground: nothing on standard error", "test_a_failed_start_is_told_in_front_too"),
    "3": ("a start that fails later: exit code 0, and it runs on", "test_a_start_that_fails_later_has_failed"),
    "4": ("an async start never runs", "test_a_function_of_the_wrong_kind_is_a_sentence"),
    "5": ("sys.exit, os._exit in a start: the parent hangs", "test_an_exit_in_a_start_does_not_hang_the_starter"),
    "6": ("no right to become a user: the parent hangs", "test_plaitd.py::test_who_may_not_become_root_is_told_so"),
    "7": ("a user without a passwd entry: KeyError", "test_a_user_may_be_only_a_number"),
    "8": ("a file that cannot be loaded: said twice, with a traceback", "test_what_is_no_application_is_one_sentence"),
    "9": ("five starts at once: five daemons, one pidfile", "test_of_five_starts_at_once_one_wins"),
    "10": ("a stop that never ends", "test_signals.py::test_each_service_has_its_own_time"),
    "11": ("errors of a stop are lost", "test_errors_while_stopping_are_told"),
    "12": ("TERM while it starts: dead at once", "test_a_stop_in_the_middle_of_a_start_takes_it_back"),
    "13": ("port in use, found by the service: a deaf daemon", "test_a_port_that_a_service_cannot_have_is_told"),
    "14": ("port in use: cut in the middle of a word", "test_a_port_in_use_is_told_whole"),
    "15": ("a failed periodic call: never again", "test_a_periodic_failure_is_told_and_it_goes_on"),
    "16": ("sys.exit in a callback: ignored", "test_sys_exit_stops_in_order_with_its_code"),
    "17": ("an exception in a delayed call", "test_an_exception_in_a_callback_is_told_and_it_goes_on"),
    "17a": ("sys.exit in an asyncio callback: nothing is stopped", "test_sys_exit_stops_in_order_with_its_code"),
    "18": ("USR1 kills where the log is standard output", "test_signals.py::test_no_other_signal_ends_it_by_accident"),
    "19": ("mv and USR1: the old file is written on", "test_signals.py::test_the_log_is_opened_again"),
    "20": ("no rotation after a change of user", "test_the_log_is_opened_again_by_another_user"),
    "21": ("HUP and QUIT kill", "test_signals.py::test_it_is_stopped_in_order"),
    "22": ("INT is ignored in a background job", "test_signals.py::test_an_ignored_interrupt_is_heard_all_the_same"),
    "23": ("a process name in a venv: cannot start", "test_debugging.py::test_a_title_is_what_ps_shows"),
    "24": ("a process name loses passed sockets", "test_a_title_loses_no_passed_socket"),
    "25": (
        "chroot: pidfile fails, hangs without /dev/null",
        "test_jail.py::test_a_daemon_lives_in_an_empty_folder",
    ),
    "26": ("a stale pid blocks the start", "test_a_zombie_in_the_pidfile_does_not_block"),
    "27": ("TERM as process 1", "test_plaitd.py::test_as_process_1_it_stays_and_stops"),
    "28": (
        "a broken plugin: a traceback for every command",
        "test_plugins.py::test_a_broken_package_is_told_when_its_plugin_is_chosen_and_only_then",
    ),
    "29": ("a full device: silence", "test_a_full_device_is_told"),
    "30": ("a thread of a pool: waited for", "test_a_thread_of_a_pool_does_not_hold_the_end"),
    "31": ("child processes outlive their monitor", "test_program_stop.py::test_nothing_that_came_of_it_survives"),
    "32": ("stopped and started again: deaf", "test_a_listener_that_is_started_again_is_not_deaf"),
    "33": (
        "a connection lost while it is prepared: stuck",
        "test_a_connection_lost_while_it_is_prepared_is_made_again",
    ),
    "34": ("the other runner loses the log of a failed start", "test_plait_run_tells_of_a_failed_start"),
}


def test_each_weakness_has_its_test() -> None:
    """Each number from 1 to 34 is there, and each test that is named exists."""
    numbers = [number for number in WEAKNESSES if number != "17a"]
    assert numbers == [str(number) for number in range(1, 35)]
    folder = Path(__file__).parent
    for what, test in WEAKNESSES.values():
        file, _, name = test.rpartition("::")
        tree = ast.parse((folder / (file or HERE)).read_text())
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, what


# Starts that fail (1-8) -----------------------------------------------------------------------------------------------

FAILS = """
@service
async def first(context):
    context.ready()
    try:
        await asyncio.Event().wait()
    finally:
        context.log.info("put away")

@service
async def second(context):
    await asyncio.sleep({delay})
    raise ValueError("no luck" + " at all" * 60 + " \u2014 é")

application = Application("shop", [first, second])
"""
WHY = "shop/second: did not start: ValueError: no luck" + " at all" * 60 + " \u2014 é"


def test_a_failed_start_is_told_whole(place: Place) -> None:
    """The starter prints the whole sentence, however long; what had started is stopped, and the pidfile gone."""
    place.write(FAILS.format(delay=0))
    ended = place.run("-y", "shop.py")
    assert (ended.code, ended.output, ended.errors) == (70, "", f"plaitd: {WHY}\n")
    assert "[shop/first#info] put away" in place.log
    assert 'shop.py", line 13, in second' in place.log


@pytest.mark.parametrize("log", ["-", "plaitd.log"])
def test_a_failed_start_is_told_in_front_too(place: Place, log: str) -> None:
    """In the foreground the same sentence is on the terminal: as the last line of the log, or on standard error."""
    place.write(FAILS.format(delay=0))
    ended = place.run("-n", "-y", "shop.py", "-l", log)
    assert ended.code == 70
    if log == "-":
        assert ended.last_line.endswith(f"[plait#critical] ended: {WHY}: exit status 70")
    else:
        assert ended.errors == f"plaitd: {WHY}\n"


@FORMS
def test_a_start_that_fails_later_has_failed(place: Place, daemonize: bool) -> None:
    """A start that waits for something before it fails has failed all the same."""
    place.write(FAILS.format(delay=0.05))
    ended = place.run("-y", "shop.py", *([] if daemonize else ["-n"]))
    assert ended.code == 70
    assert "put away" in (place.log if daemonize else ended.output)


WRONG_KIND = {
    "a plain function": (
        "@service\ndef second(context): pass\napplication = Application('shop', [second])",
        70,
        "shop/second: did not start: TypeError: second is not async: write async def second(context), without yield",
    ),
    "a generator": (
        "@service\nasync def second(context): yield\napplication = Application('shop', [second])",
        70,
        "shop/second: did not start: TypeError: second is not async: write async def second(context), without yield",
    ),
    "a task that blocks": (
        "from plait import Task\ndef second(): time.sleep(1)\napplication = Task(second)",
        78,
        "a blocking one belongs in a Thread",
    ),
    "a thread that is async": (
        "from plait import Thread\nasync def second(stop): pass\napplication = Thread(second)",
        78,
        "an async one belongs in a Task",
    ),
    "a coroutine": ("async def second(): pass\napplication = second()", 78, "is a coroutine, not an Application"),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("kind", WRONG_KIND)
def test_a_function_of_the_wrong_kind_is_a_sentence(place: Place, kind: str) -> None:
    """What is not async where it must be, or is where it must not be, fails the start with what to write instead."""
    source, code, sentence = WRONG_KIND[kind]
    place.write(f"\n{source}\n")
    ended = place.run("-y", "shop.py")
    assert ended.code == code
    assert sentence in ended.errors
    assert ended.errors.startswith("plaitd: ")
    assert "Traceback" not in ended.errors


EXITS = """
@service
async def first(context):
    context.ready()
    try:
        await asyncio.Event().wait()
    finally:
        context.log.info("put away")

@service
async def second(context):
    {exit}

application = Application("shop", [first, second])
"""


@pytest.mark.parametrize(
    ("exit", "code"), [("sys.exit(3)", 3), ("sys.exit()", 70), ("sys.exit('no luck')", 1), ("os._exit(5)", 5)]
)
def test_an_exit_in_a_start_does_not_hang_the_starter(place: Place, exit: str, code: int) -> None:
    """Who leaves the process in the middle of its start: the starter says so, with its code or 70, never with 0."""
    place.write(EXITS.format(exit=exit))
    ended = place.run("-y", "shop.py")
    assert ended.code == code
    assert re.fullmatch(
        r"plaitd: (shop/second: )?(sys\.exit\(.*\), before it was ready|ended with exit code 5 before .*)\n",
        ended.errors,
    )
    assert ("put away" in place.log) == (exit != "os._exit(5)")


@pytest.mark.root
def test_a_user_may_be_only_a_number(public: Place) -> None:
    """A user and a group without entries in any database will do; without its group that is said in a sentence."""
    place = public
    place.write(IDLE)
    daemon = place.daemonize("-u", "54321", "-g", "54322")
    facts = Path(f"/proc/{daemon.pid}/status").read_text()
    assert re.search(r"^Uid:(\t54321){4}$", facts, re.MULTILINE)
    assert re.search(r"^Gid:(\t54322){4}$", facts, re.MULTILINE)
    assert re.search(r"^Groups:\s*$", facts, re.MULTILINE)
    assert daemon.stop().code == 0
    ended = place.run("-u", "54321", "-y", "shop.py")
    assert ended.code == 78
    assert ended.errors == "plaitd: --uid 54321: has no passwd entry that says its group: give --gid too\n"


@pytest.mark.parametrize("value", ["42", "None", "Application", "[]"])
def test_what_is_no_application_is_one_sentence(place: Place, value: str) -> None:
    """Whatever `application` is, when it is not one it is said once, without a traceback."""
    place.write(f"\napplication = {value}\n")
    ended = place.run("-y", "shop.py")
    assert ended.code == 78
    assert re.fullmatch(r"plaitd: shop\.py: application: is an? \w+, not an Application: make it .*\n", ended.errors)


# One of many (9, 26) --------------------------------------------------------------------------------------------------


def test_of_five_starts_at_once_one_wins(place: Place) -> None:
    """The others name the winner, exit with 75, and disturb nobody."""
    place.write(IDLE)
    winner, errors = start_five_at_once(place)
    told = {int(match[1]) for text in errors if (match := re.search("held by plaitd with pid ([0-9]+):", text))}
    # Before its forks it had the number of the process that was started.
    assert told <= {place.read_pid(), winner.pid}
    assert Daemon(place, place.read_pid()).stop().code == 0


def test_a_zombie_in_the_pidfile_does_not_block(place: Place) -> None:
    """Nor does a process that has ended and that nobody waited for, nor the pid of whoever starts it."""
    place.write(IDLE)
    zombie = subprocess.Popen([sys.executable, "-S", "-c", ""])
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    try:
        for pid in (zombie.pid, os.getpid()):
            place.pidfile.write_text(f"{pid}\n")
            assert place.daemonize().stop().code == 0
    finally:
        zombie.wait()


# Stops (10-12, 30) ----------------------------------------------------------------------------------------------------


def test_errors_while_stopping_are_told(place: Place) -> None:
    """Each error of a stop is in the log, in order, with its traceback; the stop goes on, and is a good one."""
    place.write("""
def bad(name):
    @service(name=name)
    async def live(context):
        context.ready()
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("no luck with " + name)
    return live

application = Application("shop", [bad("one"), bad("two"), bad("three")])
""")
    ended = place.foreground().ready().stop()
    assert re.findall(r"#error\] stopped \(ValueError: no luck with (\w+)\)$", ended.output, re.MULTILINE) == [
        "three",
        "two",
        "one",
    ]
    assert ended.output.count('shop.py", line 9, in live') == 3
    assert ended.code == 0


@FORMS
def test_a_stop_in_the_middle_of_a_start_takes_it_back(place: Place, daemonize: bool) -> None:
    """TERM while a service starts: it is cancelled, what had started is stopped, and nothing is left."""
    place.write("""
@service
async def first(context):
    context.ready()
    try:
        await asyncio.Event().wait()
    finally:
        context.log.info("first put away")

@service
async def second(context):
    tell("starts")
    try:
        await asyncio.sleep(60)
    finally:
        context.log.info("second put away")

application = Application("shop", [first, second])
""")
    log = stop_while_it_starts(place, daemonize)
    assert re.findall(r"(\w+) put away", log) == ["second", "first"]
    assert log.endswith("ended: received SIGTERM: exit status 0\n")


@pytest.mark.parametrize(
    "options", [(), ("--stop-timeout", "0"), ("--stop-timeout", "0", "-r", "asyncio")], ids=" ".join
)
def test_a_thread_of_a_pool_does_not_hold_the_end(place: Place, options: tuple[str, ...]) -> None:
    """A blocking call in asyncio's pool of threads, which nobody can end, delays the end by a second at most."""
    place.write("""
@service
async def first(context):
    context.ready()
    asyncio.get_running_loop().call_soon(tell, "works")
    await asyncio.to_thread(time.sleep, 60)

application = Application("shop", [first])
""")
    running = place.foreground(*options)
    assert place.heard() == "works"
    ended = running.stop()
    assert ended.code == 0
    assert ended.seconds < 2.5
    assert re.search(r"\[plait#warning\] thread (asyncio|uvloop)_0 was left behind", ended.output)
    assert ended.last_line.endswith("ended: received SIGTERM: exit status 0")


# Ports (13, 14, 32) ---------------------------------------------------------------------------------------------------


@FORMS
def test_a_port_that_a_service_cannot_have_is_told(place: Place, daemonize: bool) -> None:
    """A service that opens its port by itself, and cannot, fails the start."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        place.write(f"""
@service
async def web(context):
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", {port})
    context.ready()
    await server.serve_forever()

application = Application("shop", [web])
""")
        ended = place.run("-y", "shop.py", *([] if daemonize else ["-n"]))
    assert ended.code == 70
    told = ended.errors if daemonize else ended.output
    assert re.search(rf"shop/web: did not start: OSError: .*{port}.* address already in use", told)


@FORMS
def test_a_port_in_use_is_told_whole(place: Place, daemonize: bool) -> None:
    """A declared port in use is one whole sentence, before anything starts, with 69."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        place.write(f"""
from plait import Listener

async def echo(reader, writer):
    pass

application = Application("shop", [Listener("tcp:{port}:interface=127.0.0.1", echo)])
""")
        ended = place.run("-y", "shop.py", *([] if daemonize else ["-n"]))
    assert ended.code == 69
    assert ended.output == ""
    sentence = rf"plaitd: tcp:{port}:interface=127\.0\.0\.1: cannot be opened \(Address already in use\): [^\n]+\n"
    assert re.fullmatch(sentence, ended.errors)


def test_a_listener_that_is_started_again_is_not_deaf() -> None:
    """Stopped and started by hand it answers again, at the same port."""

    async def hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")

    async def ask(address: Any) -> bytes:
        reader, writer = await asyncio.open_connection(*address)
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer

    async def main() -> None:
        async with running(Application("shop", [Listener("tcp:0:interface=127.0.0.1", hello)])) as tree:
            (address,) = tree.find("shop/hello").value
            assert await ask(address) == b"hello"
            await tree.stop("shop/hello")
            await tree.start("shop/hello")
            assert tree.find("shop/hello").value == (address,)
            assert await ask(address) == b"hello"

    asyncio.run(main())


# While it runs (15-17, 20, 29, 33) ------------------------------------------------------------------------------------


def test_a_periodic_failure_is_told_and_it_goes_on(place: Place) -> None:
    """A run that raises is in the log with its traceback, and the next one comes."""
    place.write("""
from plait import Periodic
runs = 0

def sweep():
    global runs
    runs += 1
    tell(str(runs))
    if runs == 1:
        raise ValueError("no luck")

application = Application("shop", [Periodic(0.05, sweep)])
""")
    running = place.foreground()
    assert [place.heard(), place.heard(), place.heard()] == ["1", "2", "3"]
    ended = running.stop()
    assert ended.code == 0
    assert ended.output.count("ValueError: no luck") >= 1
    assert 'shop.py", line 10, in sweep' in ended.output


CALLBACK = """
def exit_():
    tell("leaves")
    {what}

@service
async def first(context):
    context.ready()
    try:
        await asyncio.Event().wait()
    finally:
        context.log.info("first put away")

@service
async def second(context):
    context.ready()
    loop = asyncio.get_running_loop()
    {how}
    try:
        await asyncio.Event().wait()
    finally:
        context.log.info("second put away")

application = Application("shop", [first, second])
"""

HOW = {
    "a callback": "loop.call_soon(exit_)",
    "a delayed call": "loop.call_later(0.01, exit_)",
    "a task": "async def main(): exit_()\n    task = asyncio.create_task(main())",
    "the service": "exit_()",
}


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("how", HOW)
def test_sys_exit_stops_in_order_with_its_code(place: Place, how: str, loop: str) -> None:
    """sys.exit(4) anywhere under the loop stops everything in order, and the exit code is 4."""
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    place.write(CALLBACK.format(how=HOW[how], what="sys.exit(4)"))
    ended = place.foreground("-r", loop).wait()
    assert ended.code == 4, ended
    wanted = ["first"] if how == "the service" else ["second", "first"]
    assert [
        name for name in re.findall(r"(\w+) put away", ended.output) if how != "the service" or name != "second"
    ] == wanted
    assert re.search(r"ended: (shop/second: )?sys\.exit\(4\): exit status 4$", ended.last_line)
    assert "never retrieved" not in ended.output


@pytest.mark.parametrize("how", ["a callback", "a delayed call", "a task"])
def test_an_exception_in_a_callback_is_told_and_it_goes_on(place: Place, how: str) -> None:
    """An exception that belongs to nobody is in the log, with its traceback; the services live on."""
    source = CALLBACK.format(how=HOW[how], what="raise ValueError('no luck')")
    if how == "a task":  # nobody asks for its result: it is told when the task is forgotten
        source = source.replace("task = asyncio", "asyncio")
    place.write(source)
    running = place.foreground()
    assert place.heard() == "leaves"
    running.log_until("ValueError: no luck")
    ended = running.stop()
    assert ended.code == 0
    assert 'shop.py", line 4, in exit_' in ended.output
    assert re.findall(r"(\w+) put away", ended.output) == ["second", "first"]


@pytest.mark.root
def test_the_log_is_opened_again_by_another_user(public: Place) -> None:
    """After `-u`, mv and HUP the log is a new file of that user: it was opened by him from the start."""
    place = public
    place.write(IDLE)
    daemon = place.daemonize("-u", "54321", "-g", "54322")
    log = place.folder / "plaitd.log"
    assert log.stat().st_uid == 54321
    log.rename(place.folder / "plaitd.log.1")
    place.allow("plaitd.log.1")
    daemon.send(signal.SIGHUP)
    ended = daemon.stop()
    assert ended.code == 0
    assert log.stat().st_uid == 54321
    assert ended.last_line.endswith("ended: received SIGTERM: exit status 0")


@FORMS
def test_a_full_device_is_told(place: Place, daemonize: bool) -> None:
    """A log that takes nothing is told once on standard error, with the reason; the services live on."""
    place.write(IDLE.replace("context.ready()", "context.ready(); tell('ready')"))
    if daemonize:
        # /dev/full stands for any place: a daemon has no standard error any more, so only its service is left to it.
        running: Any = place.daemonize("-l", "/dev/full")
    else:
        with open("/dev/full", "wb") as full:
            running = place.foreground(stdout=full)
    assert place.heard() == "ready"
    running.send(signal.SIGUSR2)
    os.kill(running.pid, signal.SIGTERM)
    if daemonize:
        (place.folder / "plaitd.log").touch()
        assert running.wait().code == 0
        return
    ended = running.wait()
    assert ended.code == 0
    first, last = ended.errors.splitlines()
    assert first == "standard output: cannot be written (No space left on device): records are lost until it can"
    assert re.fullmatch(r"standard output: \d+ records were lost while it could not be written \(.*\)", last)


def test_a_connection_lost_while_it_is_prepared_is_made_again(place: Place, peer: socket.socket) -> None:
    """Twice the peer hangs up during the login: the third connection counts, and the service works with that."""
    place.write("""
from plait import Backoff, Connection

async def log_in(reader, writer):
    assert await reader.readexactly(2) == b"hi"

async def work(reader, writer):
    writer.write(b"works")
    await reader.read()

application = Application("shop", [
    Connection("unix:" + os.environ["PEER"], work, prepare=log_in, retry=Backoff(base=0.01), require=True)
])
""")
    running = place.foreground(environment={"PEER": peer.getsockname()})
    with accept_third(peer) as connection:
        connection.sendall(b"hi")
        assert connection.recv(10) == b"works"
        running.ready()
        assert running.stop().code == 0
        assert connection.recv(10) == b""


@FORMS
def test_a_title_loses_no_passed_socket(place: Place, daemonize: bool) -> None:
    """A process that is given a title goes on; it does not start itself again without its sockets."""
    place.write("""
from plait import Listener

async def hello(reader, writer):
    writer.write(b"hello")

application = Application("shop", [Listener("systemd:name=shop", hello)])
""")
    # What systemd does: the number of the process that it starts is known to that one alone.
    passing = ("sh", "-c", 'export LISTEN_PID=$$; exec "$@" 3<&0 </dev/null', "sh", PLAITD)
    environment = {"LISTEN_FDS": "1", "LISTEN_FDNAMES": "shop"}
    with socket.create_server(("127.0.0.1", 0)) as passed:
        start = place.daemonize if daemonize else place.foreground
        running = start("--title=the shop", program=passing, environment=environment, stdin=passed)
        with socket.create_connection(passed.getsockname(), 10) as client:
            assert client.recv(10) == b"hello"
    assert running.stop().code == 0


# The other runner (34) ------------------------------------------------------------------------------------------------


def test_plait_run_tells_of_a_failed_start(place: Place) -> None:
    """`plait run` has the whole log of a failed start, prepares as plaitd does, and ends with the same code."""
    plait = str(Path(PLAITD).with_name("plait"))
    if shutil.which(plait) is None:
        pytest.skip("NOT RUN: plait is not installed beside plaitd")
    place.write(FAILS.format(delay=0))
    ended = place.run("run", "-y", "shop.py", program=(plait,))
    assert ended.code == 70
    assert "no luck at all" in ended.output + ended.errors
    assert "put away" in ended.output + ended.errors
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        place.write(f"""
from plait import Listener

async def echo(reader, writer):
    pass

application = Application("shop", [Listener("tcp:{port}:interface=127.0.0.1", echo)])
""")
        ended = place.run("run", "-y", "shop.py", program=(plait,))
    assert ended.code == 69
    assert f"tcp:{port}:interface=127.0.0.1: cannot be opened" in ended.errors
