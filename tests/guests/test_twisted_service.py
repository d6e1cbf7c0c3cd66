"""A Twisted service in a tree: its start, its stop, what it is shown as, and how it is run again."""

from __future__ import annotations

import asyncio
import inspect
import pickle
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("twisted", reason="NOT RUN: needs Twisted: pip install plait[twisted]")

from twisted.application import service as twisted
from twisted.application.internet import TimerService
from twisted.internet.defer import Deferred, DeferredList, inlineCallbacks, maybeDeferred
from twisted.internet.task import deferLater

from plait import (
    Application,
    Backoff,
    ConfigurationError,
    Context,
    Group,
    StartFailed,
    State,
    StopWaits,
    Tree,
    service,
)
from plait.guests.twisted import StartGoesOn, TwistedService
from plait.guests.twisted.application import host
from plait.testing import Trace, reached, run
from tests.guests.living import assert_nothing_left, living, nothing, reactor

NO_WAIT = Backoff(base=0)
told: list[str] = []


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    told.clear()
    yield
    assert_nothing_left()


class Told(twisted.Service):
    """Tells its starts and stops."""

    def __init__(self, label: str, **how: Any) -> None:
        self.label = label
        self.how = how

    def privilegedStartService(self) -> None:
        told.append(f"privileged {self.label}")

    def startService(self) -> Any:
        super().startService()
        told.append(f"start {self.label}")
        return self.how["start"]() if "start" in self.how else None

    def stopService(self) -> Any:
        super().stopService()
        told.append(f"stop {self.label}")
        return self.how["stop"]() if "stop" in self.how else None


def later(seconds: float, what: str = "") -> Callable[[], Deferred[Any]]:
    """Return what returns a Deferred that fires after *seconds*, and tells *what*."""
    return lambda: deferLater(reactor, seconds, lambda: told.append(what) if what else None)


def collection(*services: twisted.Service, of: type[twisted.MultiService] = twisted.MultiService) -> Any:
    """Return a collection of *services*."""
    made = of()
    for each in services:
        each.setServiceParent(made)
    return made


# The value ------------------------------------------------------------------------------------------------------------


def make() -> twisted.Service:
    """Make a service, as a function that can be pickled."""
    return Told("made")


def test_it_is_drawn_as_what_it_is() -> None:
    """A leaf by what it runs, a collection by its services."""
    leaf, tree = Told("one"), collection(Told("two"), Told("three"), collection())
    application = Application("shop", [TwistedService(leaf, name="leaf"), TwistedService(tree, name="all")])
    assert str(application).splitlines() == [
        "shop",
        "├── leaf  TwistedService(Told(...), name='leaf')",
        "└── all",
        "    ├── Told  TwistedService(Told(...))",
        "    ├── Told-2  TwistedService(Told(...), name='Told-2')",
        "    └── MultiService  TwistedService(MultiService(...))",
    ]
    assert [path for path, _ in application.walk()][2:] == [
        "shop/all",
        *(f"shop/all/{name}" for name in ("Told", "Told-2", "MultiService")),
    ]
    assert repr(TwistedService(twisted.Application("web"))) == "TwistedService(Application('web'))"


def test_it_is_a_value() -> None:
    """Equal by what it runs, replaced field by field, pickled with what can be."""
    leaf = Told("one")
    assert TwistedService(leaf) == TwistedService(leaf)
    assert TwistedService(leaf) != TwistedService(Told("one"))
    assert replace(TwistedService(leaf), stop_timeout=3.0).stop_timeout == 3.0
    other = collection(Told("two"))
    assert len(replace(TwistedService(leaf), source=other)) == 1
    assert repr(TwistedService(make, stop_timeout=3.0)) == "TwistedService(make, stop_timeout=3.0)"
    assert pickle.loads(pickle.dumps(TwistedService(make))) == TwistedService(make)


@pytest.mark.parametrize("name", ["", "web", "a/b", "with space", ".hidden", "tab\there", 7])
def test_any_name_that_twisted_takes_has_its_place(name: Any) -> None:
    """What plait's paths cannot have is replaced, and no two are called the same."""
    one, two = Told("one"), Told("two")
    one.name, two.name = name, str(name).replace("/", "-")
    value = TwistedService(twisted.MultiService())
    for each in (one, two):
        value.source.services.append(each)
    names = [child.name for child in replace(value)]
    assert len(set(names)) == 2
    assert all(text and not set(text) & set("/ \t") and not text.startswith(".") for text in names)


@pytest.mark.parametrize(
    ("source", "how", "text"),
    [
        (3, {}, "TwistedService: 3 is no Twisted service: give an IService, a Twisted Application, or a function"),
        (make, {"timer": "ignore"}, "TwistedService: timer='ignore': wanted one of log, fail"),
        (make, {"stop_timeout": -1}, "stop_timeout=-1"),
        (make, {"ready_after": 0}, "TwistedService: ready_after=0: wanted a number of seconds above 0, or None"),
    ],
)
def test_what_cannot_be_is_refused(source: Any, how: dict[str, Any], text: str) -> None:
    """With a sentence that says what to do."""
    with pytest.raises(ConfigurationError, match=text):
        TwistedService(source, **how)


# The start ------------------------------------------------------------------------------------------------------------


async def makes() -> twisted.Service:
    """Make a service, later."""
    await deferLater(reactor, 1, lambda: None)
    return Told("made")


@pytest.mark.parametrize("source", [make, makes, lambda: deferLater(reactor, 1, make)])
def test_a_function_makes_one_for_each_life(source: Any) -> None:
    """A plain one, a coroutine function, and one that returns a Deferred."""

    async def body(tree: Tree, trace: Trace) -> None:
        first = tree.find("shop/web").value
        assert isinstance(first, Told)
        await tree.restart("shop/web")
        assert tree.find("shop/web").value is not first

    living(source, body)
    assert told == ["privileged made", "start made", "stop made"] * 2


def test_a_function_that_makes_something_else_is_told() -> None:
    """The start fails with a sentence."""
    with pytest.raises(StartFailed, match=r"shop/web: did not start: <function .*> returned 3, which is no IService"):
        living(lambda: 3, nothing)


def test_the_service_is_what_it_publishes() -> None:
    """``context.need`` gives the Twisted service itself."""
    leaf = Told("one")
    value = TwistedService(leaf, name="web")
    got = []

    @service
    async def asker(context: Context[None]) -> None:
        got.append(await context.need(value))

    async def main() -> None:
        tree = Tree(Application("shop", [value, asker]))
        await tree.open()
        await tree.close()

    run(main())
    assert got == [leaf]


async def slowly() -> None:
    """Take a second, as a coroutine of Twisted's."""
    await deferLater(reactor, 1, lambda: told.append("has started"))


@inlineCallbacks
def with_callbacks() -> Any:
    """Take a second, as a generator."""
    yield deferLater(reactor, 1, lambda: told.append("has started"))


@pytest.mark.parametrize("start", [slowly, with_callbacks, later(1, "has started")])
def test_the_next_starts_when_a_service_is_ready(start: Callable[[], Any]) -> None:
    """What ``startService`` returned is awaited, whatever it is; a stop is in reverse, and is awaited too."""
    source = collection(Told("one", start=start, stop=later(1, "has stopped")), Told("two", stop=later(1, "end two")))
    living(source, nothing)
    assert told == [
        *("privileged one", "start one", "has started", "privileged two", "start two"),
        *("stop two", "end two", "stop one", "has stopped"),
    ]


def fails() -> None:
    """Fail."""
    raise ValueError("no luck")


@pytest.mark.parametrize("start", [fails, lambda: deferLater(reactor, 1, fails), lambda: maybeDeferred(fails)])
def test_a_start_that_fails_is_taken_back(start: Callable[[], Any]) -> None:
    """What had started is stopped in reverse, the failed one's own stop is called, and the cause is raised."""
    source = collection(Told("one"), Told("bad", start=start), Told("never"))
    with pytest.raises(StartFailed, match="shop/web/Told-2: did not start: ValueError: no luck") as caught:
        living(source, nothing)
    assert told == ["privileged one", "start one", "privileged bad", "start bad", "stop bad", "stop one"]
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_start_has_its_time_and_is_named() -> None:
    """Each service has *start_timeout* for its own start; what hangs is said with its line."""

    async def hangs() -> None:
        await Deferred()  # here

    ready = []

    async def main() -> None:
        source = collection(Told("slow", start=later(8)), Told("slow", start=later(8)), Told("hangs", start=hangs))
        tree = Tree(Application("shop", [TwistedService(source, name="web", start_timeout=10.0)]))
        with pytest.raises(StartFailed, match="Told-3: did not start: not ready after 10 s") as caught:
            await tree.open()
        line = inspect.getsourcelines(hangs)[1] + 1
        assert str(caught.value) == (
            f"shop/web/Told-3: did not start: not ready after 10 s: it waits at {__file__}:{line} in"
            f" {hangs.__qualname__}: let that take less time, or raise start_timeout= of TwistedService"
        )
        ready.append(asyncio.get_running_loop().time())

    run(main())
    assert ready == [pytest.approx(26, abs=0.2)]
    assert told[-3:] == ["stop hangs", "stop slow", "stop slow"]


@pytest.mark.parametrize(
    "methods", [("privilegedStartService",), ("startService",), ("privilegedStartService", "startService")]
)
@pytest.mark.parametrize("outcome", ["ends", "fails", "never fires"])
def test_a_start_that_goes_on_is_told_and_counts_as_ready(methods: tuple[str, ...], outcome: str) -> None:
    """The others start after *ready_after*; when it fails later, so does the service; a stop cancels what is left."""
    cancelled: list[Any] = []
    pending: list[Deferred[Any]] = []

    def goes_on(*_: Any) -> Deferred[Any]:
        pending.append(Deferred(cancelled.append))
        return pending[-1]

    slow = Told("slow")
    for method in methods:
        setattr(slow, method, goes_on)

    async def body(tree: Tree, trace: Trace) -> None:
        assert tree.loop.time() == pytest.approx(10, abs=0.1)
        assert told[-1] == "start two"
        (event,) = (event for event in trace.events if isinstance(event, StartGoesOn))
        assert (event.path, event.waited) == ("shop/web/Told", pytest.approx(10, abs=0.1))
        assert str(event).startswith("shop/web/Told: its start goes on after 10 s, at ")
        assert str(event).endswith(": it counts as ready")
        await asyncio.sleep(40)
        if outcome == "ends":
            for each in pending:
                each.callback(None)
        elif outcome == "fails":
            pending[0].errback(ValueError("no luck"))
        await asyncio.sleep(5)
        assert tree.find("shop/web/Told").life == (2 if outcome == "fails" else 1)
        assert tree.state("shop/web/Told") is (State.STARTING if outcome == "fails" else State.READY)

    living(collection(slow, Told("two")), body, start_timeout=None, ready_after=10.0)
    assert cancelled == {"ends": [], "fails": pending[1:], "never fires": pending}[outcome]
    assert told.count("stop slow") == (2 if outcome == "fails" else 1)


def test_a_time_out_that_a_start_raises_is_its_own() -> None:
    """And fails it, although there is a limit for its start as well."""

    async def times_out() -> None:
        raise TimeoutError("no answer")

    with pytest.raises(StartFailed, match="no answer"):
        living(Told("one", start=times_out), nothing, ready_after=10.0)


def test_the_services_of_an_application_may_take_their_time() -> None:
    """What is hosted does not fail for it: twistd never waited, and a Deferred may be meant for the end."""
    application = twisted.Application("shop")
    Told("slow", start=Deferred).setServiceParent(application)
    Told("two").setServiceParent(application)

    async def main() -> None:
        tree = Tree(host(application, "shop"))
        await tree.open()
        assert tree.loop.time() == pytest.approx(30, abs=0.1)
        await asyncio.sleep(1000)
        assert set(tree.states().values()) == {State.READY}
        await tree.close()

    run(main())
    assert told[-4:] == ["privileged two", "start two", "stop two", "stop slow"]


@pytest.mark.parametrize("alone", [True, False])
def test_an_application_that_is_one_service_is_run_again_as_any_other(alone: bool) -> None:
    """Bare, as the file has it, or in an ``Application``: the timer that fails is started again, and nothing ends."""
    calls: list[float] = []

    def tick() -> None:
        calls.append(asyncio.get_running_loop().time())
        if len(calls) == 3:
            raise ValueError("no luck")

    source: Any = TimerService(1.0, tick)
    if not alone:
        source, bare = twisted.Application("shop"), source
        bare.setServiceParent(source)

    async def main() -> None:
        tree = Tree(host(source, "shop"))
        await tree.open()
        await asyncio.sleep(10.5)
        assert tree.states() == {"shop": State.READY, "shop/TimerService": State.READY}
        assert tree.find("shop/TimerService").life == 2
        await tree.close()

    run(main())
    assert len(calls) > 10


def test_a_stop_in_the_middle_of_a_start() -> None:
    """The pending start is cancelled, its service stopped, and those before it."""
    cancelled: list[Any] = []

    async def main() -> None:
        pending: Deferred[None] = Deferred(cancelled.append)
        source = collection(Told("one"), Told("two", start=lambda: pending))
        tree = Tree(Application("shop", [TwistedService(source, name="web")]))
        opening = asyncio.ensure_future(tree.open())
        await asyncio.sleep(1)
        tree.stop_soon("enough")
        await opening
        assert cancelled == [pending]

    run(main())
    assert told == ["privileged one", "start one", "privileged two", "start two", "stop two", "stop one"]


def test_what_waits_for_the_reactor_is_called_when_the_first_services_have_started() -> None:
    """After the starts that wait for nothing, and before the first that waits."""
    running = []

    async def main() -> None:
        reactor.callWhenRunning(told.append, "running")
        source = collection(Told("one"), Told("two", start=later(1, "two started")), Told("three"))
        tree = Tree(Application("shop", [TwistedService(source, name="web")]))
        running.append(reactor.running)
        await tree.open()
        running.append(reactor.running)
        await tree.close()
        running.append(reactor.running)

    run(main())
    assert told.index("running") == told.index("start two") + 1
    assert running == [False, True, False]


# The stop -------------------------------------------------------------------------------------------------------------


@pytest.mark.logs("LeftBehind: shop/web: left behind: did not stop in 1.* s")
@pytest.mark.parametrize(("seconds", "ends"), [(0.8, True), (1.5, False)])
def test_a_stop_that_is_hurried_may_end_while_there_is_patience(seconds: float, ends: bool) -> None:
    """A second signal gives each a second: who ends in that is not left behind."""

    async def main() -> None:
        tree = Tree(Application("shop", [TwistedService(Told("one", stop=later(seconds, "ended")), name="web")]))
        await tree.open()
        tree.stop_soon("enough")
        await asyncio.sleep(0.1)
        tree.hurry()
        with nullcontext() if ends else pytest.raises(BaseExceptionGroup):
            await tree.wait()
        assert (tree.left == []) is ends

    run(main())
    assert ("ended" in told) is ends


async def hangs_in_coroutine() -> None:
    """Wait for what never comes."""
    await inner_wait()


async def inner_wait() -> None:
    """Wait for what never comes."""
    await Deferred()  # it hangs in a coroutine


@inlineCallbacks
def hangs_in_generator() -> Any:
    """Wait for what never comes."""
    yield Deferred()  # it hangs in a generator


def hangs_in_chain() -> Deferred[Any]:
    """Return what waits for another that waits."""
    first: Deferred[None] = Deferred()
    first.addCallback(lambda _: DeferredList([hangs_in_generator()], consumeErrors=True))
    first.callback(None)
    return first


def hangs_plainly() -> Deferred[Any]:
    """Return what nobody fires."""
    return Deferred()


def hangs_with_callback() -> Deferred[Any]:
    """Return what nobody fires, and what would happen then."""
    return Deferred().addCallback(closed)  # type: ignore[no-any-return, no-untyped-call]


def closed(result: object) -> None:
    """Be called when it is closed."""


HANGING = {
    hangs_in_coroutine: r"test_twisted_service\.py:{it hangs in a coroutine} in inner_wait$",
    hangs_in_generator: r"test_twisted_service\.py:{it hangs in a generator} in hangs_in_generator$",
    hangs_in_chain: r"test_twisted_service\.py:{it hangs in a generator} in hangs_in_generator$",
    hangs_plainly: r"test_twisted_service\.py:\d+ in Told\.stopService, whose Deferred has not fired$",
    hangs_with_callback: r"Told\.stopService, whose Deferred has not fired: \S+:{def closed} in closed waits for it$",
}


def line_of(text: str) -> int:
    """Return the line of this file that *text* is in."""
    with open(__file__, encoding="utf-8") as file:
        return next(number for number, line in enumerate(file, 1) if f"# {text}" in line or line.startswith(text))


@pytest.mark.parametrize("stop", HANGING)
def test_a_stop_that_never_ends_is_left_behind_with_its_line(stop: Callable[[], Any]) -> None:
    """It costs its own time, its neighbours stop as usual; notices tell of it before."""
    import re

    expected = re.sub(r"\{(.*?)\}", lambda found: str(line_of(found[1])), HANGING[stop])
    source = collection(Told("one"), Told("stuck", stop=stop), Told("three", stop=later(1, "end three")))

    async def main() -> None:
        tree = Tree(Application("shop", [TwistedService(source, name="web", stop_timeout=4.0)]))
        trace = Trace(tree)
        await tree.open()
        loop = asyncio.get_running_loop()
        since = loop.time()
        with pytest.raises(BaseExceptionGroup):
            await tree.close()
        assert loop.time() - since == pytest.approx(5.0, abs=0.2)
        assert told[-4:] == ["stop three", "end three", "stop stuck", "stop one"]
        assert tree.state("shop/web/Told-2") is State.LEFT_BEHIND
        (left,) = tree.left
        assert left.path == "shop/web/Told-2"
        assert str(left).startswith("shop/web/Told-2: left behind: did not stop in 4 s, at ")
        assert re.search(expected, str(left))
        notices = [str(event) for event in trace.events if isinstance(event, StopWaits)]
        notices = [text for text in notices if text.startswith("shop/web/Told-2:")]
        assert len(notices) == 2
        assert all(re.search(expected, text) for text in notices)
        assert notices[0].startswith("shop/web/Told-2: still stopping after 1.0 s of 4 s, at ")

    run(main())


@pytest.mark.parametrize("is_alone", [True, False])
def test_a_leaf_has_its_own_time_to_stop(is_alone: bool) -> None:
    """Ten seconds, or what its field says; None waits for ever."""
    took = {}

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for limit in (10.0, 3.0, None):
            leaf = Told("leaf", stop=later(20) if limit is None else hangs_plainly)
            value = TwistedService(leaf if is_alone else collection(leaf), name="web", stop_timeout=limit)
            tree = Tree(Application("shop", [value], stop_timeout=None))
            await tree.open()
            since = loop.time()
            with nullcontext() if limit is None else pytest.raises(BaseExceptionGroup):
                await tree.close()
            took[limit] = loop.time() - since

    run(main())
    assert took == {limit: pytest.approx(limit or 20, abs=0.2) for limit in (10.0, 3.0, None)}


def test_errors_of_stops_are_collected() -> None:
    """Raised, or in a Deferred: each is told, and the others stop."""
    source = collection(Told("one", stop=fails), Told("two", stop=lambda: deferLater(reactor, 1, fails)), Told("three"))
    texts = []

    async def main() -> None:
        tree = Tree(Application("shop", [TwistedService(source, name="web")]))
        trace = Trace(tree)
        await tree.open()
        with pytest.raises(BaseExceptionGroup) as caught:
            await tree.close()
        (inner,) = caught.value.exceptions
        assert isinstance(inner, BaseExceptionGroup)
        texts.extend(str(error) for error in inner.exceptions)
        assert trace.paths(State.STOPPED)[:3] == ["shop/web/Told-3", "shop/web/Told-2", "shop/web/Told"]

    run(main())
    assert texts == ["no luck", "no luck"]


def test_a_stop_that_comes_while_a_service_stops_by_itself() -> None:
    """It has failed, and its stop goes on: it is not cut off by that everything stops now."""
    leaf = Told("leaf", stop=later(3, "leaf is down"))

    async def body(tree: Tree, trace: Trace) -> None:
        from plait.guests.twisted.life import _lives

        _lives["shop/web"].failing.set_exception(ValueError("no luck"))
        await asyncio.sleep(1)

    with pytest.raises(BaseExceptionGroup):
        living(leaf, body)
    assert told[-2:] == ["stop leaf", "leaf is down"]


# Again ----------------------------------------------------------------------------------------------------------------


def test_it_is_restarted_by_hand_stopped_and_started() -> None:
    """The same object is stopped and started; a second life has a new privileged start."""
    source = collection(Told("one"), Told("two"))

    async def body(tree: Tree, trace: Trace) -> None:
        await tree.restart("shop/web/Told")
        await tree.stop("shop/web/Told-2")
        assert tree.state("shop/web/Told-2") is State.STOPPED
        await tree.start("shop/web/Told-2")

    living(source, body)
    assert told == [
        *("privileged one", "start one", "privileged two", "start two"),
        *("stop one", "privileged one", "start one"),
        *("stop two", "privileged two", "start two"),
        *("stop two", "stop one"),
    ]


def test_a_changed_application_replaces_what_has_changed() -> None:
    """Another source is another service, though both are collections; an equal one keeps its life."""
    same, old, new = Told("same"), collection(Told("old")), collection(Told("new"))

    def application(source: Any) -> Application:
        return Application("shop", [TwistedService(same, name="same"), TwistedService(source, name="web")])

    async def main() -> None:
        tree = Tree(application(old))
        await tree.open()
        await tree.apply(application(new))
        assert tree.find("shop/same").life == 1
        assert list(tree.states()) == ["shop", "shop/same", "shop/web", "shop/web/Told"]
        await tree.close()

    run(main())
    rest = [word for word in told if not word.startswith("privileged")]
    assert rest == ["start same", "start old", "stop old", "start new", "stop new", "stop same"]


@pytest.mark.parametrize("strategy", ["one_for_one", "rest_for_one"])
def test_it_is_replaced_as_the_strategy_of_its_group_says(strategy: Any) -> None:
    """Like any service."""
    one, two = TwistedService(Told("one"), name="one"), TwistedService(Told("two"), name="two")

    async def main() -> None:
        tree = Tree(Application("shop", [Group("group", [one, two], strategy=strategy)]))
        await tree.open()
        await tree.restart("shop/group/one")
        await reached(tree, "shop/group/two", State.READY)
        await tree.close()

    run(main())
    assert told.count("start two") == (1 if strategy == "one_for_one" else 2)


def run_on(make_loop: Callable[[], asyncio.AbstractEventLoop]) -> Callable[[Any], None]:
    """Return what runs a coroutine on a loop of its own."""

    def run_it(main: Any) -> None:
        with asyncio.Runner(loop_factory=make_loop) as runner:
            runner.run(main)

    return run_it


LOOPS = {"virtual": run, "asyncio": run_on(asyncio.new_event_loop)}
try:
    import uvloop
except ImportError:
    pass
else:
    LOOPS["uvloop"] = run_on(uvloop.new_event_loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_trees_one_after_the_other(loop: str) -> None:
    """The reactor starts and stops with each, and calls what waits for that."""

    async def main(number: int) -> None:
        for phase in ("before", "during", "after"):
            reactor.addSystemEventTrigger(phase, "shutdown", told.append, f"{phase} {number}")
        reactor.callWhenRunning(told.append, f"running {number}")
        tree = Tree(Application("shop", [TwistedService(Told("one", stop=later(0.1)), name="web")]))
        await tree.open()
        reactor.stop()
        await tree.wait()
        assert tree.reason == "reactor.stop()"

    for number in (1, 2):
        LOOPS[loop](main(number))
        words = ["privileged one", "start one", f"running {number}", f"before {number}", "stop one"]
        assert told == [*words, f"during {number}", f"after {number}"]
        told.clear()


def test_the_reactor_ends_although_its_last_service_has_failed_before() -> None:
    """The triggers of a shutdown are called when the application ends."""

    @service
    async def other(context: Context[None]) -> None:
        context.ready()
        await asyncio.Event().wait()

    async def main() -> None:
        for phase in ("before", "during", "after"):
            reactor.addSystemEventTrigger(phase, "shutdown", told.append, phase)
        tree = Tree(Application("shop", [other, TwistedService(Told("one"), name="web", restart="never")]))
        await tree.open()
        from plait.guests.twisted.life import _lives

        _lives["shop/web"].failing.set_exception(ValueError("no luck"))
        await reached(tree, "shop/web", State.FAILED)
        assert reactor.running
        reactor.callLater(1, reactor.stop)
        await tree.wait()
        assert tree.reason == "reactor.stop()"

    run(main())
    assert told == ["privileged one", "start one", "stop one", "before", "during", "after"]
