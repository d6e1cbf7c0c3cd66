"""TrioService: trio code in a tree, on the virtual clock, and in real time where threads or other loops are judged."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import gc
import logging
import pickle
import signal
import subprocess
import sys
import threading
import traceback
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import anyio
import pytest
import trio
import uvloop
from sniffio import current_async_library

import plait
from plait import (
    Application,
    Backoff,
    ConfigurationError,
    Context,
    Endpoint,
    GaveUp,
    Limit,
    NeedError,
    PlaitError,
    StartFailed,
    State,
    StopApplication,
    Task,
    Tree,
    running,
)
from plait.guests.trio import TrioService, need
from plait.runner.stacks import describe_tasks
from plait.runner.telling import people_trace
from plait.testing import Stuck, Trace, VirtualClockLoop, reached, run
from plait.tree.stack import where

# Trio keeps threads that have nothing to do for ten seconds.  One that is left behind is to be seen sooner.
trio._core._thread_cache.IDLE_TIMEOUT = 0.05  # type: ignore[attr-defined]

REAL = pytest.mark.parametrize("run_real", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])


async def wait() -> None:
    await asyncio.Event().wait()


stays = Task(wait, name="stays")


async def forever() -> None:
    await trio.sleep_forever()


def line_of(text: str) -> str:
    """Return how the one line of this file that ends with the comment *text* is named."""
    with open(__file__, encoding="utf-8") as file:
        (number,) = [number for number, line in enumerate(file, 1) if line.rstrip().endswith(f"# {text}")]
    return f"{__file__}:{number} in "


# Ready ----------------------------------------------------------------------------------------------------------------


def test_a_function_without_task_status_is_ready_when_it_runs() -> None:
    """It counts as ready as soon as it runs, and runs in trio."""
    seen = []

    async def sweep() -> None:
        seen.append(trio.lowlevel.in_trio_task())
        await trio.sleep_forever()

    async def main() -> None:
        async with running(Application("shop", [TrioService(sweep)])) as tree:
            assert tree.state("shop/sweep") is State.READY
        assert tree.state("shop/sweep") is State.STOPPED

    run(main())
    assert seen == [True]


@REAL
def test_what_a_function_started_with_is_published(run_real: Callable[[Coroutine[Any, Any, None]], None]) -> None:
    """`task_status.started(value)` is `context.ready(value)`: for services of asyncio, and for those of trio."""
    seen: list[object] = []

    async def server(*, task_status: trio.TaskStatus[str]) -> None:
        await trio.sleep(0.01)
        task_status.started("value")
        await trio.sleep_forever()

    one = TrioService(server)

    async def second(context: Context[None]) -> None:
        seen.append(await context.need(one))
        context.ready()
        await asyncio.Event().wait()

    async def third(task_status: trio.TaskStatus[None]) -> None:
        seen.append(await need(one))
        task_status.started()
        await trio.sleep_forever()

    async def main() -> None:
        async with running(Application("shop", [one, Task(second), TrioService(third)])):
            assert seen == ["value", "value"]

    run_real(main())


def test_a_function_of_trio_s_own_is_a_service() -> None:
    """What is written for ``nursery.start`` needs nothing else: it publishes what it starts with."""
    serve = TrioService(functools.partial(trio.serve_tcp, trio.aclose_forcefully, 0, host="127.0.0.1"), name="serve")

    async def main() -> None:
        async with running(Application("shop", [serve])) as tree:
            (listener,) = tree.find("shop/serve").value
            port = listener.socket.getsockname()[1]
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()

    asyncio.run(main())


def test_a_function_that_never_starts_is_late() -> None:
    """Without `started` the start fails after *start_timeout*, and the function is cancelled."""
    told = []

    async def silent(task_status: trio.TaskStatus[None]) -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            told.append("cancelled")
            raise

    async def main() -> None:
        with pytest.raises(StartFailed) as caught:
            async with running(Application("shop", [TrioService(silent, start_timeout=5.0)])):
                pass
        assert str(caught.value) == (
            "shop/silent: did not start: not ready after 5 s: call task_status.started() in silent, or raise"
            " start_timeout="
        )

    run(main())
    assert told == ["cancelled"]


def test_a_function_that_starts_twice_is_told() -> None:
    """A second `started` raises, where it stands."""
    errors = []

    async def twice(task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        try:
            task_status.started()
        except PlaitError as error:
            errors.append(str(error))
        await trio.sleep_forever()

    async def main() -> None:
        async with running(Application("shop", [TrioService(twice)])):
            pass

    run(main())
    assert errors == ["shop/twice: ready() was said twice in one life: say it once, when it can serve"]


def test_a_function_that_returns_is_done() -> None:
    """Returning early is the end, and counts as ready; with ``restart="always"`` it runs again."""
    lives = []

    async def early(task_status: trio.TaskStatus[None]) -> None: ...

    async def again() -> None:
        lives.append(trio.current_time())
        if len(lives) == 3:
            await trio.sleep_forever()

    async def main() -> None:
        services = [TrioService(early), TrioService(again, restart="always", backoff=Backoff(base=60.0, jitter=0.0))]
        async with running(Application("shop", services)) as tree:
            assert tree.state("shop/early") is State.DONE
            await reached(tree, "shop/again", State.READY, life=3)

    run(main())
    assert lives == [0.0, 0.0, 60.0]


# Failures -------------------------------------------------------------------------------------------------------------


async def raises() -> None:
    raise ValueError("no")  # raises


async def alone() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(raises)
        nursery.start_soon(trio.sleep_forever)


async def in_twos() -> None:
    async with trio.open_nursery() as nursery:  # in twos
        nursery.start_soon(raises)
        nursery.start_soon(raises)


@pytest.mark.parametrize(
    ("function", "text", "lines"),
    [
        (raises, "ValueError('no')", ["raises"]),
        (alone, "ValueError('no')", ["raises"]),
        (in_twos, "ExceptionGroup('Exceptions from Trio nursery', [ValueError('no'), ValueError('no')])", ["in twos"]),
    ],
)
def test_what_a_function_raises_is_its_failure(function: Any, text: str, lines: list[str]) -> None:
    """With the traceback of people's code; a group that holds one exception is that exception."""

    async def main() -> None:
        async with running(Application("shop", [TrioService(function, restart="never"), stays])) as tree:
            await reached(tree, f"shop/{function.__name__}", State.FAILED)
            error = tree.find(f"shop/{function.__name__}").error
        assert repr(error) == text
        _, _, trace = people_trace(error)
        shown = traceback.extract_tb(trace)
        assert [f"{shown[0].filename}:{shown[0].lineno} in "] == [line_of(line) for line in lines]
        assert "guests" not in "".join(frame.filename for frame in shown if frame.filename != __file__)

    run(main())


def test_it_runs_again_after_a_failure_and_gives_up_like_any_other() -> None:
    """A failure is followed by what the group says."""
    lives = []

    async def flaky() -> None:
        lives.append(trio.current_time())
        await trio.sleep(10)
        raise OSError(f"life {len(lives)}")

    async def main() -> None:
        with pytest.raises(GaveUp) as caught:
            async with running(Application("shop", [TrioService(flaky)], limit=Limit(2, 3600.0))):
                await asyncio.sleep(3600)
        assert str(caught.value) == (
            "shop: gave up: more than 2 restarts in 3.6e+03 s, the last for shop/flaky (OSError: life 3)"
        )

    run(main())
    assert len(lives) == 3


def stop_application() -> None:
    raise StopApplication("enough", 3)


def leave() -> None:
    sys.exit(3)


@pytest.mark.parametrize("nested", [False, True], ids=["itself", "a child"])
@pytest.mark.parametrize("act", [stop_application, leave])
def test_trio_code_can_stop_everything(act: Callable[[], None], nested: bool) -> None:
    """StopApplication, and sys.exit, mean in trio what they mean in a task, from a nursery as well."""

    async def does() -> None:
        act()

    async def crunch() -> None:
        if not nested:
            await does()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(does)

    async def main() -> None:
        tree = Tree(Application("shop", [TrioService(crunch), stays]))
        await tree.open()
        await tree.wait()
        assert tree.exit_code == 3
        assert tree.reason == ("enough" if act is stop_application else "shop/crunch: sys.exit(3)")

    run(main())


@pytest.mark.logs("ERROR shop.crunch: failed, and asked to stop everything: ValueError: no")
def test_what_fails_beside_the_end_of_everything_is_told() -> None:
    """A group with StopApplication in it stops the application; the others in it are logged."""

    async def does() -> None:
        raise StopApplication("enough", 3)

    async def crunch() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(does)
            nursery.start_soon(raises)

    async def main() -> None:
        tree = Tree(Application("shop", [TrioService(crunch), stays]))
        await tree.open()
        await tree.wait()
        assert (tree.exit_code, tree.reason) == (3, "enough")

    run(main())


# Stops ----------------------------------------------------------------------------------------------------------------


def test_a_stop_is_a_cancellation_and_what_is_shielded_has_its_time() -> None:
    """Clean-up under a shield goes on for as long as *stop_timeout* lets it, in the order of the tree."""
    told = []

    def make(name: str) -> TrioService[None]:
        async def live() -> None:
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                told.append(f"{name} cancelled")
                raise
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(5)
                    told.append(f"{name} closed at {trio.current_time():g}")

        return TrioService(live, name=name, stop_timeout=6.0)

    async def main() -> None:
        async with running(Application("shop", [make("one"), make("two")])):
            pass

    run(main())
    assert told == ["two cancelled", "two closed at 5", "one cancelled", "one closed at 10"]


def test_an_error_while_it_stops_is_told() -> None:
    """What the clean-up raises is not lost, and hides no cancellation."""

    async def live() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise OSError("cannot be closed")

    async def main() -> None:
        with pytest.raises(BaseExceptionGroup) as caught:
            async with running(Application("shop", [TrioService(live)])):
                pass
        assert [repr(error) for error in caught.value.exceptions] == ["OSError('cannot be closed')"]

    run(main())


@pytest.mark.parametrize("place", ["itself", "a child", "a grandchild"])
def test_what_does_not_stop_is_left_behind_with_its_line(place: str) -> None:
    """A shield is kept beyond *stop_timeout*: the service is left behind, and the line of trio code named."""
    ended = []
    go = asyncio.Event()

    async def hangs(release: trio.Event) -> None:
        with trio.CancelScope(shield=True):
            await release.wait()  # hangs
        ended.append(True)

    async def parent(release: trio.Event) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hangs, release)

    async def live(task_status: trio.TaskStatus[trio.Event]) -> None:
        release = trio.Event()
        task_status.started(release)
        if place == "itself":
            await hangs(release)
        else:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(hangs if place == "a child" else parent, release)

    async def main() -> None:
        tree = Tree(Application("shop", [TrioService(live, stop_timeout=3.0), TrioService(forever)]))
        await tree.open()
        release = tree.find("shop/live").value
        (task,) = [each for each in asyncio.all_tasks() if each.get_name() == "shop/live"]
        with pytest.raises(BaseExceptionGroup) as caught:
            await tree.close()
        (error,) = caught.value.exceptions
        assert str(error).startswith(f"shop/live: left behind: did not stop in 3.02 s, at {line_of('hangs')}")
        assert ended == []
        task.add_done_callback(lambda _: go.set())
        release.set()
        await go.wait()
        assert ended == [True]

    run(main())


def test_a_blocking_call_that_does_not_stop_is_named() -> None:
    """A thread of trio cannot be killed: the line that waits for it is named, and the next tree runs as ever."""
    release, ended = threading.Event(), threading.Event()

    def block() -> None:
        release.wait()
        ended.set()

    async def live() -> None:
        await trio.to_thread.run_sync(block)  # blocks

    async def main() -> None:
        tree = Tree(Application("shop", [TrioService(live, stop_timeout=0.05)]))
        await tree.open()
        with pytest.raises(BaseExceptionGroup, match="errors while stopping") as caught:
            await tree.close()
        assert line_of("blocks") in str(caught.value.exceptions[0])
        (task,) = [each for each in asyncio.all_tasks() if each.get_name() == "shop/live"]
        release.set()
        await asyncio.wait([task])

    asyncio.run(main())
    assert ended.wait(10)


def test_the_end_of_the_loop_ends_what_was_left_behind() -> None:
    """Where a program goes on, no shield outlives the loop: what was left behind is put away, and trio runs again."""
    told = []

    async def live() -> None:
        with trio.CancelScope(shield=True):
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(hang)
            finally:
                told.append("closed")

    async def hang() -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep_forever()

    async def main() -> None:
        tree = Tree(Application("shop", [TrioService(live, stop_timeout=0.05)]))
        await tree.open()
        with pytest.raises(BaseExceptionGroup, match="errors while stopping"):
            await tree.close()
        told.append("left behind")

    asyncio.run(main())
    asyncio.run(main())
    assert told == ["left behind", "closed"] * 2


def test_a_thread_that_hangs_beyond_the_loop_keeps_nobody_from_trio() -> None:
    """What cannot be ended even then is left as it is: the loop closes, and trio runs again in the next."""
    program = (
        "import asyncio, threading, trio\n"
        "from plait import Application, Tree\n"
        "from plait.guests.trio import TrioService\n"
        "async def blocks(): await trio.to_thread.run_sync(threading.Event().wait)\n"
        "async def main():\n"
        "    tree = Tree(Application('shop', [TrioService(blocks, stop_timeout=0.05)]))\n"
        "    await tree.open()\n"
        "    try: await tree.close()\n"
        "    except BaseExceptionGroup as error: print(len(error.exceptions), flush=True)\n"
        "asyncio.run(main())\n"
        "asyncio.run(main())\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert (ended.returncode, ended.stdout) == (0, "1\n1\n"), ended


def test_a_start_that_is_cancelled_leaves_nothing() -> None:
    """A tree that is stopped while trio code is slow to start cancels that, and waits for its clean-up."""
    told = []

    async def slow(task_status: trio.TaskStatus[None]) -> None:
        try:
            await trio.sleep(20)
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
                told.append("closed")

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5), running(Application("shop", [TrioService(forever), TrioService(slow)])):
                pass
        assert told == ["closed"]
        assert asyncio.get_running_loop().time() == 6.0

    run(main())


# One run of trio for all ----------------------------------------------------------------------------------------------


@REAL
def test_the_services_of_a_loop_share_one_run(run_real: Callable[[Coroutine[Any, Any, None]], None]) -> None:
    """Trio runs once in a thread: each service is a task of that run, and none harms another."""
    roots = []

    def make(name: str) -> TrioService[None]:
        async def live() -> None:
            roots.append(trio.lowlevel.current_root_task())
            if name == "fails":
                raise ValueError("no")
            if name != "returns":
                await trio.sleep_forever()

        return TrioService(live, name=name, restart="never")

    async def main() -> None:
        names = ["one", "fails", "returns", "two"]
        async with running(Application("shop", [make(name) for name in names])) as tree:
            await reached(tree, "shop/fails", State.FAILED)
            await reached(tree, "shop/returns", State.DONE)
            assert [tree.state(f"shop/{name}") for name in ("one", "two")] == [State.READY, State.READY]
            await tree.restart("shop/one")
        assert not trio.lowlevel.in_trio_run()

    run_real(main())
    assert len(roots) == 5
    assert len(set(roots)) == 1


@pytest.mark.parametrize("run_it", [asyncio.run, uvloop.run, run], ids=["asyncio", "uvloop", "virtual"])
def test_runs_that_are_over_leave_nothing_with_their_loop(
    run_it: Callable[[Coroutine[Any, Any, None]], None],
) -> None:
    """However often a service runs again: nothing of its former runs of trio is kept."""
    seen: list[weakref.ref[Any]] = []

    def collect() -> None:
        for _ in range(2):
            gc.collect()  # what finalisers still use goes with the second

    async def again() -> None:
        seen.extend([weakref.ref(trio.lowlevel.current_root_task()), weakref.ref(trio.lowlevel.current_clock())])
        if len(seen) < 40:
            raise OSError("no luck")
        await trio.sleep_forever()

    async def main() -> None:
        tree = Tree(Application("shop", [TrioService(again)], limit=Limit(100, 60.0), backoff=Backoff(base=0)))
        await tree.open()
        await reached(tree, "shop/again", State.READY, life=20)
        collect()
        assert sum(each() is not None for each in seen) == 2  # those of the present run
        await tree.close()
        collect()
        assert [each for each in seen if each() is not None] == []

    run_it(main())


def test_a_run_that_is_ending_is_not_joined() -> None:
    """Who comes while the last run is still finalising waits for the end of that, and begins another."""
    roots = []
    left = []

    async def slow_to_close() -> AsyncIterator[None]:
        try:
            yield
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)  # it closes

    async def live() -> None:
        roots.append(trio.lowlevel.current_root_task())
        left.append(slow_to_close())
        await anext(left[-1])
        await trio.sleep_forever()

    async def main() -> None:
        one, two = (Tree(Application(name, [TrioService(live)])) for name in ("one", "two"))
        await one.open()
        await one.restart("one/live")
        loop = asyncio.get_running_loop()
        assert loop.time() == 1.0
        one.stop_soon()
        await asyncio.sleep(0.5)
        (task,) = [each for each in asyncio.all_tasks() if each.get_name() == "one/live"]
        assert where(task).startswith(line_of("it closes"))
        await two.open()
        assert loop.time() == 2.0
        await two.close()

    run(main())
    assert len(set(roots)) == 3


def test_a_run_of_somebody_else_is_told() -> None:
    """Where trio runs already, the start fails with a sentence, and the other run is left in peace."""
    ended = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        over = asyncio.Event()

        def done(result: Any) -> None:
            ended.append(result)
            over.set()

        trio.lowlevel.start_guest_run(
            functools.partial(trio.sleep, 0.3),
            run_sync_soon_threadsafe=loop.call_soon_threadsafe,
            done_callback=done,
            host_uses_signal_set_wakeup_fd=True,
        )
        with pytest.raises(StartFailed, match="trio runs in this thread already, begun by somebody else"):
            async with running(Application("shop", [TrioService(forever)], limit=Limit(0))):
                pass
        await over.wait()

    asyncio.run(main())
    assert [getattr(result, "error", None) for result in ended] == [None]


def test_a_run_that_breaks_is_the_failure_of_all() -> None:
    """A system task that fails breaks the run of trio: all in it fail with that, and run again in another."""

    async def bad() -> None:
        raise KeyError("system")

    async def spoils() -> None:
        if plait.current().path == "shop/spoils":
            trio.lowlevel.spawn_system_task(bad)
        await trio.sleep_forever()

    async def main() -> None:
        tree = Tree(Application("shop", [TrioService(forever), TrioService(spoils, restart="never")]))
        causes: list[str] = []
        tree.subscribe(lambda event: causes.append(str(getattr(event, "cause", None))))
        await tree.open()
        await reached(tree, "shop/spoils", State.FAILED)
        await reached(tree, "shop/forever", State.READY, life=2)
        await tree.close()
        text = "the run of trio, which all services share, broke: KeyError('system')"
        assert {cause for cause in causes if cause != "None"} == {f"shop/spoils: {text}", f"shop/forever: {text}"}

    run(main())


def test_sigint_stays_the_loop_s() -> None:
    """Trio takes no signal over, not even where nobody else has."""
    seen = []

    async def live() -> None:
        seen.append(signal.getsignal(signal.SIGINT))
        await trio.sleep_forever()

    async def main() -> None:
        async with running(Application("shop", [TrioService(live)])):
            pass

    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()
        signal.signal(signal.SIGINT, before)
    assert seen == [signal.default_int_handler]


def test_interrupted_under_asyncio_run_it_stops_in_order() -> None:
    """INT in the middle of trio code cancels the main task of asyncio, and raises nothing in trio."""
    told = []

    async def live() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.01)
                told.append("closed")

    async def main() -> None:
        async with running(Application("shop", [TrioService(live)])):
            await asyncio.Event().wait()

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
    assert told == ["closed"]


def test_interrupted_in_a_bare_loop_it_is_the_loop_s() -> None:
    """Where nobody handles INT, KeyboardInterrupt comes out of the loop, as it does from any other task."""

    async def live() -> None:
        signal.raise_signal(signal.SIGINT)

    async def main() -> None:
        tree = Tree(Application("shop", [TrioService(live, restart="never"), stays]))
        trees.append(tree)
        await tree.open()
        await tree.wait()

    trees: list[Tree] = []
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    loop = asyncio.new_event_loop()
    try:
        task = loop.create_task(main())
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(task)
        loop.call_soon(trees[0].stop_soon)
        loop.run_until_complete(task)
    finally:
        loop.close()
        signal.signal(signal.SIGINT, before)


def test_a_loop_that_was_stopped_goes_on_with_trio() -> None:
    """sys.exit in a callback stops the loop, which is then run to the end: generators of trio stay trio's meanwhile."""
    told = []

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            told.append(trio.lowlevel.in_trio_task())

    async def live(task_status: trio.TaskStatus[None]) -> None:
        generator = numbers()
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.01)
                keep.append(generator)
                await anext(generator)

    async def leaves(context: Context[None]) -> None:
        context.ready()
        asyncio.get_running_loop().call_later(0.01, sys.exit, 3)
        await asyncio.Event().wait()

    keep: list[object] = []
    with pytest.raises(SystemExit) as caught:
        plait.run(Application("shop", [TrioService(live), Task(leaves)]))
    assert caught.value.code == 3
    assert told == [True]


def test_a_run_that_cannot_go_on_is_the_failure_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are no more threads, trio cannot wait: all fail, and run again in another run."""
    refused = []
    begin = trio._core._run.start_thread_soon  # type: ignore[attr-defined]

    def refuse(*arguments: Any, **options: Any) -> None:
        if not refused:
            refused.append(True)
            raise RuntimeError("can't start new thread")
        begin(*arguments, **options)

    monkeypatch.setattr(trio._core._run, "start_thread_soon", refuse)  # type: ignore[attr-defined]

    async def main() -> None:
        tree = Tree(Application("shop", [TrioService(forever)]))
        causes: list[str] = []
        tree.subscribe(lambda event: causes.append(str(getattr(event, "cause", None))))
        await tree.open()
        await reached(tree, "shop/forever", State.READY, life=2)
        await tree.close()
        text = 'shop/forever: the run of trio, which all services share, broke: RuntimeError("can\'t start new thread")'
        assert {cause for cause in causes if cause != "None"} == {text}

    run(main())


# Context --------------------------------------------------------------------------------------------------------------

season: contextvars.ContextVar[str] = contextvars.ContextVar("season", default="none")


@pytest.mark.logs("WARNING shop.live: (itself|a child|a thread)")
def test_trio_code_knows_where_it_runs(caplog: pytest.LogCaptureFixture) -> None:
    """`plait.current()` and the variables are there, in tasks and threads of trio as well."""
    told = []

    async def live(task_status: trio.TaskStatus[None]) -> None:
        def tell(who: str) -> None:
            plait.current().log.warning(who)
            told.append((who, plait.current().path, season.get()))

        async def child() -> None:
            tell("a child")

        tell("itself")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
        await trio.to_thread.run_sync(tell, "a thread")
        task_status.started()
        await trio.sleep_forever()

    async def main() -> None:
        season.set("winter")
        async with running(Application("shop", [TrioService(forever), TrioService(live)])):
            pass

    asyncio.run(main())
    assert told == [(who, "shop/live", "winter") for who in ("itself", "a child", "a thread")]
    assert {record.name for record in caplog.records if record.levelno == logging.WARNING} == {"shop.live"}


def test_trio_code_can_stop_waiting_for_what_it_needs() -> None:
    """`need` is cancelled as trio code is, and raises what it raises elsewhere."""
    other = TrioService(forever, name="elsewhere")
    errors = []

    async def provider(context: Context[int]) -> None:
        context.ready(1)
        await asyncio.Event().wait()

    provides = Task(provider)

    async def asks() -> None:
        try:
            await need(other)
        except NeedError as error:
            errors.append(str(error))
        with trio.move_on_after(5) as scope:
            await need(later)
        errors.append(str(scope.cancelled_caught))
        errors.append(str(await need(provides)))
        await trio.sleep_forever()

    async def slow(context: Context[None]) -> None:
        await asyncio.sleep(20)
        context.ready()
        await asyncio.Event().wait()

    later = Task(slow, name="later")

    async def main() -> None:
        async with running(Application("shop", [provides])) as tree:
            added = asyncio.create_task(tree.add(later))
            await asyncio.sleep(1)  # it is on its way, for another 19 seconds
            await tree.add(TrioService(asks))
            await added

    run(main())
    assert errors[1:] == ["True", "1"]
    assert "elsewhere" in errors[0]


def test_asynchronous_generators_are_finalised() -> None:
    """What the last service left half-read is closed at the end of the run, in trio; and asyncio's are asyncio's."""
    told = []

    async def numbers(name: str) -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            told.append((name, trio.lowlevel.in_trio_task()))

    keep = []

    async def live() -> None:
        generator = numbers("trio")
        keep.append(generator)
        assert await anext(generator) == 1

    async def main() -> None:
        theirs = numbers("asyncio")
        async with running(Application("shop", [TrioService(live), stays])) as tree:
            assert await anext(theirs) == 1
            await reached(tree, "shop/live", State.DONE)
            assert told == [("trio", True)]

    run(main())
    assert told == [("trio", True), ("asyncio", False)]


def test_anyio_runs_on_trio_there() -> None:
    """What is written with anyio is trio code in a TrioService, while it is asyncio's beside it."""
    told = []

    async def serve(task_status: anyio.abc.TaskStatus[str]) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep_forever)
            task_status.started(current_async_library())
            try:
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(1)
                    told.append(current_async_library())

    on_trio = TrioService(serve)

    async def beside(context: Context[None]) -> None:
        told.append(await context.need(on_trio))
        await anyio.sleep(1)
        told.append(current_async_library())
        context.ready()
        await anyio.sleep_forever()

    async def main() -> None:
        async with running(Application("shop", [on_trio, Task(beside)])):
            pass

    run(main())
    assert told == ["trio", "asyncio", "trio"]


# Clocks and stacks ----------------------------------------------------------------------------------------------------


def test_on_the_virtual_clock_trio_has_the_same_time() -> None:
    """In tests on the virtual clock a day of trio passes in no time, in step with that of asyncio."""
    told: list[tuple[str, float]] = []
    loop = VirtualClockLoop()

    async def days() -> None:
        for _ in range(3):
            await trio.sleep(86400)
            told.append(("trio", trio.current_time()))
        with trio.move_on_after(10):
            await trio.sleep(1000)
        told.append(("trio", trio.current_time()))

    async def nights(context: Context[None]) -> None:
        context.ready()
        await asyncio.sleep(43200)
        for _ in range(3):
            told.append(("asyncio", loop.time()))
            await asyncio.sleep(86400)

    async def main() -> None:
        async with running(Application("shop", [Task(nights), TrioService(days), stays])) as tree:
            await reached(tree, "shop/days", State.DONE)

    with contextlib.closing(loop):
        loop.run_until_complete(main())
    assert told == [
        ("asyncio", 43200.0),
        ("trio", 86400.0),
        ("asyncio", 129600.0),
        ("trio", 172800.0),
        ("asyncio", 216000.0),
        ("trio", 259200.0),
        ("trio", 259210.0),
    ]


def test_what_waits_for_ever_is_told_on_the_virtual_clock() -> None:
    """Where nothing of asyncio nor of trio will ever happen, the test ends with `Stuck`."""

    async def main() -> None:
        async with running(Application("shop", [TrioService(forever)])):
            await asyncio.Event().wait()

    with pytest.raises(Stuck):
        run(main(), patience=0.2)


def test_trio_s_tasks_are_among_the_stacks() -> None:
    """Where everything is, asked by USR2, has each task of trio, with its service and its line."""

    async def child() -> None:
        await trio.sleep_forever()  # child

    async def live(task_status: trio.TaskStatus[None]) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child, name="the child")
            await trio.lowlevel.checkpoint()
            task_status.started()
            await trio.sleep_forever()  # live

    async def main() -> None:
        async with running(Application("shop", [TrioService(live)])):
            found = [stack for stack in describe_tasks(asyncio.get_running_loop()) if stack.path == "shop/live"]
            kinds = [(stack.kind, stack.name) for stack in found]
            assert kinds == [("task", "shop/live"), ("trio task", "shop/live"), ("trio task", "the child")]
            assert [line_of(text) for text in ("live", "live", "child")] == [
                stack.where.partition(" in ")[0] + " in " for stack in found
            ]
            assert str(found[2]).splitlines()[1].endswith("await trio.sleep_forever()  # child")
        async with running(Application("shop", [TrioService(trio.sleep_forever)])):
            (task,) = [each for each in asyncio.all_tasks() if each.get_name() == "shop/sleep_forever"]
            assert where(task).endswith(" in sleep_forever")

    run(main())


def test_trio_serves_sockets_that_stay_open_between_lives() -> None:
    """A class that says its endpoints gets them open; who comes while it is down waits instead of being refused."""
    endpoint = Endpoint.listening("tcp:0:interface=127.0.0.1")

    class Web(TrioService[tuple[str, int]]):
        def endpoints(self) -> tuple[Endpoint, ...]:
            return (endpoint,)

    async def answer(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.send_all(await stream.receive_some(100))

    async def web(task_status: trio.TaskStatus[tuple[str, int]]) -> None:
        listeners = [
            trio.SocketListener(trio.socket.from_stdlib_socket(each)) for each in plait.current().sockets(endpoint)
        ]
        task_status.started(listeners[0].socket.getsockname())
        await trio.serve_listeners(answer, listeners)

    async def main() -> None:
        async with running(Application("shop", [Web(web), stays])) as tree:
            address = tree.find("shop/web").value
            await tree.stop("shop/web")
            reader, writer = await asyncio.open_connection(*address)
            writer.write(b"hello")
            await tree.start("shop/web")
            assert tree.find("shop/web").value == address
            assert await reader.read() == b"hello"
            writer.close()
            await writer.wait_closed()

    asyncio.run(main())


# The value ------------------------------------------------------------------------------------------------------------


def plain() -> None: ...


async def greedy(one: object) -> None: ...


async def keyword(*, wanted: int, task_status: object) -> None: ...


async def easy(times: int = 3, *rest: int, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    task_status.started()


@pytest.mark.parametrize("function", [plain, greedy, keyword, 5])
def test_what_cannot_be_called_is_refused(function: Any) -> None:
    """A blocking function, or one that wants what a service cannot give, is refused at construction."""
    name = getattr(function, "__name__", "5")
    with pytest.raises(ConfigurationError) as caught:
        TrioService(function, name="it")
    assert str(caught.value) == (
        f"TrioService it: function={name}: wanted an async function of no arguments, or of one, task_status"
    )


def test_it_is_a_value() -> None:
    """It is named after its function, compared and pickled; partials are as good as functions."""
    assert repr(TrioService(easy)) == "TrioService(easy)"
    assert TrioService(functools.partial(greedy, 1)).name == "greedy"
    assert pickle.loads(pickle.dumps(TrioService(easy))) == TrioService(easy)


# Without trio ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def python() -> Callable[[str], str]:
    """A function that runs a program in another Python, and returns what it prints."""

    def call(program: str) -> str:
        command = [sys.executable, "-W", "error", "-c", program]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=30)
        assert (ended.returncode, ended.stderr) == (0, "")
        return ended.stdout.strip()

    return call


def test_without_trio_it_says_what_to_do(python: Callable[[str], str]) -> None:
    """Where trio is not installed, the import fails with a sentence."""
    text = python(
        "import sys; sys.modules['trio'] = None\n"
        "from plait import ConfigurationError\n"
        "try: from plait.guests.trio import TrioService\n"
        "except ConfigurationError as error: print(error)"
    )
    assert text == "plait.guests.trio: needs the package trio: pip install plait[trio]"


def test_the_core_does_not_import_trio(python: Callable[[str], str]) -> None:
    """All of plait loads without trio, and without anyio."""
    program = (
        "import sys; from plait.runner.preload import preload; preload()\n"
        "import plait; [getattr(plait, name) for name in plait.__all__]\n"
        "print([name for name in ('trio', 'anyio', 'plait.guests') if name in sys.modules])"
    )
    assert python(program) == "[]"


def test_a_trace_of_two_trees() -> None:
    """Two trees, one after the other in one process, live the same."""
    traces = []

    async def main() -> None:
        tree = Tree(Application("shop", [TrioService(easy), TrioService(forever)]))
        trace = Trace(tree)
        await tree.open()
        await tree.close()
        traces.append(trace.states())

    run(main())
    run(main())
    assert traces[0] == traces[1]
