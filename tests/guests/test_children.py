"""The child processes of Twisted services: each end is noticed, and nothing outlives the application."""

from __future__ import annotations

import re

import pytest

from tests.guests.tac import run, start, write
from tests.system.daemon import Foreground, Place

#: A service with a child: a shell that runs a script.  It tells what the child writes, and that it has ended.
KEEPER = """
from twisted.internet import process

class Ear(protocol.ProcessProtocol):
    def outReceived(self, data):
        tell(data.decode().strip())

    def processEnded(self, reason):
        tell("ended")

class Keeper(service.Service):
    name = "keeper"
    script = "echo runs; exec sleep 1000"

    def startService(self):
        super().startService()
        self.child = reactor.spawnProcess(Ear(), "/bin/sh", ["sh", "-c", self.script], os.environ)
"""


def started(place: Place, source: str, *options: str) -> Foreground:
    """Start an application with a keeper, and wait until its child runs."""
    write(place, KEEPER + source)
    running = start(place, False, *options)
    assert isinstance(running, Foreground)
    assert place.heard() == "runs"
    return running


def test_a_child_that_its_service_leaves_is_told_to_end(place: Place) -> None:
    """The log says which one it was, and what comes of its end is done."""
    running = started(place, "add(first, Keeper())")
    ended = running.stop()

    assert ended.code == 0
    assert place.heard() == "ended"
    assert re.search(
        r"\[shop#warn\w*\] the child process \d+ outlived what started it: ended by SIGTERM$",
        ended.output,
        re.MULTILINE,
    )


def test_a_child_that_its_service_ends_is_told_once_and_may_take_its_time(place: Place) -> None:
    """A second signal means something else to many programs."""
    running = started(
        place,
        """
class Ending(Keeper):
    script = "trap 'count=x$count; echo told $count' TERM; echo runs; sleep 0.3 & wait; sleep 0.6; exit"

    def stopService(self):
        self.child.signalProcess("TERM")
        return super().stopService()

add(Ending())
""",
    )
    ended = running.stop()

    assert (ended.code, place.heard(), place.heard()) == (0, "told x", "ended")
    assert "#warn" not in ended.output


@pytest.mark.parametrize(
    ("method", "how", "code"), [("privilegedStartService", "sys.exit(3)", 3), ("startService", "raise ValueError", 70)]
)
def test_a_child_of_a_start_that_fails_is_ended_like_any_other(place: Place, method: str, how: str, code: int) -> None:
    """It is told once, and waited for, although the reactor never ran; nor was there a loop in a privileged start."""
    place.allow("ready")
    write(
        place,
        KEEPER
        + f"""
class Ending(Keeper):
    script = "trap 'sleep 0.3; echo put away; exit' TERM; touch ready; echo runs; while :; do sleep 0.1; done"

    def {method}(self):
        Keeper.startService(self)
        while not os.path.exists("ready"):
            time.sleep(0.01)

    def stopService(self):
        self.child.signalProcess("TERM")
        return super().stopService()

class Failing(service.Service):
    name = "failing"

    def {method}(self):
        {how}

add(Ending(), Failing())
""",
    )
    ended = run(place, False)

    assert ended.code == code
    assert [place.heard(), place.heard(), place.heard()] == ["runs", "put away", "ended"]
    assert "killed" not in ended.output


def test_a_child_that_does_not_listen_costs_the_deadline_and_is_killed(place: Place) -> None:
    """The log names it: while it is waited for, and when it is killed."""
    running = started(
        place,
        """
class Deaf(Keeper):
    script = "trap '' TERM; echo runs; exec sleep 1000"

    def stopService(self):
        self.child.signalProcess("TERM")
        return super().stopService()

add(Deaf())
""",
        "--stop-timeout=1",
    )
    ended = running.stop()

    assert ended.seconds < 5
    assert re.search(
        r"#warn\w*\] the child process \d+ was still there when there was no more time: killed$",
        ended.output,
        re.MULTILINE,
    ), ended.output


def test_words_that_nobody_reads_do_not_hold_the_stop(place: Place) -> None:
    """Who has paused the output of a child gets a moment, and no more."""
    running = started(
        place,
        """
class Pausing(Ear):
    def outReceived(self, data):
        self.transport.pauseProducing()
        super().outReceived(data)

class Talking(Keeper):
    script = "trap 'echo more; exit' TERM; echo runs; while :; do sleep 0.1; done"

    def stopService(self):
        self.child.signalProcess("TERM")
        return super().stopService()

Ear = Pausing
add(Talking())
""",
    )
    ended = running.stop()

    assert ended.code == 0
    assert 0.9 < ended.seconds < 8


def test_a_child_that_was_not_spawned_by_the_reactor_is_no_zombie(place: Place) -> None:
    """As inetd makes its programs; and one that began before there was a loop is watched too."""
    write(
        place,
        KEEPER
        + """
class Early(service.Service):
    name = "early"

    def privilegedStartService(self):
        process.Process(reactor, "/bin/sh", ["sh", "-c", "sleep 0.3; exit 3"], {}, None, Ear(), childFDs={})

add(first, Early())
""",
    )
    running = start(place, False)

    assert place.heard() == "ended"
    assert running.stop().code == 0
