"""A signal at any moment of the start of a Twisted application: it ends cleanly, and whoever waits is told right."""

from __future__ import annotations

import os
import re
import signal
import time

import pytest

from tests.guests.tac import write
from tests.system.daemon import PATIENCE, Daemon, Place
from tests.system.test_signals import has_handler, instants, wait_until

#: One with something to do in each step of its start and stop, a child process and a port included.
BUSY = """
time.sleep(0.03)

class Slow(service.Service):
    def privilegedStartService(self):
        time.sleep(0.01)

    def startService(self):
        super().startService()
        return task.deferLater(reactor, 0.01, lambda: None)

    def stopService(self):
        super().stopService()
        return task.deferLater(reactor, 0.01, lambda: None)

class Child(service.Service):
    def startService(self):
        super().startService()
        self.child = reactor.spawnProcess(protocol.ProcessProtocol(), "/bin/sleep", ["sleep", "60"], os.environ)

    def stopService(self):
        super().stopService()
        self.child.signalProcess("TERM")

reactor.callInThread(time.sleep, 0.01)
add(Slow(), Child(), strports.service("unix:echo.sock", protocol.Factory.forProtocol(protocol.Protocol)), Slow())
"""


@pytest.fixture
def place(place: Place) -> Place:
    """One with the application in it."""
    write(place, BUSY)
    return place


@pytest.fixture(scope="module")
def start_seconds(tmp_path_factory: pytest.TempPathFactory) -> float:
    """How long a start takes here and now."""
    with Place(tmp_path_factory.mktemp("start")) as place:
        write(place, BUSY)
        began = time.monotonic()
        running = place.foreground(name="shop.tac").ready()
        seconds = time.monotonic() - began
        assert running.stop().code == 0
    return seconds


@pytest.mark.promise(40)
@pytest.mark.time_limit(300)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_in_the_foreground(place: Place, number: int, start_seconds: float, is_long: bool) -> None:
    """Exit code 0 (INT: by SIGINT), one word about it, and no child, socket or pidfile is left."""
    count = 100 if is_long else 20 if number == signal.SIGTERM else 5
    for moment in instants(count, start_seconds * 1.2):
        began = time.monotonic()
        running = place.foreground(name="shop.tac")
        wait_until(began + moment)
        could_hear = has_handler(running.pid, number)
        ended = running.stop(number)
        said = f"{number} after {moment:.3f} s: {ended}"
        assert "Traceback" not in ended.output, said
        place.assert_nothing_left()
        if not could_hear:
            # It was not plaitd yet, but Python, which dies of SIGINT with 1 while it is setting itself up.
            assert ended.code in ((0, 1, -number) if number == signal.SIGINT else (0, -number)), said
            continue
        assert ended.code == (-number if number == signal.SIGINT else 0), said
        name = signal.Signals(number).name
        if ended.output:
            end = rf"ended: (received|stopped by) {name}.*: (by SIGINT|exit status 0)$"
            assert re.search(end, ended.last_line), said
            assert ended.errors == "", said
        else:
            assert ended.errors == f"plaitd: stopped by {name} before anything was started\n", said


@pytest.mark.promise(40)
@pytest.mark.time_limit(300)
@pytest.mark.parametrize("whom", ["starter", "daemon"])
def test_a_stop_of_a_daemon(place: Place, whom: str, start_seconds: float, is_long: bool) -> None:
    """Sent to the starter, or to who is in the pidfile: there is a daemon exactly if the starter says 0."""
    for moment in instants(100 if is_long else 20, start_seconds * 1.2):
        (place.folder / "plaitd.log").unlink(missing_ok=True)
        with open(place.root / "errors", "wb") as file:
            began = time.monotonic()
            process = place.popen("-y", "shop.tac", stderr=file)
        wait_until(began + moment)
        pid = process.pid
        if whom == "daemon":
            try:
                pid = place.read_pid()
            except (FileNotFoundError, ValueError):
                assert process.wait(PATIENCE) == 0  # there is none yet: nobody was told
                assert Daemon(place, place.read_pid()).stop().code == 0
                place.reap()
                continue
        could_hear = has_handler(pid, signal.SIGTERM)
        os.kill(pid, signal.SIGTERM) if pid != process.pid or process.poll() is None else None
        code = process.wait(PATIENCE)
        errors = (place.root / "errors").read_text()
        said = f"TERM to the {whom} after {moment:.3f} s: {code} {errors!r}"
        assert "Traceback" not in errors, said
        if code == 0:
            assert errors == "", said
            log = place.log
            assert "shop is ready" in log, said
            if place.pidfile.exists():
                running = Daemon(place, place.read_pid())
                ended = running.stop() if whom == "starter" else running.wait()
                assert ended.code == 0, said
        elif could_hear:
            assert code in (128 + signal.SIGTERM, 70), said
            assert re.fullmatch(r"plaitd: .*SIGTERM.*\n", errors), said
        else:  # it had none when we looked, and perhaps one when the signal came
            assert code in (-signal.SIGTERM, 128 + signal.SIGTERM), said
        place.assert_nothing_left(5.0)
        place.reap()
