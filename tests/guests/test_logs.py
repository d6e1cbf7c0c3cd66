"""Twisted's log events are records among the others: once, with level, time, traceback and the path of the service."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.daemon import Ended, Place

pytest.importorskip("twisted")

#: What each .tac here begins with: a service whose `work` is called when the reactor runs, and then all is stopped.
TAC = """
import gc, logging, warnings
from twisted.application import service
from twisted.internet import defer, reactor, threads
from twisted.logger import ILogObserver, Logger
from twisted.python import log
shop = Logger(namespace="shop.till")

class Till(service.Service):
    name = "till"
    def startService(self):
        super().startService()
        reactor.callWhenRunning(self.run)
    def run(self):
        defer.maybeDeferred(self.work).addBoth(lambda _: (gc.collect(), reactor.callLater(0, reactor.stop)))
    def work(self):
        pass

application = service.Application("shop")
till = Till()
till.setServiceParent(application)
"""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with Place(tmp_path) as place:
        yield place


def run(place: Place, source: str, *options: str) -> Ended:
    """Run a .tac in which *source* comes after `TAC`, in the foreground, to its end."""
    place.write(TAC + source, "shop.tac")
    ended = place.run("-n", "--pidfile=", *options, "-y", "shop.tac")
    assert ended.errors == "", ended
    return ended


def working(*lines: str) -> str:
    """Return source in which the service does these *lines* when it runs."""
    body = "\n".join(f"    {line}" for line in lines)
    return f"def work():\n{body}\ntill.work = work\n"


def records(ended: Ended) -> list[dict[str, Any]]:
    """Return the records of a log in JSON, without those of plait."""
    found = [json.loads(line) for line in ended.output.splitlines()]
    return [record for record in found if record["logger"] != "plait"]


def test_events_are_records_of_the_logger_that_their_namespace_names(place: Place) -> None:
    source = working(*(f"shop.{level}('{level} {{n}}', n=1)" for level in ("debug", "info", "warn", "error")))
    found = records(run(place, source, "--log-format", "json", "--log-level", "debug"))
    assert [(each["level"], each["message"]) for each in found if each["logger"] == "shop.till"] == [
        ("debug", "debug 1"),
        ("info", "info 1"),
        ("warning", "warn 1"),
        ("error", "error 1"),
    ]
    assert {each["path"] for each in found} == {"shop/till"}


def test_a_line_looks_as_one_of_plaits_own(place: Place) -> None:
    ended = run(place, working("shop.warn('no change left')", "log.msg('from', 'afar', system='HTTPChannel,3')"))
    assert re.search(r"(?m)^\d{4}-\S+ \[shop/till#warning\] no change left$", ended.output)
    assert re.search(r"(?m)^\d{4}-\S+ \[shop/till#info\] from afar system=HTTPChannel,3$", ended.output)


def test_what_was_logged_while_loading_comes_once_in_order_with_its_time(place: Place) -> None:
    source = "import time\nlog.msg('first')\nshop.info('second')\nbegan = time.time()\ntime.sleep(0.05)\n"
    source += working("shop.info('third {began}', began=began)")
    found = records(run(place, source, "--log-format", "json"))
    assert [each["message"].split()[0] for each in found] == ["first", "second", "third"]
    assert [each["path"] for each in found] == ["", "", "shop/till"]
    assert found[1]["time"] < found[2]["time"]
