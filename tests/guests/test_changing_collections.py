"""Twisted collections whose services come and go while they run: each service is stopped, and each only once."""

from __future__ import annotations

import pytest

pytest.importorskip("twisted", reason="NOT RUN: needs Twisted: pip install plait[twisted]")

from tests.system.daemon import Place

TAC = """
from twisted.application import service
from twisted.internet import reactor, task

class Told(service.Service):
    def __init__(self, name):
        self.label = name
    def startService(self):
        super().startService()
        tell("start " + self.label)
    def stopService(self):
        super().stopService()
        tell("stop " + self.label)
        return task.deferLater(reactor, 0.01, tell, "end " + self.label)

application = service.Application("shop")
first, second, late = Told("first"), Told("second"), Told("late")
inner = service.MultiService()
for each, parent in ((first, application), (inner, application), (second, inner)):
    each.setServiceParent(parent)
"""


def words(place: Place, number: int) -> list[str]:
    """Return the next *number* words that the application tells."""
    return [place.heard() for _ in range(number)]


def test_a_service_that_came_later_is_stopped_and_its_end_awaited(place: Place) -> None:
    """It is asked first, as the last of its collection, and the collection has not stopped before it has."""
    place.write(TAC + "reactor.callWhenRunning(late.setServiceParent, application)\n", "shop.tac")

    running = place.foreground(name="shop.tac")

    assert sorted(words(place, 3)) == ["start first", "start late", "start second"]
    running.ready()
    ended = running.stop()
    told = words(place, 6)
    assert told[0] == "stop late"
    assert sorted(told) == sorted(f"{what} {who}" for what in ("stop", "end") for who in ("first", "second", "late"))
    assert ended.code == 0
    place.assert_nothing_left()


@pytest.mark.parametrize("taken", ["second", "inner"])
def test_a_service_that_was_taken_out_is_not_stopped_again(place: Place, taken: str) -> None:
    """Whether it was taken out itself or with the collection that it is in."""
    leaves = f"reactor.callWhenRunning(lambda: {taken}.disownServiceParent().addCallback(lambda _: tell('out')))\n"
    place.write(TAC + leaves, "shop.tac")

    running = place.foreground(name="shop.tac")

    assert words(place, 5) == ["start first", "start second", "stop second", "end second", "out"]
    running.ready()
    ended = running.stop()
    assert words(place, 2) == ["stop first", "end first"]
    assert ended.code == 0
    place.assert_nothing_left()


def test_a_service_that_leaves_when_it_is_told_to_stop_holds_nothing_up(place: Place) -> None:
    """A handler of its own takes it out, waits for its stop, and stops the reactor: the rest stops as usual."""
    handler = """
def leave(number, frame):
    second.disownServiceParent().addCallback(lambda _: reactor.stop())

reactor.callWhenRunning(signal.signal, signal.SIGTERM, leave)
reactor.callWhenRunning(reactor.callLater, 0.1, tell, "ready")
"""
    place.write(TAC + handler, "shop.tac")

    running = place.foreground(name="shop.tac")

    assert words(place, 3) == ["start first", "start second", "ready"]
    ended = running.stop()
    assert words(place, 4) == ["stop second", "end second", "stop first", "end first"]
    assert ended.code == 0
    place.assert_nothing_left()
