"""
The clock of trio: the real one, and on a virtual clock of `plait.testing` that one.
"""

from __future__ import annotations

import asyncio
import math
from typing import Any

import trio


def clock_of(loop: asyncio.AbstractEventLoop) -> LoopClock | None:
    """Return what trio is to take for its clock on *loop*; None is its own."""
    real_work = getattr(loop, "real_work", None)
    return None if real_work is None else LoopClock(loop, real_work)


class LoopClock(trio.abc.Clock):
    """The time of a *loop* whose clock jumps, and must not while trio has something to do."""

    def __init__(self, loop: asyncio.AbstractEventLoop, real_work: list[Any]) -> None:
        self._loop = loop
        self._real_work = real_work
        self._timer: asyncio.TimerHandle | None = None

    def start_clock(self) -> None:
        """Begin with trio's run."""
        self._token = trio.lowlevel.current_trio_token()
        self._real_work.append(self._is_awake)

    def end(self) -> None:
        """End with trio's run, and leave nothing with the loop, which may have many."""
        self._real_work.remove(self._is_awake)
        if self._timer is not None:
            self._timer.cancel()

    def current_time(self) -> float:
        """Return the time of the loop."""
        return self._loop.time()

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Let the loop wake trio at *deadline*, rather than trio itself."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        seconds = deadline - self._loop.time()
        if seconds <= 0:
            return 0.0
        if seconds != math.inf:
            self._timer = self._loop.call_at(deadline, self._wake)
        return math.inf

    def _wake(self) -> None:
        self._timer = None
        self._token.run_sync_soon(lambda: None, idempotent=False)

    def _is_awake(self) -> bool:
        now = trio.lowlevel.current_statistics()
        return now.tasks_runnable > 0 or now.run_sync_soon_queue_size > 0
