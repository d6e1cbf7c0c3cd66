"""
What frozen dataclasses of plait share, so that defining one costs little.

A frozen dataclass that writes its own comparison and its own ``repr`` takes nearly half a millisecond to define, and a
program that starts defines a dozen.  Ours inherit these instead.  `value` makes a dataclass that inherits being frozen
as well; what people subclass, `Service` and `Event`, is ``@dataclass(frozen=True, eq=False, repr=False)``, because a
frozen dataclass may inherit from nothing else.
"""

from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass, fields
from typing import TYPE_CHECKING, Any, TypeVar, dataclass_transform

T = TypeVar("T")

if TYPE_CHECKING:

    @dataclass_transform(frozen_default=True)
    def value(cls: type[T]) -> type[T]:
        """Make a frozen dataclass of a class that inherits `Value`."""
        return cls
else:
    value = dataclass(eq=False, repr=False)


class Value:
    """Equal to another of the same class with equal fields; hashable when its fields are; shown as it was written."""

    def __setattr__(self, name: str, new: object) -> None:
        # Each field is set once, by __init__.
        if name in self.__dict__ or name not in self.__dataclass_fields__:  # type: ignore[attr-defined]
            raise FrozenInstanceError(f"cannot assign to field {name!r}")
        object.__setattr__(self, name, new)

    def __delattr__(self, name: str) -> None:
        raise FrozenInstanceError(f"cannot delete field {name!r}")

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
