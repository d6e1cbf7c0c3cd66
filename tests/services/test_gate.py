"""
The gate: one probe for all, then a paced release.  A thousand clients on the virtual clock, without a socket.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable
from typing import Any

import pytest

from plait.services import gate as gates
from plait.services.gate import gate_to
from plait.testing import run
from plait.tree.policy import Backoff

RETRY = Backoff(base=0.1, cap=0.5, jitter=0.5, quiet=2.0, immediate=False)


def now() -> float:
    return asyncio.get_running_loop().time()


class Clients:
    """So many clients of one place, which is there when *is_there* says so, and takes *trip* seconds to say it."""

    def __init__(self, is_there: Callable[[float], bool], trip: float = 0.001) -> None:
        self.is_there = is_there
        self.trip = trip
        self.attempts: list[tuple[float, int]] = []
        self.through: dict[int, float] = {}

    async def client(self, number: int, wait: float, retry: Backoff = RETRY, destination: str = "broker") -> None:
        """Wait, then try until it is through."""
        with gate_to(destination) as gate:
            await asyncio.sleep(wait)
            while True:
                try:
                    async with gate.turn(retry):
                        self.attempts.append((now(), number))
                        await asyncio.sleep(self.trip)
                        if not self.is_there(now()):
                            raise ConnectionRefusedError
                    break
                except OSError:
                    pass
            self.through[number] = now()
            await asyncio.sleep(3600)

    def run(self, count: int, seconds: float, lost: bool = True) -> None:
        """Let them run; *lost*: each has lost its connection just now, and waits its own back-off first."""

        async def main() -> None:
            chance = random.Random(1)
            waits = [RETRY.delay(1, chance.random()) if lost else 0.0 for _ in range(count)]
            tasks = [asyncio.create_task(self.client(number, wait)) for number, wait in enumerate(waits)]
            await asyncio.sleep(seconds)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            assert not gates._gates

        random.seed(7)
        run(main())

    def worst(self, window: float) -> int:
        """Return the most attempts within any so many seconds."""
        times = sorted(time for time, _ in self.attempts)
        end = most = 0
        for first, time in enumerate(times):
            while end < len(times) and times[end] < time + window:
                end += 1
            most = max(most, end - first)
        return most


@pytest.mark.parametrize(("away", "limit"), [(3.0, 1.5), (12.0, 1.9)])
def test_a_thousand_come_back_soon_and_evenly(away: float, limit: float) -> None:
    """All are back in time, never too many at once, with one attempt each but for the probes, by turns."""
    for trip in (0.0001, 0.05):
        clients = Clients(lambda time: time >= away, trip)
        clients.run(1000, away + 5)
        assert len(clients.through) == 1000
        assert max(clients.through.values()) <= away + limit
        assert clients.worst(0.1) <= 150
        assert len(clients.attempts) <= 2000
        counts = [0] * 1000
        for _, number in clients.attempts:
            counts[number] += 1
        assert max(counts) <= 4


def test_a_thousand_that_are_cut_at_once_do_not_come_as_a_herd() -> None:
    """No hundredth of the time in which they reconnect gets more than a twentieth of the attempts (promise 16)."""
    clients = Clients(lambda _: True)
    clients.run(1000, 5)
    assert len(clients.through) == 1000
    first, last = min(clients.attempts)[0], max(clients.attempts)[0]
    assert last - first < 1.1
    assert clients.worst((last - first) / 100) <= 50
    assert len(clients.attempts) == 1000


def test_a_thousand_that_start_against_a_closed_door_make_one_attempt_at_a_time() -> None:
    """Also the first attempts are one probe for all, and its waits grow to the cap."""
    clients = Clients(lambda _: False)
    clients.run(1000, 60, lost=False)
    times = [time for time, _ in clients.attempts]
    waits = [after - before - clients.trip for before, after in itertools.pairwise(times)]
    assert all(0.05 <= wait <= 0.1001 for wait in waits[:1])
    assert all(0.1 <= wait <= 0.2001 for wait in waits[1:2])
    assert all(0.2499 <= wait <= 0.5001 for wait in waits[4:])
    assert len({number for _, number in clients.attempts}) == len(clients.attempts)


def test_a_failure_stops_the_release() -> None:
    """A place that answers for 0.3 s and goes away again is besieged by few: of those under way only one counts."""
    clients = Clients(lambda time: 3 <= time < 3.3 or time >= 6, trip=0.01)
    clients.run(1000, 10)
    early = [time for time, _ in clients.attempts if 3.35 < time < 6]
    assert len(early) < 20
    assert len(clients.through) == 1000
    assert max(clients.through.values()) <= 7.5


def test_few_are_ten_milliseconds_apart() -> None:
    """A handful is not stretched over the second, and not let through together either."""
    clients = Clients(lambda time: time >= 1)
    clients.run(10, 3)
    times = sorted(clients.through.values())
    waits = [after - before for before, after in itertools.pairwise(times)]
    assert all(0.009 < wait < 0.012 for wait in waits)


def test_a_busy_loop_does_not_turn_the_release_into_a_heap() -> None:
    """What is late because the loop was blocked for half a second is spread as before."""

    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        loop.call_at(3.5, lambda: setattr(loop._jumping, "now", 4.0))
        tasks = [asyncio.create_task(clients.client(number, 0.0)) for number in range(1000)]
        await asyncio.sleep(10)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    clients = Clients(lambda time: time >= 3)
    run(main())
    assert clients.worst(0.1) <= 150
    assert len(clients.through) == 1000


@pytest.mark.parametrize("trip", [0.0, 0.001, 0.05])
def test_a_door_that_opens_and_shuts_at_once_is_not_open(trip: float) -> None:
    """Something that accepts and closes at once is no server: after the first one died, only probes go on."""
    attempts: list[float] = []

    async def client() -> None:
        failures = 0
        with gate_to("balancer") as gate:
            while True:
                async with gate.turn(RETRY) as turn:
                    attempts.append(now())
                    await asyncio.sleep(trip)
                await asyncio.sleep(0.002)
                turn.died()
                failures += 1
                await asyncio.sleep(RETRY.delay(failures, random.random()))

    async def main() -> None:
        tasks = [asyncio.create_task(client()) for _ in range(1000)]
        await asyncio.sleep(20)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    random.seed(7)
    run(main())
    assert len([time for time in attempts if time > 1]) < 20 / 0.25 * (4 + trip / 0.0009)


def test_destinations_do_not_wait_for_each_other() -> None:
    """One that is away keeps nobody from another."""

    async def main() -> None:
        tasks = [
            asyncio.create_task(away.client(1, 0.0, destination="away")),
            asyncio.create_task(there.client(2, 1.0, destination="there")),
        ]
        await asyncio.sleep(5)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    away, there = Clients(lambda _: False), Clients(lambda _: True)
    run(main())
    assert not away.through
    assert there.through[2] == pytest.approx(1.001)


def test_a_fault_of_its_own_says_nothing_about_the_destination() -> None:
    """Any error that is not the network's lets the next one try at once, and closes nothing."""

    async def broken() -> None:
        with gate_to("broker") as gate:
            async with gate.turn(RETRY):
                await asyncio.sleep(0.01)
                raise ValueError("mine")

    async def main() -> None:
        task = asyncio.create_task(broken())
        other = asyncio.create_task(clients.client(1, 0.001))
        with pytest.raises(ValueError, match="mine"):
            await task
        await asyncio.sleep(1)
        other.cancel()
        await asyncio.wait([other])

    clients = Clients(lambda _: True)
    run(main())
    assert clients.through[1] == pytest.approx(0.011)


@pytest.mark.parametrize("when", [0.0, 0.0005, 0.05, 3.0, 3.5])
def test_clients_that_are_stopped_hand_their_turn_on(when: float) -> None:
    """Whoever is stopped, waiting, probing or under way, keeps nobody else from getting through."""

    async def main() -> None:
        tasks = [asyncio.create_task(clients.client(number, 0.0)) for number in range(300)]
        await asyncio.sleep(when)
        for task in tasks[:299]:
            task.cancel()
        await asyncio.sleep(7)
        tasks[299].cancel()
        await asyncio.wait(tasks)
        assert not gates._gates

    clients = Clients(lambda time: time >= 3)
    run(main())
    assert clients.through[299] < 4.5


def test_a_probe_that_hangs_does_not_keep_the_others() -> None:
    """After three seconds without an answer the next one tries beside it, and whoever gets through opens."""

    async def hanging() -> None:
        with gate_to("broker") as gate:
            async with gate.turn(RETRY):
                await asyncio.sleep(3600)

    async def main() -> None:
        tasks = [asyncio.create_task(hanging()) for _ in range(3)]
        tasks += [asyncio.create_task(clients.client(number, 0.1)) for number in range(100)]
        await asyncio.sleep(60)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert not gates._gates

    clients = Clients(lambda _: True)
    run(main())
    assert len(clients.through) == 100
    assert 9 < min(clients.through.values()) < 9.1
    assert max(clients.through.values()) < 10.1


def test_a_slow_answer_opens_for_all() -> None:
    """An attempt that takes long, because packets were lost, counts as much as any when it gets through."""

    async def slow() -> None:
        with gate_to("broker") as gate:
            async with gate.turn(RETRY):
                await asyncio.sleep(4)
            await asyncio.sleep(100)

    async def main() -> None:
        tasks = [asyncio.create_task(slow())]
        tasks += [asyncio.create_task(clients.client(number, 0.1)) for number in range(50)]
        await asyncio.sleep(60)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    clients = Clients(lambda time: True, trip=0.5)
    clients.is_there = lambda time: time > 4
    run(main())
    assert max(clients.through.values()) < 6


def test_a_client_that_is_stopped_as_it_is_let_through_hands_its_turn_on() -> None:
    """Between being let through and trying, a stopped client passes the turn to the next one at once."""

    async def main() -> None:
        with gate_to("broker") as gate:
            first, second, third = (asyncio.create_task(clients.client(number, 0.0)) for number in range(3))
            await asyncio.sleep(0)
            while len(gate._queue) < 2:
                await asyncio.sleep(0)
            gate.gave_up(next(iter(gate._under_way)))  # the first one's attempt ends; the second is let through ...
            second.cancel()  # ... and stopped before it could do anything
            await asyncio.sleep(0.5)
            assert 2 in clients.through
            for task in (first, third):
                task.cancel()
            await asyncio.wait([first, second, third])

    clients = Clients(lambda _: True)
    run(main())


def test_the_wait_of_a_client_that_is_stopped_is_not_the_wait_of_the_others() -> None:
    """Each probe waits as its own policy says; when it is stopped, the next one's counts."""

    async def main() -> None:
        slow = Backoff(base=1000, cap=1000, jitter=0, immediate=False)
        patient = asyncio.create_task(clients.client(1, 0.0, slow))
        await asyncio.sleep(1)  # it has failed, and waits
        quick = asyncio.create_task(clients.client(2, 0.0))
        await asyncio.sleep(1)
        assert len(clients.attempts) == 1
        patient.cancel()
        await asyncio.sleep(1)
        assert 2 in clients.through
        quick.cancel()
        await asyncio.wait([patient, quick])

    clients = Clients(lambda time: time > 0.5)
    run(main())
