"""What goes wrong in Twisted services and nobody would hear of: an event, and what its policy says."""

from __future__ import annotations

import socket
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

pytest.importorskip("twisted", reason="NOT RUN: needs Twisted: pip install plait[twisted]")

from twisted import version as twisted_version
from twisted.application import internet, service, strports
from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import TCP4ServerEndpoint, serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from plait import Backoff, BindError, Event, Limit, StartFailed, State, Tree
from plait.guests.twisted import ErrorUnhandled, ListenFailed, TimerFailed
from plait.testing import Trace, reached
from tests.guests.living import assert_nothing_left, nothing, reactor
from tests.guests.living import living as living_as

calls: list[float] = []

#: Before 26.10 Twisted leaves the socket of a port that it could not open to be collected as garbage.
LEAVES_SOCKET = (twisted_version.major, twisted_version.minor) < (26, 10)
leaves_socket = pytest.mark.filterwarnings(*["ignore:unclosed <socket:ResourceWarning"] * LEAVES_SOCKET)


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    calls.clear()
    yield
    assert_nothing_left()


#: That it starts again is seen a second later, and as often as there is something to see.
living = partial(living_as, policies={"backoff": Backoff(base=1, jitter=0), "limit": Limit(None)})


def of(trace: Trace, kind: type[Event]) -> list[Any]:
    """Return the events of that *kind*."""
    return [event for event in trace.events if isinstance(event, kind)]


async def heard(tree: Tree, trace: Trace, kind: type[Event]) -> None:
    """Wait for an event of that *kind*: without a timer, which would let the virtual clock jump."""
    done = tree.loop.create_future()
    tree.subscribe(lambda event: done.set_result(None) if isinstance(event, kind) and not done.done() else None)
    if not of(trace, kind):
        await done


class Mute(Exception):
    """An error that fails when it is asked for its text."""

    def __str__(self) -> str:
        raise ValueError("no luck")


@pytest.mark.parametrize("kind", [TimerFailed, ListenFailed, ErrorUnhandled])
@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("no\n  luck"), "ValueError: no luck"),
        (KeyError(), "KeyError"),
        (
            ExceptionGroup("two", [ValueError("no luck"), TypeError("nor here")]),
            "ValueError: no luck; TypeError: nor here",
        ),
        (Mute(), "Mute"),
    ],
    ids=["lines", "no text", "a group", "mute"],
)
def test_the_sentence_says_the_error_in_one_line(kind: Any, error: BaseException, text: str) -> None:
    """Whatever it is."""
    sentence = str(kind("shop/web", 0.0, error))
    assert sentence.startswith("shop/web: ")
    assert sentence.endswith(f": {text}")


# Timers ---------------------------------------------------------------------------------------------------------------


def fails_at(*numbers: int) -> Callable[[], None]:
    """Return a function that fails when it is called for these times."""

    def tick() -> None:
        calls.append(reactor.seconds())
        if len(calls) in numbers:
            raise ValueError(f"no luck at {len(calls)}")

    return tick


@pytest.mark.parametrize("first", [1, 3])
def test_a_timer_that_fails_is_run_again(first: int) -> None:
    """At its first call too, which is in its start: the start has not failed by that."""
    timer = internet.TimerService(10, fails_at(first, first + 1))

    async def body(tree: Tree, trace: Trace) -> None:
        await reached(tree, "shop/web", State.READY, life=3)

    trace = living(timer, body, backoff=Backoff(base=1, jitter=0))
    assert [(event.path, str(event.cause)) for event in of(trace, TimerFailed)] == [
        ("shop/web", f"no luck at {first}"),
        ("shop/web", f"no luck at {first + 1}"),
    ]
    assert str(of(trace, TimerFailed)[0]) == (
        f"shop/web: the timer's function failed, and is not called again: ValueError: no luck at {first}"
    )
    assert trace.paths(State.WAITING) == ["shop/web"] * 2
    frames = traceback.extract_tb(of(trace, TimerFailed)[0].cause.__traceback__)
    assert frames[-1].name == "tick"
    assert not any("twisted/internet/defer.py" in frame.filename for frame in frames)


@pytest.mark.logs("CRITICAL .*no luck at 2")
def test_a_timer_that_fails_can_be_told_only() -> None:
    """As in Twisted: it is not called again, and the service runs."""
    timer = internet.TimerService(10, fails_at(2))

    async def body(tree: Tree, trace: Trace) -> None:
        await deferLater(reactor, 60, lambda: None).asFuture(tree.loop)
        assert tree.state("shop/web") is State.READY
        assert len(calls) == 2

    trace = living(timer, body, timer="log", unhandled="fail")
    assert len(of(trace, TimerFailed)) == 1
    assert of(trace, ErrorUnhandled) == []


class Own(service.MultiService):
    """A collection with a method of its own."""

    def stopService(self) -> Any:
        return super().stopService()


@pytest.mark.parametrize("of_class", [service.MultiService, Own])
def test_a_timer_in_a_collection_fails_alone(of_class: Any) -> None:
    """Its neighbours and its collection live on."""
    top = of_class()
    internet.TimerService(10, fails_at(2)).setServiceParent(top)
    service.Service().setServiceParent(top)

    async def body(tree: Tree, trace: Trace) -> None:
        await reached(tree, "shop/web/TimerService", State.READY, life=2)
        assert tree.find("shop/web/Service").life == tree.find("shop/web").life == 1
        assert len(calls) == 3

    living(top, body)


# Ports ----------------------------------------------------------------------------------------------------------------


class Endpoint:
    """An endpoint that opens nothing: its port is, or is not, open *later*."""

    def __init__(self, *results: Any, later: float = 0.0) -> None:
        self.results = list(results)
        self.later = later

    def listen(self, factory: Any) -> Deferred[Any]:
        result = self.results.pop(0)
        if not self.later:
            return fail(result) if isinstance(result, Exception) else deferLater(reactor, 0, lambda: result)
        return deferLater(reactor, self.later, self._give, result)

    def _give(self, result: Any) -> Any:
        if isinstance(result, Exception):
            raise result
        return result


class Port:
    """A port that can be closed."""

    def stopListening(self) -> None:
        calls.append(-1.0)


def taken() -> CannotListenError:
    """Return why a port is not opened."""
    return CannotListenError("127.0.0.1", 80, OSError(98, "Address already in use"))


@pytest.mark.parametrize("later", [0.0, 2.0])
def test_a_port_that_is_not_opened_fails_the_start(later: float) -> None:
    """At once or later, where the service alone only logs it; the sentence is short, the status that of a BindError."""
    source = internet.StreamServerEndpointService(Endpoint(taken(), later=later), Factory())
    with pytest.raises(StartFailed) as caught:
        living(source, nothing)
    sentence = "shop/web: did not start: cannot listen on 127.0.0.1:80: address already in use"
    assert str(caught.value) == sentence
    assert isinstance(caught.value.__cause__, BindError)


@leaves_socket
@pytest.mark.parametrize("make", ["strports", "TCPServer", "endpoint"])
def test_a_port_in_use(make: str) -> None:
    """Each way to open one says the same."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        text = f"tcp:{port}:interface=127.0.0.1"
        source: Any = {
            "strports": lambda: strports.service(text, Factory(), reactor),
            "TCPServer": lambda: internet.TCPServer(port, Factory(), interface="127.0.0.1"),
            "endpoint": lambda: internet.StreamServerEndpointService(serverFromString(reactor, text), Factory()),
        }[make]()
        top = service.MultiService()
        source.setServiceParent(top)
        name = type(source).__name__
        expected = rf"shop/web/{name}: did not start: cannot listen on 127.0.0.1:{port}: address already in use"
        with pytest.raises(StartFailed, match=expected):
            living(top, nothing)


@pytest.mark.logs("CRITICAL log_legacy: Unhandled Error")
def test_a_port_that_is_not_opened_can_be_told_only() -> None:
    """As in Twisted: the service runs, and listens nowhere."""
    source = internet.StreamServerEndpointService(Endpoint(taken()), Factory())
    trace = living(source, nothing, listen="log")
    (event,) = of(trace, ListenFailed)
    assert str(event).startswith("shop/web: it does not listen: BindError: shop/web: cannot listen on 127.0.0.1:80")
    assert trace.paths(State.READY) == ["shop/web", "shop"]


def test_a_service_is_ready_when_its_port_is_open() -> None:
    """Not before; and each life opens it anew."""
    source = internet.StreamServerEndpointService(Endpoint(Port(), Port(), later=2.0), Factory())

    async def body(tree: Tree, trace: Trace) -> None:
        assert tree.loop.time() == pytest.approx(2, abs=0.01)
        await tree.restart("shop/web")
        assert tree.loop.time() == pytest.approx(4, abs=0.01)
        assert calls == [-1.0]

    living(source, body)
    assert calls == [-1.0, -1.0]


def test_an_application_that_stops_and_starts_its_server_listens_again() -> None:
    """Where Twisted alone says that it runs, and is deaf."""
    top = service.MultiService()
    source = internet.StreamServerEndpointService(
        TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"), Factory.forProtocol(Protocol)
    )
    source.setServiceParent(top)

    async def body(tree: Tree, trace: Trace) -> None:
        await source.stopService().asFuture(tree.loop)
        source.startService()
        await reached(tree, "shop/web/StreamServerEndpointService", State.READY)
        port = await source._waitingForPort.asFuture(tree.loop)
        socket.create_connection(("127.0.0.1", port.getHost().port)).close()

    living(top, body)


# Errors ---------------------------------------------------------------------------------------------------------------


def raises() -> None:
    """Fail."""
    raise ValueError("no luck")


class Raises(service.Service):
    """Has an error that nobody handles, *how* it says."""

    def __init__(self, how: str) -> None:
        self.how = how
        self.count = 0

    def startService(self) -> None:
        super().startService()
        self.count += 1
        if self.count == 1:
            reactor.callLater(1, getattr(self, self.how))

    def a_call(self) -> None:
        raises()

    def a_thread(self) -> None:
        deferToThread(raises)

    def a_deferred(self) -> None:
        deferLater(reactor, 1, raises)


@pytest.mark.logs("CRITICAL .*no luck")
@pytest.mark.parametrize("how", ["a_call", "a_deferred", "a_thread"])
@pytest.mark.parametrize("policy", ["log", "fail"])
def test_an_error_that_nobody_handles(how: str, policy: Any) -> None:
    """Is an event of the service in whose course it came; asked for, the service fails with it."""
    source = Raises(how)

    async def body(tree: Tree, trace: Trace) -> None:
        await heard(tree, trace, ErrorUnhandled)
        if policy == "fail":
            await reached(tree, "shop/web", State.READY, life=2)
        assert tree.find("shop/web").life == (1 if policy == "log" else 2)

    trace = living(source, body, unhandled=policy)
    assert [(event.path, str(event.cause)) for event in of(trace, ErrorUnhandled)] == [("shop/web", "no luck")]


@pytest.mark.logs("CRITICAL .*no luck")
def test_an_error_of_a_connection_is_its_services() -> None:
    """Raised by data that came."""

    class Breaks(Protocol):
        def dataReceived(self, data: bytes) -> None:
            raise ValueError("no luck")

    source = internet.StreamServerEndpointService(
        TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"), Factory.forProtocol(Breaks)
    )

    async def body(tree: Tree, trace: Trace) -> None:
        port = await source._waitingForPort.asFuture(tree.loop)
        with socket.create_connection(("127.0.0.1", port.getHost().port)) as client:
            client.sendall(b"hello")
            await heard(tree, trace, ErrorUnhandled)

    trace = living(source, body)
    assert [event.path for event in of(trace, ErrorUnhandled)] == ["shop/web"]
