"""
Signals that an application takes are its own: at once, whatever it does to be woken, and plait does nothing besides.
"""

from __future__ import annotations

import os
import re
import signal
import socket

import pytest

from tests.guests.tac import IDLE, run, start, told, write
from tests.system.daemon import Place
from tests.system.places import FORMS

LOOPS = pytest.mark.parametrize("loop", ["asyncio", "uvloop", "rloop"])
NUMBERS = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGINT)


def need(loop: str) -> None:
    """Skip the test where *loop* is not installed."""
    if loop != "asyncio":
        pytest.importorskip(loop)


TAKES = """
class Takes(Plain):
    def startService(self):
        super().startService()
        if WHERE == "in startService":
            self.take()
        elif WHERE == "in callWhenRunning":
            reactor.callWhenRunning(self.take)
        elif WHERE == "in the file":
            tell("took")
        else:
            self.later = task.deferLater(reactor, 0.1, self.take)

    def take(self):
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.hear)
        if WHERE != "in the file":
            tell("took")

    def hear(self, number, frame):
        print("heard", number)
        tell(str(number))
        if number == signal.SIGTERM:
            reactor.callLater(0, reactor.stop)

takes = Takes("takes")
add(first, takes)
if WHERE == "in the file":
    takes.take()
"""


@LOOPS
@pytest.mark.parametrize("where", ["in the file", "in startService", "in callWhenRunning", "much later"])
def test_what_the_application_takes_is_its_own(place: Place, where: str, loop: str) -> None:
    """Each signal is heard by it alone, at once; its TERM, which calls ``reactor.stop()``, ends with 0."""
    need(loop)
    write(place, f"WHERE = {where!r}\n" + TAKES)
    running = start(place, False, "-r", loop)
    assert place.heard() == "took"
    for number in NUMBERS[:-2]:
        running.send(number)
        assert place.heard(5) == str(int(number))
    running.send(signal.SIGTERM)
    assert place.heard(5) == str(int(signal.SIGTERM))
    ended = running.wait()
    assert ended.code == 0
    assert ended.last_line.endswith("ended: reactor.stop(): exit status 0")
    assert re.findall(r"heard (\d+)$", ended.output, re.MULTILINE) == [str(int(number)) for number in NUMBERS[:-1]]
    assert "received SIG" not in ended.output
    assert "stack" not in ended.output
    assert "first put away" in ended.output


@FORMS
def test_a_hup_that_is_ignored_does_nothing(place: Place, daemonize: bool) -> None:
    """`SIG_IGN`, set in a start: plait neither opens its log again nor sets a handler of its own."""
    write(place, "reactor.callWhenRunning(signal.signal, signal.SIGHUP, signal.SIG_IGN)\n" + IDLE)
    running = place.daemonize(name="shop.tac") if daemonize else place.foreground("-l", "plaitd.log", name="shop.tac")
    assert place.heard() == "runs"
    assert signal.SIGHUP not in running.handled
    running.send(signal.SIGHUP)
    running.stop()
    assert "SIGHUP" not in place.log


WAKES = {
    "asyncio's handler": "loop.add_signal_handler(signal.SIGHUP, lambda: tell('1'))",
    "asyncio's handler, removed": (
        "loop.add_signal_handler(signal.SIGHUP, print); loop.remove_signal_handler(signal.SIGHUP);"
        " signal.signal(signal.SIGHUP, lambda number, frame: tell('1'))"
    ),
    "Twisted's descriptor": (
        "from twisted.internet._signals import installHandler; pair = os.pipe2(os.O_NONBLOCK); installHandler(pair[1]);"
        " signal.signal(signal.SIGHUP, lambda number, frame: tell('1'))"
    ),
    "none": "signal.set_wakeup_fd(-1); signal.signal(signal.SIGHUP, lambda number, frame: tell('1'))",
    "one of its own": (
        "pair = os.pipe2(os.O_NONBLOCK); signal.set_wakeup_fd(pair[1]);"
        " signal.signal(signal.SIGHUP, lambda number, frame: tell('1'))"
    ),
}


@LOOPS
@pytest.mark.parametrize("how", WAKES)
def test_the_loop_wakes_whatever_the_application_does_to_be_woken(place: Place, how: str, loop: str) -> None:
    """Its own signal is heard at once on an idle loop, and so is TERM, which it leaves to plait."""
    need(loop)
    if loop == "rloop" and "removed" in how:
        pytest.skip("NOT RUN: rloop 0.5 cannot remove a handler of a signal")
    write(
        place,
        f"""
import asyncio

def take():
    loop = asyncio.get_running_loop()
    {WAKES[how]}
    tell("took")

add(first)
reactor.callWhenRunning(reactor.callLater, 0, take)
""",
    )
    running = start(place, False, "-r", loop)
    assert place.heard() == "took"
    signal.sigtimedwait([], 0.2)  # until the loop is idle
    running.send(signal.SIGHUP)
    assert place.heard(5) == "1"
    signal.sigtimedwait([], 0.2)
    ended = running.stop(seconds=5)
    assert ended.code == 0
    assert "received SIGTERM: stopping" in ended.output


@LOOPS
def test_a_handler_of_asyncio_for_term_is_the_only_one(place: Place, loop: str) -> None:
    """``loop.add_signal_handler(SIGTERM, ...)``: plait does not stop besides, and the loop is the one that runs."""
    need(loop)
    write(
        place,
        """
import asyncio

def hear():
    print("heard")
    reactor.callLater(0.1, reactor.stop)

def take():
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, hear)
    tell("took")

add(first)
reactor.callWhenRunning(reactor.callLater, 0, take)
""",
    )
    running = start(place, False, "-r", loop)
    assert place.heard() == "took"
    ended = running.stop()
    assert ended.code == 0
    assert ended.output.count("heard") == 1
    assert "received SIGTERM" not in ended.output
    assert ended.last_line.endswith("ended: reactor.stop(): exit status 0")


# reactor.stop() -------------------------------------------------------------------------------------------------------

STOPS = {
    "callWhenRunning": "reactor.callWhenRunning(reactor.stop)",
    "callWhenRunning, in startService": "reactor.callWhenRunning(reactor.stop)",
    "a delayed call": "reactor.callLater(0, reactor.stop)",
    "a thread": "reactor.callInThread(reactor.callFromThread, reactor.stop)",
    "a Deferred of a thread": "threads.deferToThread(int).addCallback(lambda _: reactor.stop())",
    "a coroutine": "defer.ensureDeferred(stop())",
}


@LOOPS
@pytest.mark.parametrize("how", STOPS)
def test_reactor_stop_is_a_stop_in_order(place: Place, how: str, loop: str) -> None:
    """From wherever it is called: services and triggers in their order, then 0."""
    need(loop)
    in_start = how in ("callWhenRunning, in startService", "a coroutine", "a Deferred of a thread")
    write(
        place,
        f"""
async def stop():
    await task.deferLater(reactor, 0.01)
    reactor.stop()

class Stops(Plain):
    def startService(self):
        super().startService()
        {STOPS[how] if in_start else "pass"}

add(first, Stops("stops"))
for phase in ("after", "during", "before"):
    reactor.addSystemEventTrigger(phase, "shutdown", print, phase, "the shutdown")
{"" if in_start else STOPS[how]}
""",
    )
    ended = place.foreground("-r", loop, name="shop.tac").wait()
    assert ended.code == 0
    assert ended.last_line.endswith("ended: reactor.stop(): exit status 0")
    assert re.findall(r"(\w+ begins|\w+ put away|\w+ the shutdown)$", ended.output, re.MULTILINE) == [
        *("first begins", "stops begins", "before the shutdown", "stops put away", "first put away"),
        *("during the shutdown", "after the shutdown"),
    ]
    assert "#error" not in ended.output
    assert "#critical" not in ended.output


def test_data_that_a_client_sends_may_stop_it(place: Place) -> None:
    """``reactor.stop()`` in dataReceived; the answer written before it still reaches the client."""
    write(
        place,
        """
class Quit(protocol.Protocol):
    def dataReceived(self, data):
        self.transport.write(b"bye")
        reactor.stop()

web = strports.service("unix:sock", protocol.Factory.forProtocol(Quit))
add(first, web)
""",
    )
    running = start(place, False)
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(place.folder / "sock"))
        client.sendall(b"quit")
        assert client.recv(10) == b"bye"
    ended = running.wait()
    assert ended.code == 0
    assert ended.last_line.endswith("ended: reactor.stop(): exit status 0")


@FORMS
def test_reactor_stop_before_it_runs_is_an_error(place: Place, daemonize: bool) -> None:
    """In startService, as under twistd: `ReactorNotRunning` fails the start."""
    write(
        place,
        """
class Stops(Plain):
    def startService(self):
        reactor.stop()

add(first, Stops("stops"))
""",
    )
    ended = run(place, daemonize)
    assert ended.code == 70
    assert told(ended, daemonize) == (
        "shop/stops: did not start: ReactorNotRunning: Can't stop reactor that isn't running."
    )
    assert "first put away" in ended.output


def test_reactor_stop_twice_is_an_error_the_second_time(place: Place) -> None:
    """As under twistd; it stops in order all the same."""
    write(
        place,
        """
from twisted.internet.error import ReactorNotRunning

def stop():
    reactor.stop()
    try:
        reactor.stop()
    except ReactorNotRunning as error:
        print("second:", error)

add(first)
reactor.callWhenRunning(stop)
""",
    )
    ended = place.foreground(name="shop.tac").wait()
    assert ended.code == 0
    assert "second: Can't stop reactor that isn't running." in ended.output
    assert "first put away" in ended.output


@LOOPS
def test_a_handler_that_takes_the_services_away_and_stops_ends_with_0(place: Place, loop: str) -> None:
    """TERM is replaced late, by a handler that disowns its service and then calls ``reactor.stop()``."""
    need(loop)
    write(
        place,
        """
class Master(service.MultiService):
    name = "master"

    async def startService(self):
        await task.deferLater(reactor, 0.05)
        result = super().startService()
        signal.signal(signal.SIGTERM, self.hear)
        reactor.callWhenRunning(reactor.callLater, 0, tell, "runs")
        return result

    def hear(self, number, frame):
        reactor.callLater(0, lambda: defer.ensureDeferred(self.leave()))

    async def leave(self):
        await self.disownServiceParent()
        print("disowned")
        reactor.stop()

master = Master()
Plain("inner").setServiceParent(master)
add(master)
""",
    )
    running = start(place, False, "-r", loop)
    assert place.heard() == "runs"
    os.kill(running.pid, signal.SIGTERM)
    ended = running.wait()
    assert ended.code == 0
    assert ended.last_line.endswith("ended: reactor.stop(): exit status 0")
    assert re.findall(r"(inner put away|disowned)$", ended.output, re.MULTILINE) == ["inner put away", "disowned"]


# Before there is a loop -----------------------------------------------------------------------------------------------

EARLY = {
    "while the file runs": "tell('slow'); time.sleep(0.5); tell('later'); add(first)",
    "in a privileged start": "add(first, Slow('slow'))",
}


@FORMS
@pytest.mark.parametrize("when", EARLY)
def test_a_stop_before_there_is_a_loop_is_heard(place: Place, when: str, daemonize: bool) -> None:
    """TERM while the file runs, or before privileges are dropped: nothing is started, and who waits is told."""
    write(
        place,
        f"""
class Slow(Plain):
    def privilegedStartService(self):
        tell("slow")
        time.sleep(0.5)

{EARLY[when]}
""",
    )
    with open(place.root / "errors", "wb") as errors, open(place.root / "output", "wb") as output:
        options = [] if daemonize else ["-n"]
        process = place.popen(*options, "-y", "shop.tac", stdout=output, stderr=errors)
    assert place.heard() == "slow"
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == (143 if daemonize else 0)
    said = (place.root / "errors").read_text() + (place.root / "output").read_text()
    if daemonize or when == "while the file runs":
        assert re.search(r"plaitd: stopped by SIGTERM before (it was ready|anything was started)$", said, re.MULTILINE)
    assert "begins" not in said
    assert not (place.folder / "plaitd.log").exists() or "begins" not in place.log
