"""
What frozen dataclasses of plait share, so that defining one costs little.

A dataclass that writes its own comparison and its own ``repr`` takes nearly half a millisecond to define, and a program
that starts defines a dozen.  Ours inherit these instead: ``@dataclass(frozen=True, eq=False, repr=False)``.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any


class Value:
    """Equal to another of the same class with equal fields; hashable when its fields are; shown as it was written."""

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self is other or _compared(self) == _compared(other)

    def __hash__(self) -> int:
        return hash(_compared(self))

    def __repr__(self) -> str:
        shown = (f"{item.name}={getattr(self, item.name)!r}" for item in fields(self) if item.repr)  # type: ignore[arg-type]
        return f"{type(self).__qualname__}({', '.join(shown)})"


def _compared(value: Any) -> tuple[Any, ...]:
    return tuple(getattr(value, item.name) for item in fields(value) if item.compare)
