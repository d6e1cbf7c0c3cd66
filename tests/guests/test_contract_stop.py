"""How a Twisted application is stopped, line by line."""

from __future__ import annotations

import os
import signal
import socket
import tempfile
from pathlib import Path

import pytest

from tests.guests.tac import start, write
from tests.system.daemon import Place
from tests.system.places import FORMS


def said(text: str) -> list[str]:
    """Return what the lines of a log say."""
    return [line.partition("] ")[2] for line in text.splitlines()]


# The order ------------------------------------------------------------------------------------------------------------

PHASES = """
PIDFILE = os.path.abspath("plaitd.pid")

def after(seconds, word):
    def say(_):
        print(word)
    return task.deferLater(reactor, seconds, lambda: None).addCallback(say)

class Slow(service.Service):
    name = "slow"

    def stopService(self):
        super().stopService()
        print("slow is told to stop")
        return after(0.2, "slow has stopped")

def before():
    print("before")
    return after(0.1, "before is done")

def phase(word):
    print(word, "pidfile:", os.path.exists(PIDFILE), "running:", reactor.running)

add(first, Slow())
reactor.addSystemEventTrigger("before", "shutdown", before)
reactor.addSystemEventTrigger("during", "shutdown", phase, "during")
reactor.addSystemEventTrigger("after", "shutdown", phase, "after")
reactor.callWhenRunning(reactor.callLater, 0, tell, "runs")
"""


@FORMS
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["TERM", "INT"])
def test_the_phases_of_a_shutdown(place: Place, number: int, daemonize: bool) -> None:
    """Before, with the stops of services, which are awaited; during; after; and the pidfile is there until the end."""
    write(place, PHASES)
    plaitd = start(place, daemonize, "--pidfile=plaitd.pid")
    assert place.heard() == "runs"
    ended = plaitd.stop(number)
    assert ended.code == (0 if number == signal.SIGTERM else -number)
    lines = said(ended.output)
    lines = lines[lines.index(f"received {signal.Signals(number).name}: stopping") + 1 :]
    # The first triggers are called before the services stop; what they put off overlaps, as it does in Twisted.
    assert lines[0] == "before"
    assert lines.index("slow is told to stop") < lines.index("slow has stopped")
    assert set(lines[:-3]) == {
        "before",
        "before is done",
        "slow is told to stop",
        "slow has stopped",
        "first put away",
    }
    assert [line.partition(" running")[0] for line in lines[-3:-1]] == ["during pidfile: True", "after pidfile: True"]
    assert lines[-1].startswith(f"ended: received {signal.Signals(number).name}: ")
    assert not place.pidfile.exists()


@FORMS
def test_a_slow_stop_has_its_seconds(place: Place, daemonize: bool) -> None:
    """A Deferred that fires after some seconds is waited for; nothing is cut short."""
    write(place, PHASES.replace("after(0.2", "after(3"))
    plaitd = start(place, daemonize)
    assert place.heard() == "runs"
    ended = plaitd.stop()
    assert ended.code == 0
    assert 2.9 < ended.seconds < 10
    assert "slow has stopped" in said(ended.output)


def test_a_coroutine_in_a_stop_is_awaited(place: Place) -> None:
    """As Twisted does."""
    write(
        place,
        """
class Slow(service.Service):
    name = "slow"

    async def stopService(self):
        await task.deferLater(reactor, 0.1, lambda: None)
        print("slow has stopped")

add(Slow())
""",
    )
    assert "slow has stopped" in said(start(place, False).stop().output)


def test_connections_are_cut_when_the_services_have_stopped(place: Place) -> None:
    """Those that are still there: a service may say good-bye in its stop."""
    write(
        place,
        """
class Talk(protocol.Protocol):
    def connectionMade(self):
        talks.append(self)
        tell("connected")

    def connectionLost(self, reason):
        print("lost:", reason.getErrorMessage())

talks = []

class Polite(service.Service):
    name = "polite"

    def stopService(self):
        for talk in talks:
            talk.transport.write(b"good-bye")
        return task.deferLater(reactor, 0.1, lambda: print("polite is done"))

factory = protocol.ServerFactory()
factory.protocol = Talk
port = internet.TCPServer(0, factory, interface="127.0.0.1")
add(port, Polite())
reactor.callWhenRunning(lambda: reactor.callLater(0, lambda: tell(str(port._port.getHost().port))))
""",
    )
    plaitd = start(place, False)
    with socket.create_connection(("127.0.0.1", int(place.heard())), 20) as client:
        assert place.heard() == "connected"
        plaitd.send(signal.SIGTERM)
        heard = b""
        while data := client.recv(100):
            heard += data
        ended = plaitd.wait()
    assert heard == b"good-bye"
    lines = said(ended.output)
    assert lines.index("polite is done") < next(at for at, line in enumerate(lines) if line.startswith("lost:"))


# Children -------------------------------------------------------------------------------------------------------------

MONITOR = """
from twisted.runner.procmon import ProcessMonitor

monitor = ProcessMonitor()
monitor.killTime = 1
monitor.addProcess("quiet", ["sleep", "600"], env=os.environ)
monitor.addProcess("stubborn", ["sh", "-c", "trap '' TERM; echo up; exec sleep 600"], env=os.environ)
add(first, monitor)

from twisted.logger import globalLogPublisher

def look(event):
    if b"up" in repr(event).encode() and "stubborn" in repr(event):
        globalLogPublisher.removeObserver(look)
        tell("up")

globalLogPublisher.addObserver(look)
"""


@FORMS
def test_nothing_outlives_the_stop_of_a_monitor(place: Place, daemonize: bool) -> None:
    """Neither what ends when it is told to, nor what does not hear it."""
    write(place, MONITOR)
    plaitd = start(place, daemonize)
    assert place.heard() == "up"
    assert len(place.relatives()) == 3
    ended = plaitd.stop()
    assert ended.code == 0
    assert "first put away" in said(ended.output)
    assert place.relatives() == []


# The pidfile ----------------------------------------------------------------------------------------------------------


@pytest.mark.root
def test_a_pidfile_that_cannot_be_removed_is_in_nobody_s_way() -> None:
    """In a folder of root's the other user can only empty it: it is told, the status is 0, and the next one starts."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        with Place(Path(name)) as place:
            place.folder.chmod(0o755)
            write(place, "service.IProcess(application).uid = 1\nadd(first)\n")
            for _ in range(2):
                ended = start(place, True).stop()
                assert ended.code == 0
                assert "plaitd.pid: cannot be removed (Permission denied), so it was emptied" in ended.output
                assert place.pidfile.read_bytes() == b""
            os.unlink(place.pidfile)
            place.assert_nothing_left()
