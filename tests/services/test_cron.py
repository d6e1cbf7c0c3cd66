"""
Cron: the clock on the wall, time zones, and both changes of daylight saving.
"""

from __future__ import annotations

import asyncio
import pickle
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from plait import Application, Cron, running
from plait.errors import ConfigurationError
from plait.services import clock, schedule
from plait.services.almanac import Almanac
from plait.testing import run

BERLIN = ZoneInfo("Europe/Berlin")
# In 2026, Berlin goes from 02:00 to 03:00 on 29 March, and from 03:00 back to 02:00 on 25 October.


def nothing() -> None:
    pass


def berlin(text: str, fold: int = 0) -> float:
    """Return the time that is written so on the wall in Berlin."""
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN, fold=fold).timestamp()


def dues(expression: str, start: float, count: int, zone: str | None = "Europe/Berlin") -> list[str]:
    """Return the next due times as a person in Berlin reads them, with the offset."""
    almanac = Almanac(expression, zone)
    found = []
    for _ in range(count):
        start = almanac.after(start)
        found.append(datetime.fromtimestamp(start, BERLIN).strftime("%d %H:%M%z"))
    return found


@pytest.fixture
def berlin_machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The machine's own zone is Berlin."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


ZONES = pytest.mark.parametrize("zone", ["Europe/Berlin", None])


# Daylight saving ------------------------------------------------------------------------------------------------------


@ZONES
@pytest.mark.usefixtures("berlin_machine")
def test_a_job_of_the_hour_that_is_left_out_runs_once_at_the_change(zone: str | None) -> None:
    """In spring, a job at 02:30 runs at 03:00, and at its own time on the day after."""
    found = dues("30 2 * * *", berlin("2026-03-28T12:00"), 2, zone)
    assert found == ["29 03:00+0200", "30 02:30+0200"]


@ZONES
@pytest.mark.usefixtures("berlin_machine")
def test_a_job_of_the_hour_that_comes_twice_runs_once(zone: str | None) -> None:
    """In autumn, a job at 02:30 runs in the first pass of that hour only."""
    found = dues("30 2 * * *", berlin("2026-10-24T12:00"), 2, zone)
    assert found == ["25 02:30+0200", "26 02:30+0100"]


@ZONES
@pytest.mark.usefixtures("berlin_machine")
def test_a_job_that_is_added_in_the_second_pass_does_not_run_at_once(zone: str | None) -> None:
    """Asked within the second pass, a time of the first pass is over, not due."""
    start = berlin("2026-10-25T02:10", fold=1)
    assert dues("30 2 * * *", start, 1, zone) == ["26 02:30+0100"]


@ZONES
@pytest.mark.usefixtures("berlin_machine")
def test_an_hourly_job_runs_in_every_hour_that_passes(zone: str | None) -> None:
    """With * for the hour, none runs in an hour that does not exist, and one in each of both passes."""
    assert dues("30 * * * *", berlin("2026-03-29T01:00"), 3, zone) == [
        "29 01:30+0100",
        "29 03:30+0200",
        "29 04:30+0200",
    ]
    assert dues("30 * * * *", berlin("2026-10-25T01:00"), 4, zone) == [
        "25 01:30+0200",
        "25 02:30+0200",
        "25 02:30+0100",
        "25 03:30+0100",
    ]


@ZONES
@pytest.mark.usefixtures("berlin_machine")
def test_a_job_of_every_few_minutes_keeps_its_pace_over_both_changes(zone: str | None) -> None:
    """*/20 comes every twenty minutes of real time, whatever the wall says."""
    for start in (berlin("2026-03-29T00:30"), berlin("2026-10-25T00:30")):
        almanac, times = Almanac("*/20 * * * *", zone), [start]
        for _ in range(15):
            times.append(almanac.after(times[-1]))
        assert {after - before for before, after in pairwise(times[1:])} == {1200.0}


def test_zones_differ() -> None:
    """The same expression is due at other times in other zones; UTC knows no change."""
    start = berlin("2026-07-01T00:00")
    assert Almanac("0 12 * * *", "Asia/Tokyo").after(start) == start + 5 * 3600
    assert dues("0 1 * * *", berlin("2026-03-29T00:30"), 2, "UTC") == ["29 03:00+0200", "30 03:00+0200"]


# Its life -------------------------------------------------------------------------------------------------------------


class Wall:
    """A clock on the wall that goes with the loop's virtual time, and can be set."""

    def __init__(self, start: float) -> None:
        self.offset = start

    def __call__(self) -> float:
        return self.offset + asyncio.get_running_loop().time()


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Wall:
    """The wall shows 02:00 in Berlin, 1 July 2026, when the loop's time is 0."""
    wall = Wall(berlin("2026-07-01T02:00"))
    monkeypatch.setattr(schedule, "time", wall)
    return wall


def follow(wall: Wall, expression: str, *moves: tuple[float, float], seconds: float) -> list[str]:
    """Return when a job ran, on the wall, while it was moved, at each time by so many seconds."""
    found: list[str] = []

    def job() -> None:
        found.append(datetime.fromtimestamp(wall(), BERLIN).strftime("%d %H:%M:%S"))

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for at, change in moves:
            loop.call_at(at, lambda change=change: setattr(wall, "offset", wall.offset + change))
        async with running(Application("shop", [Cron(expression, job, timezone="Europe/Berlin")])):
            await asyncio.sleep(seconds)
        assert not clock._clocks

    run(main())
    return found


def test_runs_when_it_is_time(wall: Wall) -> None:
    """It runs at its minute, not before, day after day."""
    assert follow(wall, "0 3 * * *", seconds=3 * 86_400) == ["01 03:00:00", "02 03:00:00", "03 03:00:00"]


def test_runs_every_second_where_it_is_told_to(wall: Wall) -> None:
    """A sixth field before the others is the second."""
    assert follow(wall, "*/10 * * * * *", seconds=35) == ["01 02:00:10", "01 02:00:20", "01 02:00:30"]


def test_a_clock_set_forward_is_seen_within_a_minute_and_what_was_missed_runs_once(wall: Wall) -> None:
    """After a jump of a week (or a machine that woke up), a daily job runs once, then at its time."""
    found = follow(wall, "0 3 * * *", (100, 7 * 86_400 + 3600), seconds=86_400)
    assert len(found) == 2
    assert "08 03:01:40" <= found[0] <= "08 03:03:00"
    assert found[1] == "09 03:00:00"


def test_a_clock_set_back_a_little_repeats_nothing(wall: Wall) -> None:
    """Set back by an hour after the run, a daily job does not run a second time that day."""
    assert follow(wall, "0 3 * * *", (3700, -3600), seconds=2 * 86_400) == ["01 03:00:00", "02 03:00:00"]


def test_a_clock_that_is_set_back_in_small_steps_does_not_run_early_or_twice(wall: Wall) -> None:
    """Half a second back right after a run: the same minute does not come again."""
    found = follow(wall, "*/5 * * * *", (300.1, -0.5), (600.6, -0.5), seconds=1000)
    assert found == ["01 02:05:00", "01 02:10:00", "01 02:15:00"]


def test_a_clock_set_back_by_days_is_believed(wall: Wall) -> None:
    """Set back by a week, a daily job runs on each of those days."""
    found = follow(wall, "0 3 * * *", (3700, -7 * 86_400), seconds=86_400 + 4000)
    assert found == ["01 03:00:00", "25 03:00:00"]


def test_a_clock_set_back_before_the_first_run_is_seen(wall: Wall) -> None:
    """The next time is found anew from where the clock is now."""
    found = follow(wall, "0 3 * * *", (100, -2 * 86_400), seconds=4000)
    assert found == ["29 03:00:00"]


def test_a_long_run_is_not_repeated_while_it_runs(wall: Wall) -> None:
    """By default a job that is due while it runs is skipped, as with Periodic."""
    began: list[float] = []

    async def job() -> None:
        began.append(asyncio.get_running_loop().time())
        await asyncio.sleep(90)

    async def main() -> None:
        async with running(Application("shop", [Cron("* * * * *", job, timezone="UTC")])):
            await asyncio.sleep(310)

    run(main())
    assert began == pytest.approx([60, 180, 300])


# What a person writes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Cron("61 * * * *", nothing),
            "Cron nothing: expression='61 * * * *': bad minute: wanted minute, hour, day, month and weekday",
        ),
        (
            lambda: Cron("0 3 * *", nothing, name="report"),
            "Cron report: expression='0 3 * *': wrong number of fields: wanted minute, hour, day, month and weekday",
        ),
        (
            lambda: Cron("0 3 * * * ", nothing, timezone="Europe/Berlyn"),
            "Cron nothing: timezone='Europe/Berlyn': there is no such time zone: wanted a name such as 'Europe/Berlin'",
        ),
        (
            lambda: Cron("0 0 * 2 MON#7", nothing),
            "Cron nothing: expression='0 0 * 2 MON#7': bad day-of-week: wanted minute, hour, day, month and weekday",
        ),
        (
            lambda: Cron(5, nothing),  # type: ignore[arg-type]
            "Cron nothing: expression=5: wanted a text such as '0 3 * * *'",
        ),
    ],
)
def test_refuses_what_cannot_be(make: Callable[[], object], message: str) -> None:
    """A bad expression or zone is refused when it is written, with the field and what was wanted."""
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert str(caught.value) == message


def test_refuses_a_zone_that_is_no_file() -> None:
    """A folder of the time zone database, and a path out of it, are no zones."""
    for zone in ("Europe", "../../etc/passwd", ""):
        with pytest.raises(ConfigurationError, match="there is no such time zone"):
            Cron("0 3 * * *", nothing, timezone=zone)


def test_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without cronsim, the extra is named, when the description is made."""
    monkeypatch.setitem(sys.modules, "cronsim", None)
    monkeypatch.delitem(sys.modules, "plait.services.almanac")
    with pytest.raises(ConfigurationError) as caught:
        Cron("0 3 * * *", nothing, name="report")
    assert str(caught.value) == "Cron report: needs the package cronsim: pip install plait[cron]"


def test_is_a_value() -> None:
    """Equal when its fields are, picklable, and shown as it was written."""
    service = Cron("0 3 * * *", nothing, timezone="Europe/Berlin", name="report")
    assert service == pickle.loads(pickle.dumps(service))
    assert repr(service) == "Cron('0 3 * * *', nothing, name='report', timezone='Europe/Berlin')"


def test_the_local_zone_is_the_one_of_the_machine(berlin_machine: Any) -> None:
    """Without a time zone, an expression is read as the machine's clock shows it."""
    noon = Almanac("0 12 * * *", None).after(berlin("2026-07-01T08:00"))
    assert datetime.fromtimestamp(noon, UTC).hour == 10
