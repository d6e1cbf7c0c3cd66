"""
The table of failures that no peer passes whole, as a table here.

Six failures, and a seventh that follows from the second, each of five kinds of service, which stands between two
neighbours.  `EXPECTED` is what a person would want of each cell.
"""

from __future__ import annotations

import re
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.system.daemon import Daemon, Ended, Foreground, Place

# The application ------------------------------------------------------------------------------------------------------

APPLICATION = """
from contextlib import asynccontextmanager
from plait import Backoff, Connection, Limit, Program, Resource, Thread

kind, fate = os.environ["CELL"].split("/")
hangs = fate == "hangs"
lives = 0

def neighbour(name):
    @service(name=name)
    async def live(context):
        context.ready()
        context.log.info("opened")
        try:
            await asyncio.Event().wait()
        finally:
            context.log.info("closed")
    return live

def begin():
    global lives
    if fate == "does not start":
        raise RuntimeError("no luck")
    lives += 1
    tell("works")
    return fate == "dies always" or (fate == "dies once" and lives == 1)

async def bare(context):
    dies = begin()
    context.ready()
    if dies:
        raise RuntimeError("no luck")
    try:
        await asyncio.Event().wait()
    finally:
        while hangs:
            try:
                await asyncio.Event().wait()  # bare hangs
            except asyncio.CancelledError:
                pass
        context.log.info("put away")

def thread(stop, context):
    dies = begin()
    context.ready()
    if dies:
        raise RuntimeError("no luck")
    stop.wait()
    while hangs:
        time.sleep(60)  # thread hangs
    context.log.info("put away")

@asynccontextmanager
async def resource():
    dies = begin()
    async with asyncio.TaskGroup() as group:
        if dies:
            group.create_task(fail())
        yield "value"
        while hangs:
            try:
                await asyncio.Event().wait()  # resource hangs
            except asyncio.CancelledError:
                pass
    if not dies:
        from plait import current
        current().log.info("put away")

async def fail():
    raise RuntimeError("no luck")

async def connection(reader, writer):
    if begin():
        raise RuntimeError("no luck")
    try:
        await reader.read()
    finally:
        while hangs:
            try:
                await asyncio.Event().wait()  # connection hangs
            except asyncio.CancelledError:
                pass
        from plait import current
        current().log.info("put away")

CHILD = '''
import os, signal, sys
fate = sys.argv[1]
if fate == "does not start":
    sys.exit("no luck")
another = os.fork() == 0
if fate == "hangs":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if another:
    os.setsid()  # it got away
    while True:
        signal.pause()
signal.signal(signal.SIGTERM, signal.SIG_IGN if fate == "hangs" else lambda *_: sys.exit())
with open(os.environ["TOLD"], "w") as told:
    told.write("works" + chr(10))
print("works", flush=True)
seen = os.environ["TMPDIR"] + "/seen"
if fate == "dies always" or (fate == "dies once" and not os.path.exists(seen)):
    open(seen, "w").close()
    os.kill(os.getpid(), signal.SIGKILL)
while True:
    signal.pause()
'''

patience = float(os.environ["STOP_TIMEOUT"])
policy = {"name": "subject", "stop_timeout": patience, "backoff": Backoff(base=0)}
quick = Backoff(base=0.01, cap=0.01)
subject = {
    "bare": lambda: service(**policy)(bare),
    "thread": lambda: Thread(thread, **policy),
    "program": lambda: Program(
        [sys.executable, "-I", "-S", "-c", CHILD, fate], ready_line="works", grace=0.6 * patience, **policy,
    ),
    "resource": lambda: Resource(resource, **policy),
    "connection": lambda: Connection(
        "unix:" + os.environ["PEER"], connection, require=True, retry=quick, start_timeout=0.5, drain=0.5, **policy,
    ),
}[kind]()

application = Application("shop", [neighbour("before"), subject, neighbour("after")], limit=Limit(3))
"""

# The table ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """
    What is wanted: the exit code (negative: by that signal), and the seconds that the end may take at most, from the
    last signal or from the start; the regular expressions of what the log says, in this order; in which order the
    neighbours and the subject are closed; and how often the subject begins to work.
    """

    code: int
    seconds: float
    says: tuple[str, ...]
    closed: tuple[str, ...] = ("after", "subject", "before")
    works: int = 1


HEALTHY = Cell(0, 1.0, ("received SIGTERM: stopping", "ended: received SIGTERM: exit status 0"))
#: Who started last is stopped first, and that is now the subject.
ONCE = replace(
    HEALTHY,
    works=2,
    closed=("subject", "after", "before"),
    says=(r"\[shop/subject#warning\] waiting, starts again at once \(.*no luck", *HEALTHY.says),
)
ALWAYS = Cell(
    70,
    3.0,
    (r"no luck", r"ended: shop: gave up: more than 3 restarts in 60 s, the last for shop/subject \(.*no luck.*70$"),
    closed=("after", "before"),
    works=4,
)
NO_START = Cell(
    70,
    3.0,
    (r"no luck", r"ended: shop/subject: did not start: .*no luck.*: exit status 70$"),
    closed=("before",),
    works=0,
)
LEFT = (
    r"\[shop/subject#error\] left behind \(LeftBehind: shop/subject: left behind: did not stop in {time} s, at {hangs}"
)
HANGS = Cell(
    70,
    2.0,
    (
        LEFT.replace("{time}", r"0\.\d+"),
        r"ended: received SIGTERM: exit status 70",
    ),
    closed=("after", "before"),
)
#: The stop would wait for 30 s: the second INT leaves a second.
TWICE = Cell(
    70,
    2.5,
    (
        r"received SIGINT: stopping",
        r"received SIGINT again: stopping in a hurry",
        LEFT.replace("{time}", r"[\d.]+"),
        r"ended: received SIGINT: exit status 70",
    ),
    closed=("after", "before"),
)
#: What can be killed is killed, and nothing is left: so the exit code is that of a good stop.
KILLED = (r"it did not end within 0\.\d+ s of SIGTERM: killed", r"was killed by SIGKILL after SIGTERM")
#: Nothing can be said after kill -9, nor done; but what came of it ends, and the next start is not hindered.
KILL = Cell(-9, 1.0, (), closed=())

EXPECTED: dict[str, dict[str, Cell]] = {
    "TERM": {
        "bare": HEALTHY,
        "thread": HEALTHY,
        "program": HEALTHY,
        "resource": HEALTHY,
        "connection": HEALTHY,
    },
    "dies once": {
        "bare": ONCE,
        "thread": ONCE,
        "program": replace(ONCE, says=(r"starts again at once \(ProgramFailed: .*SIGKILL", *HEALTHY.says)),
        "resource": ONCE,
        # The connection is made anew within the same life.
        "connection": replace(ONCE, closed=HEALTHY.closed, says=("no luck", *HEALTHY.says)),
    },
    "dies always": {
        "bare": ALWAYS,
        "thread": ALWAYS,
        "program": replace(ALWAYS, says=(r"SIGKILL", r"ended: shop: gave up: .*shop/subject \(.*SIGKILL\): .*70$")),
        "resource": ALWAYS,
        # Its peer may come to its senses: it tries again, ever more slowly, and nobody else is disturbed.
        "connection": replace(ALWAYS, code=0, seconds=1.0, says=("no luck", *HEALTHY.says)),
    },
    "does not start": {
        "bare": NO_START,
        "thread": NO_START,
        "program": replace(NO_START, says=("no luck stream=stderr", r"did not start: .* status 1: exit")),
        "resource": NO_START,
        "connection": replace(
            NO_START, says=(r"cannot connect to unix:\S+ \(", r"ended: shop/subject: did not start: ")
        ),
    },
    "hangs": {
        "bare": HANGS,
        "thread": HANGS,
        "program": replace(HEALTHY, seconds=2.0, says=(HEALTHY.says[0], *KILLED, HEALTHY.says[1])),
        "resource": HANGS,
        "connection": HANGS,
    },
    "INT twice": {
        "bare": TWICE,
        "thread": TWICE,
        "program": replace(TWICE, code=-2, says=(*TWICE.says[:2], "SIGKILL", "ended: received SIGINT: by SIGINT$")),
        "resource": TWICE,
        "connection": TWICE,
    },
    "KILL": {
        "bare": KILL,
        "thread": KILL,
        "program": KILL,
        "resource": KILL,
        "connection": KILL,
    },
}
#: The daemon differs from the foreground where somebody waits for it, and where nobody is left to put things away.
CELLS = [
    pytest.param(
        failure,
        kind,
        form,
        marks=() if form == "foreground" or failure in ("does not start", "KILL") else pytest.mark.long,
        id=f"{failure}-{kind}-{form}",
    )
    for failure, row in EXPECTED.items()
    for kind in row
    for form in ("foreground", "daemon")
]

#: What happens to the subject in each row.
FATES = {"TERM": "lives", "INT twice": "hangs", "KILL": "hangs"}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A folder to start plaitd in."""
    with Place(tmp_path) as place:
        yield place


@pytest.mark.promise(42)
@pytest.mark.parametrize(("failure", "kind", "form"), CELLS)
def test_it_ends_as_a_person_would_want(place: Place, peer: socket.socket, failure: str, kind: str, form: str) -> None:
    """Each cell: its exit code, its time, what the log says, who was closed in which order; nothing is left."""
    cell = EXPECTED[failure][kind]
    place.write(APPLICATION)
    environment = {
        "CELL": f"{kind}/{FATES.get(failure, failure)}",
        "STOP_TIMEOUT": "30" if failure == "INT twice" else "0.5",
        "PEER": str(place.aside / ("nobody" if failure == "does not start" else "peer")),
    }
    began = time.monotonic()
    if form == "daemon" and failure == "does not start":
        # Its starter says so, and the daemon is gone by then.
        ended = place.run("-y", "shop.py", environment=environment)
        assert re.search(r"^plaitd: shop/subject: did not start: [^\n]*\n$", ended.errors), ended
        ended = replace(ended, output=place.log, seconds=time.monotonic() - began)
    elif form == "daemon" and failure == "dies always" and kind != "connection":
        # It starts, so its starter says 0; then it is gone before anybody can look.
        ended = place.run("-y", "shop.py", environment=environment)
        assert (ended.code, ended.errors) == (0, "")
        assert not place.left(5.0)[1:]
        ended = Ended(int(place.log.rpartition("exit status ")[2]), place.log, "")
    else:
        running = begin(place, form, environment)
        ended = end(place, running, failure, cell)
        if not running.was_told:
            ended = replace(ended, seconds=time.monotonic() - began)
    check(place, ended, cell, kind)
    if kind == "connection" and failure != "does not start":
        connections = [peer.accept()[0] for _ in range(min(cell.works, 3))]
        for each in connections:
            each.settimeout(5)
            with each:
                assert each.recv(1) == b""  # nobody holds it open
    if failure == "KILL":
        assert not place.left(1.0) or place.left() == ["plaitd.pid"]
        # The next start is not hindered by anything.
        environment["CELL"] = f"{kind}/lives"
        again = begin(place, form, environment)
        assert place.heard() == "works"
        assert again.stop().code == 0
    (place.root / "tmp" / "seen").unlink(missing_ok=True)
    place.assert_nothing_left()


def begin(place: Place, form: str, environment: dict[str, str]) -> Daemon | Foreground:
    """Start the application; one that fails does so when it likes."""
    if form == "daemon":
        return place.daemonize(environment=environment)
    return place.foreground(environment=environment)


def end(place: Place, running: Daemon | Foreground, failure: str, cell: Cell) -> Ended:
    """Do what is to be done in this row of the table, once the subject works."""
    for _ in range(cell.works):
        assert place.heard() == "works"
    if isinstance(running, Foreground) and cell.works and failure != "dies always":
        running.ready()
    if failure in ("dies always", "does not start") and cell.code == 70:
        return running.wait()
    if failure == "INT twice":
        running.send(signal.SIGINT)
        if isinstance(running, Foreground):
            running.log_until("shop/after#info. closed")
        else:
            time.sleep(0.3)  # a daemon's log is a file, and says nothing to those who wait
        return running.stop(signal.SIGINT)
    return running.stop(signal.SIGKILL if failure == "KILL" else signal.SIGTERM)


def check(place: Place, ended: Ended, cell: Cell, kind: str) -> None:
    """Compare how it *ended* with what is wanted."""
    log = ended.output
    assert ended.code == cell.code, ended
    assert ended.seconds < cell.seconds
    position = 0
    hangs = rf"(thread \S+, which has ended|\S*{place.line_of(f'# {kind} hangs')})" if kind != "program" else ""
    for pattern in cell.says:
        found = re.compile(pattern.replace("{hangs}", hangs), re.MULTILINE).search(log, position)
        assert found, f"{pattern!r} is not there, or not in this order:\n{log}"
        position = found.end()
    lines = log.splitlines()
    closed = [
        name for line in lines for name in cell.closed if re.search(rf"\[shop/{name}#info\] (closed|put away)", line)
    ]
    if kind == "program":
        closed = [name for name in closed if name != "subject"]
    assert closed == [name for name in cell.closed if kind != "program" or name != "subject"], log
    assert log.count("[shop/before#info] opened") == 1  # nobody else was disturbed
    assert log.count("[shop/after#info] opened") == int(cell.works > 0)
    assert "never retrieved" not in log
    assert "Task was destroyed" not in log


def test_each_cell_of_the_issue_is_there() -> None:
    """Six failures and five kinds make thirty cells."""
    kinds = {"bare", "thread", "program", "resource", "connection"}
    assert list(EXPECTED) == ["TERM", "dies once", "dies always", "does not start", "hangs", "INT twice", "KILL"]
    assert all(set(row) == kinds for row in EXPECTED.values())
