"""
Periodic: on the grid, never twice at once unless told to, never silent.
"""

from __future__ import annotations

import asyncio
import functools
import pickle
import time
from collections.abc import Callable
from typing import Any

import pytest

import plait
from plait import Application, Periodic, State, StopApplication, running
from plait.errors import ConfigurationError
from plait.services import clock
from plait.services.runs import RunFailed
from plait.testing import Trace, run
from plait.tree.tree import Tree


def live(*services: plait.Service[Any], seconds: float = 10.0, watch: Callable[[Tree], object] | None = None) -> None:
    """Let *services* live for so many virtual seconds; nothing may be left then."""

    async def main() -> None:
        async with running(Application("shop", services)) as tree:
            if watch is not None:
                watch(tree)
            await asyncio.sleep(seconds)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert not clock._clocks

    run(main())


def now() -> float:
    return asyncio.get_running_loop().time()


def nothing() -> None:
    pass


# The grid -----------------------------------------------------------------------------------------------------------


def test_runs_on_the_grid_of_its_start_without_drift() -> None:
    """A run is due every so many seconds after the start, the first at once, and nothing adds up."""
    times: list[float] = []
    live(Periodic(0.1, lambda: times.append(now()), name="p"), seconds=999.95)
    assert len(times) == 10_000
    assert all(abs(time - number * 0.1) < 1e-6 for number, time in enumerate(times))


def test_an_async_function_runs_on_the_grid_too() -> None:
    """How long a run takes does not move the next one."""
    times: list[float] = []

    async def sweep() -> None:
        times.append(now())
        await asyncio.sleep(0.7)

    live(Periodic(1, sweep), seconds=4.5)
    assert times == pytest.approx([0, 1, 2, 3, 4])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [0, 2, 4, 6, 8]),
        ({"at_once": False}, [2, 4, 6, 8]),
        ({"phase": 0.5}, [0.5, 2.5, 4.5, 6.5, 8.5]),
        ({"phase": 0.5, "at_once": False}, [2.5, 4.5, 6.5, 8.5]),
    ],
)
def test_begins_where_it_is_told_to(options: dict[str, Any], expected: list[float]) -> None:
    """The first run comes at once or after one period, and the phase moves the whole grid."""
    times: list[float] = []
    live(Periodic(2, lambda: times.append(now()), name="p", **options), seconds=9)
    assert times == pytest.approx(expected)


def test_jitter_delays_each_run_without_moving_the_grid() -> None:
    """Each run is late by its own random delay, of which nothing is carried over."""
    times: list[float] = []
    live(Periodic(1, lambda: times.append(now()), name="p", jitter=0.5), seconds=1000)
    delays = [time - number for number, time in enumerate(times)]
    assert len(times) == 1000
    assert min(delays) >= 0
    assert max(delays) <= 0.5 + 1e-6
    assert len({round(delay, 3) for delay in delays}) > 100


def test_many_with_jitter_do_not_start_together() -> None:
    """A hundred that start at the same time spread over the jitter from the first run on."""
    times: list[float] = []
    live(*[Periodic(1, lambda: times.append(now()), name=f"p{n}", jitter=1) for n in range(100)], seconds=0.999)
    slices = [int(time * 10) for time in times]
    assert len(times) >= 95
    assert max(slices.count(number) for number in range(10)) < 30


def test_the_wall_clock_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """A jump of the wall clock by a day changes no run (promise 10)."""
    times: list[float] = []

    def sweep() -> None:
        times.append(now())
        monkeypatch.setattr(time, "time", lambda: 86_400.0 * (-1) ** len(times))

    live(Periodic(1, sweep), seconds=5.5)
    assert times == pytest.approx([0, 1, 2, 3, 4, 5])


def test_a_blocked_loop_drops_what_was_missed_and_keeps_the_grid() -> None:
    """After a plain function that took two and a half periods, the next run is at the next point of the grid."""
    times: list[float] = []

    async def main() -> None:
        loop: Any = asyncio.get_running_loop()

        def sweep() -> None:
            times.append(now())
            if len(times) == 2:
                loop._jumping.now += 2.5

        async with running(Application("shop", [Periodic(1, sweep)])):
            await asyncio.sleep(6.5)

    run(main())
    assert times == pytest.approx([0, 1, 4, 5, 6])


def test_a_queued_plain_function_makes_up_for_what_was_missed() -> None:
    """With overlap="queue" the runs missed while the loop was blocked follow at once, one at a time."""
    times: list[float] = []

    async def main() -> None:
        loop: Any = asyncio.get_running_loop()

        def sweep() -> None:
            times.append(now())
            if len(times) == 2:
                loop._jumping.now += 2.5

        async with running(Application("shop", [Periodic(1, sweep, overlap="queue")])):
            await asyncio.sleep(6.5)

    run(main())
    assert times == pytest.approx([0, 1, 3.5, 3.5, 4, 5, 6])


def test_a_queue_that_never_catches_up_leaves_the_loop_to_others() -> None:
    """A plain function that is always too slow runs back to back, and the rest of the loop has its turns between."""
    turns: list[float] = []

    async def main() -> None:
        loop: Any = asyncio.get_running_loop()

        def sweep() -> None:
            loop._jumping.now += 3

        async with running(Application("shop", [Periodic(1, sweep, overlap="queue")])):
            for _ in range(50):
                await asyncio.sleep(0)
                turns.append(now())

    run(main())
    assert len(turns) == 50


# A run that outlasts its period ---------------------------------------------------------------------------------------


def spans(overlap: str, seconds: float = 9.0) -> list[tuple[float, float]]:
    """Return when the runs of a function that takes 2.5 periods begin and end."""
    found: list[tuple[float, float]] = []

    async def sweep() -> None:
        began = now()
        await asyncio.sleep(2.5)
        found.append((began, now()))

    live(Periodic(1, sweep, overlap=overlap), seconds=seconds)  # type: ignore[arg-type]
    return found


def test_skips_while_it_runs() -> None:
    """A run that is due while one is in progress does not happen; the grid stays."""
    assert spans("skip") == [pytest.approx((begin, begin + 2.5)) for begin in (0, 3, 6)]


def test_queues_while_it_runs() -> None:
    """With overlap="queue", each follows the other at once; there are never two."""
    assert spans("queue") == [pytest.approx((begin, begin + 2.5)) for begin in (0, 2.5, 5)]


def test_a_queue_is_worked_off() -> None:
    """After one slow run the queued ones follow at once, and none is lost."""
    times: list[float] = []

    async def sweep() -> None:
        times.append(now())
        await asyncio.sleep(3.5 if len(times) == 1 else 0.1)

    live(Periodic(1, sweep, overlap="queue"), seconds=6.5)
    assert times == pytest.approx([0, 3.5, 3.6, 3.7, 4, 5, 6])


def test_overlaps_when_told_to() -> None:
    """With overlap="overlap", each begins on the grid, whatever the others do."""
    assert spans("overlap", 5.6) == [pytest.approx((begin, begin + 2.5)) for begin in (0, 1, 2, 3)]


# Failures -----------------------------------------------------------------------------------------------------------


def failing(error: BaseException, is_async: bool, times: list[float]) -> Callable[[], Any]:
    """Return a function that raises *error* in its second run."""

    def plain() -> None:
        times.append(now())
        if len(times) == 2:
            raise error

    async def suspending() -> None:
        await asyncio.sleep(0)
        plain()

    return suspending if is_async else plain


@pytest.mark.logs("ERROR shop.p: run 2 failed .ValueError: bad row")
@pytest.mark.parametrize("overlap", ["skip", "queue", "overlap"])
@pytest.mark.parametrize("is_async", [False, True])
def test_a_failed_run_is_an_event_and_an_error_and_the_next_one_comes(
    is_async: bool, overlap: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Unlike twistd's TimerService, it goes on; the record has the traceback and the event the number of the run."""
    times: list[float] = []
    traces: list[Trace] = []
    service = Periodic(1, failing(ValueError("bad row"), is_async, times), name="p", overlap=overlap)
    live(service, seconds=4.5, watch=lambda tree: traces.append(Trace(tree)))
    (event,) = [event for event in traces[0].events if isinstance(event, RunFailed)]
    assert str(event) == "shop/p: run 2 failed (ValueError: bad row)"
    assert event.number == 2
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == [
        "run 2 failed (ValueError: bad row)"
    ]
    assert len(times) == 5
    (record,) = [record for record in caplog.records if record.name == "shop.p"]
    assert record.exc_info is not None


@pytest.mark.parametrize("overlap", ["skip", "queue", "overlap"])
@pytest.mark.parametrize("is_async", [False, True])
def test_a_failed_run_fails_the_service_when_told_to(is_async: bool, overlap: Any) -> None:
    """With on_error="fail" the error is the service's own, and the supervisor decides."""
    times: list[float] = []
    found: list[Any] = []

    async def main() -> None:
        function = failing(ValueError("bad row"), is_async, times)
        service = Periodic(1, function, name="p", overlap=overlap, on_error="fail", restart="never")
        async with running(Application("shop", [service])) as tree:
            await asyncio.sleep(3.5)
            found.append((tree.find("shop/p").state, repr(tree.find("shop/p").error)))
        assert not clock._clocks

    run(main())
    assert found == [(State.FAILED, "ValueError('bad row')")]
    assert len(times) == 2


@pytest.mark.parametrize("is_async", [False, True])
def test_a_run_may_stop_the_application(is_async: bool) -> None:
    """StopApplication does what it does everywhere, also with on_error="log"."""
    times: list[float] = []

    async def main() -> float:
        service = Periodic(1, failing(StopApplication("enough"), is_async, times), name="p")
        tree = Tree(Application("shop", [service, Periodic(60, nothing)]))
        await tree.open()
        await tree.wait()
        assert tree.reason == "enough"
        return now()

    assert run(main()) == pytest.approx(1)


@pytest.mark.logs("ERROR shop.p: run 1 failed .TimeoutError: did not end in 0.5 s")
def test_a_run_has_its_time_out() -> None:
    """A run that takes longer than its time-out is cancelled, and fails."""
    times: list[float] = []

    async def sweep() -> None:
        try:
            await asyncio.sleep(3600 if not times else 0)
        finally:
            times.append(now())

    live(Periodic(1, sweep, name="p", timeout=0.5), seconds=2.5)
    assert times == pytest.approx([0.5, 1, 2])


@pytest.mark.logs("ERROR shop.p: run 1 failed .CancelledError")
def test_a_run_that_is_cancelled_by_somebody_else_has_failed() -> None:
    """A CancelledError that is no order to stop is a failure of that run, and the next one comes."""
    times: list[float] = []

    async def sweep() -> None:
        times.append(now())
        if len(times) == 1:
            raise asyncio.CancelledError

    live(Periodic(1, sweep, name="p"), seconds=2.5)
    assert times == pytest.approx([0, 1, 2])


# Stop ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("overlap", ["skip", "queue", "overlap"])
def test_a_stop_cancels_runs_in_progress_and_waits_for_them(overlap: Any) -> None:
    """When the service has stopped, its runs have cleaned up."""
    cleaned: list[float] = []

    async def sweep() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(1)
            cleaned.append(now())

    live(Periodic(1, sweep, overlap=overlap), seconds=2.5)
    assert cleaned == pytest.approx([3.5] * (3 if overlap == "overlap" else 1))


def test_a_stop_between_a_ring_and_its_run_is_clean() -> None:
    """Stopped at the very time at which it is due, it either runs or does not, and nothing is left."""
    for order in (0, 1):
        times: list[float] = []

        async def main(order: int = order, times: list[float] = times) -> None:
            async def sweep() -> None:
                times.append(now())

            if order:
                loop = asyncio.get_running_loop()
                loop.call_at(1.0, lambda: tree.stop_soon("test"))
            tree = Tree(Application("shop", [Periodic(1, sweep)]))
            await tree.open()
            if not order:
                asyncio.get_running_loop().call_at(1.0, lambda: tree.stop_soon("test"))
            await tree.wait()
            assert not clock._clocks

        run(main())
        assert times[:1] == [0]


def test_a_second_cancellation_reaches_runs_that_swallow_the_first() -> None:
    """Overlapping runs that ignore the stop are cancelled again when the service is."""
    ended: list[float] = []

    async def sweep() -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            try:
                await asyncio.sleep(3600)
            finally:
                ended.append(now())

    live(Periodic(1, sweep, overlap="overlap", stop_timeout=2.0), seconds=0.5)
    assert ended == pytest.approx([2.5])


# What a person writes -------------------------------------------------------------------------------------------------


def test_the_function_runs_in_the_context_of_its_service() -> None:
    """plait.current() is the service's, in plain and async runs and in overlapping ones, and log records say so."""
    seen: list[str] = []

    def plain() -> None:
        seen.append(plait.current().path)

    async def suspending() -> None:
        await asyncio.sleep(0)
        seen.append(plait.current().path)

    live(
        Periodic(10, plain, name="a"),
        Periodic(10, suspending, name="b"),
        Periodic(10, suspending, name="c", overlap="overlap"),
        seconds=1,
    )
    assert sorted(seen) == ["shop/a", "shop/b", "shop/c"]


def test_a_plain_function_may_return_what_is_to_be_awaited() -> None:
    """A lambda, a partial and an object with an async call work like an async function."""
    seen: list[str] = []

    async def sweep(name: str) -> None:
        await asyncio.sleep(0)
        seen.append(name)

    class Sweep:
        async def __call__(self) -> None:
            await sweep("object")

    services = [
        Periodic(10, lambda: sweep("lambda"), name="a"),
        Periodic(10, functools.partial(sweep, "partial"), name="b"),
        Periodic(10, Sweep(), name="c"),
    ]
    live(*services, seconds=1)
    assert seen == ["lambda", "partial", "object"]


def test_is_ready_before_its_first_run_is_over() -> None:
    """Those after it need not wait for a run: it is ready once the first one is scheduled."""

    async def slow() -> None:
        await asyncio.sleep(3600)

    async def main() -> None:
        async with running(Application("shop", [Periodic(7200, slow, start_timeout=1)])):
            assert now() == 0

    run(main())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Periodic(0, nothing), "Periodic nothing: every=0: wanted a number of seconds above 0"),
        (
            lambda: Periodic(1, nothing, jitter=2),
            "Periodic nothing: jitter=2: wanted a number of seconds from 0 to every, which is 1",
        ),
        (lambda: Periodic(1, nothing, phase=-1), "Periodic nothing: phase=-1: wanted a number of seconds from 0"),
        (
            lambda: Periodic(1, nothing, overlap="never"),  # type: ignore[arg-type]
            "Periodic nothing: overlap='never': wanted one of skip, queue, overlap",
        ),
        (
            lambda: Periodic(1, nothing, on_error="ignore"),  # type: ignore[arg-type]
            "Periodic nothing: on_error='ignore': wanted one of log, fail",
        ),
        (
            lambda: Periodic(1, nothing, timeout=0),
            "Periodic nothing: timeout=0: wanted a number of seconds above 0, or None",
        ),
        (
            lambda: Periodic(1, 5, name="p"),  # type: ignore[arg-type]
            "Periodic p: function=5: wanted a function without arguments",
        ),
    ],
)
def test_refuses_what_cannot_be(make: Callable[[], object], message: str) -> None:
    """What cannot be is refused when it is written, with the field and what was wanted."""
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert str(caught.value) == message


def test_is_a_value() -> None:
    """Equal when its fields are, picklable, and shown as it was written."""
    service = Periodic(60, nothing, jitter=5)
    assert service == pickle.loads(pickle.dumps(service))
    assert service != Periodic(61, nothing, jitter=5)
    assert repr(service) == "Periodic(60, nothing, jitter=5)"
    assert Periodic(60, lambda: None).name == "periodic"
    assert Periodic(60, functools.partial(nothing)).name == "nothing"


# The clock ------------------------------------------------------------------------------------------------------------


def test_ten_thousand_share_one_timer() -> None:
    """Ten thousand periodic services are one timer of the loop and no pending call."""

    async def main() -> None:
        services = [Periodic(10, nothing, name=f"p{number}", phase=number / 1000) for number in range(10_000)]
        async with running(Application("shop", services)):
            await asyncio.sleep(0.0005)
            loop: Any = asyncio.get_running_loop()
            assert len([handle for handle in loop._scheduled if not handle.cancelled()]) <= 2

    run(main())


@pytest.mark.parametrize("count", [3, 63, 64, 65, 500])
def test_all_that_are_due_at_the_same_time_ring_in_order(count: int) -> None:
    """Few or many: those due together ring in the order in which they were set, each once."""
    rung: list[tuple[float, int]] = []
    services = [
        Periodic(1, functools.partial(lambda number: rung.append((now(), number)), number), name=f"p{number}")
        for number in range(count)
    ]
    live(*services, seconds=2.5)
    assert [number for _, number in rung] == list(range(count)) * 3
    assert sorted({round(time, 3) for time, _ in rung}) == [0, 1, 2]


def test_services_that_end_while_others_ring_do_not_disturb_them() -> None:
    """In a burst, one in three ends itself at its second run; the others lose nothing."""
    counts = dict.fromkeys(range(300), 0)

    def ring(number: int) -> None:
        counts[number] += 1
        if number % 3 == 0 and counts[number] == 2:
            raise ValueError("enough")

    services = [
        Periodic(1, functools.partial(ring, number), name=f"p{number}", on_error="fail", restart="never")
        for number in range(300)
    ]
    live(*services, seconds=9.5)
    assert counts == {number: 2 if number % 3 == 0 else 10 for number in range(300)}


def test_what_has_ended_is_not_kept_until_it_would_have_been_due() -> None:
    """A thousand restarts of a service that is due in a day leave no thousand entries behind."""

    async def main() -> None:
        services = [Periodic(86_400, nothing, name=name, at_once=False) for name in ("p", "q")]
        async with running(Application("shop", services)) as tree:
            for _ in range(1000):
                await tree.restart("shop/p")
            (shared,) = clock._clocks.values()
            assert len(shared._heap) < 110
        assert not clock._clocks

    run(main())
