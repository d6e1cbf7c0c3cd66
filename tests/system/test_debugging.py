"""A running server under the debugger and the profiler, its title, and where everything in it is."""

from __future__ import annotations

import os
import pstats
import re
import signal
import stat
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.system.daemon import IDLE, PATIENCE, Daemon, Foreground, Place, wait_for_end
from tests.system.places import FORMS
from tests.system.terminal import Terminal

PROMPT = r"\(Pdb\) "
CTRL_C = b"\x03"

COUNTS = """
total = 0

@service(start_timeout=0.5, stop_timeout=0.5)
async def counts(context):
    context.ready()
    try:
        while True:
            await asyncio.sleep(0.01)
            count(); os.path.exists("ask") and [os.remove("ask"), tell("runs")]
    finally:
        context.log.info("put away")

def count():
    global total
    total += 1  # here

application = Application("shop", [counts])
"""


@pytest.fixture
def place(place: Place) -> Iterator[Place]:
    """One whose processes may take their time to end."""
    yield place
    place.assert_nothing_left(PATIENCE)


@pytest.fixture
def public(public: Place) -> Iterator[Place]:
    """The same where everybody may write."""
    yield public
    public.assert_nothing_left(PATIENCE)


@pytest.fixture
def terminal(place: Place) -> Iterator[Terminal]:
    """plaitd -b at a terminal, at its first prompt."""
    place.write(COUNTS)
    with Terminal(place, "-b", "-y", "shop.py") as terminal:
        terminal.read_until(PROMPT)
        yield terminal


def kill_blocked(pid: int) -> None:
    """End a process whose loop is blocked: the third signal does that, and those that come together count as one."""
    while not wait_for_end(pid, 0.05):
        os.kill(pid, signal.SIGTERM)


# The debugger ---------------------------------------------------------------------------------------------------------


def test_the_debugger_is_there_before_anything_runs(terminal: Terminal) -> None:
    """The application can be looked at, a breakpoint set, its lines gone through, and all left in order."""
    assert (
        "shop is loaded, and nothing runs yet.\n"
        "  c         run it; before that, b FILE:LINE sets a breakpoint\n"
        "  Ctrl-C    come back here, wherever it is\n"
        "  q, stop   stop it, in order\n"
    ) in terminal.text
    terminal.type("p application.name, application.children[0].name")
    terminal.read_until(r"\('shop', 'counts'\)\n" + PROMPT)
    terminal.type("b shop.py:16")
    terminal.read_until("Breakpoint 1 at .*/shop/shop.py:16\n" + PROMPT)
    terminal.type("c")
    terminal.read_until(r"\[plait#info\] shop is ready")
    terminal.read_until(r"> \S*shop\.py\(16\)count\(\)\n-> total \+= 1  # here\n" + PROMPT)
    terminal.type("p total")
    terminal.read_until(r"0\n" + PROMPT)
    terminal.type("n")
    terminal.read_until(PROMPT)
    terminal.type("p total")
    terminal.read_until(r"1\n" + PROMPT)
    terminal.type("cl 1")
    terminal.read_until(PROMPT)
    terminal.type("b shop.py:16, total == 5")
    terminal.read_until(PROMPT)
    terminal.type("c")
    terminal.read_until(r"count\(\)\n-> total \+= 1  # here\n" + PROMPT)
    terminal.type("p total")
    terminal.read_until(r"5\n" + PROMPT)
    terminal.type("q")
    terminal.read_until("put away")
    terminal.read_until("ended: the debugger was left: exit status 0")
    assert terminal.wait() == 0
    assert not re.search("error]|Bdb", terminal.text)


def test_ctrl_c_comes_back_wherever_it_is(terminal: Terminal, place: Place) -> None:
    """To the prompt, at once, as often as one likes; at the prompt it gives up the command; TERM still stops it."""
    (place.folder / "ask").touch()
    terminal.type("c")
    for _ in range(3):
        # What was typed before Ctrl-C and not read yet, the terminal throws away.
        assert place.heard() == "runs"
        terminal.press(CTRL_C)
        terminal.read_until(PROMPT)
        terminal.type("p application.__class__.__name__ if 'application' in dir() else 'elsewhere'")
        terminal.read_until(r"'elsewhere'\n" + PROMPT)
        (place.folder / "ask").touch()
        terminal.type("c")
    assert place.heard() == "runs"
    terminal.press(CTRL_C)
    terminal.read_until(PROMPT)
    terminal.type("import time; print('now'); time.sleep(1000)")
    terminal.read_until("now\n")
    terminal.press(CTRL_C)
    terminal.read_until(PROMPT)
    terminal.type("run")
    terminal.read_until("plaitd cannot begin anew from here: quit, and start it again\n" + PROMPT)
    terminal.type("c")
    os.kill(terminal.process.pid, signal.SIGTERM)
    terminal.read_until("ended: received SIGTERM: exit status 0")
    assert terminal.wait() == 0


def test_ctrl_c_finds_what_blocks_the_loop(place: Place) -> None:
    """A call that waits in the system is interrupted and looked at, and goes on waiting."""
    place.write("""
import threading

@service
async def blocks(context):
    context.ready()
    await asyncio.sleep(0)
    threading.Timer(0.2, tell, ["blocks"]).start()
    time.sleep(1000)  # here

application = Application("shop", [blocks], stop_timeout=None)
""")
    with Terminal(place, "-b", "-y", "shop.py") as terminal:
        terminal.read_until(PROMPT)
        terminal.type("c")
        assert place.heard() == "blocks"
        terminal.press(CTRL_C)
        terminal.read_until(r"shop\.py\(9\)blocks\(\)\n-> time\.sleep\(1000\)  # here\n" + PROMPT)
        terminal.type("q")  # it is asked to stop, and cannot
        kill_blocked(terminal.process.pid)
        assert terminal.wait() == 70


@pytest.mark.parametrize("call", ["breakpoint()", "import pdb; pdb.set_trace()"])
def test_a_breakpoint_in_the_code_is_one_of_this_debugger(place: Place, call: str) -> None:
    """It has the terminal, no time limit passes at its prompt, and to quit there stops the application in order."""
    place.write(COUNTS.replace("total += 1  # here", f"total += 1; {call}  # here"))
    with Terminal(place, "-b", "-y", "shop.py") as terminal:
        terminal.read_until(PROMPT)
        terminal.type("c")
        terminal.read_until(r"shop\.py\(16\)count\(\)\n.*# here\n" + PROMPT)
        # Longer than any limit of this service: the clock of the loop stands still.
        terminal.type("loop = asyncio.get_running_loop(); import time; before = loop.time(); time.sleep(1.0)")
        terminal.read_until(PROMPT)
        terminal.type("c")
        terminal.read_until(r"shop\.py\(16\)count\(\)\n.*# here\n" + PROMPT)
        terminal.type("q")
        terminal.read_until("put away")
        terminal.read_until("ended: the debugger was left: exit status 0")
        assert terminal.wait() == 0
        assert not re.search("error]|Bdb", terminal.text)
        assert "Executing" not in terminal.text  # what asyncio's debug mode says of a callback that takes long


def test_another_debugger_may_be_named(place: Place) -> None:
    """By PYTHONBREAKPOINT, as everywhere."""
    place.write(COUNTS.replace("total += 1  # here", "total += 1; total == 1 and breakpoint()"))
    (place.aside / "other.py").write_text("import os\ndef stop(): open(os.environ['TOLD'], 'w').write('other\\n')\n")
    path = os.pathsep.join([str(place.aside), *filter(None, [os.environ.get("PYTHONPATH")])])
    with Terminal(place, "-b", "-y", "shop.py", PYTHONPATH=path, PYTHONBREAKPOINT="other.stop") as terminal:
        terminal.read_until(PROMPT)
        terminal.type("c")
        assert place.heard() == "other"
        os.kill(terminal.process.pid, signal.SIGTERM)
        assert terminal.wait() == 0


def test_no_limit_passes_at_a_prompt_in_a_start_or_a_stop(place: Place) -> None:
    """A service that is looked at while it starts is not late, nor is it left behind while it stops."""
    place.write("""
@service(start_timeout=0.4, stop_timeout=0.4)
async def slow(context):
    breakpoint()  # start
    context.ready()
    try:
        await asyncio.Event().wait()
    finally:
        breakpoint()  # stop
        await asyncio.sleep(0)
        context.log.info("put away")

application = Application("shop", [slow], stop_timeout=0.2)
""")
    with Terminal(place, "-b", "-y", "shop.py") as terminal:
        terminal.read_until(PROMPT)
        terminal.type("c")
        terminal.read_until(r"# start\n" + PROMPT)
        terminal.type("import time; time.sleep(1.0)")
        terminal.read_until(PROMPT)
        terminal.type("c")
        terminal.read_until("is ready")
        os.kill(terminal.process.pid, signal.SIGTERM)
        terminal.read_until(r"# stop\n" + PROMPT)
        terminal.type("import time; time.sleep(3.0)")  # longer than a stop may take before it is ended by force
        terminal.read_until(PROMPT)
        terminal.type("c")
        terminal.read_until("put away")
        assert terminal.wait() == 0


def test_a_breakpoint_in_a_thread_is_served_too(place: Place) -> None:
    """The loop goes on meanwhile."""
    place.write("""
@service
async def ticks(context):
    context.ready()
    await asyncio.Event().wait()

def in_a_thread():
    x = 42
    breakpoint()  # here
    tell("went on")

@service
async def begins(context):
    context.ready()
    while not os.path.exists("go"):
        await asyncio.sleep(0.01)
    await asyncio.to_thread(in_a_thread)

application = Application("shop", [begins, ticks])
""")
    with Terminal(place, "-b", "-y", "shop.py") as terminal:
        terminal.read_until(PROMPT)
        terminal.type("c")
        terminal.read_until("is ready .*\n")  # what is logged meanwhile would stand between what pdb writes
        place.allow("go")
        (place.folder / "go").touch()
        terminal.read_until(r"in_a_thread\(\)\n-> breakpoint\(\)  # here\n" + PROMPT)
        terminal.type("p x")
        terminal.read_until("42\n")
        terminal.type("c")
        assert place.heard() == "went on"
        os.kill(terminal.process.pid, signal.SIGTERM)
        assert terminal.wait() == 0


def test_what_is_left_before_the_start_never_runs(terminal: Terminal) -> None:
    """Nothing is started; the status is 0."""
    terminal.type("stop")
    terminal.read_until("ended: the debugger was left: exit status 0")
    assert terminal.wait() == 0
    assert "put away" not in terminal.text


def test_an_end_of_input_leaves_the_debugger(place: Place) -> None:
    """Where there is no terminal, the first prompt is the last; commands may come through a pipe."""
    place.write(COUNTS)
    ended = place.run("-b", "-y", "shop.py")
    assert (ended.code, ended.errors) == (0, "")
    assert ended.last_line.endswith("ended: the debugger was left: exit status 0")
    with open(place.aside / "commands", "w+b") as commands:
        commands.write(b"b shop.py:16\nc\np 'total is', total\nq\n")
        commands.seek(0)
        ended = place.run("-b", "-y", "shop.py", stdin=commands)
    assert ended.code == 0
    assert "('total is', 0)" in ended.output


def test_an_error_while_loading_can_be_looked_at(place: Place) -> None:
    """At the line that raised it, with its variables; then it ends as it would have."""
    place.write("""
def make(port):
    return Application("shop", [port / 0])

application = make(8080)
""")
    sentence = "shop.py:3: ZeroDivisionError: division by zero: correct it, then start again"
    with Terminal(place, "-b", "-y", "shop.py") as terminal:
        terminal.read_until(re.escape(sentence) + "\n  q         leave it\n")
        terminal.read_until(r"> \S*shop\.py\(3\)make\(\)\n-> return .*\n" + PROMPT)
        terminal.type("p port")
        terminal.read_until("8080\n" + PROMPT)
        terminal.type("q")
        terminal.read_until(re.escape(f"plaitd: {sentence}"))
        assert terminal.wait() == 78


def test_asyncio_is_in_its_debug_mode(place: Place) -> None:
    """And its own loop is taken: with uvloop, should that be wanted, the debugger works too."""
    says = "loop = asyncio.get_running_loop(); tell(f'{loop.get_debug()} {type(loop).__module__}')"
    place.write(COUNTS.replace("total += 1", f"total += 1; {says}; os.kill(os.getpid(), signal.SIGTERM)"))
    for options, module in (((), "asyncio.unix_events"), (("-r", "uvloop"), "uvloop")):
        with Terminal(place, "-b", *options, "-y", "shop.py") as terminal:
            terminal.read_until(PROMPT)
            terminal.type("c")
            assert place.heard() == f"True {module}"
            assert terminal.wait() == 0


def test_a_daemon_has_no_debugger(place: Place) -> None:
    """It has no terminal."""
    place.write(IDLE)
    ended = place.run("-b", "--daemon", "-y", "shop.py")
    assert (ended.code, ended.errors) == (
        2,
        "plaitd: --debug, --daemon: a daemon has no terminal to debug it from: give one of them\n",
    )


# The profiler ---------------------------------------------------------------------------------------------------------


def begin(place: Place, daemonize: bool, *options: str) -> Daemon | Foreground:
    """Start the application, as a daemon or in the foreground."""
    return place.daemonize(*options) if daemonize else place.foreground(*options).ready()


@FORMS
def test_a_profile_is_written_when_it_is_stopped(place: Place, daemonize: bool) -> None:
    """By a signal, in the folder of the run, as text: what took most time of its own first."""
    (place.folder / "run").mkdir()
    place.allow("run")
    place.write(COUNTS.replace("total += 1  # here", "total += 1; total == 3 and tell('three')"))
    running = begin(place, daemonize, "-p", "profile.txt", "-d", "run")
    assert place.heard() == "three"
    assert running.stop().code == 0
    text = (place.folder / "run" / "profile.txt").read_text()
    assert re.search(r"\d+ function calls .*in [\d.]+ seconds", text)
    assert "Ordered by: internal time" in text
    calls = re.search(r"^ +(\d+) .*shop\.py:14\(count\)$", text, re.MULTILINE)
    assert calls is not None, text
    assert int(calls[1]) >= 3


def test_statistics_are_saved_for_pstats(place: Place) -> None:
    """In place of what an earlier run wrote, all of it."""
    (place.folder / "out").write_bytes(b"x" * 1_000_000)
    place.allow("out")
    place.write(COUNTS.replace("total += 1  # here", "total += 1; total == 3 and tell('three')"))
    running = place.foreground("--profile=out", "--profiler", "cProfile", "--savestats").ready()
    assert place.heard() == "three"
    assert (place.folder / "out").read_bytes() == b"x" * 1_000_000  # until there is something to put in its place
    assert running.stop(signal.SIGINT).code == -signal.SIGINT
    assert (place.folder / "out").stat().st_size < 1_000_000
    functions = pstats.Stats(str(place.folder / "out")).stats  # type: ignore[attr-defined]
    assert any(name == "count" for _, _, name in functions)


@FORMS
def test_a_file_that_cannot_be_written_is_said_at_the_start(place: Place, daemonize: bool) -> None:
    """Not when a day has been measured."""
    place.write(IDLE)
    options = ("-p", "nowhere/profile") if daemonize else ("-n", "-l", "plaitd.log", "-p", "nowhere/profile")
    ended = place.run(*options, "-y", "shop.py")
    assert (ended.code, ended.errors) == (
        73,
        "plaitd: --profile=nowhere/profile: cannot be written (No such file or directory): give another place\n",
    )


def test_a_report_that_cannot_be_written_is_an_error_in_the_log(place: Place) -> None:
    """It ends as it would have ended."""
    place.write(IDLE)
    ended = place.foreground("-p", "/dev/full").ready().stop()
    assert ended.code == 0
    assert "--profile=/dev/full: the report could not be written (No space left on device)\n" in ended.output


def test_statistics_that_are_saved_nowhere_are_a_mistake(place: Place) -> None:
    """It is said, rather than found out in the end."""
    place.write(IDLE)
    ended = place.run("-n", "--savestats", "-y", "shop.py")
    assert (ended.code, ended.errors) == (
        2,
        "plaitd: --savestats: there is no file to save them in: give --profile FILE too\n",
    )


@pytest.mark.root
def test_a_profile_belongs_to_the_user_that_was_become(public: Place) -> None:
    """It is opened after the change, and all that the report needs was loaded before."""
    place = public
    place.write(IDLE)
    place.allow("profile")
    running = place.daemonize("-u", "54321", "-g", "54321", "-p", "profile")
    assert running.stop().code == 0
    status = (place.folder / "profile").stat()
    assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (54321, 0o600)
    assert "function calls" in (place.folder / "profile").read_text()


# The title ------------------------------------------------------------------------------------------------------------


def show(pid: int, what: str) -> str:
    """Return what ps shows of the process."""
    done = subprocess.run(["ps", "-ww", "-o", f"{what}=", "-p", str(pid)], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@FORMS
def test_a_title_is_what_ps_shows(place: Place, daemonize: bool) -> None:
    """The whole of it, and nothing else."""
    place.write(IDLE)
    running = begin(place, daemonize, "--title", "the shop of plait")
    assert show(running.pid, "args") == "the shop of plait"
    assert running.stop().code == 0
    assert wait_for_end(running.pid)


def test_without_the_library_the_short_name_is_set(place: Place) -> None:
    """And it is said that this is not all, and what to install."""
    (place.aside / "setproctitle.py").write_text("raise ImportError('not here')\n")
    place.write(IDLE)
    path = os.pathsep.join([str(place.aside), *filter(None, [os.environ.get("PYTHONPATH")])])
    running = place.foreground("--title", "the shop of plait", environment={"PYTHONPATH": path}).ready()
    assert show(running.pid, "comm") == "the shop of pla"
    assert "plaitd" in show(running.pid, "args")
    assert (
        "--title=the shop of plait: shown as 'the shop of pla', and only where ps shows COMM: "
        "pip install plait[title]\n"
    ) in running.output
    assert running.stop().code == 0


def test_nothing_is_changed_unless_it_is_asked_for(place: Place) -> None:
    """Nor does twistd's --originalname change anything."""
    place.write(IDLE)
    running = place.foreground("--originalname").ready()
    assert show(running.pid, "args").endswith("plaitd -n --originalname -y shop.py")
    assert running.stop().code == 0


# Where everything is --------------------------------------------------------------------------------------------------


def test_usr2_shows_every_stack(place: Place) -> None:
    """Of each task with the path of its service, from the outermost line to the innermost, and of each thread."""
    place.write("""
@service
async def waits(context):
    context.ready()
    await inner()  # outer

async def inner():
    await asyncio.Event().wait()  # inner

@service
async def begins(context):
    task = asyncio.create_task(inner(), name="its own")
    context.ready()
    await task

application = Application("shop", [waits, begins])
""")
    running = place.foreground().ready()
    running.send(signal.SIGUSR2)
    inner = place.line_of("# inner")
    running.log_until(rf"\[shop/begins#info\] task its own of shop/begins: at {inner} in inner$")
    running.log_until(r"\[plait#info\] task plait: at ")
    running.log_until(r"\[shop/begins#info\] task shop/begins: at shop\.py:\d+ in begins$")
    running.log_until(r"^\t  waits for task its own$")
    running.log_until(rf"\[shop/waits#info\] task shop/waits: at {inner} in inner$")
    running.log_until(rf"^\t  {place.line_of('# outer')} in waits: await inner\(\)  # outer$")
    running.log_until(rf"^\t  {inner} in inner: await asyncio\.Event\(\)\.wait\(\)  # inner$")
    running.log_until(r"^\t  \S+asyncio/locks\.py:\d+ in Event\.wait: await fut$")
    running.log_until(r"\[plait#info\] thread MainThread: at ")
    running.log_until(r"^\t  \S+plaitd.* in <module>: ")
    assert running.stop().code == 0


@pytest.mark.parametrize("what", ["while True: pass", "time.sleep(1000)"], ids=["computes", "sleeps"])
def test_usr2_shows_what_blocks_the_loop(place: Place, what: str) -> None:
    """The line that blocks, at once, although the loop never comes round."""
    place.write(f"""
import threading

@service
async def blocks(context):
    context.ready()
    await asyncio.sleep(0)
    threading.Timer(0.2, tell, ["blocks"]).start()
    block()  # outer

def block():
    {what}  # inner

application = Application("shop", [blocks], stop_timeout=0)
""")
    running = place.foreground()
    assert place.heard() == "blocks"
    running.send(signal.SIGUSR2)
    inner = place.line_of("# inner")
    running.log_until(rf"\[shop/blocks#info\] task shop/blocks: at {inner} in block$")
    running.log_until(rf"^\t  {place.line_of('# outer')} in blocks: block\(\)  # outer$")
    running.log_until(rf"^\t  {inner} in block: ")
    running.log_until(rf"\[plait#info\] thread MainThread: at {inner} in block$")
    kill_blocked(running.pid)
    assert running.wait().code == 70


def test_usr2_at_any_moment_harms_nobody(place: Place) -> None:
    """A hundred of them while it logs as fast as it can: no record is torn, no lock waits for itself."""
    place.write("""
@service
async def talks(context):
    context.ready()
    for number in range(3000):
        context.log.info("record %d", number)
        if number % 100 == 0:
            await asyncio.sleep(0)
    tell("said all")
    await asyncio.Event().wait()

application = Application("shop", [talks])
""")
    running: Any = place.daemonize()
    for _ in range(100):
        running.send(signal.SIGUSR2)
    assert place.heard() == "said all"
    ended = running.stop()
    assert ended.code == 0
    numbers = [int(found) for found in re.findall(r"\[shop/talks#info\] record (\d+)\n", ended.output)]
    assert numbers == list(range(3000))
