"""Promise 42: each way to end has its exit code, in one table, in the foreground and as a daemon."""

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.system.daemon import IDLE, Daemon, Place
from tests.system.places import FORMS
from tests.system.test_errors import Failure, how_to_run
from tests.system.test_signals import HANGS

ROOT = Path(__file__).parents[2]

LISTENS = """
from plait import Listener

async def answer(reader, writer):
    pass

application = Application("shop", [Listener("unix:{path}", answer)])
"""

#: Its service does this after it is ready, when the test lets it.
DOES = """
from plait import Backoff, Limit, StopApplication

@service(backoff=Backoff(base=0))
async def web(context):
    context.ready()
    await asyncio.to_thread(lambda: open(os.environ["TMPDIR"] + "/door").read())
    {does}

application = Application("shop", [web], limit=Limit(0))
"""


@dataclass(frozen=True)
class Way:
    """
    A way to end: the exit *code* (negative: by that signal), the application, and the options.

    With *number* it is ready, and then sent that signal; with *opens* it is ready, and then does what it does.
    Otherwise it never becomes ready.
    """

    code: int
    source: str = IDLE
    options: tuple[str, ...] = ()
    number: int = 0
    opens: bool = False
    is_powerless: bool = False


WAYS = {
    "TERM": Way(0, number=signal.SIGTERM),
    "QUIT": Way(0, number=signal.SIGQUIT),
    "INT": Way(-signal.SIGINT, number=signal.SIGINT),
    "all is done": Way(0, DOES.format(does="return"), opens=True),
    "it stops itself": Way(0, DOES.format(does="raise StopApplication('sold out')"), opens=True),
    "it stops itself, with a code": Way(3, DOES.format(does="raise StopApplication('no more', 3)"), opens=True),
    "it leaves, with a code": Way(4, DOES.format(does="sys.exit(4)"), opens=True),
    "it gives up": Way(70, DOES.format(does="raise ValueError('no luck')"), opens=True),
    "it does not stop": Way(70, HANGS.format(limit=0.1, whole=1), number=signal.SIGTERM),
    "it does not start": Way(70, IDLE.replace("context.ready()", "raise ValueError('no luck')")),
    "it is not ready in its time": Way(
        70, IDLE.replace("context.ready()", "").replace("@service", "@service(start_timeout=0.1)")
    ),
    "usage": Way(2, options=("--frob",)),
    "an option that makes no sense": Way(2, options=("--umask=999",)),
    "no such file": Way(78, options=("-y", "nowhere.py")),
    "an error in the file": Way(78, "\n1 / 0\n"),
    "no such user": Way(78, options=("--uid=nobody-at-all",)),
    "no right": Way(77, options=("--uid=root", "--gid=nogroup"), is_powerless=True),
    "in use": Way(69, LISTENS.format(path="taken.sock")),
    "no place for a socket": Way(69, LISTENS.format(path="nowhere/shop.sock")),
    "no place for the pidfile": Way(73, options=("--pidfile=nowhere/shop.pid",)),
    "no place for the log": Way(73, options=("--logfile=nowhere/shop.log",)),
    "running": Way(75, options=("--pidfile=plaitd.pid",)),
}


@pytest.fixture
def place(place: Place) -> Iterator[Place]:
    """One with a door that nobody opens."""
    os.mkfifo(place.root / "tmp" / "door")
    yield place
    (place.root / "tmp" / "door").unlink()


@pytest.mark.promise(42)
@FORMS
@pytest.mark.parametrize("name", WAYS)
def test_each_way_to_end_has_its_exit_code(place: Place, name: str, daemonize: bool) -> None:
    """Of the process that was started, and of the daemon once it was ready."""
    way = WAYS[name]
    place.write(way.source)
    if not (way.number or way.opens):
        check_that_does_not_start(place, name, daemonize)
        return
    running = place.daemonize(*way.options) if daemonize else place.foreground(*way.options).ready()
    if way.opens:
        with open(place.root / "tmp" / "door", "w"):
            pass
        ended = running.wait()
    else:
        ended = running.stop(way.number)
    assert ended.code == way.code, ended
    how = f"by {signal.Signals(-way.code).name}" if way.code < 0 else f"exit status {way.code}"
    assert ended.last_line.endswith(f": {how}")


def check_that_does_not_start(place: Place, name: str, daemonize: bool) -> None:
    """Check the exit code of a start that fails, and that it is said on standard error."""
    way = WAYS[name]
    program = how_to_run(Failure(way.code, "", is_powerless=way.is_powerless))
    place.folder.chmod(0o777)
    first = place.daemonize() if name == "running" else None
    with socket.socket(socket.AF_UNIX) as taken:
        taken.bind(str(place.folder / "taken.sock"))
        taken.listen()
        form = () if daemonize else ("-n",)
        ended = place.run(*form, "-y", "shop.py", *way.options, program=program)
    place.allow("taken.sock")
    assert ended.code == way.code, ended
    assert ended.errors.startswith("plaitd: ") or (not daemonize and way.code == 70), ended
    assert "Traceback" not in ended.errors
    if isinstance(first, Daemon):
        assert first.stop().code == 0


def test_the_table_has_every_code_that_is_documented() -> None:
    """And none that is not, but for those that an application chooses itself."""
    page = (ROOT / "docs/reference/plaitd.md").read_text()
    documented = {int(code) for code in re.findall(r"^\| (\d+) \| .+ \|$", page, re.MULTILINE)}
    assert {way.code for way in WAYS.values()} - {-signal.SIGINT, 3, 4} == documented
