"""What a privileged start has begun is put away in order, whatever keeps the application from running."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
from typing import Any

import pytest
from twisted.application import service as twisted
from twisted.internet.defer import Deferred

from plait.guests.twisted import watching
from plait.guests.twisted.privileged import PATIENCE, PrivilegedStarts
from plait.guests.twisted.reactor import install
from plait.guests.twisted.troubles import Policies
from plait.testing import run as run_virtual
from tests.guests.tac import run, told, write
from tests.system.daemon import PLAITD, Ended, Place
from tests.system.places import FORMS

#: Services that open something in their privileged start: unix sockets, with lock files too, a file, a child process.
#: `Place` finds whatever is left of it.
OPENING = """
import subprocess

class Opening(Plain):
    def privilegedStartService(self):
        open(self.name, "w").close()
        self.child = subprocess.Popen(["sleep", "60"], user={user})
        {opened}

    def stopService(self):
        self.child.terminate()
        self.child.wait()
        os.unlink(self.name)
        {stopped}
        return super().stopService()

class Hello(protocol.Protocol):
    def connectionMade(self):
        self.transport.write(b"hello")
        self.transport.loseConnection()

factory = protocol.Factory.forProtocol(Hello)
add(first, strports.service("unix:one.sock", factory), internet.UNIXServer("two.sock", factory, wantPID=True))
"""


def opening(rest: str, opened: str = "pass", stopped: str = "pass", user: int | None = None) -> str:
    """
    Return `OPENING` with *rest* behind it, one more line at the end of the privileged start, and one in the stop.

    The child runs as *user*, who can end it then.
    """
    return OPENING.format(opened=opened, stopped=stopped, user=user) + rest


def end(place: Place, daemonize: bool, *options: str, **how: Any) -> Ended:
    """Run plaitd to its end, of which nothing may be left; with a pidfile, and where it can be, a log that is read."""
    ended = place.run("--pidfile=plaitd.pid", *([] if daemonize else ["-n"]), *options, "-y", "shop.tac", **how)
    place.assert_nothing_left()
    return ended


# No tree can be made --------------------------------------------------------------------------------------------------


def without(capability: str) -> tuple[str, ...]:
    """Return plaitd as a program that lacks one of root's rights."""
    setpriv = shutil.which("setpriv") or pytest.skip("NOT RUN: needs setpriv (util-linux) to take a right from root")
    return (setpriv, f"--bounding-set=-{capability}", f"--inh-caps=-{capability}", PLAITD)


@pytest.mark.root
@FORMS
@pytest.mark.parametrize("capability", ["setuid", "setgid"])
def test_a_user_that_cannot_be_become(public: Place, capability: str, daemonize: bool) -> None:
    """Where the user is refused, or the groups: all is closed and stopped, then one sentence says why."""
    write(public, opening("add(Opening('own'), Opening('last'))"))
    ended = end(public, daemonize, "--uid=1", program=without(capability))
    assert ended.code == 77
    assert re.fullmatch(r"plaitd: --uid 1: uid 0 may not \(Operation not permitted\): [^\n]+\n", ended.errors)
    if not daemonize:
        # A service that had nothing to do has nothing to stop.
        assert ended.output == "last put away\nown put away\n"


@FORMS
def test_a_log_that_cannot_be_opened(place: Place, daemonize: bool) -> None:
    """It is opened after the privileged start, as whoever was become."""
    write(place, opening("add(Opening('own'))"))
    ended = end(place, daemonize, "--logfile=missing/shop.log")
    assert ended.code == 73
    assert re.fullmatch(r"plaitd: [^\n]*missing/shop\.log: cannot be written [^\n]+\n", ended.errors)


@FORMS
def test_an_exit_in_a_privileged_start(place: Place, daemonize: bool) -> None:
    """``sys.exit`` ends the start with its status; also the service that called it is stopped."""
    write(place, opening("add(Opening('own'), Plain('never'))", "sys.exit(3)"))
    ended = end(place, daemonize)
    assert ended.code == 3
    assert ended.errors == ("plaitd: sys.exit(3)\n" if daemonize else "")


@pytest.mark.root
@FORMS
def test_a_stop_that_fails_does_not_keep_the_others_open(public: Place, daemonize: bool) -> None:
    """One of those that are stopped because there will be no tree may fail; the reason is told all the same."""
    write(public, opening("add(Opening('own'), Opening('last'))", stopped="raise ValueError('no luck')"))
    ended = end(public, daemonize, "--uid=1", program=without("setuid"))
    assert ended.code == 77
    assert re.fullmatch(r"plaitd: --uid 1: [^\n]+\n", ended.errors)


@FORMS
@pytest.mark.parametrize("why", ["it exits", "it is told to stop"])
def test_a_stop_that_blocks_is_ended_by_force(place: Place, why: str, daemonize: bool) -> None:
    """Without a loop that could wait it is bounded as in a run."""
    opened = "sys.exit(3)" if why == "it exits" else "os.kill(os.getpid(), signal.SIGTERM)"
    write(place, opening("add(Opening('own'))", opened, stopped="time.sleep(60)"))
    ended = run(place, daemonize, "--stop-timeout=0.1")
    assert ended.code == (143 if daemonize and why == "it is told to stop" else 70)
    where = place.line_of("time.sleep(60)", "shop.tac")
    if not daemonize or why == "it is told to stop":  # else there is no log yet
        assert f"did not stop in 0.1 s, the loop is blocked at {where}: ends by force\n" in ended.output + ended.errors
    place.allow("one.sock", "one.sock.lock", "two.sock", "two.sock.lock")


def test_a_stop_that_never_ends_has_its_time() -> None:
    """Then it is cancelled, and named with its line; a stop that ends in its time is awaited."""
    reactor = install()
    cancelled: list[object] = []
    left: list[str] = []
    slow: Deferred[None] = Deferred()

    class Began(twisted.Service):
        def __init__(self, name: str, returned: Deferred[None]) -> None:
            self.name = name
            self.returned = returned

        def privilegedStartService(self) -> None:
            """Do nothing, but otherwise than `Service`."""

        def stopService(self) -> Deferred[None]:
            return self.returned

    services = [Began("hangs", Deferred(cancelled.append)), Began("slow", slow)]
    watches = [watching.watch(each, Policies()) for each in services]

    async def main() -> float:
        loop = asyncio.get_running_loop()
        starts = PrivilegedStarts(reactor)
        for watch in watches:
            starts.do(watch)
        loop.call_later(PATIENCE - 1, slow.callback, None)
        began = loop.time()
        await starts.take_back(left.append)
        return loop.time() - began

    try:
        seconds = run_virtual(main())
    finally:
        for watch in watches:
            watch.end()
    assert cancelled == [services[0].returned]
    assert seconds == pytest.approx(PATIENCE)
    (sentence,) = left
    assert re.fullmatch(
        r"hangs: left behind after its privileged start: did not stop in 10 s, "
        r"at \S*test_privileged_start\.py:\d+ in .*stopService, whose Deferred has not fired",
        sentence,
    )


# A stop meanwhile -----------------------------------------------------------------------------------------------------


def stopped(place: Place, daemonize: bool, *signals: int, options: tuple[str, ...] = ()) -> Ended:
    """Start plaitd, send it *signals* when it is in its privileged start, and wait for the end; output is its log."""
    how = [*([] if daemonize else ["-n"]), "--pidfile=plaitd.pid", *options, "-y", "shop.tac"]
    with open(place.root / "errors", "wb") as errors, open(place.root / "output", "wb") as output:
        process = place.popen(*how, stdout=output, stderr=errors)
    pid = process.pid
    for number in signals:
        assert place.heard() == "slow"
        os.kill(place.read_pid() if daemonize else pid, number)
    code = process.wait(20)
    place.assert_nothing_left(5.0)
    log = place.log if daemonize else (place.root / "output").read_text()
    return Ended(code, log, (place.root / "errors").read_text())


SLOW = "add(Opening('own'), Plain('never')); add(strports.service('unix:late.sock', factory))"


@FORMS
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_in_a_privileged_start(place: Place, number: int, daemonize: bool) -> None:
    """It may end; then nothing is started, and what had its privileged start is stopped, as whoever was become."""
    write(place, opening(SLOW, "tell('slow'); time.sleep(0.5)"))
    ended = stopped(place, daemonize, number)
    name = signal.Signals(number).name
    assert ended.code == (128 + number if daemonize else -number if number == signal.SIGINT else 0)
    assert ended.errors == (f"plaitd: stopped by {name} before it was ready\n" if daemonize else "")
    assert re.findall(r"(\w+) (begins|put away)$", ended.output, re.MULTILINE) == [("own", "put away")]
    how = "by SIGINT" if number == signal.SIGINT else "exit status 0"
    assert ended.output.endswith(f"ended: stopped by {name} before it was ready: {how}\n")


#: Tells before each wait, of which the second begins when the first signal has come.
WAITS = """
class Waits(Opening):
    def privilegedStartService(self):
        super().privilegedStartService()
        hear = signal.getsignal(signal.SIGTERM)
        def told(*arguments):
            hear(*arguments)
            tell("slow")
        signal.signal(signal.SIGTERM, told)
        tell("slow")
        try:
            time.sleep(60)
        finally:
            signal.signal(signal.SIGTERM, hear)

add(Waits("own"))
"""


@FORMS
@pytest.mark.parametrize("how", ["a second signal", "its time is over"])
def test_a_privileged_start_that_does_not_end(place: Place, how: str, daemonize: bool) -> None:
    """It is interrupted, by a second signal or when the stop has taken its time; and then put away in order."""
    write(place, opening(WAITS))
    if how == "a second signal":
        ended = stopped(place, daemonize, signal.SIGTERM, signal.SIGTERM)
    else:
        ended = stopped(place, daemonize, signal.SIGTERM, options=("--stop-timeout=0.3",))
    assert ended.code == (143 if daemonize else 0)
    assert re.findall(r"(\w+) (begins|put away)$", ended.output, re.MULTILINE) == [("own", "put away")]
    assert ended.output.endswith("ended: stopped by SIGTERM before it was ready: exit status 0\n")


# A start that fails ---------------------------------------------------------------------------------------------------


@pytest.mark.root
@FORMS
@pytest.mark.parametrize("whose", ["nobody", "own", "next", "inner"])
@pytest.mark.parametrize("how", ["raise ValueError('no luck')", "return defer.Deferred()"], ids=["fails", "hangs"])
def test_a_failed_start_as_another_user(public: Place, whose: str, how: str, daemonize: bool) -> None:
    """Who was started is stopped, and who had only a privileged start as well; that one does it badly keeps nothing."""
    place = public
    write(
        place,
        opening(
            """
class Failing(Plain):
    def startService(self):
        raise RuntimeError("no stock")

inner = service.MultiService()
Opening("inner").setServiceParent(inner)
add(Opening("own"), Failing("failing"), Opening("next"), inner)
""",
            stopped=f"print(self.name, 'stops')\n        if self.name == {whose!r}: {how}",
            user=1,
        ),
    )
    ended = end(place, daemonize, "--uid=1", "--stop-timeout=1")
    log = place.log if daemonize else ended.output
    assert ended.code == 70
    assert sorted(re.findall(r"(\w+) stops$", log, re.MULTILINE)) == ["inner", "next", "own"]
    assert ended.errors == ("plaitd: shop/failing: did not start: RuntimeError: no stock\n" if daemonize else "")
    assert log.endswith("ended: shop/failing: did not start: RuntimeError: no stock: exit status 70\n")
    words = "no luck" if "luck" in how else "left behind"
    # Of one in a collection that never was started itself, nobody hears that its stop has failed.
    assert (words in log) == (whose != "nobody" and (whose, words) != ("inner", "no luck"))


@FORMS
@pytest.mark.parametrize("method", ["privilegedStartService", "startService"])
def test_an_application_that_is_one_service(place: Place, method: str, daemonize: bool) -> None:
    """Its start fails after it has opened something: it is stopped, and told of as one among others."""
    failing = f"""
class Failing(Opening):
    def {method}(self):
        super().{method}()
        raise RuntimeError("no stock")

application = Failing("own")
"""
    write(place, opening(failing))
    ended = run(place, daemonize)
    assert ended.code == 70
    assert told(ended, daemonize) == "application/own: did not start: RuntimeError: no stock"
    assert "plaitd itself" not in ended.output
    assert re.findall(r"(\w+) put away$", ended.output, re.MULTILINE) == ["own"]
    line = place.line_of("raise RuntimeError", "shop.tac").partition(":")[2]
    assert f'shop.tac", line {line}, in {method}' in ended.output
    place.assert_nothing_left()
