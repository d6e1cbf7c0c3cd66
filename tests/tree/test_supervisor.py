"""Supervision: OTP's rules, and the time limits that asyncio needs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar
from unittest import mock

import pytest

from plait import (
    Application,
    Backoff,
    Context,
    GaveUp,
    Group,
    LeftBehind,
    Limit,
    Service,
    StartFailed,
    State,
    StopApplication,
    StopWaits,
    Tree,
    service,
)
from plait.errors import IllegalTransition
from plait.events import TRANSITIONS, check_transition
from plait.testing import Trace, reached, run
from tests.tree.probe import Boom, Probe, probe

NO_WAIT = Backoff(base=0)


async def settle() -> None:
    """Let everything happen that can happen now."""
    for _ in range(20):
        await asyncio.sleep(0)


def living(application: Application, body: Callable[[Tree, Trace], Awaitable[None]]) -> None:
    """Run *body* beside an open tree, on a virtual clock, and close the tree."""

    async def main() -> None:
        tree = Tree(application)
        trace = Trace(tree)
        await tree.open()
        try:
            await body(tree, trace)
        finally:
            tree.stop_soon()
            await asyncio.wait([asyncio.ensure_future(_quietly(tree))])
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        assert not {task for task in rest if task.get_name() not in {error.path for error in tree.left}}

    run(main())


async def _quietly(tree: Tree) -> None:
    try:
        await tree.wait()
    except BaseException:  # the test has looked at what it wanted
        pass


ENDS = {
    # how a life ends: does it run again, for always, on-failure, never?
    "return": (True, False, False),
    "stop": (False, False, False),
    "fail": (True, True, False),
    "kill": (True, True, False),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize(("number", "restart"), [(0, "always"), (1, "on-failure"), (2, "never")])
def test_the_otp_table(end: str, number: int, restart: str) -> None:
    """Permanent, transient, temporary x normal, asked, exception, killed: all twelve cells."""
    one = probe("one", restart=restart)
    application = Application("app", [one, probe("other")], backoff=NO_WAIT)

    async def body(tree: Tree, trace: Trace) -> None:
        if end == "stop":
            await tree.stop("app/one")
        else:
            one.hand.order(end)
        await settle()

        expected = ENDS[end][number]
        assert (2 if expected else 1) == one.hand.lives
        if not expected:
            state = {"return": State.DONE, "stop": State.STOPPED}.get(end, State.FAILED)
            assert state is tree.state("app/one")

    living(application, body)


@pytest.mark.parametrize(
    ("strategy", "lives"),
    [("one_for_one", [1, 2, 1, 1]), ("rest_for_one", [1, 2, 2, 1]), ("one_for_all", [2, 2, 2, 1])],
)
def test_strategies_replace_whom_they_name(strategy: str, lives: list[int]) -> None:
    """One, the rest, all are new lives; a temporary bystander is stopped, or stays, but is never run again."""
    probes = [probe("a"), probe("b"), probe("c"), probe("t", restart="never")]
    application = Application("app", probes, strategy=strategy, backoff=NO_WAIT)  # type: ignore[arg-type]

    async def body(tree: Tree, trace: Trace) -> None:
        probes[1].hand.order("fail")
        await settle()

        assert lives == [each.hand.lives for each in probes]
        temporary = State.READY if strategy == "one_for_one" else State.STOPPED
        assert temporary is tree.state("app/t")

    living(application, body)


def test_one_for_all_ends_all_before_it_starts_any() -> None:
    """The last end comes before the first start, ends in reverse and starts in order."""
    probes = [probe("a"), probe("b"), probe("c")]
    application = Application("app", probes, strategy="one_for_all", backoff=NO_WAIT)

    async def body(tree: Tree, trace: Trace) -> None:
        trace.events.clear()
        probes[1].hand.order("fail")
        await settle()

        assert trace.states(State.STOPPED, State.STARTING) == [
            ("app/c", State.STOPPED),
            ("app/a", State.STOPPED),
            ("app/a", State.STARTING),
            ("app/b", State.STARTING),
            ("app/c", State.STARTING),
        ]

    living(application, body)


def test_start_waits_for_ready_and_stop_is_the_exact_reverse() -> None:
    """A child starts when the one before is ready; a stop begins when the one before it has ended."""
    probes = [probe("a", cleanup=1), Group("g", [probe("b"), probe("c", cleanup=2)]), probe("d")]
    application = Application("app", probes)

    async def main() -> None:
        tree = Tree(application)
        trace = Trace(tree)
        await tree.open()
        await tree.close()
        words = [(path.rpartition("/")[2], state) for path, state in trace.states() if path != "app"]

        S, R, P, E = State.STARTING, State.READY, State.STOPPING, State.STOPPED  # noqa: N806
        assert [
            *[("a", S), ("a", R), ("g", S), ("b", S), ("b", R), ("c", S), ("c", R), ("g", R), ("d", S), ("d", R)],
            *[("d", P), ("d", E), ("g", P), ("c", P), ("c", E), ("b", P), ("b", E), ("g", E), ("a", P), ("a", E)],
        ] == words

    run(main())


def test_a_restarted_child_stops_first_because_it_started_last() -> None:
    """The actual start order counts, not the declared one."""
    probes = [probe("a"), probe("b"), probe("c")]
    application = Application("app", probes, backoff=NO_WAIT)

    async def main() -> None:
        tree = Tree(application)
        trace = Trace(tree)
        await tree.open()
        probes[0].hand.order("fail")
        await settle()
        await tree.close()

        assert trace.paths(State.STOPPED)[:3] == ["app/a", "app/c", "app/b"]

    run(main())


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("bad", [0, 1, 2])
def test_a_failed_start_rolls_back_and_names_path_and_cause(depth: int, bad: int) -> None:
    """Those after it never start, those before are stopped in reverse, at any depth; nothing remains."""
    probes = [probe(f"s{number}", fail_starts=9 if number == bad else 0) for number in range(3)]
    children: list[object] = list(probes)
    for level in range(depth - 1):
        children = [probe(f"before{level}"), Group(f"g{level}", children), probe(f"after{level}")]  # type: ignore[arg-type]
    application = Application("app", children)  # type: ignore[arg-type]

    async def main() -> None:
        tree = Tree(application)
        trace = Trace(tree)
        with pytest.raises(StartFailed) as caught:
            await tree.open()

        path = "/".join(["app", *[f"g{level}" for level in reversed(range(depth - 1))], f"s{bad}"])
        assert (path, f"{path}: did not start: Boom: start 1") == (caught.value.path, str(caught.value))
        assert isinstance(caught.value.__cause__, Boom)
        started = [path.rpartition("/")[2] for path in trace.paths(State.STARTING)]
        befores = [f"before{level}" for level in reversed(range(depth - 1))]
        assert [*befores, *[f"s{number}" for number in range(bad + 1)]] == [name for name in started if name[0] in "bs"]
        stopped = [path.rpartition("/")[2] for path in trace.paths(State.STOPPED)]
        assert [*[f"s{number}" for number in reversed(range(bad))], *reversed(befores)] == stopped
        assert {asyncio.current_task()} == asyncio.all_tasks()

    run(main())


def test_the_limit_allows_exactly_so_many_restarts() -> None:
    """The next one stops the others in reverse and escalates; one window later it would have been allowed."""
    for wait, survives in ((4.999, False), (5.001, True)):
        probes = [probe("a"), probe("b"), probe("c")]
        application = Application("app", probes, limit=Limit(2, 5), backoff=NO_WAIT)

        async def body(tree: Tree, trace: Trace, probes: list[Probe] = probes, wait: float = wait) -> None:
            start = asyncio.get_running_loop().time()
            for _ in range(2):
                probes[1].hand.order("fail")
                await settle()
            assert start == asyncio.get_running_loop().time()
            await asyncio.sleep(wait)
            trace.events.clear()
            probes[1].hand.order("fail")
            await settle()

            assert survives is (tree.state("app") is State.READY)  # noqa: B023
            if not survives:  # noqa: B023
                assert trace.paths(State.STOPPED) == ["app/c", "app/a"]
                with pytest.raises(GaveUp) as caught:
                    await tree.wait()
                text = "app: gave up: more than 2 restarts in 5 s, the last for app/b (Boom: life 3)"
                assert (text, "app/b") == (str(caught.value), caught.value.path)

        living(application, body)


def test_a_group_restart_counts_once_and_each_failed_attempt_once() -> None:
    """one_for_all of three children: one unit.  Three failed attempts: three more."""
    probes = [probe("a"), probe("b", fail_from=3, fail_starts=3), probe("c")]
    application = Application("app", probes, strategy="one_for_all", limit=Limit(9, 60), backoff=NO_WAIT)

    async def body(tree: Tree, trace: Trace) -> None:
        supervisor = tree.root.supervisor
        assert supervisor is not None
        probes[0].hand.order("fail")
        await settle()
        assert len(supervisor.times) == 1
        probes[2].hand.order("fail")
        await reached(tree, "app/c", State.READY, life=3)

        assert len(supervisor.times) == 5
        assert State.READY is tree.state("app/b")

    living(application, body)


@pytest.mark.parametrize(("strategy", "lives"), [("one_for_all", [3, 3, 2]), ("rest_for_one", [2, 3, 2])])
def test_a_failure_during_a_group_restart(strategy: str, lives: list[int]) -> None:
    """one_for_all begins again with all; rest_for_one keeps those already restarted and retries from there."""
    probes = [probe("a"), probe("b", fail_from=2, fail_starts=1), probe("c")]
    application = Application("app", probes, strategy=strategy, backoff=NO_WAIT)  # type: ignore[arg-type]

    async def body(tree: Tree, trace: Trace) -> None:
        probes[0].hand.order("fail")
        await settle()
        await reached(tree, "app/c", State.READY)

        assert lives == [each.hand.lives for each in probes]

    living(application, body)


def test_escalation_lets_the_parent_decide() -> None:
    """A group over its limit fails; its parent restarts it whole, and gives up in turn when it is over its own."""
    inner = probe("inner")
    application = Application(
        "app", [Group("g", [inner, probe("x")], limit=Limit(0), backoff=NO_WAIT)], limit=Limit(1), backoff=NO_WAIT
    )

    async def body(tree: Tree, trace: Trace) -> None:
        inner.hand.order("fail")
        await settle()
        assert (inner.hand.lives, tree.state("app/g")) == (2, State.READY)
        inner.hand.order("fail")

        with pytest.raises(GaveUp) as caught:
            await tree.wait()
        assert caught.value.path == "app/g/inner"
        assert str(caught.value).startswith(
            "app: gave up: more than 1 restarts in 60 s, the last for app/g/inner (gave up:"
        )

    living(application, body)


def test_backoff_waits_and_grows_and_a_jump_of_the_wall_clock_changes_nothing() -> None:
    """The restarts come at the formula's times on the monotonic clock, whatever time.time says."""
    one = probe("one")
    application = Application("app", [one], limit=Limit(None), backoff=Backoff(base=1, cap=4, jitter=0, quiet=50))

    async def body(tree: Tree, trace: Trace) -> None:
        loop = asyncio.get_running_loop()
        times = []
        with mock.patch("time.time", side_effect=[86400.0 * number * (-1) ** number for number in range(1000)]):
            for life in range(2, 7):
                before = loop.time()
                one.hand.order("fail")
                await reached(tree, "app/one", State.READY, life=life)
                times.append(round(loop.time() - before, 6))
        await asyncio.sleep(51)
        before = loop.time()
        one.hand.order("fail")
        await reached(tree, "app/one", State.READY, life=7)

        assert times == [0, 1, 2, 4, 4]
        assert before == loop.time()

    living(application, body)


def test_a_child_that_is_never_ready_fails_with_advice() -> None:
    """After start_timeout it is stopped and counts as a failed start."""
    application = Application("app", [probe("one", unready=True, start_timeout=5)])

    async def main() -> None:
        tree = Tree(application)
        with pytest.raises(StartFailed) as caught:
            await tree.open()

        text = "app/one: did not start: not ready after 5 s: call context.ready() in run(), or raise start_timeout="
        assert (text, 5.0) == (str(caught.value), asyncio.get_running_loop().time())

    run(main())


@pytest.mark.parametrize(
    ("hint", "said"),
    [
        (lambda waits: f"open the shop: it waits {waits}", "open the shop: it waits at .*"),
        (lambda waits: waits[None], r"its late_hint\(\) failed \(TypeError: .*\)"),
    ],
)
def test_a_class_says_itself_what_to_do_when_it_is_late(hint: Any, said: str) -> None:
    """With `late_hint`, which gets the place where it waits; one that fails harms nobody."""

    class Shop(Service[None]):
        def late_hint(self, waits: str) -> str:
            return str(hint(waits))

        async def run(self, context: Context[None]) -> None:
            await asyncio.Event().wait()

    async def main() -> None:
        with pytest.raises(StartFailed, match=f"^app/shop: did not start: not ready after 5 s: {said}$"):
            await Tree(Application("app", [Shop(start_timeout=5)])).open()

    run(main())


def test_a_cancellation_by_a_stranger_is_a_failure() -> None:
    """It is judged by whether we cancelled, never by the type of the exception."""
    one = probe("one")
    application = Application("app", [one], backoff=NO_WAIT)

    async def body(tree: Tree, trace: Trace) -> None:
        one.hand.order("kill")
        await settle()

        assert one.hand.lives == 2
        causes = [str(event.cause) for event in trace.events if getattr(event, "cause", None)]
        assert causes == ["app/one: cancelled by somebody who is not its supervisor"]

    living(application, body)


def test_one_who_swallows_cancellation_costs_its_own_budget_only() -> None:
    """It is named, with the line on which it hangs, left behind, and the rest stops in order."""
    probes = [probe("a"), probe("b", swallow=99, stop_timeout=3), probe("c")]

    async def main() -> None:
        tree = Tree(Application("app", probes))
        trace = Trace(tree)
        await tree.open()
        with pytest.raises(ExceptionGroup) as caught:
            await tree.close()

        assert trace.paths(State.STOPPED) == ["app/c", "app/a", "app"]
        assert trace.paths(State.LEFT_BEHIND) == ["app/b"]
        assert pytest.approx(asyncio.get_running_loop().time(), abs=0.05) == 3.0
        (left,) = caught.value.exceptions
        assert isinstance(left, LeftBehind)
        assert str(left).startswith("app/b: left behind: did not stop in 3.02 s, at ")
        assert "probe.py:" in str(left)
        told = [str(event) for event in trace.events if isinstance(event, StopWaits)]
        assert [text.partition(", at ")[0] for text in told] == [
            "app/b: still stopping after 1.0 s of 3 s",
            "app/b: still stopping after 2.0 s of 3 s",
        ]
        probes[1].hand.swallow = 0
        assert probes[1].hand.task is not None
        probes[1].hand.task.cancel()

    run(main())


class _Lingering(Group):
    """A group that hangs after its children have stopped."""

    async def run(self, context: Context[None]) -> None:
        await context.supervise()
        await asyncio.Event().wait()


class _LingeringApplication(Application):
    """The same, at the root."""

    run = _Lingering.run


def test_a_group_that_hangs_after_its_children_is_told_of_as_any_service() -> None:
    """What it does by itself counts from when they have stopped, and is named with its line, at the root as well."""
    probes = [probe("a", cleanup=4), probe("b", cleanup=4)]

    async def main() -> None:
        tree = Tree(_LingeringApplication("app", [_Lingering("group", [probes[0]]), probes[1]]))
        trace = Trace(tree)
        await tree.open()
        tree.stop_soon()
        await asyncio.wait([asyncio.ensure_future(_quietly(tree))])

        told = [str(event) for event in trace.events if isinstance(event, StopWaits)]
        own = [text for text in told if not text.startswith(("app/group/a:", "app/b:"))]
        assert [text.partition(", at ")[0] for text in own] == [
            f"{path}: still stopping after {seconds}.0 s of 10 s"
            for path in ("app/group", "app")
            for seconds in (1, 2, 4, 8)
        ]
        assert all("test_supervisor.py:" in text for text in own)
        assert asyncio.get_running_loop().time() == pytest.approx(28.0, abs=0.1)

    run(main())


class _LateApplication(Application):
    """One that hangs whatever its services ended with, and is deaf or not to being told so."""

    is_deaf: ClassVar[bool] = False

    async def run(self, context: Context[None]) -> None:
        try:
            await context.supervise()
        finally:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if not self.is_deaf:
                    raise
                await asyncio.Event().wait()  # until the loop is closed


@pytest.mark.parametrize("is_deaf", [False, True])
def test_an_application_whose_own_end_is_cut_short_says_why_its_services_ended(
    is_deaf: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancelled because its time is over, it has failed with what its services failed with, and a word about that."""
    monkeypatch.setattr(_LateApplication, "is_deaf", is_deaf)

    async def main() -> None:
        tree = Tree(_LateApplication("app", [probe("a"), probe("b", fail_starts=1)], stop_timeout=2))
        with pytest.raises(StartFailed, match=r"app/b: did not start: Boom: start 1") as caught:
            await tree.open()
        (note,) = caught.value.__notes__
        if is_deaf:
            assert note.startswith("while stopping: LeftBehind: app: left behind: did not stop in 2")
        else:
            assert note == "while stopping: what app did itself took too long"
        assert asyncio.get_running_loop().time() == pytest.approx(2.0, abs=0.1)

    run(main())


@pytest.mark.parametrize(
    ("timeout", "cleanup", "took"), [(2.0, 5, 2.0), (0.0, 5, 0.0), (None, 50, 29.9), (9.0, 5, 5.0)]
)
def test_stop_timeouts(timeout: float | None, cleanup: float, took: float) -> None:
    """A number: so long at most; 0: at once; None: without end, but for the application's own limit."""

    async def main() -> None:
        one = probe("one", stop_timeout=timeout, cleanup=cleanup)
        tree = Tree(Application("app", [one], stop_timeout=29.9))
        await tree.open()
        tree.stop_soon()
        await asyncio.wait([asyncio.ensure_future(_quietly(tree))])

        assert took == pytest.approx(asyncio.get_running_loop().time(), abs=0.05)

    run(main())


def test_the_application_limit_leaves_all_behind_in_one_go() -> None:
    """A hundred who do not end cost the limit once."""

    async def main() -> None:
        probes = [probe(f"p{number}", swallow=99, stop_timeout=None) for number in range(100)]
        tree = Tree(Application("app", [Group("g", probes)], stop_timeout=7))
        await tree.open()
        tree.stop_soon()
        await asyncio.wait([asyncio.ensure_future(_quietly(tree))])

        assert pytest.approx(asyncio.get_running_loop().time(), abs=0.05) == 7.0
        assert len(tree.left) == 100
        for each in probes:
            each.hand.swallow = 0
            assert each.hand.task is not None
            each.hand.task.cancel()

    run(main())


def test_errors_while_stopping_do_not_stop_the_stopping() -> None:
    """All come in one exception group, in the order in which they happened, nested groups inside."""
    children = [
        probe("a", stop_error="a"),
        Group("g", [probe("b", stop_error="b"), probe("c")]),
        probe("d", stop_error="d"),
    ]

    async def main() -> None:
        tree = Tree(Application("app", children))
        await tree.open()
        with pytest.raises(ExceptionGroup) as caught:
            await tree.close()

        first, inner, last = caught.value.exceptions
        assert isinstance(inner, ExceptionGroup)
        assert [str(first), str(inner.exceptions[0]), str(last)] == ["d", "b", "a"]

    run(main())


def test_hurry_stops_all_at_once() -> None:
    """Order is given up, and the patience is for everybody together."""

    async def main() -> None:
        probes = [probe(f"p{number}", cleanup=5) for number in range(10)]
        tree = Tree(Application("app", [Group("g", probes)]))
        await tree.open()
        tree.stop_soon()
        await asyncio.sleep(1)
        tree.hurry(2.0)
        await asyncio.wait([asyncio.ensure_future(_quietly(tree))])

        assert pytest.approx(asyncio.get_running_loop().time(), abs=0.05) == 3.0

    run(main())


def test_stop_during_the_start_ends_it() -> None:
    """Those that had started stop in reverse, the one that is starting too, the others never start."""

    async def main() -> None:
        tree = Tree(Application("app", [probe("a"), probe("b", unready=True), probe("c")]))
        trace = Trace(tree)
        opening = asyncio.ensure_future(tree.open())
        await asyncio.sleep(1)
        tree.stop_soon("enough")
        await opening

        assert trace.paths(State.STOPPED) == ["app/b", "app/a", "app"]
        assert "app/c" not in trace.paths(State.STARTING)

    run(main())


def test_stop_application_stops_all_with_its_exit_code() -> None:
    """It is an order, not an error."""

    @service
    async def boss(context):  # type: ignore[no-untyped-def]
        context.ready()
        raise StopApplication("the work is done", 3)

    async def main() -> None:
        tree = Tree(Application("app", [probe("a"), boss]))
        await tree.open()
        await tree.wait()

        assert (tree.reason, tree.exit_code) == ("the work is done", 3)

    run(main())


def test_an_application_whose_services_have_all_ended_ends() -> None:
    """Also when they are in groups; not while one is only stopped by hand."""
    probes = [probe("a"), probe("b"), probe("c")]
    application = Application("app", [probes[0], Group("g", probes[1:])])

    async def body(tree: Tree, trace: Trace) -> None:
        await tree.stop("app/a")
        probes[1].hand.order("return")
        probes[2].hand.order("return")
        await settle()
        assert not tree.has_ended
        await tree.start("app/a")
        probes[0].hand.order("return")
        await tree.wait()

        assert tree.reason == "all services have ended"

    living(application, body)


@pytest.mark.parametrize("old", State)
@pytest.mark.parametrize("new", State)
def test_only_legal_transitions_pass(old: State, new: State) -> None:
    """Any step that the table does not list is a bug, and raises."""
    if new in TRANSITIONS[old]:
        check_transition("app/x", old, new)
    else:
        with pytest.raises(IllegalTransition) as caught:
            check_transition("app/x", old, new)

        assert f"app/x: {new} cannot follow {old}: please report this as a bug of plait" == str(caught.value)
