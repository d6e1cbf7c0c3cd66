"""Trio services under a real plaitd: their start and stop, signals, exit codes, and where they hang."""

from __future__ import annotations

import re
import signal

import pytest

from tests.system.daemon import Place

REACTORS = pytest.mark.parametrize("reactor", ["asyncio", "uvloop", "rloop"])

#: Two services of trio and one of asyncio, each of which needs the one before.
SHOP = """
import trio
from plait.guests.trio import TrioService, need

async def database(task_status):
    await trio.sleep(0.01)
    task_status.started("an open database")
    await until_stopped("database")

async def until_stopped(name):
    try:
        await trio.sleep_forever()  # here
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(time.sleep, 0.05)
            context = await trio.to_thread.run_sync(lambda: __import__("plait").current())
            context.log.info("put away")

database = TrioService(database)

async def web(task_status):
    got = await need(database)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(until_stopped, "web", name="web's child")
        task_status.started(got)

web = TrioService(web)

@service
async def asks(context):
    context.log.info("got %s", await context.need(web))
    context.ready()
    await asyncio.Event().wait()

application = Application("shop", [database, web, asks])
"""

#: One whose start is slow, and takes its time to be put away.
SLOW = """
import trio
from plait.guests.trio import TrioService

async def slow(task_status):
    tell("starting")
    try:
        await trio.sleep(60)
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(0.1)
            plait.current().log.info("put away")

import plait
application = Application("shop", [TrioService(slow)])
"""

#: One that keeps its shield up for ever, in the child of a nursery.
HANGS = """
import trio
from plait.guests.trio import TrioService

async def hangs():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(shielded)

async def shielded():
    with trio.CancelScope(shield=True):
        trio.lowlevel.spawn_system_task(tells)
        await trio.sleep_forever()  # here

async def tells():
    tell("hangs")

@service
async def first(context):
    context.ready()
    try:
        await asyncio.Event().wait()
    finally:
        context.log.info("put away")

application = Application("shop", [first, TrioService(hangs, stop_timeout=0.2)])
"""

#: One that ends in a certain way.
ENDS = """
import trio
from plait import Limit, StopApplication
from plait.guests.trio import TrioService

async def child():
    {act}

async def ends({start}):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(child)

application = Application("shop", [TrioService(ends)], limit=Limit(0))
"""


@REACTORS
def test_trio_and_asyncio_live_in_one_tree(place: Place, reactor: str) -> None:
    """They need each other, are stopped in order, and what is shielded has its time."""
    place.write(SHOP)
    running = place.foreground("--reactor", reactor).ready()
    ended = running.stop()
    assert ended.code == 0, ended
    assert "got an open database" in ended.output
    stopped = [line for line in ended.output.splitlines() if "put away" in line]
    assert [path in line for path, line in zip(("shop/web", "shop/database"), stopped, strict=True)] == [True, True]
    assert ended.errors == ""
    assert "error]" not in ended.output


def test_a_daemon_runs_trio(place: Place) -> None:
    """Nothing of trio crosses the fork; INT, TERM and QUIT are plait's."""
    place.write(SHOP)
    daemon = place.daemonize("--reactor", "auto")
    before = daemon.handled
    ended = daemon.stop(signal.SIGQUIT)
    assert ended.code == 0, ended
    assert {signal.SIGINT, signal.SIGTERM, signal.SIGQUIT} <= before
    assert "error]" not in ended.output


def test_interrupted_at_the_terminal_it_stops_in_order(place: Place) -> None:
    """INT raises nothing in trio code: it is a stop like any other, and the process ends by it."""
    place.write(SHOP)
    ended = place.foreground().ready().stop(signal.SIGINT)
    assert ended.code == -signal.SIGINT
    assert ended.output.count("put away") == 2
    assert "KeyboardInterrupt" not in ended.output + ended.errors


@REACTORS
def test_a_stop_during_a_slow_start(place: Place, reactor: str) -> None:
    """TERM cancels trio code that is still starting, and waits for its clean-up."""
    place.write(SLOW)
    running = place.foreground("--reactor", reactor)
    assert place.heard() == "starting"
    ended = running.stop()
    assert "shop/slow#info] put away" in ended.output
    assert (ended.code, ended.errors) == (0, ""), ended
    assert ended.seconds < 5
    assert "received SIGTERM" in ended.last_line


def test_what_hangs_is_left_behind_and_named(place: Place) -> None:
    """The line of trio code that hangs is told, the others are stopped, and the process ends."""
    place.write(HANGS)
    running = place.foreground().ready()
    assert place.heard() == "hangs"
    running.send(signal.SIGUSR2)
    here = place.line_of("# here")
    running.log_until(rf"task shop/hangs: at {here} in shielded$")
    running.log_until(r"trio task shop/hangs: at ")
    running.log_until(rf"trio task \S*shielded of shop/hangs: at {here} in shielded$")
    ended = running.stop()
    assert re.search(rf"left behind: did not stop in 0\.\d+ s, at {here} in shielded", ended.output)
    assert "shop/first#info] put away" in ended.output
    assert ended.code == 70
    assert ended.seconds < 5
    assert ended.errors == ""


@pytest.mark.parametrize(
    ("act", "start", "code", "text"),
    [
        ("sys.exit(3)", "", 3, "sys.exit(3): exit status 3"),
        ("raise StopApplication('enough', 4)", "", 4, "enough: exit status 4"),
        ("raise OSError('no disk')", "task_status", 70, "shop/ends: did not start: OSError: no disk: exit status 70"),
    ],
)
def test_it_ends_with_its_exit_code(place: Place, act: str, start: str, code: int, text: str) -> None:
    """What the task of a nursery raises decides how the program ends."""
    place.write(ENDS.format(act=act, start=start))
    running = place.foreground()
    ended = running.wait()
    assert ended.code == code, ended
    assert ended.last_line.endswith(text), ended.last_line
