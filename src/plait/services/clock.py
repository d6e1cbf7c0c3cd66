"""
One heap of what is due, behind one timer of the loop.

Ten thousand periodic services would be ten thousand timers and ten thousand sleeping tasks; a heap of small tuples
behind the loop's one next timer costs a fraction of either, most of all when many are due at the same time.
"""

from __future__ import annotations

import asyncio
import contextvars
from bisect import bisect_right
from collections.abc import Callable
from heapq import heapify, heappop, heappush, heapreplace
from typing import Any

#: A loop rings a timer up to the resolution of its clock too early.
_RESOLUTION = 1e-6
#: The timer belongs to all ticks: it must not run as the service that happened to set it, nor keep its context alive.
_NOBODY = contextvars.Context()
#: From so many due at the same time on it is a burst.
_MANY = 64


class Tick:
    """Something that is due again and again: ``ring`` is called when it is, and returns when it is due next."""

    __slots__ = ("is_set", "ring")

    def __init__(self, ring: Callable[[float], float]) -> None:
        self.ring = ring
        self.is_set = False


# Due, order, tick.  A list, because it is used again: ten thousand new tuples at a time would set off the garbage
# collector.
_Entry = list[Any]


class Clock:
    """Rings the ticks of one loop, in the order in which they are due.  Make it with `clock_of`."""

    __slots__ = ("_count", "_handle", "_heap", "_loop", "_order", "_rings_at")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._heap: list[_Entry] = []
        self._handle: asyncio.TimerHandle | None = None
        self._rings_at = 0.0
        self._order = 0  # among those due at the same time, first come, first served
        self._count = 0

    def set(self, tick: Tick, due: float) -> None:
        """Ring *tick* at *due*, on the loop's clock, and then whenever it says."""
        tick.is_set = True
        self._count += 1
        self._order += 1
        heappush(self._heap, [due, self._order, tick])
        if self._handle is None or due < self._rings_at:
            self._arm()

    def clear(self, tick: Tick) -> None:
        """Ring *tick* no more."""
        tick.is_set = False
        self._count -= 1
        heap = self._heap
        if not self._count:
            heap.clear()
            if self._handle is not None:
                self._handle.cancel()
                self._handle = None
            _clocks.pop(self._loop, None)
        elif len(heap) > 2 * self._count + 100:
            # What is due in a day must not be kept for a day after its service has ended.
            heap[:] = [entry for entry in heap if entry[2].is_set]
            heapify(heap)

    def _arm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._rings_at = self._heap[0][0]
        self._handle = self._loop.call_at(self._rings_at, self._ring, context=_NOBODY)

    def _ring(self) -> None:
        self._handle = None
        heap = self._heap
        now = self._loop.time()
        limit = now + _RESOLUTION
        late: list[_Entry] = []
        try:
            many = _MANY
            while heap and (entry := heap[0])[0] <= limit:
                if not many:
                    self._ring_burst(now, limit)
                    break
                many -= 1
                tick = entry[2]
                if not tick.is_set:
                    heappop(heap)
                    continue
                due = tick.ring(now)
                if not tick.is_set:
                    continue
                entry[0] = due
                if heap[0] is not entry:
                    heapify(heap)  # something still earlier was set meanwhile
                elif due > limit:
                    heapreplace(heap, entry)
                else:
                    late.append(heappop(heap))
        finally:
            # Only now: what is late already rings again after the rest of the loop had its turn.
            for entry in late:
                heappush(heap, entry)
            if heap and self._count:
                self._arm()

    def _ring_burst(self, now: float, limit: float) -> None:
        """Ring so many that sorting (what is sorted is a heap too) beats taking them one by one."""
        heap = self._heap
        heap.sort()
        end = bisect_right(heap, [limit, self._order + 1])
        burst = heap[:end]
        del heap[:end]
        try:
            for entry in burst:
                tick = entry[2]
                if tick.is_set:
                    entry[0] = tick.ring(now)
        finally:
            heap += [entry for entry in burst if entry[2].is_set]
            heap.sort()


# What belongs to a loop has no better place: services that know nothing of each other share it.  An entry lives as
# long as something is set, so that neither a loop nor its clock is kept alive.
_clocks: dict[Any, Clock] = {}


def clock_of(loop: asyncio.AbstractEventLoop) -> Clock:
    """Return the clock of *loop*."""
    clock = _clocks.get(loop)
    if clock is None:
        clock = _clocks[loop] = Clock(loop)
    return clock
