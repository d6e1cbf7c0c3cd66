"""
Twisted's reactor on plait's loop: it has none at first, gets one and leaves it; all else is as in Twisted.
"""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
import uvloop
from twisted.application.service import MultiService, Service
from twisted.internet import error, protocol, threads, utils
from twisted.internet.defer import Deferred
from twisted.internet.error import ReactorAlreadyRunning, ReactorNotRunning

from plait import Application, Context, current, running
from plait.guests.twisted import TwistedService, children
from plait.guests.twisted.reactor import GuestReactor, install

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(params=LOOPS.values(), ids=LOOPS)
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """Return what runs a coroutine on a loop of either kind."""

    def run_it(coroutine: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=request.param) as runner:
            return runner.run(coroutine)

    return run_it


@pytest.fixture
def reactor() -> Iterator[GuestReactor]:
    """Return the reactor, which has no loop before and after."""
    reactor = install()
    assert reactor._asyncioEventloop is reactor._early
    yield reactor
    assert reactor._asyncioEventloop is reactor._early
    assert reactor.getDelayedCalls() == []


class Told(Service):
    """A Twisted service that calls a function when it starts."""

    def __init__(self, function: Callable[[], Any] = lambda: None) -> None:
        self.function = function

    def startService(self) -> Any:
        """Start."""
        super().startService()
        return self.function()


def application(function: Callable[[], Any] = lambda: None) -> Application:
    """Return an application with one Twisted service, ``app/told``."""
    return Application("app", [TwistedService(Told(function), name="told")])


class Echo(protocol.Protocol):
    """Sends back what comes."""

    def dataReceived(self, data: bytes) -> None:
        """Send it back."""
        assert self.transport is not None
        self.transport.write(data)


def port_of(listening: Any) -> int:
    """Return the number of a listening port."""
    number = listening.getHost().port
    assert isinstance(number, int)
    return number


# Before there is a loop -----------------------------------------------------------------------------------------------


def test_what_listens_before_there_is_a_loop_answers_with_it(reactor: GuestReactor, run: Any) -> None:
    """A port that is opened early, while privileged, is watched by the loop that comes later; then it can be closed."""
    listening: Any = reactor.listenTCP(0, protocol.Factory.forProtocol(Echo), interface="127.0.0.1")

    async def use() -> bytes:
        async with running(application()):
            reader, writer = await asyncio.open_connection("127.0.0.1", port_of(listening))
            writer.write(b"hello")
            answer = await reader.readexactly(5)
            writer.close()
            await Deferred.asFuture(listening.stopListening(), asyncio.get_running_loop())
            return answer

    assert run(use()) == b"hello"


@pytest.mark.parametrize("where", ["later", "from a thread"])
def test_what_was_to_be_called_early_is_called_with_the_loop(reactor: GuestReactor, run: Any, where: str) -> None:
    """A delayed call, and a call from a thread, that were asked for early, come when there is a loop."""
    told: list[str] = []
    if where == "later":
        reactor.callLater(0.01, told.append, where)
    else:
        thread = threading.Thread(target=reactor.callFromThread, args=(told.append, where))
        thread.start()
        thread.join()
    assert told == []

    async def use() -> None:
        async with running(application()):
            while not told:
                await asyncio.sleep(0.01)

    run(use())
    assert told == [where]


def test_it_is_stopped_only_while_it_runs(reactor: GuestReactor) -> None:
    """``stop`` raises what Twisted's raises, and ``run`` says whose the loop is."""
    with pytest.raises(ReactorNotRunning):
        reactor.stop()
    with pytest.raises(ReactorAlreadyRunning, match=r"the reactor is run by plait: leave reactor.run\(\) out"):
        reactor.run()


def test_another_reactor_is_refused() -> None:
    """Where another reactor is installed already, importing the guest says what to do."""
    code = "from twisted.internet import selectreactor; selectreactor.install(); import plait.guests.twisted"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert done.stderr.splitlines()[-1] == (
        "plait.errors.ConfigurationError: Twisted's reactor is SelectReactor already: import plait.guests.twisted "
        "before anything that imports twisted.internet.reactor, and leave out whatever installs another"
    )


# Start and stop -------------------------------------------------------------------------------------------------------


def test_triggers_come_in_their_phases(reactor: GuestReactor, run: Any) -> None:
    """What is to be called when it runs, comes after the start; the triggers of a shutdown, around the stop."""
    told: list[str] = []

    class Loud(Told):
        def stopService(self) -> None:
            told.append("stop")

    def begin() -> None:
        told.append("start")
        reactor.callWhenRunning(told.append, "running")
        for phase in ("after", "during", "before"):
            reactor.addSystemEventTrigger(phase, "shutdown", told.append, phase)
        assert not reactor.running

    async def use() -> None:
        async with running(Application("app", [TwistedService(Loud(begin), name="loud")])):
            assert reactor.running
            told.append("serves")

    run(use())
    assert told == ["start", "running", "serves", "before", "stop", "during", "after"]
    assert not reactor.running


def test_what_a_trigger_before_the_shutdown_returns_is_awaited(reactor: GuestReactor, run: Any) -> None:
    """The later phases wait for a Deferred of the first."""
    told: list[str] = []

    def before() -> Deferred[None]:
        waits: Deferred[None] = Deferred()
        waits.addCallback(lambda _: told.append("waited"))
        reactor.callLater(0.01, waits.callback, None)
        return waits

    def begin() -> None:
        reactor.addSystemEventTrigger("before", "shutdown", before)
        reactor.addSystemEventTrigger("during", "shutdown", told.append, "during")

    async def use() -> None:
        async with running(application(begin)):
            pass

    run(use())
    assert told == ["waited", "during"]


def test_reactor_stop_stops_the_application(reactor: GuestReactor, run: Any) -> None:
    """``reactor.stop()``, also from what is called when it runs, stops everything in order; twice is wrong."""

    async def use() -> str:
        async with running(application(lambda: reactor.callWhenRunning(reactor.stop))) as tree:
            await tree.wait()
            with pytest.raises(ReactorNotRunning):
                reactor.stop()
            return tree.reason

    assert run(use()) == "reactor.stop()"


def test_a_tree_may_follow_another(reactor: GuestReactor, run: Any) -> None:
    """The reactor, which in Twisted starts once, starts again with the next tree."""
    for _ in range(3):
        told: list[str] = []

        async def use(told: list[str]) -> None:
            async with running(application(lambda: reactor.callWhenRunning(told.append, "running"))):
                assert await Deferred.asFuture(threads.deferToThread(lambda: 42), asyncio.get_running_loop()) == 42

        run(use(told))
        assert told == ["running"]


def test_two_trees_at_once_are_refused(reactor: GuestReactor) -> None:
    """There is one reactor in a process, and it has one loop."""
    failed: list[BaseException] = []

    async def use() -> None:
        async with running(application()):
            thread = threading.Thread(target=other)
            thread.start()
            while thread.is_alive():
                await asyncio.sleep(0.01)

    def other() -> None:
        try:
            asyncio.run(enter())
        except Exception as caught:
            failed.append(caught)

    async def enter() -> None:
        async with running(application()):
            raise AssertionError

    asyncio.run(use())
    assert [str(each) for each in failed] == [
        "app/told: did not start: Twisted's reactor has a loop already: run one application at a time"
    ]


# What belongs to whom -------------------------------------------------------------------------------------------------


def test_what_is_called_later_belongs_to_who_asked(reactor: GuestReactor, run: Any) -> None:
    """A delayed call, a thread, what comes back from it, a trigger and a connection know the path of their service."""
    paths: dict[str, str] = {}
    done = threading.Event()
    listening: list[Any] = []

    class Speaks(protocol.Protocol):
        def connectionMade(self) -> None:
            note("connection")()

    def note(what: str) -> Callable[[], None]:
        def note_it() -> None:
            paths[what] = current().path
            if len(paths) == 6:
                done.set()

        return note_it

    def begin() -> None:
        reactor.callLater(0, note("later"))
        reactor.callWhenRunning(note("running"))
        reactor.callInThread(note("thread"))
        returned: Any = threads.deferToThread(note("deferred to a thread"))
        returned.addCallback(lambda _: note("back")())
        listening.append(reactor.listenTCP(0, protocol.Factory.forProtocol(Speaks), interface="127.0.0.1"))

    async def use() -> None:
        async with running(application(begin)):
            _, writer = await asyncio.open_connection("127.0.0.1", port_of(listening[0]))
            while not done.is_set():
                await asyncio.sleep(0.01)
            writer.close()

    run(use())
    assert paths == dict.fromkeys(
        ["later", "running", "thread", "deferred to a thread", "back", "connection"], "app/told"
    )


def test_delayed_calls_of_two_services_are_not_mixed_up(reactor: GuestReactor, run: Any) -> None:
    """Each delayed call belongs to the service that asked, though one timer of the loop serves them all."""
    paths: list[tuple[str, str]] = []

    def begin(name: str) -> None:
        for delay in (0.01, 0.02):
            reactor.callLater(delay, lambda: paths.append((name, current().path)))

    services = [TwistedService(Told(functools.partial(begin, name)), name=name) for name in ("one", "two")]

    async def use() -> None:
        async with running(Application("app", services)):
            while len(paths) < 4:
                await asyncio.sleep(0.01)

    run(use())
    assert sorted(paths) == [("one", "app/one"), ("one", "app/one"), ("two", "app/two"), ("two", "app/two")]


# Children, threads, writing -------------------------------------------------------------------------------------------


def test_the_end_of_a_child_is_noticed_without_a_signal(reactor: GuestReactor, run: Any) -> None:
    """A child's output and exit code arrive, and no handler of signals is taken."""
    before = signal.getsignal(signal.SIGCHLD)

    async def use() -> Any:
        async with running(application()):
            asked = utils.getProcessOutputAndValue("/bin/sh", ["-c", "echo out; echo err >&2; exit 3"])
            assert signal.getsignal(signal.SIGCHLD) is before
            return await Deferred.asFuture(asked, asyncio.get_running_loop())

    assert run(use()) == (b"out\n", b"err\n", 3)


def test_a_program_that_cannot_be_started_is_reaped(reactor: GuestReactor, run: Any) -> None:
    """A child that ends before anybody can watch it is noticed, too."""

    async def use() -> Any:
        async with running(application()):
            asked = utils.getProcessOutputAndValue("/bin/true", env=os.environ)
            return await Deferred.asFuture(asked, asyncio.get_running_loop())

    assert run(use()) == (b"", b"", 0)


@pytest.mark.parametrize("how", ["by TERM", "by KILL"])
def test_no_child_outlives_the_stop(
    reactor: GuestReactor, run: Any, monkeypatch: pytest.MonkeyPatch, expected_logs: list[str], how: str
) -> None:
    """A child that nobody ends is ended with the reactor, and killed if it will not end, and told of."""
    monkeypatch.setattr(children, "GRACE", 0.2)
    expected_logs.append("the child process [0-9]+ outlived what started it: ended by SIGTERM")
    script = "echo ready; exec sleep 600"
    if how == "by KILL":
        expected_logs.append("the child process [0-9]+ did not end in 0.2 s: killed")
        script = f"trap '' TERM; {script}"
    ends: list[str] = []
    ready = asyncio.Event()

    class Watched(protocol.ProcessProtocol):
        def outReceived(self, data: bytes) -> None:
            ready.set()

        def processExited(self, reason: Any) -> None:
            ends.append(reason.value.signal)

    async def use() -> None:
        async with running(application()):
            reactor.spawnProcess(Watched(), "/bin/sh", ["sh", "-c", script])
            await ready.wait()

    run(use())
    assert ends == [signal.SIGTERM if how == "by TERM" else signal.SIGKILL]


def test_a_child_that_was_spawned_early_is_reaped(reactor: GuestReactor, run: Any) -> None:
    """The end of a child is noticed by the loop that comes after it was spawned."""
    ended = asyncio.Event()

    class Watched(protocol.ProcessProtocol):
        def processEnded(self, reason: Any) -> None:
            ended.set()

    reactor.spawnProcess(Watched(), "/bin/true", ["true"])

    async def use() -> None:
        async with running(application()):
            await ended.wait()

    run(use())


def test_a_busy_thread_delays_the_stop_and_blocks_nothing(reactor: GuestReactor, run: Any) -> None:
    """While the stop waits for a thread, the loop goes on; Twisted's own would stand still."""
    release = threading.Event()
    turns: list[int] = []

    async def use() -> None:
        loop = asyncio.get_running_loop()

        def turn() -> None:
            turns.append(1)
            if len(turns) == 20:
                release.set()
            else:
                loop.call_later(0.005, turn)

        async with running(application(lambda: reactor.callInThread(release.wait))):
            reactor.addSystemEventTrigger("during", "shutdown", loop.call_soon, turn)

    run(use())
    assert len(turns) == 20


def test_much_is_written_in_order(reactor: GuestReactor, run: Any) -> None:
    """What does not go out at once follows when the client reads, whole and in order; a producer is asked for more."""
    data = bytes(range(256)) * 20_000
    listening: list[Any] = []

    class Sends(protocol.Protocol):
        def connectionMade(self) -> None:
            assert self.transport is not None
            self.rest = [data, data, data]
            self.transport.registerProducer(self, False)  # type: ignore[attr-defined]

        def resumeProducing(self) -> None:
            assert self.transport is not None
            if self.rest:
                self.transport.write(self.rest.pop())
            else:
                self.transport.unregisterProducer()  # type: ignore[attr-defined]
                self.transport.loseConnection()

        def stopProducing(self) -> None:
            pass

    def begin() -> None:
        listening.append(reactor.listenTCP(0, protocol.Factory.forProtocol(Sends), interface="127.0.0.1"))

    async def use() -> bytes:
        async with running(application(begin)):
            reader, writer = await asyncio.open_connection("127.0.0.1", port_of(listening[0]))
            await asyncio.sleep(0)
            received = await reader.read()
            writer.close()
            return received

    assert run(use()) == data * 3


def test_a_connection_that_only_writes_is_told_of_the_end(reactor: GuestReactor, run: Any) -> None:
    """A connection that reads nothing, and is about to write when everything ends, is told that it is lost."""
    lost: list[Any] = []
    made: list[Any] = []

    class Deaf(Echo):
        def connectionMade(self) -> None:
            assert self.transport is not None
            self.transport.pauseProducing()  # type: ignore[attr-defined]
            made.append(self)

        def connectionLost(self, reason: Any = None) -> None:
            lost.append(self)

    def begin() -> None:
        made.append(reactor.listenTCP(0, protocol.Factory.forProtocol(Deaf), interface="127.0.0.1"))

    async def use() -> None:
        async with running(application(begin)):
            _, writer = await asyncio.open_connection("127.0.0.1", port_of(made[0]))
            while len(made) == 1:
                await asyncio.sleep(0.01)
            made[0].stopListening()
            reactor.addSystemEventTrigger("before", "shutdown", lambda: made[1].transport.write(b"bye"))
            reactor._eventTriggers["shutdown"].during.insert(0, (made[1].transport.write, (b"bye",), {}))
            writer.close()

    run(use())
    assert lost == made[1:]


def test_a_client_that_goes_away_harms_nobody(reactor: GuestReactor, run: Any) -> None:
    """A connection that is reset before its answer was written is lost, once, with its reason."""
    lost: list[Any] = []
    listening: list[Any] = []

    class Answers(Echo):
        def connectionLost(self, reason: Any = None) -> None:
            lost.append(reason.type)

    def begin() -> None:
        listening.append(reactor.listenTCP(0, protocol.Factory.forProtocol(Answers), interface="127.0.0.1"))

    async def use() -> None:
        async with running(application(begin)):
            client = socket.create_connection(("127.0.0.1", port_of(listening[0])))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.sendall(b"hello")
            client.close()
            while not lost:
                await asyncio.sleep(0.01)

    run(use())
    assert len(lost) == 1
    assert issubclass(lost[0], error.ConnectionLost | error.ConnectionDone)


def test_a_collection_starts_its_services_one_by_one(reactor: GuestReactor, run: Any) -> None:
    """Services in a MultiService are children in the tree, by name."""
    top = MultiService()
    for name in ("one", "two"):
        each = Told()
        each.setName(name)
        each.setServiceParent(top)

    async def use() -> list[str]:
        async with running(Application("app", [TwistedService(top, name="top")])) as tree:
            return [f"{path} {state}" for path, state in tree.states().items()]

    assert run(use()) == ["app ready", "app/top ready", "app/top/one ready", "app/top/two ready"]


def test_the_context_has_what_a_service_publishes(reactor: GuestReactor, run: Any) -> None:
    """Who needs a Twisted service gets the service itself."""
    told = Told()
    twisted = TwistedService(told, name="told")
    found: list[object] = []

    from plait import service

    @service(name="asks")
    async def asks(context: Context[None]) -> None:
        found.append(await context.need(twisted))

    async def use() -> None:
        async with running(Application("app", [twisted, asks])):
            pass

    run(use())
    assert found == [told]
