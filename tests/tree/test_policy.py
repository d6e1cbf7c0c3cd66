"""When to run again, when to give up."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait import Backoff, ConfigurationError, Limit
from plait.tree.policy import affected, should_restart


@pytest.mark.parametrize(
    ("restart", "failed", "expected"),
    [
        ("always", False, True),
        ("always", True, True),
        ("on-failure", False, False),
        ("on-failure", True, True),
        ("never", False, False),
        ("never", True, False),
    ],
)
def test_restart_is_otps_table(restart: str, failed: bool, expected: bool) -> None:
    """Permanent always, transient after a failure, temporary never."""
    assert expected is should_restart(restart, failed)  # type: ignore[arg-type]


def test_backoff_follows_the_formula_within_its_band() -> None:
    """10,000 samples lie between (1 - jitter) x and 1 x min(cap, base * 2^n)."""
    chance = random.Random(14)
    for _ in range(10_000):
        backoff = Backoff(base=chance.uniform(0.01, 5), cap=chance.uniform(1, 100), jitter=chance.random())
        failures = chance.randrange(2, 2000)
        full = min(backoff.cap, backoff.base * 2.0 ** min(failures - 2, 64))

        delay = backoff.delay(failures, chance.random())

        assert full * (1 - backoff.jitter) <= delay <= full


def test_backoff_uses_its_whole_band() -> None:
    """The smallest chance waits the full time, the greatest shortens it by the whole jitter."""
    backoff = Backoff(base=2, jitter=0.25)

    assert [backoff.delay(2, 0.0), backoff.delay(2, 1.0)] == [2.0, 1.5]


def test_first_restart_comes_at_once_unless_told_otherwise() -> None:
    """`immediate` decides about the first failure only."""
    assert [Backoff().delay(n, 0.0) for n in (1, 2, 3, 4)] == [0.0, 0.5, 1.0, 2.0]
    assert [Backoff(immediate=False).delay(n, 0.0) for n in (1, 2, 3)] == [0.5, 1.0, 2.0]


def test_failures_in_a_row_are_forgotten_after_the_quiet_time() -> None:
    """At `quiet` seconds of being ready, and not a moment before, the series begins anew."""
    backoff = Backoff(quiet=60)

    assert [backoff.failures(7, 59.999), backoff.failures(7, 60.0)] == [8, 1]


@given(st.integers(0, 5), st.lists(st.floats(0, 100), max_size=40))
def test_limit_agrees_with_a_plain_count(restarts: int, gaps: list[float]) -> None:
    """A restart is allowed exactly if no more than `restarts` lie in the window that it closes."""
    limit = Limit(restarts, 30)
    now, times, seen = 0.0, (), []
    for gap in gaps:
        now += gap
        seen.append(now)
        times, allowed = limit.count(times, now)

        assert allowed is (sum(time >= now - 30 for time in seen) <= restarts)


def test_a_restart_exactly_as_old_as_the_window_still_counts() -> None:
    """The boundary is inclusive, as in OTP."""
    limit = Limit(1, 5)

    assert (limit.count((0.0,), 5.0)[1], limit.count((0.0,), 5.001)[1]) == (False, True)


def test_no_limit_remembers_nothing() -> None:
    """Limit(None) never gives up, and costs no memory."""
    assert Limit(None).count((), 1.0) == ((), True)


@pytest.mark.parametrize(
    ("strategy", "expected"), [("one_for_one", ["b"]), ("rest_for_one", ["b", "c"]), ("one_for_all", ["a", "b", "c"])]
)
def test_strategies_name_who_is_replaced(strategy: str, expected: list[str]) -> None:
    """One, the rest, all."""
    assert expected == affected(strategy, ["a", "b", "c"], "b")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Limit(-1), "Limit: restarts=-1: wanted a whole number from 0, or None"),
        (lambda: Limit(1.5), "Limit: restarts=1.5: wanted a whole number from 0, or None"),  # type: ignore[arg-type]
        (lambda: Limit(1, 0), "Limit: seconds=0: wanted a number above 0"),
        (lambda: Backoff(base=-1), "Backoff: base=-1: wanted a number of seconds from 0"),
        (lambda: Backoff(cap=-1), "Backoff: cap=-1: wanted a number of seconds from 0"),
        (lambda: Backoff(quiet=-1), "Backoff: quiet=-1: wanted a number of seconds from 0"),
        (lambda: Backoff(jitter=2), "Backoff: jitter=2: wanted a share between 0 and 1"),
    ],
)
def test_impossible_policies_are_refused_by_field(make: object, text: str) -> None:
    """The field and the value are named."""
    with pytest.raises(ConfigurationError) as caught:
        make()  # type: ignore[operator]

    assert text == str(caught.value)
