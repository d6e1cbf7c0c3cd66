"""
What the ``.tac`` files of these tests begin with, and how they get into a `Place`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.system import places
from tests.system.daemon import Daemon, Ended, Foreground, Place

#: Twisted alone: what stands behind it would run under its own runner too.
HEAD = """\
import os, signal, sys, time
from twisted.application import internet, service, strports
from twisted.internet import defer, protocol, reactor, task, threads

def tell(word):
    with open(os.environ["TOLD"], "w") as told:
        told.write(word + chr(10))

class Plain(service.Service):
    def __init__(self, name):
        self.name = name

    def startService(self):
        super().startService()
        print(self.name, "begins")

    def stopService(self):
        print(self.name, "put away")
        return super().stopService()

application = service.Application("shop")

def add(*services):
    for each in services:
        each.setServiceParent(application)

first = Plain("first")
"""

#: One service that tells when all has started.
IDLE = """
add(first)
reactor.callWhenRunning(reactor.callLater, 0, tell, "runs")
"""


def write(place: Place, source: str, name: str = "shop.tac") -> Path:
    """Write the application *source* behind `HEAD`."""
    path = place.folder / name
    path.write_text(HEAD + source)
    place.allow(name)
    return path


def start(place: Place, daemonize: bool, *options: str, name: str = "shop.tac") -> Foreground | Daemon:
    """Start plaitd, in the foreground or as a daemon, and return when it is ready."""
    return places.start(place, daemonize, *options, name=name)


def run(place: Place, daemonize: bool, *options: str, name: str = "shop.tac") -> Ended:
    """Run plaitd to the end of the process that is started; the output is its log."""
    ended = place.run(*options, *([] if daemonize else ["-n"]), "-y", name)
    log = place.log if daemonize and (place.folder / "plaitd.log").exists() else ended.output
    return Ended(ended.code, log, ended.errors, ended.seconds)


def told(ended: Ended, daemonize: bool) -> str:
    """Return why a start failed, as whoever started it was told: the daemon's starter on standard error."""
    if daemonize:
        return ended.errors.removeprefix("plaitd: ").rstrip("\n")
    return ended.last_line.partition("ended: ")[2].rpartition(": exit status")[0]


PYTHON = sys.executable
