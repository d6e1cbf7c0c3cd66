"""
Rounds in random order, ratios inside a round, and the table that says so.

A row of the benchmarks is a list of `Side` (one way to do the work), the figures to print (`Figure`) and what is
wanted of them (`Want`); `run` measures and prints.  Everything compared is measured in the same round, seconds apart,
because on a shared machine only such pairs can be compared.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tables import MISSING, Figure, Rounds, Sample, Want, draw_remarks, draw_sides, draw_wants

__all__ = ["Figure", "NotInstalled", "Options", "Sample", "Side", "Want", "options", "run"]


class NotInstalled(Exception):
    """The side needs something that this environment or this machine does not have."""


@dataclass(frozen=True)
class Side:
    """
    One way to do the work of a row.

    *measure* does it once and returns its figures.  *against* names the side that is its 1 (its own name, if it is
    one).  *needs* are the modules it cannot run without.
    """

    name: str
    measure: Callable[[], Sample]
    against: str
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Options:
    """What the command line asked for."""

    rounds: int
    quick: bool
    markdown: str
    only: tuple[str, ...]

    def seconds(self, full: float, quick: float) -> float:
        """Return how long a load should last."""
        return quick if self.quick else full


def options(text: str | None, rounds: int, quick_rounds: int = 2) -> Options:
    """Read the command line that every row has."""
    parser = argparse.ArgumentParser(description=(text or "").strip().splitlines()[0])
    parser.add_argument("--rounds", type=int, help=f"how many rounds (default {rounds})")
    parser.add_argument("--quick", action="store_true", help="few and short rounds: does it run at all?")
    parser.add_argument("--markdown", default="", metavar="FILE", help="write the tables to FILE as well")
    parser.add_argument("--only", action="append", default=[], metavar="TEXT", help="only sides whose name has TEXT")
    given = parser.parse_args()
    count = given.rounds or (quick_rounds if given.quick else rounds)
    return Options(count, given.quick, given.markdown, tuple(given.only))


def run(
    title: str,
    sides: Sequence[Side],
    figures: Sequence[Figure],
    wants: Sequence[Want],
    given: Options,
    *,
    warm_up: bool = True,
    note: str = "",
) -> None:
    """Measure all *sides* for so many rounds and print (and write) the tables."""
    if given.only:
        sides = [side for side in sides if any(text in side.name for text in given.only)]
    rounds, remarks = measure(sides, given.rounds, warm_up)
    text = "\n".join(
        [
            f"## {title}",
            "",
            f"{len(rounds)} rounds{', quick' if given.quick else ''}. {note}".rstrip(),
            "",
            *draw_sides([(side.name, side.against) for side in sides], figures, rounds, remarks),
            "",
            *draw_remarks(remarks),
            *draw_wants(wants, figures, rounds),
            "",
        ]
    )
    print(text, flush=True)
    if given.markdown:
        with open(given.markdown, "w", encoding="utf-8") as file:
            file.write(text)


def measure(sides: Sequence[Side], count: int, warm_up: bool) -> tuple[Rounds, dict[str, str]]:
    """Return the samples of each round by side, and one line about each side that could not be measured."""
    rounds: Rounds = []
    remarks: dict[str, str] = {}
    failures: dict[str, int] = {}
    for side in sides:
        missing = [name for name in side.needs if importlib.util.find_spec(name) is None]
        if missing:
            remarks[side.name] = MISSING
    # The first round of all writes byte code and warms the page cache: it is not counted.
    for number in range(0 if warm_up else 1, count + 1):
        samples: dict[str, Sample] = {}
        for side in random.sample(list(sides), len(sides)):
            if side.name in remarks and (remarks[side.name] == MISSING or failures.get(side.name, 0) > 1):
                continue
            show_progress(f"round {number} of {count}: {side.name}")
            settle()
            try:
                samples[side.name] = side.measure()
            except NotInstalled as error:
                remarks[side.name] = MISSING
                show_progress(f"{side.name}: {error}")
            except Exception as error:  # one side's failure must not cost the others their round
                failures[side.name] = failures.get(side.name, 0) + 1
                remarks[side.name] = " ".join(f"{type(error).__name__}: {error}".split())[:240]
        if number:
            rounds.append(samples)
    show_progress("")
    return rounds, remarks


def settle(limit: float = 0.6) -> None:
    """Wait, but not longer than *limit*, for a moment in which the machine does little else."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        before = read_idle()
        time.sleep(0.05)
        if read_idle() - before >= 0.85 * 0.05 * (os.cpu_count() or 1):
            return


def read_idle() -> float:
    """Return the seconds that all processors together were idle since boot."""
    with open("/proc/uptime") as file:
        return float(file.read().split()[1])


def show_progress(text: str) -> None:
    """Say on a terminal what is being measured."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{text}")
        sys.stderr.flush()
