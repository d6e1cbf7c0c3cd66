"""Groups with a `run` of their own: what they may ask of the tree, and what they are bound to."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest

from plait import (
    Application,
    Backoff,
    Context,
    Group,
    LeftBehind,
    NotFound,
    PlaitError,
    StartFailed,
    State,
    StopWaits,
    Thread,
    Tree,
    current,
    service,
)
from plait.testing import Trace, reached, run
from tests.tree.probe import Boom, Probe, probe


@dataclass(frozen=True, eq=False, repr=False)
class Own(Group):
    """A group that lives as *life* says."""

    life: Callable[[Context[Any]], Awaitable[None]] = field(default=lambda context: context.supervise(), kw_only=True)

    async def run(self, context: Context[Any]) -> None:
        await self.life(context)


@dataclass(frozen=True, eq=False, repr=False)
class One(Own):
    """The same, as one service."""

    is_one: ClassVar[bool] = True


async def settle() -> None:
    """Let everything happen that can happen now."""
    for _ in range(20):
        await asyncio.sleep(0)


def living(group: Group, body: Callable[[Tree, Trace], Awaitable[None]], **how: Any) -> Trace:
    """Run *body* beside an open tree with *group* in it, on a virtual clock, and close the tree."""
    traces = []

    async def main() -> None:
        tree = Tree(Application("app", [group], backoff=Backoff(base=0), **how))
        traces.append(Trace(tree))
        await tree.open()
        try:
            await body(tree, traces[0])
        finally:
            await tree.close()

    run(main())
    return traces[0]


async def nothing(tree: Tree, trace: Trace) -> None:
    """Do nothing."""


# Supervising ----------------------------------------------------------------------------------------------------------


def test_a_group_has_the_children_that_its_life_gives() -> None:
    """Instead of those of the value; what *when_ready* returns is published, after they are ready."""
    said = []

    async def life(context: Context[Any]) -> None:
        def ready() -> str:
            said.append("ready")
            return "the value"

        await context.supervise([probe("other")], when_ready=ready, when_stopping=lambda: said.append("stopping"))
        said.append("over")

    async def body(tree: Tree, trace: Trace) -> None:
        assert list(tree.states()) == ["app", "app/own", "app/own/other"]
        assert trace.paths(State.READY) == ["app/own/other", "app/own", "app"]
        assert tree.find("app/own").value == "the value"
        await tree.restart("app/own")

    trace = living(Own("own", [probe("one")], life=life), body)
    assert said == ["ready", "stopping", "over"] * 2
    assert trace.paths(State.STOPPED)[-3:] == ["app/own/other", "app/own", "app"]


def test_a_group_fails_with_what_its_life_says() -> None:
    """Its children are stopped, and it is run again as any service."""
    futures: list[asyncio.Future[None]] = []

    async def life(context: Context[Any]) -> None:
        futures.append(asyncio.get_running_loop().create_future())
        await context.supervise(failing=futures[-1])

    async def body(tree: Tree, trace: Trace) -> None:
        futures[0].set_exception(Boom("no luck"))
        await reached(tree, "app/own", State.READY, life=2)
        assert trace.paths(State.STOPPED) == ["app/own/one"]
        assert str(tree.root.supervisor and trace.states(State.WAITING)) == "[('app/own', <State.WAITING: 'waiting'>)]"

    living(Own("own", [probe("one")], life=life), body)


def test_what_cannot_be_made_ready_fails_the_start() -> None:
    """An error of *when_ready* is that of the group."""

    async def life(context: Context[Any]) -> None:
        def ready() -> None:
            raise Boom("no luck")

        await context.supervise(when_ready=ready)

    with pytest.raises(StartFailed, match="app/own: did not start: Boom: no luck"):
        living(Own("own", [probe("one")], life=life), nothing)


@pytest.mark.parametrize(("when", "order"), [(3.0, ["one", "two"]), (0.0, ["two", "one"])])
def test_a_group_may_stop_its_children_itself(when: float, order: list[str]) -> None:
    """They are not asked before its future is done, but as it says; then the rest is, in reverse."""

    async def life(context: Context[Any]) -> None:
        loop = asyncio.get_running_loop()

        def stopping() -> asyncio.Future[None]:
            done = loop.create_future()
            loop.call_later(5, done.set_result, None)
            if when:
                loop.call_later(when, context.stop_child, "one")
            return done

        await context.supervise(when_stopping=stopping)

    trace = living(Own("own", [probe("one"), probe("two")], life=life), nothing)
    stopped = [(event.path, event.at) for event in trace.events if getattr(event, "new", None) is State.STOPPED]
    times = [when or 5.0, 5.0]
    assert stopped[:2] == [(f"app/own/{name}", pytest.approx(at)) for name, at in zip(order, times, strict=True)]


def test_a_group_starts_and_stops_its_children_adds_and_removes_them() -> None:
    """As the tree would at its own name."""
    contexts: list[Context[Any]] = []

    async def life(context: Context[Any]) -> None:
        contexts.append(context)
        await context.supervise()

    slow = probe("slow", cleanup=2)

    async def body(tree: Tree, trace: Trace) -> None:
        (context,) = contexts
        context.stop_child("slow")
        await settle()
        assert tree.state("app/own/slow") is State.STOPPING
        context.start_child("slow")
        await reached(tree, "app/own/slow", State.READY, life=2)
        context.start_child("slow")
        await settle()
        assert tree.find("app/own/slow").life == 2
        assert await context.add(probe("late")) == "app/own/late"
        await context.remove("late")
        assert list(tree.states()) == ["app", "app/own", "app/own/slow"]
        for name in ("late", "no/such"):
            with pytest.raises(NotFound, match=f"app/own/{name}: no such service"):
                context.stop_child(name)

    living(Own("own", [slow], life=life), body)
    with pytest.raises(NotFound):
        contexts[0].start_child("slow")


def test_a_group_acts_in_the_place_of_a_service_of_it() -> None:
    """Its path is then that service's; what it asks of the tree is as before."""
    seen = []

    async def life(context: Context[Any]) -> None:
        other = context.variables_of("part").run(current)
        seen.append((other.path, other.log.name, other.is_ending, current().path))
        await context.supervise()

    living(Own("own", [probe("one")], life=life), nothing)
    assert seen == [("app/own/part", "app.own.part", False, "app/own")]


# Its own time ---------------------------------------------------------------------------------------------------------


async def stubborn(times: int = 1) -> None:
    """Wait for ever, and be cancelled in vain so many *times*."""
    for _ in range(times):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass
    await asyncio.Event().wait()


def test_a_group_that_hangs_before_its_children_is_bound_as_any_service() -> None:
    """By its *start_timeout*, and when it does not end then, by its *stop_timeout*."""

    async def life(context: Context[Any]) -> None:
        await stubborn(2)

    async def main() -> None:
        tree = Tree(Application("app", [One("own", [probe("one")], life=life, start_timeout=5.0, stop_timeout=3.0)]))
        with pytest.raises(
            StartFailed, match=r"app/own: did not start: not ready after 5 s: it waits at .* in stubborn: "
        ):
            await tree.open()
        assert asyncio.get_running_loop().time() == pytest.approx(8, abs=0.1)
        assert [error.path for error in tree.left] == ["app/own"]

    run(main())


def test_a_group_that_is_late_names_the_service_that_it_waits_for() -> None:
    """The first of those that are not ready, for a group is ready when they are."""

    async def main() -> None:
        group = Group("own", [probe("one"), probe("two", unready=True), probe("three")], start_timeout=5.0)
        with pytest.raises(StartFailed) as caught:
            await Tree(Application("app", [group])).open()
        assert str(caught.value) == (
            "app/own: did not start: not ready after 5 s: it waits for app/own/two: let that take less time, or raise"
            " start_timeout="
        )

    run(main())


def test_a_later_life_has_its_start_as_the_first() -> None:
    """Its children of before have ended, which says nothing about this life."""
    hangs: list[bool] = []

    async def life(context: Context[Any]) -> None:
        if hangs:
            await asyncio.Event().wait()
        hangs.append(True)
        await context.supervise()

    async def body(tree: Tree, trace: Trace) -> None:
        with pytest.raises(StartFailed, match="not ready after 5 s"):
            await tree.restart("app/own")

    living(Own("own", [probe("one")], life=life, start_timeout=5.0, restart="never"), body)


def test_a_stop_while_a_group_is_before_its_children() -> None:
    """It is cancelled, and that is all."""

    async def life(context: Context[Any]) -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        tree = Tree(Application("app", [Own("own", [probe("one")], life=life)]))
        opening = asyncio.ensure_future(tree.open())
        await settle()
        tree.stop_soon()
        await opening
        assert tree.state("app/own") is State.STOPPED

    run(main())


@pytest.mark.parametrize(("of", "took"), [(Own, 5.0), (One, 16.0)])
def test_the_time_of_one_service_is_not_that_of_those_in_it(of: type[Own], took: float) -> None:
    """Of another group it is; what does not end then is left behind."""
    slow = [probe(name, cleanup=8) for name in ("one", "two")]

    async def main() -> None:
        tree = Tree(Application("app", [of("own", slow, stop_timeout=5.0)]))
        await tree.open()
        since = tree.loop.time()
        try:
            await tree.close()
        except BaseExceptionGroup:
            pass
        assert tree.loop.time() - since == pytest.approx(took, abs=0.1)

    run(main())


def test_the_start_of_one_service_is_its_own() -> None:
    """Its *start_timeout* is for what it does before its children; these have theirs."""
    starts = []

    @service
    async def slow(context: Context[None]) -> None:
        await asyncio.sleep(8)
        starts.append(context.path)
        context.ready()
        await asyncio.Event().wait()

    living(One("own", [slow], start_timeout=5.0), nothing)
    assert starts == ["app/own/slow"]


def test_one_service_is_replaced_whole() -> None:
    """Where of another group only the changed child is."""

    async def lives(of: type[Own]) -> list[int]:
        def application(number: int) -> Application:
            parts = [Probe(name="same", hand=same.hand), probe("changed", start_timeout=float(number))]
            return Application("app", [of("own", parts, life=life)])

        async def life(context: Context[Any]) -> None:
            await context.supervise()

        same = probe("same")
        tree = Tree(application(1))
        await tree.open()
        await tree.apply(application(2))
        await tree.close()
        return [same.hand.lives]

    async def main() -> None:
        assert await lives(Own) == [1]
        assert await lives(One) == [2]

    run(main())


def test_one_service_is_drawn_as_what_it_is() -> None:
    """With nothing in it, it is drawn as a service; other groups are drawn empty."""
    text = str(Application("app", [One("one"), Own("own"), One("full", [probe("part")])]))
    lines = text.splitlines()
    assert lines[1].startswith("├── one  One(")
    assert lines[2] == "├── own"
    assert lines[3] == "└── full"


def test_a_service_says_itself_what_it_leaves_behind() -> None:
    """It counts as left behind, by its name."""

    @service
    async def leaves(context: Context[None]) -> None:
        context.ready()
        try:
            await asyncio.Event().wait()
        finally:
            raise LeftBehind(f"{context.path}: left behind: a thread", context.path)

    async def main() -> None:
        tree = Tree(Application("app", [leaves]))
        await tree.open()
        with pytest.raises(BaseExceptionGroup):
            await tree.close()
        assert [str(error) for error in tree.left] == ["app/leaves: left behind: a thread"]
        assert tree.state("app/leaves") is State.LEFT_BEHIND

    run(main())


# The end of everything ------------------------------------------------------------------------------------------------


def at_the_end(*functions: Callable[[], Awaitable[object]], fails: bool = False) -> Any:
    """Return a service that wants *functions* at the end."""

    @service(name="asks")
    async def asks(context: Context[None]) -> None:
        for function in functions:
            context.at_end(function)
        if fails:
            raise Boom("no luck")
        context.ready()
        await asyncio.Event().wait()

    return asks


@pytest.mark.parametrize("fails", [False, True])
def test_what_is_asked_for_is_done_at_the_end(fails: bool) -> None:
    """Whatever ended the tree: when all have stopped, the last first, and the tree has not ended before."""
    done: list[str] = []
    trees: list[Tree] = []

    def does(word: str) -> Callable[[], Awaitable[None]]:
        async def do() -> None:
            assert not trees[0].has_ended
            assert trees[0].state("app") in (State.STOPPED, State.FAILED)
            await asyncio.sleep(1)
            done.append(word)

        return do

    async def main() -> None:
        tree = Tree(Application("app", [at_the_end(does("one"), does("two"), fails=fails)]))
        trees.append(tree)
        if fails:
            with pytest.raises(StartFailed):
                await tree.open()
        else:
            await tree.open()
            await tree.close()
        assert tree.loop.time() == pytest.approx(2)
        assert tree.has_ended

    run(main())
    assert done == ["two", "one"]


def test_errors_at_the_end_are_raised_and_the_others_done() -> None:
    """Each in the group of the errors of the stop."""
    done = []

    async def bad() -> None:
        raise Boom("no luck")

    async def good() -> None:
        done.append("good")

    async def main() -> None:
        tree = Tree(Application("app", [at_the_end(good, bad)]))
        await tree.open()
        with pytest.raises(BaseExceptionGroup) as caught:
            await tree.close()
        assert "no luck" in repr(caught.value)
        assert tree.has_ended

    run(main())
    assert done == ["good"]


@pytest.mark.parametrize("hangs", [stubborn, asyncio.Event().wait])
def test_what_is_done_at_the_end_has_its_time(hangs: Callable[[], Awaitable[object]]) -> None:
    """Ten seconds for all; what goes on then is cancelled, and left behind."""

    async def main() -> None:
        tree = Tree(Application("app", [at_the_end(hangs)]))
        await tree.open()
        with pytest.raises(BaseExceptionGroup):
            await tree.close()
        assert tree.loop.time() == pytest.approx(10, abs=0.1)
        assert len(tree.left) == (1 if hangs is stubborn else 0)

    run(main())


def test_what_is_done_at_the_end_is_told_while_it_lasts_and_can_be_hurried() -> None:
    """As the stop of a service: after a second, two, four, ...; who hurries it gives it the second of all."""
    waits: list[float] = []

    async def main() -> None:
        tree = Tree(Application("app", [at_the_end(asyncio.Event().wait)]))
        await tree.open()
        tree.subscribe(lambda event: waits.append(event.waited) if isinstance(event, StopWaits) else None)
        tree.stop_soon()
        tree.call_later(4.5, tree.hurry)
        with pytest.raises(BaseExceptionGroup) as caught:
            await tree.wait()
        assert "what is done at the end took too long" in repr(caught.value)
        assert tree.loop.time() == pytest.approx(5.5, abs=0.1)
        await asyncio.sleep(20)  # nothing of it rings any more

    run(main())
    assert waits == pytest.approx([1, 2, 4])


@pytest.mark.parametrize(("stop_timeout", "seconds"), [(None, 10), (30.0, 10), (3.0, 3)])
def test_what_is_asked_for_is_done_at_the_end_even_if_the_application_is_left_behind(
    stop_timeout: float | None, seconds: float
) -> None:
    """It has its own time then; the application had the seconds of a group's end, within those of its whole stop."""
    done: list[float] = []

    async def last() -> None:
        done.append(asyncio.get_running_loop().time())

    @dataclass(frozen=True)
    class Hangs(Application):
        async def run(self, context: Context[Any]) -> None:
            await context.supervise()
            await stubborn()

    async def main() -> None:
        tree = Tree(Hangs("app", [at_the_end(last)], stop_timeout=stop_timeout))
        await tree.open()
        with pytest.raises(BaseExceptionGroup):
            await tree.close()
        assert tree.state("app") is State.LEFT_BEHIND
        assert [error.path for error in tree.left] == ["app"]

    run(main())
    assert done == [pytest.approx(seconds, abs=0.1)]


def test_a_service_knows_whether_everything_ends() -> None:
    """And can stop everything, also from a callback."""
    seen: list[bool] = []
    contexts: list[Context[None]] = []

    @service
    async def looks(context: Context[None]) -> None:
        contexts.append(context)
        context.ready()
        try:
            await asyncio.Event().wait()
        finally:
            seen.append(context.is_ending)

    async def main() -> None:
        tree = Tree(Application("app", [looks]))
        await tree.open()
        await tree.restart("app/looks")
        tree.loop.call_soon(contexts[0].stop, "a callback", 5)
        await tree.wait()
        assert (tree.reason, tree.exit_code) == ("a callback", 5)

    run(main())
    assert seen == [False, True]


def test_a_thread_and_a_service_alone_are_no_groups() -> None:
    """Said with a sentence; at the end of everything a thread may ask for something, too."""
    done, texts = [], []

    async def last() -> None:
        done.append("last")

    def thread(stop: threading.Event) -> None:
        context = current()
        context.at_end(last)
        for method in (context.stop_child, context.start_child):
            try:
                method("x")
            except PlaitError as error:
                texts.append(str(error))

    @service
    async def alone(context: Context[None]) -> None:
        with pytest.raises(PlaitError, match="app/alone: is not a group"):
            await context.supervise()
        with pytest.raises(NotFound, match="app/alone/x: no such service"):
            context.stop_child("x")

    async def main() -> None:
        tree = Tree(Application("app", [alone, Thread(thread)]))
        await tree.open()
        await tree.wait()

    run(main())
    assert texts == ["app/thread: a thread is no group"] * 2
    assert done == ["last"]
