"""Where everything is: stacks of tasks and threads as values, and as text."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

from plait import Application, Context, service
from plait.runner.stacks import Stack, describe_tasks, describe_threads
from plait.tree.running import running

HERE = __file__
SOURCE = Path(__file__).read_text().splitlines()


def line_of(text: str) -> int:
    """Return the number of the one line of this file that ends with the comment *text*."""
    (number,) = [number for number, line in enumerate(SOURCE, 1) if line.endswith(f"# {text}")]
    return number


def by_name(stacks: tuple[Stack, ...]) -> dict[str, Stack]:
    """Return *stacks* by their names."""
    return {stack.name: stack for stack in stacks}


async def outer(event: asyncio.Event) -> None:
    await inner(event)  # outer


async def inner(event: asyncio.Event) -> None:
    await event.wait()  # inner


@contextlib.asynccontextmanager
async def managed(event: asyncio.Event) -> AsyncIterator[None]:
    yield
    await event.wait()  # at the end of a context


async def through_a_context(event: asyncio.Event) -> None:
    async with managed(event):  # around it
        pass


def seen(work: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> Stack:
    """Return the stack of a task that does *work* until it waits."""

    async def main() -> Stack:
        event = asyncio.Event()
        task = asyncio.create_task(work(event), name="worker")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        found = by_name(describe_tasks(asyncio.get_running_loop()))["worker"]
        event.set()
        await task
        return found

    return asyncio.run(main())


def test_a_task_has_the_whole_chain_of_what_it_awaits() -> None:
    """From the outermost call to the line in asyncio that waits; *where* is the innermost of people's."""
    stack = seen(outer)
    where = [(line.file, line.number, line.function) for line in stack.lines]
    assert where[:2] == [(HERE, line_of("outer"), "outer"), (HERE, line_of("inner"), "inner")]
    assert where[2][0] == inspect.getfile(asyncio.Event)
    assert where[2][2] == "Event.wait"
    assert len(where) == 3
    assert stack.where == f"{HERE}:{line_of('inner')} in inner"
    assert (stack.kind, stack.path) == ("task", "")


def test_a_context_manager_hides_nothing() -> None:
    """The end of one is a generator's step, which does not say itself whose."""
    functions = [line.function for line in seen(through_a_context).lines]
    assert [functions[0], functions[-2], functions[-1]] == ["through_a_context", "managed", "Event.wait"]


def test_a_task_that_waits_for_another_names_it() -> None:
    """So that the stack of that one can be read next."""

    async def waits(event: asyncio.Event) -> None:
        await asyncio.create_task(inner(event), name="other")

    assert seen(waits).waits_for == "other"


def test_the_task_that_runs_shows_the_frames_of_its_thread() -> None:
    """A coroutine that runs says nothing of what it has called."""

    def call() -> Stack:
        return by_name(describe_tasks(asyncio.get_running_loop()))["main"]  # the call

    async def main() -> Stack:
        asyncio.current_task().set_name("main")  # type: ignore[union-attr]
        return call()  # of main

    stack = asyncio.run(main())
    assert [(line.number, line.function.rpartition(".")[2]) for line in stack.lines] == [
        (line_of("of main"), "main"),
        (line_of("the call"), "call"),
    ]


def test_a_task_of_a_service_has_its_path() -> None:
    """Also one that the service has begun itself, and named as it liked."""

    @service
    async def begins(context: Context[None]) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(inner(asyncio.Event()), name="its own")
            await asyncio.sleep(0)
            context.ready()

    async def main() -> dict[str, Stack]:
        async with running(Application("shop", [begins])):
            return by_name(describe_tasks(asyncio.get_running_loop()))

    stacks = asyncio.run(main())
    assert {name: stacks[name].path for name in ("shop", "shop/begins", "its own")} == {
        "shop": "shop",
        "shop/begins": "shop/begins",
        "its own": "shop/begins",
    }
    assert str(stacks["its own"]).startswith(f"task its own of shop/begins: at {HERE}:{line_of('inner')} in inner\n")


def test_text_has_the_source_of_each_line() -> None:
    """A line that says where it is, then the stack as in a traceback."""
    text = str(seen(outer)).splitlines()
    assert text[:3] == [
        f"task worker: at {HERE}:{line_of('inner')} in inner",
        f"  {HERE}:{line_of('outer')} in outer: await inner(event)  # outer",
        f"  {HERE}:{line_of('inner')} in inner: await event.wait()  # inner",
    ]
    assert str(Stack("task", "a", "a", "an unknown line", waits_for="b")) == (
        "task a: at an unknown line\n  waits for task b"
    )


def test_threads_are_there_by_name() -> None:
    """Each with its own stack, this one with the caller's."""
    go = threading.Event()
    is_there = threading.Event()

    def work() -> None:
        is_there.set()
        go.wait()

    thread = threading.Thread(target=work, name="worker")
    thread.start()
    is_there.wait()
    try:
        stacks = by_name(describe_threads())
    finally:
        go.set()
        thread.join()
    assert any(line.file == HERE and line.function.endswith(".work") for line in stacks["worker"].lines)
    assert stacks["MainThread"].lines[-1].function == "test_threads_are_there_by_name"
    assert stacks["worker"].kind == "thread"
