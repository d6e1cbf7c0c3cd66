"""
What was measured, as tables: medians, ratios inside a round, and whether they are what is wanted.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

Sample = dict[str, float]
Rounds = list[dict[str, Sample]]
MISSING = "not installed"


@dataclass(frozen=True)
class Figure:
    """One measured thing: its key in a sample, its title with the unit, how many digits, and whether to compare it."""

    key: str
    title: str
    digits: int = 1
    ratio: bool = True


@dataclass(frozen=True)
class Want:
    """
    What is wanted: the median of *figure* of *side*, as a ratio to *against*, is at most (or *at_least*) *limit*.

    Without *against* the figure itself is judged.  With *beyond* it is the difference from *against* that counts.
    """

    side: str
    figure: str
    limit: float
    against: str = ""
    at_least: bool = False
    beyond: bool = False


def values(rounds: Rounds, side: str, key: str) -> list[float]:
    """Return what was measured of *side*, round by round."""
    return [samples[side][key] for samples in rounds if key in samples.get(side, ())]


def pairs(rounds: Rounds, side: str, other: str, key: str) -> list[tuple[float, float]]:
    """Return the figures of two sides from the rounds that have both."""
    both = (samples for samples in rounds if key in samples.get(side, ()) and key in samples.get(other, ()))
    return [(samples[side][key], samples[other][key]) for samples in both]


def ratios(rounds: Rounds, side: str, other: str, key: str) -> list[float]:
    """Return *side* divided by *other*, each taken inside one round."""
    return [mine / its for mine, its in pairs(rounds, side, other, key) if its]


def spread(numbers: list[float], digits: int) -> str:
    """Return "min / median / max"."""
    return " / ".join(f"{number:,.{digits}f}" for number in (min(numbers), statistics.median(numbers), max(numbers)))


def ratio(numbers: list[float]) -> str:
    """Return the median of ratios, and their quartiles where there are enough of them."""
    middle = f"{statistics.median(numbers):.2f}"
    if len(numbers) < 3:
        return middle
    low, _, high = statistics.quantiles(numbers, n=4, method="inclusive")
    return f"{middle} ({low:.2f} to {high:.2f})"


def draw_table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    """Return a Markdown table whose columns also line up on a terminal."""
    widths = [max(len(line[number]) for line in (head, *lines)) for number in range(len(head))]
    rule = ["-" * width for width in widths]
    return [f"| {' | '.join(map(str.ljust, line, widths))} |" for line in (head, rule, *lines)]


def draw_sides(
    sides: Sequence[tuple[str, str]], figures: Sequence[Figure], rounds: Rounds, remarks: dict[str, str]
) -> list[str]:
    """Return the table with a line for each side; *sides* are names, each with the name of its 1."""
    several = len({against for _, against in sides}) > 1
    head = ["side"]
    for figure in figures:
        head += [f"{figure.title}: min / median / max", *(["ratio (quartiles)"] if figure.ratio else [])]
    head += ["ratio to"] if several else []
    lines = []
    for name, against in sides:
        remark = remarks.get(name, "")
        line = [f"**{name}**" if name == against else name]
        for figure in figures:
            found = values(rounds, name, figure.key)
            line.append(spread(found, figure.digits) if found else MISSING if remark == MISSING else "failed")
            if figure.ratio:
                shares = ratios(rounds, name, against, figure.key)
                line.append("1" if shares and name == against else ratio(shares) if shares else "")
        lines.append(line + ([against] if several else []))
    return draw_table(head, lines)


def draw_remarks(remarks: dict[str, str]) -> list[str]:
    """Return a line for each reason why sides could not be measured."""
    reasons: dict[str, list[str]] = {}
    for name, remark in remarks.items():
        reasons.setdefault(remark, []).append(name)
    lines = [f"- {'; '.join(sorted(names))}: {reason}" for reason, names in reasons.items() if reason != MISSING]
    return [*lines, ""] if lines else []


#: `__main__` collects the lines below this head from every row.
WANT_HEAD = ("want", "measured", "verdict")


def draw_wants(wants: Sequence[Want], figures: Sequence[Figure], rounds: Rounds) -> list[str]:
    """Return the table of what is wanted, what was found, and whether it is enough."""
    known = {figure.key: figure for figure in figures}
    lines = []
    for want in wants:
        figure = known[want.figure]
        found, link = compare(want, rounds)
        text = f"{want.side}, {figure.title}: {'≥' if want.at_least else '≤'} {want.limit:g}{link}"
        if not found:
            lines.append((text, "", "not measured"))
            continue
        middle = statistics.median(found)
        kept = middle >= want.limit if want.at_least else middle <= want.limit
        is_ratio = want.against and not want.beyond
        lines.append((text, ratio(found) if is_ratio else spread(found, figure.digits), "kept" if kept else "MISSED"))
    return draw_table(WANT_HEAD, lines) if lines else []


def compare(want: Want, rounds: Rounds) -> tuple[list[float], str]:
    """Return what is to be judged, round by round, and how to say what it was compared with."""
    if not want.against:
        return values(rounds, want.side, want.figure), ""
    if want.beyond:
        both = pairs(rounds, want.side, want.against, want.figure)
        return [mine - its for mine, its in both], f" beyond {want.against}"
    return ratios(rounds, want.side, want.against, want.figure), f" x {want.against}"
