"""What can be asked of a living tree."""

from __future__ import annotations

import asyncio
import random

import pytest

from plait import (
    Application,
    Backoff,
    ConfigurationError,
    Group,
    Limit,
    NotFound,
    PlaitError,
    StartFailed,
    State,
    StateChanged,
    Tree,
    running,
)
from plait.testing import Trace, reached, run
from tests.tree.probe import Boom, probe
from tests.tree.test_supervisor import NO_WAIT, living, settle


def test_a_service_stopped_by_hand_stays_stopped_until_started_by_hand() -> None:
    """Also when its neighbours are restarted as one."""
    probes = [probe("a"), probe("b")]

    async def body(tree: Tree, trace: Trace) -> None:
        await tree.stop("app/b")
        probes[0].hand.order("fail")
        await settle()
        assert (probes[0].hand.lives, probes[1].hand.lives) == (2, 1)
        await tree.start("app/b")

        assert (tree.state("app/b"), probes[1].hand.lives) == (State.READY, 2)

    living(Application("app", probes, strategy="one_for_all", backoff=NO_WAIT), body)


def test_start_by_hand_of_what_lives_changes_nothing_and_of_what_waits_starts_it_now() -> None:
    """A back-off is cut short."""
    one = probe("one")

    async def body(tree: Tree, trace: Trace) -> None:
        await tree.start("app/one")
        assert one.hand.lives == 1
        one.hand.order("fail")
        await reached(tree, "app/one", State.WAITING)
        await tree.start("app/one")

        assert (one.hand.lives, asyncio.get_running_loop().time()) == (2, 0.0)
        await asyncio.sleep(1000)
        assert one.hand.lives == 2

    living(Application("app", [one], backoff=Backoff(base=100, cap=100, immediate=False)), body)


def test_a_start_by_hand_that_fails_says_why_and_is_not_tried_again() -> None:
    """As OTP's restart_child."""
    one = probe("one", fail_from=2, fail_starts=9)

    async def body(tree: Tree, trace: Trace) -> None:
        await tree.stop("app/one")
        with pytest.raises(StartFailed) as caught:
            await tree.start("app/one")
        await asyncio.sleep(1000)

        assert (str(caught.value), one.hand.lives) == ("app/one: did not start: Boom: start 2", 2)
        assert (tree.state("app/one"), tree.state("app")) == (State.FAILED, State.READY)

    living(Application("app", [one, probe("other")]), body)


@pytest.mark.parametrize(("strategy", "lives"), [("one_for_one", [1, 2, 1]), ("rest_for_one", [1, 2, 2])])
def test_restart_by_hand_follows_the_strategy_and_is_not_counted(strategy: str, lives: list[int]) -> None:
    """With a limit of zero the group would give up if it counted."""
    probes = [probe("a"), probe("b"), probe("c")]

    async def body(tree: Tree, trace: Trace) -> None:
        await tree.restart("app/b")
        await settle()

        assert lives == [each.hand.lives for each in probes]

    living(Application("app", probes, strategy=strategy, limit=Limit(0)), body)  # type: ignore[arg-type]


def test_a_group_is_stopped_started_and_restarted_like_any_other() -> None:
    """Its children come and go with it; those added at run time do not come back."""
    inner = probe("inner")

    async def body(tree: Tree, trace: Trace) -> None:
        assert await tree.add(probe("more"), "app/g") == "app/g/more"
        await tree.stop("app/g")
        assert {State.STOPPED} == {tree.state(path) for path in ("app/g", "app/g/inner", "app/g/more")}
        with pytest.raises(PlaitError) as caught:
            await tree.start("app/g/inner")
        assert str(caught.value) == "app/g/inner: its group app/g is stopped: start that first"
        await tree.start("app/g")

        assert list(tree.states()) == ["app", "app/g", "app/g/inner"]
        assert inner.hand.lives == 2

    living(Application("app", [Group("g", [inner])]), body)


def test_add_comes_last_and_a_failed_one_is_dropped() -> None:
    """The error says why; nothing else is touched; the name is free again."""
    one = probe("one")

    async def body(tree: Tree, trace: Trace) -> None:
        with pytest.raises(StartFailed) as caught:
            await tree.add(probe("new", fail_starts=1))
        assert (str(caught.value), one.hand.lives) == ("app/new: did not start: Boom: start 1", 1)
        assert isinstance(caught.value.__cause__, Boom)
        assert "app/new" not in tree.states()
        await tree.add(probe("new"))
        with pytest.raises(PlaitError) as again:
            await tree.add(probe("new"))
        assert str(again.value) == "app/new: is already there: give the new one another name="
        trace.events.clear()
        await tree.close()

        assert trace.paths(State.STOPPED) == ["app/new", "app/one", "app"]

    living(Application("app", [one]), body)


def test_remove_stops_and_forgets() -> None:
    """It does not come back with a restart of the others."""
    probes = [probe("a"), probe("b")]

    async def body(tree: Tree, trace: Trace) -> None:
        await tree.remove("app/b")
        assert list(tree.states()) == ["app", "app/a"]
        probes[0].hand.order("fail")
        await settle()

        assert (probes[0].hand.lives, probes[1].hand.lives) == (2, 1)

    living(Application("app", probes, strategy="one_for_all", backoff=NO_WAIT), body)


def test_apply_keeps_the_lives_of_what_is_equal() -> None:
    """What is gone or changed stops in reverse, what is new or changed starts in order."""
    a, b, c, d, same = probe("a"), probe("b"), probe("c"), probe("d"), probe("same")
    other = probe("b", restart="always")
    old = Application("app", [a, b, c, Group("g", [same, probe("x")])])
    new = Application("app", [a, other, d, Group("g", [same], strategy="rest_for_one")], stop_timeout=5)

    async def body(tree: Tree, trace: Trace) -> None:
        trace.events.clear()
        await tree.apply(new)

        assert trace.states(State.STOPPED, State.STARTING) == [
            ("app/g/x", State.STOPPED),
            ("app/c", State.STOPPED),
            ("app/b", State.STOPPED),
            ("app/b", State.STARTING),
            ("app/d", State.STARTING),
        ]
        assert [each.hand.lives for each in (a, d, same)] == [1, 1, 1]
        assert list(tree.states()) == ["app", "app/a", "app/b", "app/d", "app/g", "app/g/same"]
        trace.events.clear()
        await tree.apply(Application("app", list(new), stop_timeout=5))
        assert trace.events == []

    living(old, body)


def test_apply_of_random_values_gives_exactly_the_new_tree() -> None:
    """Whatever the two values, afterwards the living tree is the new one, and equal services kept their lives."""
    chance = random.Random(2)

    def draw(depth: int = 0) -> list[object]:
        names = [name for name in "abcdef" if chance.random() < 0.6]
        chance.shuffle(names)
        return [
            Group(name.upper(), draw(depth + 1))
            if depth < 2 and chance.random() < 0.3  # type: ignore[arg-type]
            else probe(name, restart=chance.choice(["always", "on-failure"]))
            for name in names
        ]

    async def main() -> None:
        for _ in range(60):
            first, second = Application("app", draw()), Application("app", draw())  # type: ignore[arg-type]
            async with running(first) as tree:
                before = {path: tree.find(path) for path in tree.states()}
                values = {path: child.service for path, child in before.items()}
                await tree.apply(second)

                assert dict.fromkeys((path for path, _ in second.walk()), State.READY) == tree.states()
                for path, service in second.walk():
                    child = tree.find(path)
                    assert child.life == 1
                    if path in before and not isinstance(service, Group):
                        assert (values[path] == service) is (child is before[path])

    run(main())


def test_apply_refuses_another_application() -> None:
    """Its name stays, and it is an Application."""

    async def body(tree: Tree, trace: Trace) -> None:
        with pytest.raises(ConfigurationError) as caught:
            await tree.apply(Application("other"))

        assert str(caught.value) == "app: cannot become 'other': the application's name stays; run another one"
        assert State.READY is tree.state("app/a")

    living(Application("app", [probe("a")]), body)


def test_a_path_that_is_not_there_is_answered_with_the_nearest() -> None:
    """NotFound is a LookupError with advice."""

    async def body(tree: Tree, trace: Trace) -> None:
        with pytest.raises(NotFound) as caught:
            tree.state("app/web/apy")

        assert str(caught.value) == "app/web/apy: no such service: did you mean app/web/api?"

    living(Application("app", [Group("web", [probe("api")])]), body)


def test_events_stream_until_the_tree_has_ended() -> None:
    """Every change of state arrives, in order, and the stream ends by itself."""

    async def main() -> None:
        tree = Tree(Application("app", [probe("a")]))
        seen = []

        async def watch() -> None:
            async for event in tree.events():
                assert isinstance(event, StateChanged)
                seen.append((event.path, event.new.value))

        watcher = asyncio.ensure_future(watch())
        await asyncio.sleep(0)
        await tree.open()
        await tree.close()
        await watcher

        assert seen == [
            ("app", "starting"), ("app/a", "starting"), ("app/a", "ready"), ("app", "ready"),
            ("app", "stopping"), ("app/a", "stopping"), ("app/a", "stopped"), ("app", "stopped"),
        ]  # fmt: skip

    run(main())


def test_while_a_child_is_in_a_restart_loop_commands_are_answered() -> None:
    """Even without any back-off and without a limit: status is at hand, and stop stops it."""
    loop_er = probe("loop", fail_from=2, fail_starts=10**9)

    async def body(tree: Tree, trace: Trace) -> None:
        loop_er.hand.order("fail")
        for _ in range(50):
            await asyncio.sleep(0)
        assert loop_er.hand.lives > 10
        await tree.stop("app/loop")
        lives = loop_er.hand.lives
        await settle()

        assert (State.STOPPED, lives) == (tree.state("app/loop"), loop_er.hand.lives)

    living(Application("app", [probe("a"), loop_er], limit=Limit(None), backoff=NO_WAIT), body)


def test_a_tree_that_gives_up_cancels_the_body_of_running() -> None:
    """The error comes out of the block, not the cancellation."""
    one = probe("one")

    async def main() -> None:
        async def body() -> None:
            async with running(Application("app", [one], limit=Limit(0))):
                one.hand.order("fail")
                await asyncio.sleep(1000)

        with pytest.raises(PlaitError, match="gave up"):
            await body()
        assert not asyncio.current_task().cancelling()  # type: ignore[union-attr]

    run(main())


def test_a_tree_that_gives_up_takes_back_only_its_own_cancellation() -> None:
    """Where somebody else cancelled the body at the same time, it ends cancelled, and says what else there was."""
    one = probe("one")

    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None

        async def body() -> None:
            async with running(Application("app", [one], limit=Limit(0))) as tree:
                loop = asyncio.get_running_loop()
                # After the tree has cancelled the body, and before that runs.
                tree.subscribe(lambda _: loop.call_soon(loop.call_soon, cancel) if tree.error is None else None)
                one.hand.order("fail")
                await asyncio.sleep(1000)

        def cancel() -> None:
            if task.cancelling() == 1:
                task.cancel()

        with pytest.raises(asyncio.CancelledError) as caught:
            await body()
        assert task.uncancel() == 0
        (note,) = caught.value.__notes__
        assert note.startswith("and while stopping: app: gave up")

    run(main())


@pytest.mark.parametrize("times", [1, 2, 5])
@pytest.mark.parametrize("is_starting", [False, True], ids=["ready", "starting"])
def test_a_body_that_is_cancelled_again_and_again_hurries_its_tree(times: int, is_starting: bool) -> None:
    """Each cancellation of who waits for the end hurries it, and none leaves the tree alone."""
    one = probe("one", cleanup=5.0)

    async def main() -> None:
        loop = asyncio.get_running_loop()

        async def body() -> None:
            async with running(Application("app", [one, probe("two", unready=is_starting)])):
                await asyncio.sleep(1000)

        task = asyncio.create_task(body())
        await asyncio.sleep(1)
        for _ in range(times):
            task.cancel()
            await settle()
        await asyncio.wait([task])
        assert task.cancelled()
        # A hurried stop cancels the cleaning up as well; what is left of the tree would be a task.
        assert loop.time() == (6.0 if times == 1 else 1.0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(main())


def test_the_error_of_the_body_is_kept_and_the_tree_is_stopped() -> None:
    """What the body raised goes on; nothing runs any more."""

    async def main() -> None:
        with pytest.raises(Boom):
            async with running(Application("app", [probe("one")])) as tree:
                raise Boom

        assert tree.has_ended
        assert {asyncio.current_task()} == asyncio.all_tasks()

    run(main())


def test_a_cancelled_body_stops_the_tree_in_order() -> None:
    """As asyncio.timeout around it does."""

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5), running(Application("app", [probe("one", cleanup=2)])) as tree:
                await asyncio.sleep(1000)

        assert (tree.state("app"), asyncio.get_running_loop().time()) == (State.STOPPED, 7.0)

    run(main())


def test_after_a_thousand_crashes_nothing_has_grown() -> None:
    """Tasks, timers and what the loop holds are as at the start."""
    one = probe("one")

    async def body(tree: Tree, trace: Trace) -> None:
        tree.watchers = ()
        loop = asyncio.get_running_loop()

        async def counts() -> tuple[int, int, int]:
            await settle()
            live = [handle for handle in loop._scheduled if not handle.cancelled()]  # type: ignore[attr-defined]
            return len(asyncio.all_tasks()), len(live), len(tree.root.supervisor.sweeps)  # type: ignore[union-attr]

        before = await counts()
        for _ in range(1000):
            one.hand.order("fail")
            await settle()

        assert one.hand.lives == 1001
        assert before == await counts()

    living(Application("app", [one, probe("two")], limit=Limit(None), backoff=NO_WAIT), body)
