"""
When to run again, when to give up: arithmetic.

Nothing in here knows a clock, a loop or a task: time and chance are arguments.  The words and the rules are those of
Erlang/OTP's supervisor; the back-off, which OTP lacks, is added.
"""

from __future__ import annotations

from typing import Literal

from plait.errors import ConfigurationError
from plait.values import Value, value

Restart = Literal["always", "on-failure", "never"]
Strategy = Literal["one_for_one", "rest_for_one", "one_for_all"]

RESTARTS: tuple[Restart, ...] = ("always", "on-failure", "never")
STRATEGIES: tuple[Strategy, ...] = ("one_for_one", "rest_for_one", "one_for_all")


def should_restart(restart: Restart, failed: bool) -> bool:
    """Say whether a service that ended by itself runs again (OTP: permanent, transient, temporary)."""
    return restart == "always" or (failed and restart == "on-failure")


@value
class Limit(Value):
    """
    How many *restarts* within how many *seconds* a group may need before it gives up.

    Exactly that many are allowed; the next one makes the group stop its children and fail, and its parent decides.
    ``Limit(None)`` never gives up.  The restart of a whole group counts once; each failed attempt counts once.
    """

    restarts: int | None = 5
    seconds: float = 60.0

    def __post_init__(self) -> None:
        if self.restarts is not None and (not isinstance(self.restarts, int) or self.restarts < 0):
            raise ConfigurationError(f"Limit: restarts={self.restarts!r}: wanted a whole number from 0, or None")
        if not self.seconds > 0:
            raise ConfigurationError(f"Limit: seconds={self.seconds!r}: wanted a number above 0")

    def count(self, times: tuple[float, ...], now: float) -> tuple[tuple[float, ...], bool]:
        """
        Count a restart at *now* after those at *times*.

        Return the times to remember and whether this restart is allowed.  A restart that is exactly *seconds* old
        still counts, as in OTP.
        """
        if self.restarts is None:
            return (), True
        recent = (*(time for time in times if time >= now - self.seconds), now)
        return recent, len(recent) <= self.restarts


@value
class Backoff(Value):
    """
    How long to wait before a service that failed runs again.

    The first restart after a quiet time comes at once (unless *immediate* is false).  Then the waits are *base*,
    twice *base*, four times *base* and so on, in seconds, never above *cap*, each shortened by a random share of up to
    *jitter* (0.25: between 75 % and 100 % of it).  *quiet* seconds of being ready begin the series anew.
    """

    base: float = 0.5
    cap: float = 60.0
    jitter: float = 0.25
    quiet: float = 60.0
    immediate: bool = True

    def __post_init__(self) -> None:
        for name in ("base", "cap", "quiet"):
            if not getattr(self, name) >= 0:
                raise ConfigurationError(f"Backoff: {name}={getattr(self, name)!r}: wanted a number of seconds from 0")
        if not 0 <= self.jitter <= 1:
            raise ConfigurationError(f"Backoff: jitter={self.jitter!r}: wanted a share between 0 and 1")

    def delay(self, failures: int, chance: float) -> float:
        """Return the seconds to wait after so many *failures* in a row (from 1); *chance* is in [0, 1)."""
        doublings = failures - 1 - self.immediate
        if doublings < 0:
            return 0.0
        # 2.0 ** 1024 would overflow; far below that the cap has long been reached.
        wait = min(self.cap, self.base * 2.0 ** min(doublings, 64))
        return wait * (1.0 - self.jitter * chance)

    def failures(self, before: int, ready_seconds: float) -> int:
        """Return the failures in a row after one more: *before*, forgotten after *quiet* seconds of being ready."""
        return 1 if ready_seconds >= self.quiet else before + 1


def affected(strategy: Strategy, names: list[str], failed: str) -> list[str]:
    """Return which of *names* (in declared order) a restart of *failed* replaces, itself included."""
    if strategy == "one_for_one":
        return [failed]
    if strategy == "rest_for_one":
        return names[names.index(failed) :]
    return list(names)
