"""What goes wrong while twistd stops an application does not go wrong here; see `test_weaknesses.py` for the list."""

from __future__ import annotations

import re
import signal

import pytest

from tests.guests.tac import start, write
from tests.system.daemon import Place
from tests.system.places import FORMS, stop_while_it_starts

# A stop that never ends (10) ------------------------------------------------------------------------------------------

NEVER = """
class Never(service.Service):
    name = "never"

    def stopService(self):
        return defer.Deferred()

add(first, Never())
reactor.addSystemEventTrigger("after", "shutdown", print, "after the shutdown")
"""


@FORMS
def test_a_stop_that_never_ends_costs_its_deadline_and_is_named(place: Place, daemonize: bool) -> None:
    """The log says whose stop it is and what does not come; the others stop in order, and the pidfile is gone."""
    write(place, NEVER)
    ended = start(place, daemonize, "--stop-timeout=1.5").stop()
    assert ended.code == 70
    assert 1.4 < ended.seconds < 5
    where = r"shop\.tac:\d+ in Never\.stopService, whose Deferred has not fired"
    waits = rf"\[shop/never#warning\] still stopping after 1\.\d s of 10 s, at {where}$"
    assert re.search(waits, ended.output, re.MULTILINE)
    left = rf"\[shop/never#error\] left behind \(LeftBehind: .*: left behind: did not stop in 1\.\d+ s, at {where}\)$"
    assert re.search(left, ended.output, re.MULTILINE)
    rest = [line.partition("] ")[2] for line in ended.output.splitlines() if "#error" not in line][-3:]
    assert rest[:2] == ["first put away", "after the shutdown"]
    assert rest[2].endswith(": exit status 70")


@FORMS
def test_a_trigger_that_never_ends_costs_its_deadline_and_is_named(place: Place, daemonize: bool) -> None:
    """So it is with what is to be done before the shutdown, outside of any service; the later triggers are called."""
    write(
        place,
        """
def flush_all():
    return defer.Deferred()

add(first)
reactor.addSystemEventTrigger("before", "shutdown", flush_all)
reactor.addSystemEventTrigger("during", "shutdown", print, "during the shutdown")
reactor.addSystemEventTrigger("after", "shutdown", print, "after the shutdown")
""",
    )
    ended = start(place, daemonize, "--stop-timeout=1.5").stop()
    assert ended.code == 0
    assert 1.4 < ended.seconds < 5
    where = r"at the Deferred of flush_all\(\), a trigger before the shutdown$"
    assert re.search(rf"\[shop#warning\] still stopping after 1\.\d s of 10 s, {where}", ended.output, re.MULTILINE)
    rest = ["first put away", "during the shutdown", "after the shutdown", "ended: received SIGTERM: exit status 0"]
    said = [line.partition("] ")[2] for line in ended.output.splitlines() if "#warning" not in line]
    assert said[-4:] == rest
    assert "Unhandled" not in ended.output + ended.errors


def test_a_second_signal_hurries_a_stop_that_never_ends(place: Place) -> None:
    """Where twistd heard neither the second TERM nor an INT."""
    write(place, NEVER.replace("return defer", "tell('stops'); return defer"))
    running = start(place, False)
    running.send(signal.SIGTERM)
    assert place.heard() == "stops"
    ended = running.stop()
    assert ended.seconds < 3
    assert "first put away" in ended.output
    assert "received SIGTERM again: stopping in a hurry" in ended.output


# Errors of a stop (11) ------------------------------------------------------------------------------------------------


@FORMS
def test_errors_of_a_stop_are_told(place: Place, daemonize: bool) -> None:
    """Raised, or the result of a Deferred: each is in the log with its path and its traceback, and the stop goes on."""
    write(
        place,
        """
class Raises(Plain):
    def stopService(self):
        raise ValueError("no luck with raises")

class Fails(Plain):
    def stopService(self):
        return task.deferLater(reactor, 0, self.fail)

    def fail(self):
        raise ValueError("no luck with fails")

class Awaits(Plain):
    async def stopService(self):
        await task.deferLater(reactor, 0, lambda: None)
        raise ValueError("no luck with awaits")

add(first, Raises("raises"), Fails("fails"), Awaits("awaits"))
""",
    )
    ended = start(place, daemonize).stop()
    told = re.findall(r"\[(\S+)#error\] stopped \(ValueError: no luck with (\w+)\)$", ended.output, re.MULTILINE)
    assert told == [("shop/awaits", "awaits"), ("shop/fails", "fails"), ("shop/raises", "raises")]
    for function in ("stopService", "fail"):
        assert re.search(rf'File "shop\.tac", line \d+, in {function}$', ended.output, re.MULTILINE), function
    assert "first put away" in ended.output
    assert ended.code == 0


# A stop in the middle of a start (12) ---------------------------------------------------------------------------------

SLOW = {
    "a Deferred": "tell('starts'); return defer.Deferred()",
    "a call that blocks": "tell('starts'); time.sleep(1)",
}


@FORMS
@pytest.mark.parametrize("how", SLOW)
def test_a_stop_in_the_middle_of_a_start_takes_it_back(place: Place, how: str, daemonize: bool) -> None:
    """TERM while a service starts: what has started is stopped, nothing is left, and the waiting parent is told."""
    write(
        place,
        f"""
class Slow(Plain):
    def startService(self):
        {SLOW[how]}

add(first, Slow("slow"), Plain("later"))
""",
    )
    log = stop_while_it_starts(place, daemonize, "shop.tac")
    # A call that blocks may let one more begin before the signal is heard: that one is stopped as well.
    later = ["later"] if how == "a call that blocks" and "later begins" in log else []
    assert re.findall(r"(\w+) put away", log) == [*later, "slow", "first"]
    assert ("later begins" in log) == bool(later)
    assert log.endswith("ended: received SIGTERM: exit status 0\n")


# Threads and children (30, 31) ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_thread_of_the_reactor_does_not_hold_the_end(place: Place, loop: str) -> None:
    """A call that blocks in the reactor's pool delays the end by its deadline only, and is named with its line."""
    write(
        place,
        """
def work():
    tell("works")
    time.sleep(60)  # here

add(first)
reactor.callWhenRunning(reactor.callInThread, work)
""",
    )
    running = start(place, False, "--stop-timeout=1.5", "-r", loop)
    assert place.heard() == "works"
    ended = running.stop()
    assert ended.seconds < 6
    assert re.search(
        rf"\[shop#warning\] still stopping .* at .*{place.line_of('# here', 'shop.tac')} in work", ended.output
    )
    assert ended.last_line.endswith("ended: received SIGTERM: exit status 0")


@FORMS
def test_the_children_of_a_monitor_end_with_it(place: Place, daemonize: bool) -> None:
    """Also one that ignores TERM: it is killed when its time is over, and nothing is left."""
    write(
        place,
        """
from twisted.runner.procmon import ProcessMonitor
monitor = ProcessMonitor()
monitor.killTime = 0.5
monitor.addProcess("deaf", [sys.executable, "-S", "-c", '''
import os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open(os.environ["TOLD"], "w").write("deaf" + chr(10))
signal.pause()
'''], env=os.environ)
monitor.addProcess("good", ["sleep", "60"], env=os.environ)
add(monitor, first)
""",
    )
    running = start(place, daemonize)
    assert place.heard() == "deaf"
    ended = running.stop()
    assert ended.code == 0
    assert place.left() == []
