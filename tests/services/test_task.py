"""Task, Thread and Resource, on the virtual clock; threads in real time."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import logging
import pickle
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

import plait
from plait import (
    Application,
    ConfigurationError,
    Context,
    LeftBehind,
    Limit,
    PlaitError,
    Resource,
    StartFailed,
    State,
    StopApplication,
    Task,
    Thread,
    Tree,
    running,
)
from plait.services.thread import where_is
from plait.testing import reached, run

# Task ------------------------------------------------------------------------------------------------------------


def test_a_task_without_parameters_is_ready_at_once() -> None:
    """An async function of no arguments runs for ever and counts as ready from the start."""

    async def sweep() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        async with running(Application("shop", [Task(sweep)])) as tree:
            assert tree.state("shop/sweep") is State.READY

    run(main())


def test_a_task_with_a_context_says_ready_itself() -> None:
    """An async function of one argument gets the context, and others wait for its word."""
    order = []

    async def first(context: Context[str]) -> None:
        await asyncio.sleep(5)
        order.append("first")
        context.ready("value")
        await asyncio.Event().wait()

    one = Task(first)

    async def second(context: Context[None]) -> None:
        order.append("second")
        assert await context.need(one) == "value"
        context.ready()
        await asyncio.Event().wait()

    async def main() -> None:
        async with running(Application("shop", [one, Task(second)])):
            assert order == ["first", "second"]

    run(main())


def test_a_task_that_returns_is_done_and_one_that_raises_failed() -> None:
    """Return is done; what it raises is a failure with that cause."""

    async def returns() -> None: ...

    async def raises() -> None:
        raise ValueError("no")

    async def main() -> None:
        group = [Task(returns), Task(raises, restart="never"), Task(asyncio.Event().wait, name="stays")]
        async with running(Application("shop", group)) as tree:
            await reached(tree, "shop/raises", State.FAILED)
            assert tree.state("shop/returns") is State.DONE
            assert isinstance(tree.find("shop/raises").error, ValueError)

    run(main())


def plain() -> None: ...


async def greedy(one: object, two: object) -> None: ...


async def keyword(*, wanted: int) -> None: ...


async def easy(times: int = 3, *rest: int, loud: bool = False) -> None: ...


class Caller:
    async def __call__(self, context: object) -> None: ...


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (
            plain,
            "Task plain: function=plain: wanted an async function of no arguments, or of one, the"
            " context: a blocking one belongs in a Thread",
        ),
        (
            greedy,
            "Task greedy: function=greedy: wanted an async function of no arguments, or of one, the context",
        ),
        (
            keyword,
            "Task keyword: function=keyword: wanted an async function of no arguments, or of one, the context",
        ),
        (5, "Task int: function=5: wanted an async function of no arguments, or of one, the context"),
    ],
)
def test_a_task_refuses_what_it_cannot_call(function: Any, sentence: str) -> None:
    """A blocking function, or one that wants what a task cannot give, is refused at construction."""
    with pytest.raises(ConfigurationError) as caught:
        Task(function)
    text = str(caught.value)
    if " at 0x" in text:
        before, _, rest = text.partition(" at 0x")
        text = f"{before} at >{rest.partition('>')[2]}"
    assert text == sentence


def test_a_task_takes_any_async_callable() -> None:
    """Defaults, partials and objects with an async __call__ are as good as functions."""
    assert Task(easy).name == "easy"
    assert Task(functools.partial(greedy, 1)).name == "greedy"
    assert Task(Caller(), name="caller").name == "caller"
    assert pickle.loads(pickle.dumps(Task(easy))) == Task(easy)


# Resource --------------------------------------------------------------------------------------------------------


class Pool:
    def __init__(self, size: int) -> None:
        self.size = size
        self.is_open = True


@asynccontextmanager
async def open_pool(size: int = 1) -> AsyncIterator[Pool]:
    pool = Pool(size)
    await asyncio.sleep(2)
    yield pool
    await asyncio.sleep(2)
    pool.is_open = False


def test_a_resource_is_open_for_all_who_need_it_and_closed_after_them() -> None:
    """What it is entered as is published; it is left when all who started later have ended."""
    database = Resource(open_pool, arguments=(7,), name="database")
    seen: list[Pool] = []

    @plait.service
    async def user(context: Context[None]) -> None:
        pool = await context.need(database)
        seen.append(pool)
        context.ready()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(1)
            assert pool.is_open

    async def main() -> None:
        async with running(Application("shop", [database, user])):
            assert seen[0].size == 7
        assert not seen[0].is_open

    run(main())


def test_a_resource_that_cannot_be_opened_says_why() -> None:
    """An error on entering is the failure of the start, with its cause."""

    @asynccontextmanager
    async def broken() -> AsyncIterator[None]:
        raise ConnectionRefusedError("nobody there")
        yield

    async def main() -> None:
        with pytest.raises(StartFailed) as caught:
            async with running(Application("shop", [Resource(broken)])):
                pass
        assert str(caught.value) == "shop/broken: did not start: ConnectionRefusedError: nobody there"

    run(main())


def test_a_resource_that_is_late_says_where_it_waits() -> None:
    """There is no context of which its author could say that it is ready."""
    line = inspect.getsourcelines(open_pool.__wrapped__)[1] + 3

    async def main() -> None:
        with pytest.raises(StartFailed) as caught:
            async with running(Application("shop", [Resource(open_pool, start_timeout=1.0)])):
                pass
        assert str(caught.value) == (
            f"shop/open_pool: did not start: not ready after 1 s: it is still being entered, at {__file__}:{line} in"
            " open_pool: let that take less time, or raise start_timeout="
        )

    run(main())


def test_a_resource_refuses_what_is_no_context_manager() -> None:
    """A coroutine function without its decorator is told so."""

    async def forgotten() -> None: ...

    async def main() -> None:
        with pytest.raises(StartFailed) as caught:
            async with running(Application("shop", [Resource(forgotten)])):  # type: ignore[arg-type]
                pass
        assert isinstance(caught.value.__cause__, ConfigurationError)
        assert str(caught.value.__cause__).endswith(
            "forgotten returned a coroutine, which is no async context manager:"
            " decorate it with contextlib.asynccontextmanager"
        )

    run(main())
    with pytest.raises(ConfigurationError, match="wanted a function that returns an async context manager"):
        Resource(open_pool())


def test_a_resource_is_a_value() -> None:
    """Equal arguments make equal resources, so a reload keeps the open one."""
    assert Resource(open_pool, arguments=(1,)) == Resource(open_pool, arguments=[1])  # type: ignore[arg-type]
    assert Resource(open_pool, arguments=(1,)) != Resource(open_pool, arguments=(2,))
    assert pickle.loads(pickle.dumps(Resource(open_pool))) == Resource(open_pool)


# Thread ----------------------------------------------------------------------------------------------------------

season: contextvars.ContextVar[str] = contextvars.ContextVar("season", default="none")


def test_a_thread_is_told_to_stop_by_its_event() -> None:
    """A blocking function runs beside the loop, knows where it is, and ends when its event is set."""
    told = []

    def crunch(stop: threading.Event) -> None:
        told.extend([plait.current().path, season.get(), threading.current_thread().name])
        stop.wait()
        told.append("stopped")

    async def main() -> None:
        season.set("winter")
        async with running(Application("shop", [Thread(crunch)])) as tree:
            assert tree.state("shop/crunch") is State.READY
        assert told == ["shop/crunch", "winter", "shop/crunch", "stopped"]

    asyncio.run(main())


@pytest.mark.logs("WARNING shop.crunch: warming up")
def test_a_thread_with_a_context_says_ready_itself(caplog: pytest.LogCaptureFixture) -> None:
    """With two parameters it publishes its value from the thread, and only once."""
    errors: list[BaseException] = []

    def crunch(stop: threading.Event, context: Context[int]) -> None:
        context.log.warning("warming up")
        context.ready(42)
        try:
            plait.current().ready(43)
        except PlaitError as error:
            errors.append(error)
        stop.wait()

    service = Thread(crunch)

    @plait.service
    async def user(context: Context[None]) -> None:
        assert await context.need(service) == 42
        context.ready()
        await asyncio.Event().wait()

    async def main() -> None:
        async with running(Application("shop", [service, user])):
            pass

    asyncio.run(main())
    assert [str(error) for error in errors] == [
        "shop/crunch: ready() was said twice in one life: say it once, when it can serve"
    ]
    assert [(record.name, record.message) for record in caplog.records if record.levelno >= logging.WARNING] == [
        ("shop.crunch", "warming up")
    ]


def test_what_a_thread_raises_is_its_failure_and_it_runs_again() -> None:
    """An exception in the thread is a failure like a task's; returning is done."""
    lives: list[int] = []

    def crunch() -> None:
        lives.append(len(lives))
        if len(lives) < 3:
            raise OSError(f"life {len(lives)}")

    async def main() -> None:
        application = Application("shop", [Thread(crunch), Task(asyncio.Event().wait, name="stays")])
        tree = Tree(application)
        causes: list[str] = []
        tree.subscribe(lambda event: causes.append(str(getattr(event, "cause", None))))
        await tree.open()
        await reached(tree, "shop/crunch", State.DONE)
        await tree.close()
        assert [cause for cause in causes if cause != "None"] == ["life 1", "life 2"]

    run(main())
    assert lives == [0, 1, 2]


@pytest.mark.parametrize("how", ["StopApplication", "SystemExit"])
def test_a_thread_can_stop_everything(how: str) -> None:
    """StopApplication, and sys.exit, mean in a thread what they mean in a task."""

    def crunch() -> None:
        raise StopApplication("enough", 3) if how == "StopApplication" else SystemExit(3)

    async def main() -> None:
        tree = Tree(Application("shop", [Thread(crunch), Task(asyncio.Event().wait, name="stays")]))
        await tree.open()
        await tree.wait()
        assert tree.exit_code == 3
        assert tree.reason == ("enough" if how == "StopApplication" else "shop/crunch: sys.exit(3)")

    asyncio.run(main())


def test_a_thread_that_does_not_end_is_left_behind_with_its_line() -> None:
    """It delays the stop by its own time-out only, its line is named, and the loop can close."""
    release = threading.Event()
    ended = threading.Event()

    def stubborn(stop: threading.Event) -> None:
        release.wait()  # the line that is named
        ended.set()

    async def main() -> None:
        tree = Tree(Application("shop", [Thread(stubborn, stop_timeout=3.0)]))
        await tree.open()
        with pytest.raises(BaseExceptionGroup) as caught:
            await tree.close()
        (error,) = caught.value.exceptions
        assert isinstance(error, LeftBehind)
        line = stubborn.__code__.co_firstlineno + 1
        assert str(error).startswith("shop/stubborn: left behind: did not stop in 3.02 s, at ")
        assert str(error).endswith(f"test_task.py:{line} in {stubborn.__qualname__}")

    run(main())  # returns although the thread still runs
    release.set()
    assert ended.wait(10)


def test_a_late_word_of_a_thread_left_behind_harms_nobody() -> None:
    """A thread that outlives its loop may still say ready, publish and end."""
    go, said = threading.Event(), threading.Event()

    def late(stop: threading.Event, context: Context[None]) -> None:
        go.wait()
        context.ready()
        said.set()

    async def main() -> None:
        tree = Tree(Application("shop", [Thread(late, start_timeout=1.0, stop_timeout=1.0)]))
        with pytest.raises(StartFailed):
            await tree.open()

    run(main())
    go.set()
    assert said.wait(10)


def test_a_thread_refuses_what_it_cannot_call() -> None:
    """An async function, or one that wants more than two arguments, is refused."""
    with pytest.raises(ConfigurationError, match="wanted a blocking function: an async one belongs in a Task"):
        Thread(easy)
    with pytest.raises(ConfigurationError, match="wanted a function of up to two arguments"):
        Thread(lambda one, two, three: None)  # type: ignore[arg-type]


def test_a_thread_cannot_need() -> None:
    """What others publish belongs to the loop, and a thread that asks is told."""
    other = Task(asyncio.Event().wait, name="other")

    def asks(stop: threading.Event, context: Context[None]) -> None:
        context.need(other).send(None)

    async def main() -> None:
        application = Application("shop", [other, Thread(asks, restart="never")], limit=Limit(0))
        with pytest.raises(StartFailed) as caught:
            async with running(application):
                pass
        assert str(caught.value) == (
            "shop/asks: did not start: need() is not for a thread: what other publishes belongs to the loop"
        )

    run(main())


def test_where_is_says_when_a_thread_has_ended() -> None:
    """A thread that is gone has no line."""
    thread = threading.Thread(target=lambda: None, name="gone")
    thread.start()
    thread.join()
    assert where_is(thread) == "thread gone, which has ended"
