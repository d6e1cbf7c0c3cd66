"""
Periodic and Cron: do it again, never twice at once
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import floor
from random import random
from time import time
from typing import TYPE_CHECKING

from plait.errors import ConfigurationError
from plait.services.clock import Tick, clock_of
from plait.services.runs import Repeated, RunFailed, Runs
from plait.tree.service import Context, refuse
from plait.values import field, value

if TYPE_CHECKING:
    from plait.services.almanac import Almanac

__all__ = ["Cron", "Periodic", "RunFailed"]

#: The clock on the wall may be set at any time, and nothing that asyncio can wait for says so (timerfd's
#: TFD_TIMER_CANCEL_ON_SET came to Python with 3.13): so it is read at least this often, in seconds.
LOOK_EVERY = 60.0
#: A clock that was set back by less than this many seconds repeats no run; by more, it is believed.  As Debian's cron.
BELIEVE_AFTER = 3 * 3600.0


@value
class Periodic(Repeated):
    """
    Call *function* every so many seconds.

    Runs are due on a grid from the start of the service, the first at once as with twistd's ``TimerService``, or with
    ``at_once=False`` after *every* seconds.  *phase* moves the whole grid by so many seconds.  Neither the length of a
    run nor the load of the machine makes it drift, and only the monotonic clock counts.  *jitter* adds to each run a
    random delay of up to so many seconds, at most *every*: give it where many start together and nobody cares when
    exactly.

    See `Repeated` for *overlap*, *timeout* and *on_error*.
    """

    every: float
    function: Callable[[], object]
    jitter: float = field(default=0.0, kw_only=True)
    phase: float = field(default=0.0, kw_only=True)
    at_once: bool = field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.every > 0:
            refuse(self, "every", "wanted a number of seconds above 0")
        if not 0 <= self.jitter <= self.every:
            refuse(self, "jitter", f"wanted a number of seconds from 0 to every, which is {self.every:g}")
        if not self.phase >= 0:
            refuse(self, "phase", "wanted a number of seconds from 0")

    async def run(self, context: Context[None]) -> None:
        """Set the grid, then run on it until stopped."""
        loop = asyncio.get_running_loop()
        runs = Runs(self, context)
        first = loop.time() + self.phase + (0.0 if self.at_once else self.every)
        grid = _Grid(self, runs, first)
        tick = Tick(grid.ring)
        clock = clock_of(loop)
        clock.set(tick, grid.due())
        try:
            context.ready()
            await runs.live()
        finally:
            clock.clear(tick)


class _Grid:
    """When a periodic function is due."""

    __slots__ = ("_every", "_first", "_jitter", "_number", "_runs", "_skips", "_time")

    def __init__(self, periodic: Periodic, runs: Runs, first: float) -> None:
        self._first = first
        self._every = periodic.every
        self._jitter = periodic.jitter
        self._skips = periodic.overlap == "skip"
        self._runs = runs
        self._number = 0
        self._time = asyncio.get_running_loop().time

    def ring(self, _: float) -> float:
        """Run; return when it is due next."""
        self._runs.due()
        self._number += 1
        due = self._first + self._number * self._every
        if self._skips and due <= (now := self._time()):
            # A plain function that took too long, or a loop that was blocked: what was missed is dropped.
            self._number = floor((now - self._first) / self._every) + 1
            due = self._first + self._number * self._every
        return due + self._jitter * random() if self._jitter else due

    def due(self) -> float:
        """Return when the first run is due."""
        return self._first + self._jitter * random() if self._jitter else self._first


@value
class Cron(Repeated):
    """
    Call *function* whenever a cron *expression* says, such as ``0 3 * * *``; needs the extra ``plait[cron]``.

    The five fields are minute, hour, day of the month, month and weekday, as in Debian's cron; a sixth before them
    would be the second.  *timezone* is a name such as ``Europe/Berlin``; None is the machine's own zone.

    When daylight saving begins, a job of the hour that is left out runs at the change; when it ends, a job of the hour
    that comes twice runs once.  Jobs of every hour (``*``) run once in each hour that really passes.  If the clock is
    set, or the machine wakes up, that is seen within a minute: what was missed runs once; set back by less than three
    hours, nothing runs a second time.

    See `Repeated` for *overlap*, *timeout* and *on_error*.
    """

    expression: str
    function: Callable[[], object]
    timezone: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            from plait.services.almanac import Almanac, Unusable
        except ModuleNotFoundError:
            where = f"Cron {self.name}"
            raise ConfigurationError(f"{where}: needs the package cronsim: pip install plait[cron]") from None
        try:
            Almanac(self.expression, self.timezone)
        except Unusable as error:
            refuse(self, error.field, error.wanted)

    async def run(self, context: Context[None]) -> None:
        """Look at the clock on the wall and run when it is time, until stopped."""
        from plait.services.almanac import Almanac

        loop = asyncio.get_running_loop()
        runs = Runs(self, context)
        wall = _Wall(Almanac(self.expression, self.timezone), runs)
        tick = Tick(wall.ring)
        clock = clock_of(loop)
        clock.set(tick, wall.wait(loop.time(), time()))
        try:
            context.ready()
            await runs.live()
        finally:
            clock.clear(tick)


class _Wall:
    """When a cron job is due, by the clock on the wall: it is looked at from time to time."""

    __slots__ = ("_almanac", "_due", "_last", "_runs", "_seen")

    def __init__(self, almanac: Almanac, runs: Runs) -> None:
        self._almanac = almanac
        self._runs = runs
        self._seen = time()
        self._last = 0.0  # the due time of the last run
        self._due = almanac.after(self._seen)

    def ring(self, now: float) -> float:
        """Look at the clock, run if it is time; return when to look again."""
        seen, self._seen = self._seen, time()
        if self._seen >= self._due:
            self._runs.due()
            self._last = self._due
            # Counted from now: after a long sleep, what was missed runs once and not a hundred times.
            self._due = self._almanac.after(max(self._seen, self._due))
        elif self._seen < seen:
            is_small = 0 <= self._last - self._seen < BELIEVE_AFTER
            self._due = self._almanac.after(max(self._seen, self._last if is_small else 0.0))
        return self.wait(now, self._seen)

    def wait(self, now: float, wall: float) -> float:
        """Return when to look at the clock again, on the loop's clock."""
        return now + min(LOOK_EVERY, max(self._due - wall, 0.001))
