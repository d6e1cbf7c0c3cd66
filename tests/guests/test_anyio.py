"""Services written with anyio, on asyncio: plait's cancellations and those of anyio's scopes agree."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from plait import (
    Application,
    Context,
    GaveUp,
    LeftBehind,
    Limit,
    StartFailed,
    State,
    StopApplication,
    Task,
    Tree,
    running,
    service,
)
from plait.testing import reached, run


def cancelling() -> int:
    """Return how many cancellations of the present task are not taken back."""
    task = asyncio.current_task()
    assert task is not None
    return task.cancelling()


# Stops ----------------------------------------------------------------------------------------------------------------


def test_a_shield_holds_while_plait_stops_it() -> None:
    """What is shielded in the body and in the children of a task group goes on to its end."""
    told = []

    async def close(name: str, seconds: float) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(seconds)
                told.append((name, asyncio.get_running_loop().time()))

    @service(stop_timeout=9.0)
    async def serves(context: Context[None]) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(close, "a child", 5)
            context.ready()
            await close("itself", 3)

    async def main() -> None:
        async with running(Application("shop", [serves])) as tree:
            pass
        assert tree.state("shop/serves") is State.STOPPED

    run(main())
    # Of a group the body is cancelled, and then its children, when the body has left.
    assert told == [("itself", 3.0), ("a child", 8.0)]


def test_a_second_cancellation_ends_what_is_shielded() -> None:
    """When the time is over the task is cancelled once more, which no scope keeps out; its clean-up is done by then."""
    told = []

    @service(stop_timeout=3.0)
    async def serves(context: Context[None]) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep_forever)
            context.ready()
            try:
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    try:
                        await anyio.sleep(60)
                    finally:
                        told.append((asyncio.get_running_loop().time(), cancelling()))

    async def main() -> None:
        async with running(Application("shop", [serves])) as tree:
            pass
        assert tree.state("shop/serves") is State.STOPPED

    run(main())
    assert told == [(3.0, 2)]


def test_what_does_not_end_is_left_behind_with_its_line() -> None:
    """A child that keeps its shield up hangs: the line that waits for it is named."""
    release = []

    async def child(task_status: anyio.abc.TaskStatus[None]) -> None:
        with anyio.CancelScope(shield=True):
            release.append(anyio.Event())
            task_status.started()
            await release[0].wait()

    @service(stop_timeout=3.0)
    async def serves(context: Context[None]) -> None:
        async with anyio.create_task_group() as group:  # here
            await group.start(child)
            context.ready()

    async def main() -> None:
        tree = Tree(Application("shop", [serves]))
        await tree.open()
        (task,) = [each for each in asyncio.all_tasks() if each.get_name() == "shop/serves"]
        with pytest.raises(BaseExceptionGroup) as caught:
            await tree.close()
        (error,) = caught.value.exceptions
        assert isinstance(error, LeftBehind)
        with open(__file__, encoding="utf-8") as file:
            (line,) = [number for number, line in enumerate(file, 1) if line.endswith("  # here\n")]
        where = f"{__file__}:{line} in {serves.function.__qualname__}"
        assert str(error) == f"shop/serves: left behind: did not stop in 3.02 s, at {where}"
        release[0].set()
        await asyncio.wait([task])

    run(main())


def test_a_scope_that_ends_during_a_stop_takes_back_only_its_own() -> None:
    """A time limit in the clean-up is anyio's own: it is over, and the stop goes on."""
    told = []

    @service
    async def serves(context: Context[None]) -> None:
        context.ready()
        try:
            await anyio.sleep_forever()
        finally:
            told.append(cancelling())
            with anyio.move_on_after(2, shield=True) as scope:
                await anyio.sleep_forever()
            told.extend([scope.cancelled_caught, cancelling()])

    async def main() -> None:
        async with running(Application("shop", [serves])) as tree:
            pass
        assert tree.state("shop/serves") is State.STOPPED
        assert tree.error is None

    run(main())
    assert told == [1, True, 1]


def test_a_scope_that_is_over_before_a_stop_leaves_nothing() -> None:
    """After time limits that were met the task is as before, and is stopped once."""
    told = []

    @service
    async def serves(context: Context[None]) -> None:
        for _ in range(3):
            with anyio.move_on_after(1):
                await anyio.sleep_forever()
        told.append(cancelling())
        context.ready()
        try:
            await anyio.sleep_forever()
        finally:
            told.append(cancelling())

    async def main() -> None:
        async with running(Application("shop", [serves])):
            pass

    run(main())
    assert told == [0, 1]


# Failures -------------------------------------------------------------------------------------------------------------


async def fails() -> None:
    raise ValueError("no")


def test_a_failure_in_a_task_group_is_the_service_s() -> None:
    """The error of a child is told as it is, ends the service, and it runs again."""
    lives = []

    @service
    async def serves(context: Context[None]) -> None:
        lives.append(1)
        async with anyio.create_task_group() as group:
            context.ready()
            if len(lives) < 3:
                group.start_soon(fails)
            await anyio.sleep_forever()

    async def main() -> None:
        tree = Tree(Application("shop", [serves]))
        texts: list[str] = []
        tree.subscribe(lambda event: texts.append(str(event)))
        await tree.open()
        await reached(tree, "shop/serves", State.READY, life=3)
        await tree.close()
        assert len([text for text in texts if "(ValueError: no)" in text]) == 2

    run(main())


def test_a_start_that_fails_in_a_task_group_says_why() -> None:
    """The sentence names what the child raised."""

    @service
    async def serves(context: Context[None]) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(fails)

    async def main() -> None:
        with pytest.raises(StartFailed) as caught:
            async with running(Application("shop", [serves])):
                pass
        assert str(caught.value) == "shop/serves: did not start: ValueError: no"

    run(main())


@pytest.mark.parametrize("make", [anyio.create_task_group, asyncio.TaskGroup])
@pytest.mark.logs("ERROR shop.serves: failed, and asked to stop everything: ValueError: no")
def test_stop_application_in_a_task_group_stops_everything(
    make: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    """It is no failure, although it comes in an exception group; what failed beside it is told."""

    async def ends() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise StopApplication("enough", 3)

    @service
    async def serves(context: Context[None]) -> None:
        context.ready()
        async with make() as group:
            start = getattr(group, "start_soon", None) or (lambda function: group.create_task(function()))
            start(ends)
            await asyncio.sleep(0.1)
            start(fails)

    async def main() -> None:
        tree = Tree(Application("shop", [serves, Task(anyio.sleep_forever, name="stays")]))
        await tree.open()
        await tree.wait()
        assert (tree.reason, tree.exit_code) == ("enough", 3)

    run(main())
    assert [record.name for record in caplog.records if record.levelname == "ERROR"] == ["shop.serves"]


# A tree inside a scope ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ends_by", ["its deadline", "a sibling"])
@pytest.mark.parametrize("is_starting", [False, True], ids=["ready", "starting"])
def test_a_tree_inside_a_cancelled_scope_is_stopped_in_order(ends_by: str, is_starting: bool) -> None:
    """anyio cancels again and again until the scope is left: the stop has its time, and is waited for all the same."""
    told = []

    def make(name: str, start: float) -> Task[None]:
        async def live(context: Context[None]) -> None:
            try:
                await asyncio.sleep(start)
                context.ready()
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(5)
                told.append((name, asyncio.get_running_loop().time()))

        return Task(live, name=name)

    application = Application("shop", [make("one", 0), make("two", 60 if is_starting else 0)])

    async def inside() -> None:
        async with running(application):
            await anyio.sleep_forever()

    async def main() -> None:
        if ends_by == "its deadline":
            with anyio.move_on_after(2) as scope:
                await inside()
            assert scope.cancelled_caught
        else:
            async with anyio.create_task_group() as group:
                group.start_soon(inside)
                await anyio.sleep(2)
                group.cancel_scope.cancel()
        assert cancelling() == 0

    run(main())
    assert told == [("two", 7.0), ("one", 12.0)]


def test_a_tree_that_gives_up_cancels_only_its_body() -> None:
    """The scope around goes on, and hears the error of the tree."""
    told: list[object] = []

    @service
    async def gives_up(context: Context[None]) -> None:
        context.ready()
        await asyncio.sleep(1)
        raise ValueError("no")

    async def main() -> None:
        with anyio.move_on_after(60) as scope:
            try:
                async with running(Application("shop", [gives_up], limit=Limit(0))):
                    await anyio.sleep_forever()
            except GaveUp as error:
                told.append(str(error))
            told.append(cancelling())
            await anyio.sleep(1)
        told.append(scope.cancelled_caught)

    run(main())
    assert told == [
        "shop: gave up: more than 0 restarts in 60 s, the last for shop/gives_up (ValueError: no)",
        0,
        False,
    ]
