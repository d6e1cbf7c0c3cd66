"""What only a real clock can show."""

from __future__ import annotations

import asyncio
import gc
import os
import time

import pytest

from plait import Application, Backoff, Limit, State, Tree, running
from plait.testing import reached
from tests.tree.probe import probe
from tests.tree.test_supervisor import NO_WAIT, _quietly


@pytest.mark.parametrize("timeout", [0.0, 0.3])
def test_a_stop_ends_in_its_time_by_the_clock(timeout: float) -> None:
    """Cancel, then left behind after the time-out, within 50 ms."""

    async def main() -> None:
        one = probe("one", swallow=99, stop_timeout=timeout)
        tree = Tree(Application("app", [one]))
        await tree.open()
        before = time.perf_counter()
        tree.stop_soon()
        await asyncio.wait([asyncio.ensure_future(_quietly(tree))])
        took = time.perf_counter() - before
        one.hand.swallow = 0
        assert one.hand.task is not None
        one.hand.task.cancel()
        await asyncio.wait([one.hand.task])

        assert timeout <= took <= timeout + 0.05

    asyncio.run(main())


def test_restarts_come_within_milliseconds_and_leave_nothing() -> None:
    """1,000 crashes: p99 under 5 ms; tasks, descriptors and threads as before; less than 1 MiB grown."""

    async def main() -> None:
        one = probe("one")
        async with running(Application("app", [one, probe("two")], limit=Limit(None), backoff=NO_WAIT)) as tree:
            times = []

            async def crash(rounds: int) -> None:
                for _ in range(rounds):
                    life = tree.find("app/one").life
                    before = time.perf_counter()
                    one.hand.order("fail")
                    await reached(tree, "app/one", State.READY, life=life + 1)
                    times.append(time.perf_counter() - before)

            await crash(100)
            gc.collect()
            before = (len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd")), resident())
            await crash(1000)
            gc.collect()
            tasks, descriptors, pages = len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd")), resident()

        assert before[:2] == (tasks, descriptors)
        assert pages - before[2] < 1024
        assert sorted(times)[int(len(times) * 0.99)] < 0.005

    asyncio.run(main())


def resident() -> int:
    """Return the resident memory of this process in KiB."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4


def test_in_a_restart_loop_a_stop_is_answered_at_once() -> None:
    """Within 100 ms, though a service without back-off or limit takes every turn of the loop."""

    async def main() -> None:
        loop_er = probe("loop", fail_from=2, fail_starts=10**9)
        application = Application("app", [loop_er, probe("two")], limit=Limit(None), backoff=Backoff(base=0))
        async with running(application) as tree:
            loop_er.hand.order("fail")
            await asyncio.sleep(0.05)
            before = time.perf_counter()
            assert tree.state("app/loop") in State
            await tree.stop("app/loop")

            assert time.perf_counter() - before < 0.1

    asyncio.run(main())
