"""
Frozen dataclasses that cost little to define.

A frozen dataclass writes its methods as text and compiles that, for each class anew: half a millisecond, and a program
that starts defines twenty.  Ours inherit methods that are written once, and are dataclasses all the same: ``fields``,
``replace`` and ``match`` know them, and people subclass them with ``@dataclass(frozen=True)`` or `value`, as they like.
"""

from __future__ import annotations

import sys
from itertools import pairwise
from operator import attrgetter
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar, dataclass_transform

if TYPE_CHECKING:
    from collections.abc import Callable


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
from dataclasses import MISSING, FrozenInstanceError, dataclass, make_dataclass  # noqa: E402
from dataclasses import field as field  # noqa: E402
from dataclasses import fields as fields  # noqa: E402
from dataclasses import replace as replace  # noqa: E402

C = TypeVar("C", bound=type)

_set = object.__setattr__

#: Of a class that makes more values than this, ``__init__`` is compiled after all: it takes half the time.
_OFTEN = 100


class _Plan:
    """How the values of a class are made, compared and hashed."""

    def __init__(self, cls: type[Any]) -> None:
        every = fields(cls)
        self.taken = [item for item in every if item.init]
        #: What the fields get that are not given; MISSING is that of one that is required, or made.
        self.defaults = {item.name: item.default for item in self.taken}
        self.positional = [item.name for item in self.taken if not item.kw_only]
        self.made = [(item.name, item.default_factory) for item in self.taken if item.default_factory is not MISSING]
        made = dict(self.made)
        self.required = [name for name, default in self.defaults.items() if default is MISSING and name not in made]
        self.cls = cls
        self.is_checked = hasattr(cls, "__post_init__")
        self.compared = _getter([item.name for item in every if item.compare])
        self.hashed = _getter([item.name for item in every if (item.compare if item.hash is None else item.hash)])
        self.times = 0
        if any(before not in self.required and name in self.required for before, name in pairwise(self.positional)):
            self.written()  # refuses that order

    def take(self, given: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any]:
        """Return what each field gets; raise TypeError, in Python's words, for what does not fit them."""
        taken = dict(zip(self.positional, given)) | named  # noqa: B905 - the next line says it better
        new = self.defaults | taken
        if (
            len(taken) != len(given) + len(named)
            or len(new) != len(self.defaults)
            or any(new[name] is MISSING for name in self.required)
        ):
            self.written()(None, *given, **named)
        for name, make in self.made:
            if new[name] is MISSING:
                new[name] = make()
        return new

    def written(self) -> Callable[..., None]:
        """Return the ``__init__`` that dataclasses writes for these fields."""
        taken: list[Any] = [
            (
                each.name,
                each.type,
                field(default=each.default, default_factory=each.default_factory, kw_only=each.kw_only),
            )
            for each in self.taken
        ]
        inherited = {"__post_init__": None} if self.is_checked else {}
        return make_dataclass(self.cls.__qualname__, taken, namespace=inherited, frozen=True).__init__  # type: ignore[misc, no-any-return]


def _getter(names: list[str]) -> Callable[[Any], tuple[Any, ...]]:
    if len(names) > 1:
        return attrgetter(*names)
    return lambda value: tuple(getattr(value, name) for name in names)


def _plan_of(cls: type[Any]) -> _Plan:
    try:
        return cls.__dict__["_plait_plan"]  # type: ignore[no-any-return]
    except KeyError:
        cls._plait_plan = plan = _Plan(cls)
        return plan


def _initializer(cls: type[Any]) -> Callable[..., None]:
    """Return an ``__init__`` for *cls* that is compiled only when it is worth it."""

    def __init__(self: object, /, *given: Any, **named: Any) -> None:  # noqa: N807 - it becomes that
        plan = _plan_of(cls)
        for name, new in plan.take(given, named).items():
            _set(self, name, new)
        if plan.is_checked:
            self.__post_init__()  # type: ignore[attr-defined]
        plan.times += 1
        if plan.times > _OFTEN:
            cls.__init__ = plan.written()

    __init__.__qualname__ = f"{cls.__qualname__}.__init__"
    __init__.value = cls  # type: ignore[attr-defined]
    return __init__


class _Signature:
    """The signature of a class with such an ``__init__``, found when somebody asks for it."""

    def __get__(self, instance: object, cls: type[Any]) -> object:
        made_for = getattr(cls.__init__, "value", None)
        if instance is not None or made_for is None:
            raise AttributeError("__signature__")
        from inspect import signature

        shown = signature(_plan_of(made_for).written())
        return shown.replace(parameters=list(shown.parameters.values())[1:])


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value(cls: C) -> C:
    """
    Make a frozen dataclass of a class that inherits `Service`, `Event` or another value of plait.

    It is what ``@dataclass(frozen=True)`` makes of it, in a small part of the time.  ``__eq__``, ``__hash__`` and
    ``__repr__`` are inherited, and ``InitVar`` is not known.
    """
    dataclass(init=False, eq=False, repr=False, frozen=issubclass(cls, OpenValue))(cls)
    if "__init__" not in cls.__dict__:
        setattr(cls, "__init__", _initializer(cls))  # noqa: B010 - mypy does not see what else it could be
    return cls


class Value:
    """Equal to another of the same class with equal fields; hashable when its fields are; shown as it was written."""

    def __setattr__(self, name: str, new: object) -> None:
        # A dataclass of people's that inherits this sets each field once.
        if name in self.__dict__ or name not in self.__dataclass_fields__:  # type: ignore[attr-defined]
            raise FrozenInstanceError(f"cannot assign to field {name!r}")
        _set(self, name, new)

    def __delattr__(self, name: str) -> None:
        raise FrozenInstanceError(f"cannot delete field {name!r}")

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        if self is other:
            return True
        compared = _plan_of(type(self)).compared
        return compared(self) == compared(other)

    def __hash__(self) -> int:
        return hash(_plan_of(type(self)).hashed(self))

    def __repr__(self) -> str:
        shown = (f"{item.name}={getattr(self, item.name)!r}" for item in fields(self) if item.repr)  # type: ignore[arg-type]
        return f"{type(self).__qualname__}({', '.join(shown)})"

    if not TYPE_CHECKING:
        __signature__ = _Signature()


class OpenValue(Value):
    """A value that people subclass: dataclasses lets theirs be frozen if this is, and writes two methods for that."""
