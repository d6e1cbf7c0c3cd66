"""Twisted's log events are records among the others: once, with level, time, traceback and the path of the service."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from datetime import datetime
from typing import Any

import pytest

from tests.system.daemon import PATIENCE, PLAITD, Ended, Place, wait_for_end

pytest.importorskip("twisted")

#: What each .tac here begins with: a service whose `work` is called when the reactor runs, and then all is stopped.
TAC = """
import gc, logging, warnings
from twisted.application import service
from twisted.internet import defer, reactor, threads
from twisted.logger import ILogObserver, Logger
from twisted.python import failure, log
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
    assert {each["path"] for each in found if each["logger"] == "shop.till"} == {"shop/till"}


def test_a_line_looks_as_one_of_plaits_own(place: Place) -> None:
    ended = run(place, working("shop.warn('no change left')", "log.msg('from', 'afar', system='HTTPChannel,3')"))
    assert re.search(r"(?m)^\d{4}-\S+ \[shop/till#warning\] no change left$", ended.output)
    assert re.search(r"(?m)^\d{4}-\S+ \[shop/till#info\] from afar system=HTTPChannel,3$", ended.output)


def test_what_was_logged_while_loading_comes_once_in_order_with_its_time(place: Place) -> None:
    source = "import time\nlog.msg('first')\nshop.info('second')\ntime.sleep(0.01)\nbegan = time.time()\n"
    source += working("shop.info('third {began}', began=began)")
    found = records(run(place, source, "--log-format", "json"))
    assert [each["message"].split()[0] for each in found] == ["first", "second", "third"]
    assert [each["path"] for each in found] == ["", "", "shop/till"]
    assert [each["logger"] for each in found] == ["log_legacy", "shop.till", "shop.till"]
    second = datetime.fromisoformat(found[1]["time"]).timestamp()
    assert second < float(found[2]["message"].split()[1])


def test_the_keys_of_an_event_are_fields_for_machines_only(place: Place) -> None:
    source = working("shop.info('sold {what}', what='a pen', price=3, till=till)", "log.msg('legacy', user='bob')")
    event, legacy = records(run(place, source, "--log-format", "json"))
    assert (event["message"], event["what"], event["price"]) == ("sold a pen", "a pen", 3)
    assert "Till object" in event["till"]
    assert legacy["user"] == "bob"
    assert set(event) == {
        *("time", "level", "severity_number", "logger", "path", "message"),
        *("what", "price", "till"),
    }
    text = run(place, source).output
    assert re.search(r"(?m)#info\] sold a pen$", text)
    assert re.search(r"(?m)#info\] legacy$", text)


def test_levels_are_those_of_the_namespaces(place: Place) -> None:
    source = working("shop.info('quiet')", "Logger(namespace='other').info('loud')", "log.msg('legacy')")
    ended = run(place, source, "--log-level", "shop=warning", "--log-level", "log_legacy=error")
    assert "loud" in ended.output
    assert "quiet" not in ended.output
    assert "legacy" not in ended.output


def test_handlers_and_filters_of_their_loggers_see_the_events(place: Place) -> None:
    place.allow("own.log")
    source = "theirs = logging.getLogger('shop.till')\ntheirs.addHandler(logging.FileHandler('own.log'))\n"
    source += "theirs.addFilter(lambda record: 'secret' not in record.getMessage())\n"
    ended = run(place, source + working("shop.info('an event')", "shop.info('a secret')"))
    assert (place.folder / "own.log").read_text() == "an event\n"
    assert "secret" not in ended.output


def test_what_no_level_lets_through_is_not_made_into_text(place: Place) -> None:
    source = """
class Shown:
    def __repr__(self):
        shop.warn("it was made into text")
        return "shown"
"""
    ended = run(place, source + working("shop.debug('{it!r}', it=Shown())"))
    assert "made into text" not in ended.output
    ended = run(place, source + working("shop.info('{it!r}', it=Shown())"))
    assert re.search(r"(?s)it was made into text.*\] shown\n", ended.output)


def test_an_event_that_cannot_be_shown_is_told_as_such_and_the_rest_goes_on(place: Place) -> None:
    source = """
class Endless:
    def __repr__(self):
        shop.info("{it!r}", it=self)
        return "end"
"""
    lines = ("shop.info('broken {nothing}')", "log.msg(format='%(no)d', no='x')", "shop.info('{it!r}', it=Endless())")
    output = run(place, source + working(*lines, "shop.info('after that')")).output
    assert "Unable to format event" in output
    assert "Invalid format string" in output
    assert output.count("] end\n") == 3
    assert "{it!r} (logged while it was made into text)" in output
    assert "after that" in output


def test_events_of_threads_have_the_path_of_who_started_them(place: Place) -> None:
    found = records(run(place, working("return threads.deferToThread(shop.info, 'afar')"), "--log-format", "json"))
    assert [(each["message"], each["path"]) for each in found] == [("afar", "shop/till")]


def test_what_comes_of_a_thread_has_the_path_of_who_started_it(place: Place) -> None:
    source = working("return threads.deferToThread(int).addCallback(lambda _: shop.info('back'))")
    assert [(each["message"], each["path"]) for each in records(run(place, source, "--log-format", "json"))] == [
        ("back", "shop/till")
    ]


def test_prints_and_warnings_and_other_records_come_once(place: Place) -> None:
    lines = ("print('printed')", "warnings.warn('careful')", "logging.getLogger('std').warning('standard')")
    found = records(run(place, working(*lines), "--log-format", "json"))
    assert [(each["logger"], each["path"]) for each in found] == [
        ("stdout", "shop/till"),
        ("py.warnings", "shop/till"),
        ("std", "shop/till"),
    ]


# Failures -------------------------------------------------------------------------------------------------------------

SERVING = """
from twisted.internet import protocol
class Counter(protocol.Protocol):
    def dataReceived(self, data):
        WHAT
class Client(protocol.Protocol):
    def connectionMade(self):
        self.transport.write(b"tea")
    def connectionLost(self, reason):
        closed.callback(None)
closed = defer.Deferred()
counters = protocol.Factory.forProtocol(Counter)
counters.noisy = False
clients = protocol.ClientFactory.forProtocol(Client)
clients.noisy = False
def work():
    port = reactor.listenTCP(0, counters, interface="127.0.0.1")
    reactor.connectTCP("127.0.0.1", port.getHost().port, clients)
    return closed.addCallback(lambda _: port.stopListening())
till.work = work
"""

FAILING = {
    "a Deferred that nobody asks": ("defer.fail(KeyError('k'))", "Unhandled error in Deferred"),
    "a coroutine": ("async def fail(): raise KeyError('k')", "defer.ensureDeferred(fail())", "Unhandled error in"),
    "a delayed call": ("reactor.callLater(0, lambda: {}['k'])", "while handling timed call"),
    "log.err": ("try: raise KeyError('k')", "except KeyError: log.err(None, 'why so')", "why so"),
    "Logger.failure": ("try: raise KeyError('k')", "except KeyError: shop.failure('why so')", "why so"),
    "a trigger": ("reactor.addSystemEventTrigger('after', 'shutdown', lambda: {}['k'])", "While calling system event"),
    "what startService calls": ("raise KeyError('k')", "the work failed"),
}


@pytest.mark.parametrize("how", FAILING)
def test_an_error_is_logged_once_with_its_traceback_and_its_service(place: Place, how: str) -> None:
    *lines, text = FAILING[how]
    source = working(*lines)
    if how == "what startService calls":
        source += "run = till.work\ntill.work = lambda: defer.execute(run).addErrback(log.err, 'the work failed')\n"
    found = [each for each in records(run(place, source, "--log-format", "json")) if each["severity_number"] > 9]
    assert len(found) == 1, found
    assert found[0]["level"] == "critical"
    assert found[0]["path"] == "shop/till"
    assert text in found[0]["message"]
    assert found[0]["exception"].endswith("KeyError: 'k'")
    assert "Traceback" not in found[0]["message"]
    # What leads from the reactor to people's code is of no use to them.
    assert not re.search(r"reactor\.py|base\.py|defer\.py|context\.py", found[0]["exception"])


def test_an_error_of_a_protocol_is_that_of_who_listens_and_closes_the_connection(place: Place) -> None:
    source = SERVING.replace("WHAT", "raise KeyError('k')")
    found = [each for each in records(run(place, source, "--log-format", "json")) if each["severity_number"] > 9]
    assert [(each["level"], each["path"], each["message"]) for each in found] == [
        ("critical", "shop/till", "Unhandled Error")
    ]
    assert "in dataReceived" in found[0]["exception"]


def test_an_error_that_is_found_among_the_garbage_is_that_of_its_service(place: Place) -> None:
    """A Deferred in a cycle is collected at any time, while any other service runs."""
    source = """
class Other(service.Service):
    name = "other"
    def collect(self):
        gc.collect()
        shop.info("collected")
other = Other()
other.setServiceParent(application)
def startService():
    gc.disable()
    reactor.callLater(0.05, other.collect)
other.startService = startService
"""
    source += working(
        "cycle = {}", "cycle['it'] = cycle", "cycle['failed'] = defer.fail(KeyError('k'))", "del cycle",
        "return defer.DeferredList([]) and threads.deferToThread(__import__('time').sleep, 0.2)",
    )  # fmt: skip
    found = records(run(place, source, "--log-format", "json"))
    assert [(each["message"], each["path"]) for each in found] == [
        ("Unhandled error in Deferred", "shop/till"),
        ("collected", "shop/other"),
    ]


def test_an_error_in_a_callback_is_not_found_hours_later(place: Place) -> None:
    """It is in a circle with its Deferred, which only the garbage collector finds, when there is much garbage."""
    source = working("defer.succeed({}).addCallback(lambda them: them['k'])", "reactor.callLater(60, reactor.stop)")
    place.write(TAC + source + "till.run = lambda: work()\n", "shop.tac")
    running = place.foreground("--pidfile=", name="shop.tac")
    running.log_until(r"\[shop/till#critical\] Unhandled error in Deferred$")
    assert running.stop().code == 0


def test_an_error_that_is_found_at_the_end_is_in_the_log_still(place: Place) -> None:
    source = "gc.disable()\n" + working(
        "cycle = {}", "cycle['it'] = cycle", "cycle['failed'] = defer.fail(KeyError('k'))"
    )
    source += "till.run = lambda: (gc.disable(), work(), reactor.callLater(0, reactor.stop))\n"
    (found,) = records(run(place, source, "--log-format", "json"))
    assert (found["message"], found["path"]) == ("Unhandled error in Deferred", "shop/till")


EXITS = {
    "in a delayed call": "reactor.callLater(0, sys.exit, 3)",
    "in a callback": "defer.succeed(None).addCallback(lambda _: sys.exit(3))",
    "in log.err": "log.err(failure.Failure(SystemExit(3)))",
    "in a thread": "threads.deferToThread(sys.exit, 3)",
}


@pytest.mark.parametrize("how", EXITS)
def test_sys_exit_ends_the_application_in_order_with_its_code(place: Place, how: str) -> None:
    source = "import sys\nstop = till.stopService\ntill.stopService = lambda: (shop.info('put away'), stop())[1]\n"
    # The collector, which plaitd turns on when all is loaded, is not to be what finds it.
    place.write(TAC + source + f"till.run = lambda: (gc.disable(), {EXITS[how]})\n", "shop.tac")
    ended = place.run("-n", "--pidfile=", "-y", "shop.tac")
    assert ended.code == 3
    assert "put away" in ended.output
    assert ended.last_line.endswith("ended: sys.exit(3): exit status 3")
    assert "Traceback" not in ended.output


def test_sys_exit_in_a_protocol_ends_the_application_with_its_code(place: Place) -> None:
    place.write(TAC + "import sys\n" + SERVING.replace("WHAT", "sys.exit(3)"), "shop.tac")
    ended = place.run("-n", "--pidfile=", "-y", "shop.tac")
    assert ended.code == 3
    assert ended.last_line.endswith("ended: sys.exit(3): exit status 3")
    assert "Traceback" not in ended.output


@pytest.mark.parametrize("how", ["reactor.callLater(0, interrupt)", "defer.execute(interrupt)"])
def test_a_keyboard_interrupt_in_a_callback_ends_the_application_in_order(place: Place, how: str) -> None:
    source = f"def interrupt(): raise KeyboardInterrupt\ntill.run = lambda: {how}\n"
    place.write(TAC + source, "shop.tac")
    ended = place.run("-n", "--pidfile=", "-y", "shop.tac")
    assert ended.code == 1
    assert ended.last_line.endswith("ended: KeyboardInterrupt: exit status 1")


# Observers ------------------------------------------------------------------------------------------------------------

OWN = """
from twisted.logger import textFileLogObserver
application.setComponent(ILogObserver, textFileLogObserver(open("own.log", "a")))
"""

LEGACY = """
from twisted.python.logfile import LogFile
application.setComponent(log.ILogObserver, log.FileLogObserver(LogFile("own.log", ".", rotateLength=1000000)).emit)
"""


@pytest.mark.parametrize("component", [OWN, LEGACY], ids=["new", "legacy"])
def test_an_observer_of_the_application_gets_all_and_there_is_no_other_log(place: Place, component: str) -> None:
    lines = ("shop.debug('an event')", "print('printed')", "logging.getLogger('std').warning('standard')")
    more = ("warnings.warn('careful')", "defer.fail(KeyError('k'))")
    place.allow("own.log")
    ended = run(place, "log.msg('while loading')\n" + component + working(*lines, *more))
    own = (place.folder / "own.log").read_text()
    assert ended.output == ""
    for text in (
        "while loading",
        "an event",
        "printed",
        "standard",
        "UserWarning: careful",
        "KeyError: 'k'",
        "plaitd",
        "ended",
    ):
        assert len(re.findall(rf"(?m)\b{text}", own)) == 1, (text, own)
    assert own.index("while loading") < own.index("an event") < own.index("ended")
    place.assert_nothing_left()
    if component == OWN:
        assert re.search(r"(?m)^\S+ \[stdout#info\] printed$", own)
        assert re.search(r"(?m)^\S+ \[shop\.till#debug\] an event$", own)
        assert re.search(r"(?m)^\S+ \[shop/till#warn\] standard$", own)


def test_a_daemon_with_a_log_of_its_own_makes_no_other_and_leaves_it_alone(place: Place) -> None:
    place.allow("own.log", "plaitd.pid")
    place.write(TAC + LEGACY + "till.run = lambda: shop.info('at work')\n", "shop.tac")
    daemon = place.daemonize(name="shop.tac")
    log = place.folder / "own.log"
    inode = log.stat().st_ino
    for number in (signal.SIGUSR1, signal.SIGHUP):
        os.kill(daemon.pid, number)
    os.kill(daemon.pid, signal.SIGTERM)
    assert wait_for_end(daemon.pid)
    assert os.waitpid(daemon.pid, 0)[1] == 0
    assert log.stat().st_ino == inode
    text = log.read_text()
    for name in ("SIGUSR1", "SIGHUP"):
        assert f"received {name}: there is no log file to open again" in text
    place.assert_nothing_left()
    assert not (place.folder / "plaitd.log").exists()


@pytest.mark.root
def test_where_the_user_and_the_root_change_no_other_log_is_made(place: Place) -> None:
    place.allow("own.log", "plaitd.pid")
    place.write(TAC + OWN + working("shop.info('at work')"), "shop.tac")
    for way in (("-u", "nobody", "-d", "/"), ("--chroot", str(place.aside), "-d", "/")):
        # Whether it is ready before it ends is a matter of luck.
        place.run(*way, "-y", "shop.tac")
        place.assert_nothing_left(PATIENCE)
        assert "at work" in (place.folder / "own.log").read_text()
        assert not list(place.aside.iterdir())
        assert not (place.folder / "plaitd.log").exists()
        (place.folder / "own.log").unlink()


@pytest.mark.parametrize("component", [OWN, LEGACY], ids=["new", "legacy"])
def test_a_daemon_that_does_not_start_says_why_on_the_terminal(place: Place, component: str) -> None:
    place.allow("own.log")
    place.write(
        TAC + component + "def startService(): raise ValueError('no paper')\ntill.startService = startService\n"
    )
    ended = place.run("-y", "shop.py")
    assert ended.code == 70
    assert ended.errors == "plaitd: shop/till: did not start: ValueError: no paper\n"
    assert "ValueError: no paper" in (place.folder / "own.log").read_text()
    place.assert_nothing_left()


#: Observers that raise at each event, of all the kinds that may be plaitd's log.
BROKEN = """
from zope.interface import provider
def broken(event):
    raise OSError("no paper")
"""
BROKEN_ONES = {
    "new": (f"{BROKEN}application.setComponent(ILogObserver, provider(ILogObserver)(broken))\n", ()),
    "legacy": (f"{BROKEN}application.setComponent(log.ILogObserver, broken)\n", ()),
    "factory": ("", ("--logger=factories.broken",)),
    "handler": ("", ("--logger=factories.breaking",)),
}
BROKEN_FACTORIES = """
import logging
from zope.interface import provider
from twisted.logger import ILogObserver

class Breaking(logging.Handler):
    def emit(self, record):
        try:
            raise OSError("no paper")
        except OSError:
            self.handleError(record)

def broken():
    @provider(ILogObserver)
    def broken(event):
        raise OSError("no paper")
    return broken

def breaking():
    return Breaking()
"""


def assert_told(text: str) -> None:
    """See that the failure is told once, with its traceback, and all that was not taken, once."""
    assert len(re.findall(r"failed \(OSError: no paper\): what it does not take is written here$", text, re.M)) == 1
    assert len(re.findall(r"^\tOSError: no paper$", text, re.M)) == 1
    assert re.search(r'^\t  File ".*(shop.tac|factories.py)", line \d+, in (broken|emit)$', text, re.M)
    for line in ("shop/till#info] first", "shop/till#info] second", "shop/till#warning] third"):
        assert len(re.findall(rf"^\S+ \[{re.escape(line)}$", text, re.M)) == 1, text
    assert len(re.findall(r"^\S+ \[plait#info\] ended: ", text, re.M)) == 1
    assert "plait/guests" not in text


@pytest.mark.parametrize("kind", BROKEN_ONES)
@pytest.mark.parametrize("daemonize", [False, True], ids=["in front", "daemon"])
def test_an_observer_that_raises_stops_nothing_and_what_it_does_not_take_is_told(
    place: Place, kind: str, daemonize: bool
) -> None:
    """In the log that there would be without it: of a daemon, whose standard error nobody reads, too."""
    source, options = BROKEN_ONES[kind]
    place.write(BROKEN_FACTORIES, "factories.py")
    place.allow("__pycache__")
    lines = ("shop.info('first')", "print('second')", "logging.getLogger('std').warning('third')")
    place.write(TAC + source + working(*lines), "shop.tac")
    if daemonize:
        place.run("--pidfile=", *options, "-y", "shop.tac")
        place.assert_nothing_left(PATIENCE)
        assert_told(place.log)
    else:
        ended = place.run("-n", "--pidfile=", *options, "-y", "shop.tac")
        assert (ended.code, ended.output) == (0, "")
        assert_told(ended.errors)
        place.assert_nothing_left()


def test_where_no_other_log_can_be_opened_standard_error_is_left(place: Place) -> None:
    """A folder is in its place, and there is no syslog."""
    (place.folder / "taken.log").mkdir()
    place.allow("taken.log")
    place.write(TAC + BROKEN_ONES["new"][0] + working("shop.info('first')"), "shop.tac")
    options = ("--logfile=taken.log", "--syslog-address=no/such")
    ended = place.run("-n", "--pidfile=", *options, "-y", "shop.tac")
    assert ended.code == 0
    assert "failed (OSError: no paper): what it does not take is written here" in ended.errors


@pytest.mark.parametrize(
    "add", ["globalLogPublisher.addObserver(provider(ILogObserver)(broken))", "log.addObserver(broken)"]
)
def test_an_observer_beside_the_log_that_raises_is_told_in_a_daemon_as_twisted_does(place: Place, add: str) -> None:
    """Of each event with which it fails, in the log."""
    source = f"{BROKEN}from twisted.logger import globalLogPublisher\n{add}\n"
    place.write(TAC + source + working("shop.info('first')"), "shop.tac")
    place.run("--pidfile=", "-y", "shop.tac")
    place.assert_nothing_left(PATIENCE)
    assert len(re.findall(r"#info\] first$", place.log, re.M)) == 1
    told = place.log.count("Temporarily disabling observer")
    assert 0 < told < 10
    assert place.log.count("\tOSError: no paper\n") == told


def test_an_observer_may_print_and_log(place: Place) -> None:
    """It would be asked to log that as well, without end."""
    source = """
def printing(event):
    print("got", event["log_format"])
    logging.getLogger("std").warning("standard")
application.setComponent(log.ILogObserver, printing)
"""
    place.write(TAC + source + working("shop.info('first')"), "shop.tac")
    ended = place.run("-n", "--pidfile=", "-y", "shop.tac")
    assert ended.code == 0
    assert ended.output.splitlines().count("got first") == 1
    assert ended.errors.count("standard") == len(ended.output.splitlines())
    place.run("--pidfile=", "-y", "shop.tac")
    place.assert_nothing_left(PATIENCE)
    assert place.log.count("standard") == ended.errors.count("standard")


FACTORIES = """
import logging
from twisted.logger import textFileLogObserver
from twisted.python.log import FileLogObserver

def new():
    return textFileLogObserver(open("factory.log", "a"))

def legacy():
    return FileLogObserver(open("factory.log", "a")).emit

def handler():
    return logging.FileHandler("factory.log")

def nothing():
    return 3
"""


@pytest.mark.parametrize("name", ["new", "legacy", "handler"])
def test_what_the_factory_makes_comes_before_the_component(place: Place, name: str) -> None:
    place.write(FACTORIES, "factories.py")
    place.allow("own.log", "factory.log", "__pycache__")
    ended = run(
        place, "log.msg('while loading')\n" + OWN + working("shop.info('an event')"), f"--logger=factories.{name}"
    )
    assert ended.output == ""
    assert (place.folder / "own.log").read_text() == ""
    lines = (place.folder / "factory.log").read_text().splitlines()
    assert [len([line for line in lines if line.endswith(text)]) for text in ("while loading", "an event")] == [1, 1]
    place.assert_nothing_left()


def test_a_record_says_where_it_was_logged(place: Place) -> None:
    source = """
import logging
def handler():
    made = logging.FileHandler("factory.log")
    made.setFormatter(logging.Formatter("%(message)s at %(filename)s:%(lineno)d in %(funcName)s"))
    return made
"""
    place.write(source, "factories.py")
    place.allow("factory.log", "__pycache__")
    run(place, working("shop.info('new')", "log.msg('legacy')"), "--logger=factories.handler")
    text = (place.folder / "factory.log").read_text()
    for name, call in (("new", "shop.info('new')"), ("legacy", "log.msg('legacy')")):
        assert f"{name} at {place.line_of(call, 'shop.tac')} in work\n" in text


def test_a_factory_that_makes_no_log_is_refused(place: Place) -> None:
    place.allow("__pycache__")
    place.write(FACTORIES, "factories.py")
    place.write(TAC, "shop.tac")
    ended = place.run("-n", "--logger=factories.nothing", "-y", "shop.tac")
    assert ended.code == 78
    assert ended.errors.startswith("plaitd: --logger: factories.nothing: returned an int: return an instance of")


def test_the_new_component_comes_before_the_legacy_one(place: Place) -> None:
    place.allow("own.log", "other.log")
    other = LEGACY.replace("own.log", "other.log")
    run(place, OWN + other + working("shop.info('an event')"))
    assert "an event" in (place.folder / "own.log").read_text()
    assert (place.folder / "other.log").read_text() == ""


def test_the_check_knows_whose_the_log_is(place: Place) -> None:
    place.allow("own.log")
    (place.folder / "plaitd.log").mkdir()
    plait = (os.path.join(os.path.dirname(PLAITD), "plait"), "check")
    place.write(TAC, "shop.tac")
    assert "plaitd.log: cannot be written" in place.run("-y", "shop.tac", program=plait).errors
    place.write(TAC + OWN, "shop.tac")
    ended = place.run("-y", "shop.tac", program=plait)
    assert (ended.code, ended.errors) == (0, "")


def test_a_plugin_may_set_its_observer_when_it_gets_its_parent(place: Place) -> None:
    """Carbon does so: there is no application before."""
    source = """
from zope.interface import implementer
from twisted.application.service import IServiceMaker, Service
from twisted.internet import reactor
from twisted.logger import ILogObserver, Logger, textFileLogObserver
from twisted.plugin import IPlugin
from twisted.python import usage

class Till(Service):
    def setServiceParent(self, parent):
        Service.setServiceParent(self, parent)
        parent.setComponent(ILogObserver, textFileLogObserver(open("own.log", "a")))
    def startService(self):
        Logger(namespace="shop.till").info("at work")
        reactor.callLater(0, reactor.stop)

@implementer(IPlugin, IServiceMaker)
class Maker:
    tapname = "shop"
    description = "Sells things."
    options = usage.Options
    def makeService(self, options):
        return Till()

maker = Maker()
"""
    (place.folder / "twisted" / "plugins").mkdir(parents=True)
    place.write(source, "twisted/plugins/shop_plugin.py")
    place.allow("twisted", "own.log")
    ended = place.run("-n", "shop", environment={"PYTHONPATH": str(place.folder), "PYTHONDONTWRITEBYTECODE": "1"})
    assert (ended.code, ended.output, ended.errors) == (0, "", "")
    assert "at work" in (place.folder / "own.log").read_text()


def test_an_observer_that_hands_on_to_logging_leaves_plaitds_log(place: Place) -> None:
    source = "application.setComponent(log.ILogObserver, log.PythonLoggingObserver('theirs').emit)\n"
    found = records(run(place, source + working("shop.warn('an event')"), "--log-format", "json"))
    assert [(each["logger"], each["message"], each["path"]) for each in found] == [("theirs", "an event", "shop/till")]


def test_one_that_fails_to_hand_on_to_logging_is_told_and_the_event_is_logged_all_the_same(place: Place) -> None:
    source = """
from twisted.logger import STDLibLogObserver
class Failing(STDLibLogObserver):
    def __call__(self, event):
        raise OSError("no paper")
application.setComponent(ILogObserver, Failing())
"""
    ended = run(place, source + working("shop.warn('an event')"), "--log-format", "json")
    found = [json.loads(line) for line in ended.output.splitlines()]
    told = [each for each in found if each["message"] == "a log observer of the application failed"]
    assert len(told) == 1
    assert "OSError: no paper" in json.dumps(told)
    assert [each["message"] for each in found if each["logger"] == "shop.till"] == ["an event"]


def test_what_a_program_hands_on_to_logging_itself_comes_once(place: Place) -> None:
    source = "theirs = log.PythonLoggingObserver('theirs')\n"
    source += working(
        "shop.info('first')", "theirs.start()", "shop.info('second')", "theirs.stop()", "shop.info('third')"
    )
    found = records(run(place, source, "--log-format", "json"))
    assert [(each["logger"], each["message"]) for each in found] == [
        ("shop.till", "first"),
        ("theirs", "second"),
        ("shop.till", "third"),
    ]


def test_a_program_that_begins_to_log_by_itself_has_its_way_too(place: Place) -> None:
    place.allow("own.log")
    source = "log.startLogging(open('own.log', 'a'), setStdout=False)\n" + working("shop.info('an event')")
    assert run(place, source).output.count("an event") == 1
    assert (place.folder / "own.log").read_text().count("an event") == 1


# In code --------------------------------------------------------------------------------------------------------------

IN_CODE = """
import logging, sys, warnings
import plait
from plait.guests.twisted import TwistedService
from twisted.application.service import Service
from twisted.internet import reactor
from twisted.logger import Logger
from twisted.python import log

shop = Logger(namespace="shop.till")

class Till(Service):
    def startService(self):
        shop.info("an event")
        print("printed")
        warnings.warn("careful")
        reactor.callLater(0, reactor.stop)

shop.info("early")
"""
RUN = "plait.run(plait.Application('shop', [TwistedService(Till())]))\n"


def test_events_go_to_logging_in_a_program_that_only_runs_an_application(place: Place) -> None:
    place.write(IN_CODE + "logging.basicConfig(level='INFO', format='%(name)s: %(message)s')\n" + RUN, "program.py")
    ended = place.run("program.py", program=(sys.executable,))
    assert ended.code == 0
    assert [line for line in ended.errors.splitlines() if line.startswith("shop")] == [
        "shop.till: early",
        "shop.till: an event",
    ]
    # What is printed, and warnings, stay the program's.
    assert ended.output == "printed\n"
    assert ended.errors.count("UserWarning: careful") == 1
    assert ": program" not in ended.errors


def test_a_program_that_has_begun_by_itself_is_left_alone(place: Place) -> None:
    begin = "log.startLogging(sys.stdout, setStdout=False)\nlogging.basicConfig(level='INFO')\n"
    place.write(IN_CODE + begin + RUN, "program.py")
    ended = place.run("program.py", program=(sys.executable,))
    assert ended.code == 0
    assert ended.output.count("an event") == 1
    assert "an event" not in ended.errors
