"""
What an annotation asks for: the annotation itself, resolved, and the words for it in help and in errors.

A *kind* is an annotation as ``typing.get_type_hints`` gives it: a class, a union, a ``Literal``, ``list[int]``.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import datetime
import enum
import os
import types
import typing
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from plait.endpoints import Endpoint
from plait.runner.places import show

#: What takes several values: a command line gives them one by one, and the same class is made of them.
SEQUENCES: dict[Any, Callable[[list[Any]], Any]] = {
    list: list,
    tuple: tuple,
    set: set,
    frozenset: frozenset,
    collections.abc.Sequence: tuple,
    collections.abc.Iterable: tuple,
    collections.abc.Collection: tuple,
    collections.abc.MutableSequence: list,
    collections.abc.Set: frozenset,
}
MAPPINGS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)

#: How help shows a kind, and how an error asks for it.
WORDS: dict[Any, tuple[str, str]] = {
    str: ("TEXT", "a text"),
    int: ("INTEGER", "a whole number"),
    float: ("NUMBER", "a number"),
    bool: ("true or false", "true or false"),
    Endpoint: ("ENDPOINT", "an endpoint such as tcp:8080"),
    datetime.datetime: ("TIME", "a date and time such as 2026-01-31T12:00:00"),
    datetime.date: ("DATE", "a date such as 2026-01-31"),
    datetime.time: ("TIME", "a time of day such as 12:00:00"),
    datetime.timedelta: ("SECONDS", "a number of seconds"),
    type(None): ("none", "none"),
}


def kinds_of(found: Any) -> dict[str, Any]:
    """
    Return the kind of each field of a class, or of each parameter of a function, that is annotated.

    Annotations that are texts, as under ``from __future__ import annotations``, are resolved.  One that cannot be is
    left out here as `Unresolved`, and refused when somebody gives a value for it.
    """
    try:
        return typing.get_type_hints(found, include_extras=True)
    except Exception:
        return _kinds_one_by_one(found)


@dataclasses.dataclass(frozen=True)
class Unresolved:
    """An annotation whose names cannot be found when the program runs, only by a type checker."""

    text: str


def _kinds_one_by_one(found: Any) -> dict[str, Any]:
    kinds: dict[str, Any] = {}
    for owner in reversed(found.__mro__) if isinstance(found, type) else (found,):
        for name, annotation in getattr(owner, "__annotations__", {}).items():
            alone = type("Alone", (), {"__annotations__": {name: annotation}, "__module__": owner.__module__})
            try:
                kinds.update(typing.get_type_hints(alone, include_extras=True))
            except Exception:
                kinds[name] = Unresolved(str(annotation))
    return kinds


def peel(kind: Any) -> Any:
    """Return *kind* without what says nothing about its values: ``Annotated``, ``Final``, a new name for a type."""
    while True:
        if get_origin(kind) in (Annotated, typing.Final, typing.ClassVar, typing.Required, typing.NotRequired):
            kind = get_args(kind)[0]
        elif isinstance(kind, typing.NewType):
            kind = kind.__supertype__
        elif isinstance(kind, TypeVar):
            kind = Any if kind.__bound__ is None else kind.__bound__
        elif type(kind).__name__ == "TypeAliasType":  # Python 3.12's ``type X = ...``
            kind = kind.__value__
        else:
            return Any if kind is object or kind is dataclasses.InitVar else kind


def reader_in(kind: Any) -> Callable[[Any], Any] | None:
    """Return the function that ``Annotated[kind, function]`` brings to read its values, such as Endpoint.connecting."""
    if get_origin(kind) is Annotated:
        for item in get_args(kind)[1:]:
            if callable(item):
                return item  # type: ignore[no-any-return]
        return reader_in(get_args(kind)[0])
    return None


def members_of(kind: Any) -> tuple[Any, ...]:
    """Return the kinds that a union allows, or *kind* alone."""
    bare = peel(kind)
    if get_origin(bare) in (Union, types.UnionType):
        return tuple(member for inner in get_args(bare) for member in members_of(inner))
    return (kind,)


def allows_none(kind: Any) -> bool:
    """Say whether None is a value of *kind*."""
    return any(peel(member) in (type(None), Any) for member in members_of(kind))


def main_kind(kind: Any) -> Any:
    """Return the one kind that *kind* allows besides None, or *kind* itself."""
    members = [member for member in members_of(kind) if peel(member) is not type(None)]
    return members[0] if len(members) == 1 else kind


def repeats(kind: Any) -> bool:
    """Say whether a command line may give several values of *kind*, one by one."""
    origin = origin_of(main_kind(kind))
    return origin in SEQUENCES or origin in MAPPINGS


def origin_of(kind: Any) -> Any:
    """Return ``list`` for ``list[int]``, and so on; for a kind without parameters, itself."""
    bare = peel(kind)
    return get_origin(bare) or bare


def item_kinds(kind: Any) -> tuple[Any, ...]:
    """Return the parameters of a container, Any for each that is not given: one, or the key's and the value's."""
    bare = peel(kind)
    count = 2 if origin_of(bare) in MAPPINGS else 1
    return get_args(bare) or (Any,) * count


def is_callable_kind(kind: Any) -> bool:
    """Say whether values of *kind* are functions or classes, which are given by name."""
    return origin_of(kind) in (collections.abc.Callable, Callable, typing.Callable, type)


def is_path(kind: Any) -> bool:
    """Say whether values of *kind* are paths."""
    origin = origin_of(kind)
    return isinstance(origin, type) and issubclass(origin, os.PathLike)


def is_enum(kind: Any) -> bool:
    """Say whether *kind* is an Enum."""
    bare = peel(kind)
    return isinstance(bare, type) and issubclass(bare, enum.Enum)


def is_record(kind: Any) -> bool:
    """Say whether *kind* is a dataclass whose values are tables; an endpoint is a text."""
    bare = peel(kind)
    return isinstance(bare, type) and dataclasses.is_dataclass(bare) and bare is not Endpoint


def values_of(kind: Any) -> tuple[Any, ...]:
    """Return the members of *kind* in the order in which to try them; None is not among them if any text is a value."""
    members = members_of(kind)
    if str in (peel(member) for member in members):
        members = tuple(member for member in members if peel(member) is not type(None))
    # A whole number is better an int than a float.
    return tuple(sorted(members, key=lambda member: (breadth_of(member), peel(member) is float)))


def choices_of(kind: Any) -> tuple[str, ...]:
    """Return the texts that are the only values of *kind*, or nothing: of a ``Literal``, an Enum, their union."""
    bare = peel(kind)
    members = members_of(kind)
    if len(members) > 1:
        parts = [choices_of(member) for member in members if peel(member) is not type(None)]
        return tuple(text for part in parts for text in part) if all(parts) else ()
    if get_origin(bare) is Literal:
        return tuple("none" if value is None else show(value).strip('"') for value in get_args(bare))
    return tuple(bare.__members__) if is_enum(kind) else ()


def describe_kind(kind: Any) -> str:
    """Return what help shows for a value of *kind*: ``INTEGER``, ``PATH``, ``one of a, b, c``."""
    kind = main_kind(kind)
    choices = choices_of(kind)
    if choices:
        return f"one of {', '.join(choices)}"
    members = members_of(kind)
    if len(members) > 1:
        return " or ".join(dict.fromkeys(describe_kind(member) for member in members if peel(member) is not type(None)))
    bare, origin = peel(kind), origin_of(kind)
    if origin in MAPPINGS:
        return f"KEY={describe_kind(item_kinds(bare)[1])}"
    if origin in SEQUENCES:
        return describe_kind(item_kinds(bare)[0])
    if is_callable_kind(bare):
        return "MODULE:NAME"
    if is_path(bare):
        return "PATH"
    if is_record(bare):
        return "{FIELD=VALUE, ...}"
    return WORDS.get(bare, ("VALUE", ""))[0]


def ask_for(kind: Any) -> str:
    """Return what an error asks for: ``a whole number``, ``one of a, b, c``, ``a list, each item a text``."""
    members = members_of(kind)
    if len(members) > 1:
        return " or ".join(dict.fromkeys(ask_for(member) for member in members))
    choices = choices_of(kind)
    if choices:
        return f"one of {', '.join(choices)}"
    bare, origin = peel(kind), origin_of(kind)
    if origin in MAPPINGS:
        return f"a table, each value {ask_for(item_kinds(bare)[1])}"
    if origin in SEQUENCES:
        items = item_kinds(bare)
        if origin is tuple and len(items) > 1 and items[-1] is not Ellipsis:
            return f"a list of {len(items)}: {', '.join(ask_for(item) for item in items)}"
        return "a list" if items[0] is Any else f"a list, each item {ask_for(items[0])}"
    if is_callable_kind(bare):
        return "a function or class by its name, module:name"
    if is_path(bare):
        return "a path"
    if bare in WORDS:
        return WORDS[bare][1]
    if is_record(bare):
        return f"a table with the fields of {bare.__name__}"
    return "a value" if bare is Any else f"a {getattr(bare, '__name__', bare)}, which only Python can make"


def breadth_of(kind: Any) -> int:
    """Return how much a kind takes, from None to anything; a path would lose the dot of ``./run`` that a text keeps."""
    bare = peel(kind)
    if bare is type(None):
        return 0
    return 4 if bare is Any else 3 if is_path(kind) else 2 if bare is str else 1
