"""
What frozen dataclasses of plait share, so that defining one costs little.

A frozen dataclass that writes its own comparison and its own ``repr`` takes nearly half a millisecond to define, and a
program that starts defines a dozen.  Ours inherit these instead.  `value` makes a dataclass that inherits being frozen
as well; what people subclass, `Service` and `Event`, is ``@dataclass(frozen=True, eq=False, repr=False)``, because a
frozen dataclass may inherit from nothing else.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar, dataclass_transform


class _Inspect(ModuleType):
    """
    What dataclasses knows as ``inspect``: loads that when it is asked for something that it has not.

    Loading it takes a fifth of the time of ``plaitd --help``, and of every slip in a command line.  What is asked for
    is the signature of a class without a docstring, and, by Python 3.12 and 3.13, annotations.
    """

    def __getattr__(self, name: str) -> Any:
        import inspect

        return getattr(inspect, name)

    @staticmethod
    def get_annotations(cls: type) -> dict[str, Any]:
        """Return what inspect does of a class."""
        return dict(cls.__dict__.get("__annotations__", {}))  # noqa: RUF063 - that one would have to be loaded


if "dataclasses" not in sys.modules and "inspect" not in sys.modules and sys.version_info < (3, 14):
    sys.modules["inspect"] = _Inspect("inspect")
    try:
        import dataclasses  # noqa: F401 - it keeps this one; all others have the real one
    finally:
        del sys.modules["inspect"]

# Here for what a program loads first: who imports them from here, does not load inspect.
from dataclasses import FrozenInstanceError, dataclass  # noqa: E402
from dataclasses import field as field  # noqa: E402
from dataclasses import fields as fields  # noqa: E402
from dataclasses import replace as replace  # noqa: E402

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
