"""What goes wrong while twistd runs an application does not go wrong here; see `test_weaknesses.py` for the list."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.guests.tac import IDLE, start, write
from tests.system.daemon import PLAITD, Foreground, Place
from tests.system.places import FORMS, accept_third

LOOPS = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])


# Errors while it runs (15-17a, must show 4) ---------------------------------------------------------------------------

CALLBACK = """
def fail():
    {what}

async def wait():
    await task.deferLater(reactor, 0.05, fail)

class Second(Plain):
    def startService(self):
        super().startService()
        {how}

add(first, Second("second"))
reactor.callWhenRunning(reactor.callLater, 0.3, tell, "runs on")
"""

HOW = {
    "a delayed call": "reactor.callLater(0.05, fail)",
    "callWhenRunning": "reactor.callWhenRunning(fail)",
    "a call from a thread": "reactor.callInThread(reactor.callFromThread, fail)",
    "a Deferred that nobody waits for": "reactor.callLater(0.05, lambda: defer.execute(fail) and None)",
    "a coroutine that nobody waits for": "reactor.callLater(0, lambda: defer.ensureDeferred(wait()) and None)",
    "a thread": "reactor.callInThread(fail)",
    "a trigger": "reactor.addSystemEventTrigger('before', 'shutdown', fail)",
    "a task of asyncio": (
        "import asyncio; reactor.callLater(0, lambda: asyncio.get_running_loop().call_later(0.05, fail))"
    ),
}


@FORMS
@pytest.mark.parametrize("how", HOW)
def test_an_error_that_nobody_handles_is_told(place: Place, how: str, daemonize: bool) -> None:
    """With its traceback, and the path of the service to which it belongs; all live on."""
    write(place, CALLBACK.format(what="raise ValueError('no luck')", how=HOW[how]))
    running = start(place, daemonize)
    assert place.heard() == "runs on"
    ended = running.stop()
    assert ended.code == 0
    assert ended.output.count("Traceback") == 1, ended.output
    found = re.search(
        r"^\S+ \[(\S+)#(\w+)\][^\n]*\n(\t[^\n]*\n)*\t[^\n]*ValueError: no luck$", ended.output, re.MULTILINE
    )
    assert found is not None, ended.output
    assert found[1] == "shop/second"
    assert found[2] in ("error", "critical")
    assert re.search(r'File "shop\.tac", line \d+, in fail$', ended.output, re.MULTILINE)
    assert "first put away" in ended.output


@pytest.mark.parametrize(
    "how", [how for how in HOW if how not in ("callWhenRunning", "a trigger", "a task of asyncio")]
)
def test_an_error_that_nobody_handles_fails_its_service_where_that_is_wanted(place: Place, how: str) -> None:
    """With ``unhandled="fail"`` it gets a new life, and its neighbour keeps the old one."""
    write(
        place,
        f"""
import plait
from plait.guests.twisted import TwistedService

lives = []

def fail():
    if len(lives) == 1:
        raise ValueError("no luck")

async def wait():
    await task.deferLater(reactor, 0.05, fail)

class Second(Plain):
    def startService(self):
        super().startService()
        lives.append(1)
        {HOW[how]}
        if len(lives) == 2:
            tell("again")

application = plait.Application(
    "shop",
    [TwistedService(first), TwistedService(lambda: Second("second"), name="second", unhandled="fail")],
    backoff=plait.Backoff(base=0.01),
)
""",
        "shop.py",
    )
    running = place.foreground()
    assert place.heard() == "again"
    ended = running.stop()
    assert ended.code == 0
    assert re.findall(r"(\w+ begins|\w+ put away)$", ended.output, re.MULTILINE) == [
        *("first begins", "second begins", "second put away", "second begins", "second put away", "first put away"),
    ]


WEB = """
class Web(protocol.Protocol):
    def dataReceived(self, data):
        if data == b"exit":
            sys.exit(4)
        if data == b"fail":
            raise ValueError("no luck")
        self.transport.write(data)

web = strports.service("unix:sock", protocol.Factory.forProtocol(Web))
web.setName("web")
add(first, web)
"""


def send(place: Place, data: bytes) -> bytes:
    """Return what a client gets who sends *data*."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(place.folder / "sock"))
        client.sendall(data)
        return client.recv(10)


@FORMS
def test_an_error_over_what_a_client_sends_is_told_and_costs_that_client_only(place: Place, daemonize: bool) -> None:
    """With its traceback and the path of the service; others are served."""
    write(place, WEB)
    running = start(place, daemonize)
    assert send(place, b"fail") == b""
    assert send(place, b"hello") == b"hello"
    ended = running.stop()
    assert ended.code == 0
    assert ended.output.count("Traceback") == 1
    found = re.search(r"^\S+ \[(\S+)#(\w+)\][^\n]*\n(\t[^\n]*\n)*\tValueError: no luck$", ended.output, re.MULTILINE)
    assert found is not None, ended.output
    assert (found[1], found[2]) == ("shop/web", "critical")


@FORMS
def test_sys_exit_over_what_a_client_sends_stops_in_order_with_its_code(place: Place, daemonize: bool) -> None:
    """As anywhere."""
    write(place, WEB)
    running = start(place, daemonize)
    send(place, b"exit")
    ended = running.wait()
    assert ended.code == 4
    assert "first put away" in ended.output
    assert ended.last_line.endswith("sys.exit(4): exit status 4")


def test_the_failed_call_of_a_timer_is_told_and_the_timer_lives(place: Place) -> None:
    """Where twistd leaves a service that runs and does nothing: the next call comes."""
    write(
        place,
        """
calls = []

def sweep():
    calls.append(1)
    tell(str(len(calls)))
    if len(calls) == 2:
        raise ValueError("no luck")

timer = internet.TimerService(0.05, sweep)
timer.setName("timer")
add(first, timer)
""",
    )
    running = start(place, False)
    assert [place.heard() for _ in range(4)] == ["1", "2", "3", "4"]
    ended = running.stop()
    assert ended.code == 0
    assert re.search(r"\[shop/timer#\w+\] [^\n]*ValueError: no luck", ended.output)
    assert re.search(r'File "shop\.tac", line \d+, in sweep$', ended.output, re.MULTILINE)


@LOOPS
@pytest.mark.parametrize("how", [how for how in HOW if how not in ("a thread", "a trigger")])
def test_sys_exit_stops_in_order_with_its_code(place: Place, how: str, loop: str) -> None:
    """sys.exit(4) anywhere stops everything in order, and the exit code is 4."""
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    write(place, CALLBACK.format(what="sys.exit(4)", how=HOW[how]))
    ended = place.foreground("-r", loop, name="shop.tac").wait()
    assert ended.code == 4, ended
    assert re.findall(r"(\w+) put away", ended.output) == ["second", "first"]
    assert re.search(r"ended: (shop/second: )?sys\.exit\(4\): exit status 4$", ended.last_line)


# Signals and logs (18-22, 27, 29) -------------------------------------------------------------------------------------

OBSERVER = """
from twisted.logger import ILogObserver, FileLogObserver, formatEventAsClassicLogText
out = open("own.log", "w", buffering=1)
application.setComponent(ILogObserver, FileLogObserver(out, formatEventAsClassicLogText))
"""


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGHUP, signal.SIGUSR2])
@pytest.mark.parametrize("log", ["standard output", "an observer of its own"])
def test_no_signal_kills_it_whatever_its_log_is(place: Place, log: str, number: int) -> None:
    """USR1, HUP and USR2 where there is no log file of plaitd's."""
    write(place, IDLE + (OBSERVER if log != "standard output" else ""))
    place.allow("own.log")
    running = place.foreground(name="shop.tac")
    assert place.heard() == "runs"
    running.send(number)
    assert running.stop().code == 0


@FORMS
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1])
def test_a_log_that_was_moved_is_opened_again(place: Place, number: int, daemonize: bool) -> None:
    """After ``mv`` and a signal the file is a new one; no line is lost, none comes twice."""
    write(place, IDLE)
    running: Any = (
        place.daemonize("-l", "shop.log", name="shop.tac")
        if daemonize
        else place.foreground("-l", "shop.log", name="shop.tac")
    )
    place.allow("shop.log", "shop.log.1")
    (place.folder / "plaitd.log").touch()
    assert place.heard() == "runs"
    log = place.folder / "shop.log"
    log.rename(place.folder / "shop.log.1")
    running.send(number)
    assert running.stop().code == 0
    old, new = (place.folder / "shop.log.1").read_text(), log.read_text()
    assert "first begins" in old
    assert "first put away" not in old
    assert "first put away" in new
    assert (old + new).count("first begins") == 1
    assert new.endswith("exit status 0\n")


@pytest.mark.root
def test_the_log_is_opened_again_by_another_user(public: Place) -> None:
    """After a change of user that the application asks for, the new log is that user's."""
    place = public
    write(place, "application = service.Application('shop', uid=54321, gid=54322)\n" + IDLE)
    daemon = place.daemonize(name="shop.tac")
    assert place.heard() == "runs"
    log = place.folder / "plaitd.log"
    assert log.stat().st_uid == 54321
    log.rename(place.folder / "plaitd.log.1")
    place.allow("plaitd.log.1")
    daemon.send(signal.SIGUSR1)
    ended = daemon.stop()
    assert ended.code == 0
    assert log.stat().st_uid == 54321
    assert "first put away" in ended.output


@FORMS
@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGINT, signal.SIGTERM])
def test_it_is_stopped_in_order(place: Place, number: int, daemonize: bool) -> None:
    """QUIT too, which twistd dies of; INT also where it was ignored by who started it, and HUP ends nothing."""
    write(place, IDLE)
    how: dict[str, Any] = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)}
    running: Any = place.daemonize(name="shop.tac", **how) if daemonize else place.foreground(name="shop.tac", **how)
    assert place.heard() == "runs"
    running.send(signal.SIGHUP)
    ended = running.stop(number)
    assert ended.code == (-signal.SIGINT if number == signal.SIGINT else 0)
    assert "first put away" in ended.output
    assert not place.pidfile.exists()


@pytest.mark.root
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_as_process_1_it_stays_and_stops(place: Place, number: int, code: int) -> None:
    """As process 1 of a container it does not fork; TERM ends it with 0, INT with 130 since it cannot die of it."""
    unshare = shutil.which("unshare") or pytest.skip("NOT RUN: needs unshare (util-linux)")
    write(place, IDLE)
    command = (unshare, "--pid", "--fork", "--mount-proc", "--kill-child", PLAITD)
    running = Foreground(place, place.popen("-y", "shop.tac", "-l-", program=command, stdout=-1, stderr=-2))
    assert place.heard() == "runs"
    (process,) = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
    os.kill(int(process), number)
    ended = running.wait()
    assert ended.code == code
    assert "first put away" in ended.output
    assert "pid=1" in ended.output


def test_a_full_device_is_told(place: Place) -> None:
    """A log that takes nothing is told once on standard error, with the reason; the services live on."""
    write(place, IDLE)
    with open("/dev/full", "wb") as full:
        running = place.foreground(name="shop.tac", stdout=full)
    assert place.heard() == "runs"
    running.send(signal.SIGUSR2)
    ended = running.stop()
    assert ended.code == 0
    first, *_, last = ended.errors.splitlines()
    assert first == "standard output: cannot be written (No space left on device): records are lost until it can"
    assert re.fullmatch(r"standard output: \d+ records were lost while it could not be written \(.*\)", last)


# Connections (32, 33) -------------------------------------------------------------------------------------------------


def test_a_port_that_is_started_again_is_not_deaf(place: Place) -> None:
    """A service that is started anew, since its neighbour failed, listens again and answers."""
    (place.folder / "shop.py").write_text("""
import os
import plait
from plait.guests.twisted import TwistedService
from twisted.internet import endpoints, protocol, reactor
from twisted.application import internet

class Hello(protocol.Protocol):
    def connectionMade(self):
        self.transport.write(b"hello")
        self.transport.loseConnection()

web = internet.StreamServerEndpointService(
    endpoints.UNIXServerEndpoint(reactor, "sock"), protocol.Factory.forProtocol(Hello)
)
lives = []

@plait.service
async def neighbour(context):
    lives.append(1)
    context.ready()
    with open(os.environ["TOLD"], "w") as told:
        told.write(f"{len(lives)}\\n")
    if len(lives) == 1:
        while not os.path.exists("go"):
            await plait_sleep(0.01)
        raise ValueError("no luck")
    await plait_sleep(3600)

import asyncio
plait_sleep = asyncio.sleep
application = plait.Application(
    "shop", [TwistedService(web, name="web"), neighbour], strategy="one_for_all", backoff=plait.Backoff(base=0.01)
)
""")
    place.allow("shop.py", "go")
    running = start(place, False, name="shop.py")

    def ask() -> bytes:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(str(place.folder / "sock"))
            return client.recv(10)

    assert place.heard() == "1"
    assert ask() == b"hello"
    (place.folder / "go").touch()
    assert place.heard() == "2"
    assert ask() == b"hello"
    assert running.stop().code == 0


LOST = """
class Line(protocol.Protocol):
    def connectionMade(self):
        self.transport.write(b"hello")

def prepare(line):
    return task.deferLater(reactor, 0.2, tell, "prepared")

def make_client():
    from twisted.internet import endpoints

    return internet.ClientService(
        endpoints.clientFromString(reactor, "unix:" + os.environ["PEER"]),
        protocol.Factory.forProtocol(Line),
        prepareConnection=prepare,
    )
"""


def test_a_connection_lost_while_it_is_prepared_is_told(place: Place, peer: socket.socket) -> None:
    """Twisted's own service is stuck then; the log has why, with its path, and the stop ends in its time."""
    write(place, LOST + "client = make_client()\nclient.setName('client')\nadd(first, client)\n")
    running = place.foreground("--stop-timeout=1.5", name="shop.tac", environment={"PEER": peer.getsockname()})
    peer.accept()[0].close()
    running.log_until(r"\[shop/client#critical\] Unhandled Error")
    assert place.heard() == "prepared"
    ended = running.stop()
    assert ended.code == 70  # it was left behind
    assert ended.seconds < 5
    assert re.search(r"\[shop/client#warning\] still stopping .* in ClientService\.stopService", ended.output)


def test_a_connection_lost_while_it_is_prepared_is_made_again(place: Place, peer: socket.socket) -> None:
    """In a tree, a function makes the next one: twice the peer hangs up, the third time it is connected."""
    write(
        place,
        LOST
        + """
import plait
from plait.guests.twisted import TwistedService

application = plait.Application(
    "shop",
    [TwistedService(make_client, name="client", unhandled="fail", stop_timeout=0.1)],
    backoff=plait.Backoff(base=0.01),
)
""",
        "shop.py",
    )
    running = place.foreground(environment={"PEER": peer.getsockname()})
    with accept_third(peer) as connection:
        assert connection.recv(10) == b"hello"
        running.stop()
