"""Collections with methods of their own, and services that come and go: what Twisted does is heard of, and shown."""

from __future__ import annotations

import asyncio
import copy
import gc
import logging
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("twisted", reason="NOT RUN: needs Twisted: pip install plait[twisted]")

from twisted.application import service as twisted
from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.internet.task import deferLater

from plait import Application, StartFailed, State, Tree, current
from plait.guests.twisted import TwistedService
from plait.testing import Trace, reached, run
from tests.guests.living import assert_nothing_left, living, nothing, reactor

told: list[str] = []


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    told.clear()
    yield
    assert_nothing_left()


class Told(twisted.Service):
    """Tells its starts and stops; *start* and *stop* are called in them."""

    def __init__(self, name: str, start: Any = None, stop: Any = None) -> None:
        self.name = name
        self.how = (start, stop)

    def startService(self) -> Any:
        super().startService()
        told.append(f"start {self.name}")
        return self.how[0]() if self.how[0] else None

    def stopService(self) -> Any:
        super().stopService()
        told.append(f"stop {self.name}")
        return self.how[1]() if self.how[1] else None


class Own(twisted.MultiService):
    """A collection that says when it starts and stops, around what it does with its services."""

    def startService(self) -> None:
        told.append("own starts")
        super().startService()
        told.append("own has started")

    def stopService(self) -> Any:
        told.append("own stops")
        return super().stopService().addCallback(lambda _: told.append("own has stopped"))


class InOrder(twisted.MultiService):
    """A collection that stops its services one after the other, the first one first."""

    async def stopService(self) -> None:
        twisted.Service.stopService(self)
        for each in self:
            await maybeDeferred(each.stopService)
        await deferLater(reactor, 1, lambda: None)


def later(seconds: float, what: str) -> Callable[[], Deferred[Any]]:
    """Return what returns a Deferred that fires after *seconds*, and tells *what*."""
    return lambda: deferLater(reactor, seconds, told.append, what)


def fails() -> None:
    """Fail."""
    raise ValueError("no luck")


def never() -> Deferred[Any]:
    """Return what nobody fires."""
    return Deferred()


def fill(collection: Any, *services: Any, name: str = "all") -> Any:
    """Put *services* into *collection*."""
    if not isinstance(collection, twisted.MultiService):
        collection.name = name
    else:
        collection.setName(name)
    for each in services:
        each.setServiceParent(collection)
    return collection


def closed(source: Any) -> tuple[Tree, float]:
    """Open a tree with *source* in it and close it, which leaves something behind; return it, and the seconds."""

    async def main() -> tuple[Tree, float]:
        tree = Tree(Application("shop", [TwistedService(source, name="web", stop_timeout=4.0)]))
        await tree.open()
        since = tree.loop.time()
        with pytest.raises(BaseExceptionGroup):
            await tree.close()
        return tree, tree.loop.time() - since

    return run(main())


async def settle() -> None:
    """Let happen what can happen now."""
    for _ in range(20):
        await asyncio.sleep(0)


# Methods of their own -------------------------------------------------------------------------------------------------


def test_the_methods_of_a_collection_are_called_as_they_are_and_its_services_shown() -> None:
    """It is ready when what its services returned has fired, and stops when they have."""
    one, two = Told("one", start=later(2, "one is up")), Told("two", stop=later(3, "two is down"))

    async def body(tree: Tree, trace: Trace) -> None:
        assert told == ["own starts", "start one", "start two", "own has started", "one is up"]
        assert asyncio.get_running_loop().time() == pytest.approx(2, abs=0.01)
        assert tree.states() == dict.fromkeys(("shop", "shop/web", "shop/web/one", "shop/web/two"), State.READY)

    trace = living(fill(Own(), one, two), body)
    assert told[5:] == ["own stops", "stop two", "stop one", "two is down", "own has stopped"]
    assert set(trace.paths(State.STOPPING)) == {"shop", "shop/web", "shop/web/one", "shop/web/two"}
    assert trace.paths(State.STOPPED) == ["shop/web/one", "shop/web/two", "shop/web", "shop"]
    assert "startService" not in vars(one)
    assert "addService" not in vars(one.parent)


def test_one_that_never_stops_costs_its_time_and_is_named() -> None:
    """Its collection goes on: what that waits for is fired in its stead."""
    stuck, other = Told("stuck", stop=never), Told("other", stop=later(1, "other is down"))
    tree, seconds = closed(fill(Own(), stuck, other))
    assert seconds == pytest.approx(4, abs=0.2)
    assert [error.path for error in tree.left] == ["shop/web/stuck"]
    assert "in Told.stopService, whose Deferred has not fired" in str(tree.left[0])
    assert told[-1] == "own has stopped"


def test_who_waits_for_its_turn_is_not_blamed() -> None:
    """A collection that stops its services one by one: the time of each begins when it is asked."""
    services = [Told("one", stop=never), Told("two", stop=later(3, "two is down")), Told("three")]
    tree, _ = closed(fill(InOrder(), *services))
    assert [error.path for error in tree.left] == ["shop/web/one"]
    assert tree.state("shop/web/three") is State.STOPPED
    assert told[-4:] == ["stop one", "stop two", "two is down", "stop three"]


def test_a_collection_that_hangs_itself_is_named_and_its_services_are_stopped() -> None:
    """They are stopped in its stead, when its time is over."""

    class Hangs(twisted.MultiService):
        def stopService(self) -> Any:
            return Deferred()

    tree, seconds = closed(fill(Hangs(), Told("one"), Told("two")))
    assert seconds == pytest.approx(4, abs=0.2)
    assert [error.path for error in tree.left] == ["shop/web"]
    assert "Hangs.stopService" in str(tree.left[0])
    assert told[-2:] == ["stop two", "stop one"]


@pytest.mark.parametrize("of", [Own, twisted.MultiService])
def test_a_failed_start_in_a_collection_is_named_and_taken_back(of: type[twisted.MultiService]) -> None:
    """Later, in a Deferred that MultiService forgets."""
    services = [Told("one"), Told("bad", start=lambda: deferLater(reactor, 1, fails))]
    with pytest.raises(StartFailed, match="shop/web/bad: did not start: ValueError: no luck"):
        living(fill(of(), *services), nothing)
    assert {"stop one", "stop bad"} <= set(told)
    assert len(told) == len(set(told))


def test_errors_of_stops_are_told_once_and_with_their_path() -> None:
    """The failure is not called unhandled besides."""

    async def main() -> None:
        services = [Told("one", stop=fails), Told("two", stop=lambda: deferLater(reactor, 1, fails))]
        tree = Tree(Application("shop", [TwistedService(fill(Own(), *services), name="web")]))
        trace = Trace(tree)
        await tree.open()
        with pytest.raises(BaseExceptionGroup):
            await tree.close()
        failed = [event.path for event in trace.events if getattr(event, "cause", None) is not None]
        assert failed[:2] == ["shop/web/one", "shop/web/two"]

    run(main())
    gc.collect()


@pytest.mark.parametrize("stop", [fails, lambda: fail(ValueError("no luck"))], ids=["raises", "returns"])
def test_a_stop_that_fails_at_once_is_not_called_unhandled(stop: Any, caplog: pytest.LogCaptureFixture) -> None:
    """The collection gets a Deferred that has failed already, and looks at it no more: the service tells of it."""
    with pytest.raises(BaseExceptionGroup):
        living(fill(Own(), Told("one", stop=stop)), nothing)
    gc.collect()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_collections_in_collections() -> None:
    """Plain in one of its own, and the other way round: all are shown, each is started and stopped once."""
    inner = fill(twisted.MultiService(), Told("deep", start=later(1, "deep is up")), name="plain")
    source = fill(Own(), inner, Told("one"))
    top = fill(twisted.MultiService(), source, Told("last"), name="top")

    async def body(tree: Tree, trace: Trace) -> None:
        paths = ["shop", "shop/web", "shop/web/all", "shop/web/all/plain", "shop/web/all/plain/deep"]
        assert tree.states() == dict.fromkeys([*paths, "shop/web/all/one", "shop/web/last"], State.READY)

    living(top, body)
    assert told[:6] == ["own starts", "start deep", "start one", "own has started", "deep is up", "start last"]
    assert told[6:] == ["stop last", "own stops", "stop one", "stop deep", "own has stopped"]


# Services that come and go --------------------------------------------------------------------------------------------

COLLECTIONS = pytest.mark.parametrize("of", [twisted.MultiService, Own])


@COLLECTIONS
def test_a_service_that_comes_later_runs_at_once_and_is_shown(of: type[twisted.MultiService]) -> None:
    """After ``setServiceParent`` it runs; it is ready when its start has fired, and stops with the others."""
    late = Told("late", start=later(2, "late is up"), stop=later(1, "late is down"))
    source = fill(of(), Told("one"))

    async def body(tree: Tree, trace: Trace) -> None:
        late.setServiceParent(source)
        assert told[-1] == "start late"
        await reached_there(tree, "shop/web/late", State.READY)
        assert told[-1] == "late is up"
        assert tree.state("shop/web") is State.READY

    living(source, body)
    assert told.count("stop late") == told.count("late is down") == told.count("start late") == 1
    assert told.index("stop late") < told.index("stop one")


async def reached_there(tree: Tree, path: str, state: State) -> None:
    """Wait until there is something at *path*, in this *state*."""
    await settle()
    await reached(tree, path, state)


@COLLECTIONS
def test_a_service_that_leaves_is_stopped_once_and_shown_no_more(of: type[twisted.MultiService]) -> None:
    """Its Deferred is that of its own stop."""
    one, two = Told("one"), Told("two", stop=later(2, "two is down"))

    async def body(tree: Tree, trace: Trace) -> None:
        gone = two.disownServiceParent()
        gone.addCallback(lambda _: told.append("it is out"))
        await settle()
        assert tree.states().get("shop/web/two", State.STOPPING) is State.STOPPING
        await asyncio.sleep(3)
        assert "shop/web/two" not in tree.states()
        assert told[-2:] == ["two is down", "it is out"]
        assert "stopService" not in vars(two)

    living(fill(of(), one, two), body)
    assert told.count("stop two") == 1
    assert told.count("stop one") == 1


@COLLECTIONS
def test_who_is_added_by_a_neighbours_start_starts_once(of: type[twisted.MultiService]) -> None:
    """Where MultiService alone starts it twice; and it is there when all is ready."""
    late = Told("late", start=later(2, "late is up"))
    source = of()
    fill(source, Told("one", start=lambda: late.setServiceParent(source)), Told("two"))

    async def body(tree: Tree, trace: Trace) -> None:
        await settle()
        assert tree.state("shop/web/late") is State.READY
        assert told.count("start late") == 1
        assert "late is up" in told

    living(source, body)
    assert told.count("stop late") == 1


def test_who_leaves_in_its_own_start_does_not_make_another_be_skipped() -> None:
    """Where MultiService alone does not start the next."""
    source = twisted.MultiService()
    leaving = Told("leaving", start=lambda: leaving.disownServiceParent())
    fill(source, leaving, Told("next"))

    async def body(tree: Tree, trace: Trace) -> None:
        await settle()
        assert list(tree.states()) == ["shop", "shop/web", "shop/web/next"]

    living(source, body)
    assert told == ["start leaving", "stop leaving", "start next", "stop next"]


def test_a_service_made_in_the_start_of_its_collection() -> None:
    """As many collections do it."""

    class Makes(twisted.MultiService):
        def startService(self) -> Any:
            Told("made", start=later(1, "made is up")).setServiceParent(self)
            return super().startService()

    async def body(tree: Tree, trace: Trace) -> None:
        assert tree.state("shop/web/made") is State.READY
        assert told == ["start made", "made is up"]

    living(Makes(), body)
    assert told[-1] == "stop made"


def test_what_the_application_stops_and_starts_itself_is_shown_as_that() -> None:
    """Stopped, it stays so until it is started: by the application, or by hand."""
    one = Told("one", stop=later(1, "one is down"))

    async def body(tree: Tree, trace: Trace) -> None:
        one.stopService()
        await settle()
        assert tree.state("shop/web/one") is State.STOPPING
        await asyncio.sleep(2)
        assert tree.state("shop/web/one") is State.STOPPED
        one.startService()
        await reached(tree, "shop/web/one", State.READY)
        one.stopService()
        one.startService()
        await asyncio.sleep(2)
        assert tree.state("shop/web/one") is State.READY
        assert told.count("start one") == 3

    living(fill(twisted.MultiService(), one), body)
    assert told.count("stop one") == 3


@COLLECTIONS
def test_a_service_is_restarted_by_hand_in_its_collection(of: type[twisted.MultiService]) -> None:
    """Whoever started it first."""
    source = fill(of(), Told("one"), Told("two"))

    async def body(tree: Tree, trace: Trace) -> None:
        told.clear()
        await tree.restart("shop/web/two")
        assert told == ["stop two", "start two"]
        await tree.restart("shop/web")
        assert [word for word in told[2:] if "own" not in word] == ["stop two", "stop one", "start one", "start two"]
        assert tree.state("shop/web/two") is State.READY

    living(source, body)


def test_the_application_itself_is_such_a_collection() -> None:
    """Of Twisted's ``Application``, services come and go as well."""
    top = twisted.Application("web")
    Told("one").setServiceParent(top)

    async def body(tree: Tree, trace: Trace) -> None:
        late = Told("late")
        late.setServiceParent(top)
        await reached_there(tree, "shop/web/late", State.READY)
        late.disownServiceParent()
        await settle()
        assert list(tree.states()) == ["shop", "shop/web", "shop/web/one"]

    living(top, body)
    assert told == ["start one", "start late", "stop late", "stop one"]


def test_a_service_that_moves_from_one_collection_to_another() -> None:
    """It is stopped in the one and started in the other, and stands where it is."""
    here, there = fill(twisted.MultiService(), Told("one"), name="here"), fill(Own(), name="there")
    source = fill(twisted.MultiService(), here, there, name="top")
    moving = here.getServiceNamed("one")

    async def body(tree: Tree, trace: Trace) -> None:
        moving.setServiceParent(there)
        await asyncio.sleep(1)
        assert list(tree.states())[2:] == ["shop/web/here", "shop/web/there", "shop/web/there/one"]
        assert tree.state("shop/web/there/one") is State.READY

    living(source, body)
    assert [word for word in told if "own" not in word] == ["start one", "stop one", "start one", "stop one"]


def test_what_a_service_does_is_its_own_whoever_calls_it() -> None:
    """In its start and stop, and in what comes of them, ``plait.current()`` is the service, also before it lives."""
    paths: list[str] = []

    def note() -> None:
        paths.append(current().path)

    def start() -> Deferred[Any]:
        note()
        return deferLater(reactor, 1, note)

    source = fill(Own(), Told("one", start=start, stop=note))

    async def body(tree: Tree, trace: Trace) -> None:
        Told("late", start=start, stop=note).setServiceParent(source)
        await reached_there(tree, "shop/web/late", State.READY)

    living(source, body)
    assert paths == ["shop/web/one"] * 2 + ["shop/web/late"] * 3 + ["shop/web/one"]


# What is hooked -------------------------------------------------------------------------------------------------------


class Closed(Told):
    """Takes no attributes once it is made."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name.endswith("Service"):
            raise AttributeError(name)
        super().__setattr__(name, value)


@COLLECTIONS
def test_a_service_that_takes_no_attributes_is_run_unheard(of: type[twisted.MultiService]) -> None:
    """It is started and stopped as the others, each once."""
    living(fill(of(), Closed("one"), Told("two")), nothing)
    assert sorted(word for word in told if "own" not in word) == ["start one", "start two", "stop one", "stop two"]


def test_a_service_that_takes_no_attributes_comes_later() -> None:
    """It is shown, too."""
    source = fill(Own(), Told("one"))

    async def body(tree: Tree, trace: Trace) -> None:
        Closed("late").setServiceParent(source)
        await reached_there(tree, "shop/web/late", State.READY)

    living(source, body)
    assert [word for word in told if "own" not in word] == ["start one", "start late", "stop late", "stop one"]


def test_a_running_service_is_saved_and_copied_without_its_hooks() -> None:
    """What is loaded is started by its own method."""
    source = fill(twisted.MultiService(), Told("one"))

    async def body(tree: Tree, trace: Trace) -> None:
        for other in (pickle.loads(pickle.dumps(source)), copy.deepcopy(source)):
            (one,) = other
            assert one.startService.__self__ is one
            assert other.addService.__self__ is other

    living(source, body)
