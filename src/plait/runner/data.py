"""
Data, as TOML reads it, as values of annotated types.

Data is texts, numbers, dates, lists, tables.  A dataclass is a table of its fields, a function is its name.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from plait.endpoints import Endpoint
from plait.errors import ConfigurationError
from plait.runner.kinds import (
    MAPPINGS,
    SEQUENCES,
    Unresolved,
    ask_for,
    is_callable_kind,
    is_enum,
    is_path,
    is_record,
    item_kinds,
    kinds_of,
    members_of,
    origin_of,
    peel,
    reader_in,
    values_of,
)
from plait.runner.places import Place, Text, did_you_mean, place_of, refuse, sentence, show, tell, wrong

#: Reads a value of a kind that this module does not know, such as a service; None is "not mine either".
Other = Callable[[Any], "Callable[[Any, Place], Any] | None"]


def read_data(kind: Any, data: Any, where: Place | str = "", other: Other | None = None) -> Any:
    """
    Return the value of *kind* that *data* is, as TOML reads it.

    A dataclass is a table of its fields, whose names may be written with ``-`` for ``_``; a function or class is its
    name, ``module:name``; None is ``"none"`` where the kind allows it and takes no other text.  *other* may read kinds
    that are not known here.
    """
    place = place_of(where)
    if isinstance(data, Text):
        from plait.runner.typed import read_text

        return read_text(kind, data, place)
    if (reader := reader_in(kind)) is not None:
        if not any(takes(member, data) for member in members_of(kind)):
            raise refuse(place, tell(data), ask_for(kind))
        return call(reader, data, place)
    if len(members_of(kind)) > 1:
        return _read_data_of_any(kind, data, place, other)
    bare, origin = peel(kind), origin_of(kind)
    if isinstance(bare, Unresolved):
        raise wrong(place, f"its annotation {bare.text} is not known at run time: import it there")
    if other is not None and (own := other(bare)) is not None:
        return own(data, place)
    if not takes(kind, data):
        raise refuse(place, tell(data), ask_for(kind))
    if origin in SEQUENCES:
        return _read_list(kind, data, place, other)
    if origin in MAPPINGS:
        key_kind, item_kind = item_kinds(bare)
        return {
            read_data(key_kind, Text(key), place.at(key)): read_data(item_kind, item, place.at(key), other)
            for key, item in data.items()
        }
    if bare is Endpoint:
        return call(Endpoint.listening, data, place)
    if is_record(bare):
        return make(bare, data, place, other)
    return _read_scalar(kind, bare, data, place)


def _read_scalar(kind: Any, bare: Any, data: Any, place: Place) -> Any:
    if bare is type(None):
        return None
    if bare is float:
        try:
            return float(data)
        except OverflowError:
            raise refuse(place, show(data), "a number below 1e308") from None
    if bare is datetime.timedelta:
        return read_seconds(data, place)
    if is_callable_kind(kind):
        return _find(kind, data, place)
    if is_path(kind):
        return _read_path(bare, data, place)
    if is_enum(kind):
        if data in bare.__members__:
            return bare[data]
        try:
            return bare(data)
        except ValueError:
            raise _no_choice(place, data, list(bare.__members__)) from None
    if get_origin(bare) is Literal:
        for choice in get_args(bare):
            if type(choice) is type(data) and choice == data:
                return choice
        raise _no_choice(place, data, [show(choice).strip('"') for choice in get_args(bare)])
    return data


def takes(kind: Any, data: Any) -> bool:
    """Say whether *data* has the shape of a value of *kind*: a text, a number, a table."""
    bare, origin = peel(kind), origin_of(kind)
    if bare is Any:
        return True
    if bare is type(None):
        return isinstance(data, str) and data == "none"
    if bare is bool:
        return isinstance(data, bool)
    if bare is int:
        return isinstance(data, int) and not isinstance(data, bool)
    if bare in (float, datetime.timedelta):
        return isinstance(data, int | float) and not isinstance(data, bool)
    if bare is datetime.date:  # a datetime is one, to Python, but not to a person
        return isinstance(data, datetime.date) and not isinstance(data, datetime.datetime)
    if bare in (datetime.datetime, datetime.time):
        return isinstance(data, bare)
    if get_origin(bare) is Literal:
        return any(type(choice) is type(data) for choice in get_args(bare))
    if is_enum(kind):
        return isinstance(data, str | int) and not isinstance(data, bool)
    if origin in SEQUENCES:
        return isinstance(data, list | tuple)
    if origin in MAPPINGS or is_record(bare):
        return isinstance(data, Mapping)
    return isinstance(data, str) and (bare in (str, Endpoint) or is_path(kind) or is_callable_kind(kind))


def _read_data_of_any(kind: Any, data: Any, place: Place, other: Other | None) -> Any:
    """Read *data* as the first member of a union that takes it: one whose shape it has, any text last."""
    fitting = [member for member in values_of(kind) if takes(member, data) or (other and other(peel(member)))]
    if not fitting:
        raise refuse(place, tell(data), ask_for(kind))
    for member in fitting[:-1]:
        try:
            return read_data(member, data, place, other)
        except ConfigurationError:
            pass
    return read_data(fitting[-1], data, place, other)


def _read_list(kind: Any, data: Sequence[Any], place: Place, other: Other | None) -> Any:
    origin, items = origin_of(kind), item_kinds(kind)
    if get_origin(peel(kind)) is tuple and not get_args(peel(kind)):
        items = ()  # tuple[()]
    if origin is not tuple or (len(items) == 2 and items[1] is Ellipsis) or peel(kind) is tuple:
        items = (items[0],) * len(data)
    elif len(items) != len(data):
        raise refuse(place, f"has {len(data)} items", ask_for(kind))
    read = [
        read_data(item, each, place.at(number), other)
        for number, (item, each) in enumerate(zip(items, data, strict=True))
    ]
    try:
        return SEQUENCES[origin](read)
    except TypeError:
        raise refuse(place, "has an item twice or one that cannot be in a set", "plain values") from None


def _read_path(bare: Any, text: str, place: Place) -> Any:
    if not text or "\0" in text:
        raise refuse(place, show(text), "a path")
    cls = bare if isinstance(bare, type) and issubclass(bare, Path) else Path
    return cls(text)


def read_seconds(number: float, place: Place) -> datetime.timedelta:
    try:
        return datetime.timedelta(seconds=number)
    except (OverflowError, ValueError):
        raise refuse(place, show(number), "a number of seconds") from None


def _find(kind: Any, text: str, place: Place) -> Any:
    from plait.runner.names import find, show_type

    found = call(lambda name: find(name, "shop.web:answer"), text, place)
    if not callable(found) or (origin_of(kind) is type and not isinstance(found, type)):
        raise refuse(
            str(place), f"{text} is {show_type(found)}", "a class" if origin_of(kind) is type else "a function"
        )
    return found


def _no_choice(place: Place, data: Any, choices: list[str]) -> ConfigurationError:
    return refuse(place, show(data), f"one of {', '.join(choices)}{did_you_mean(data, choices)}")


def call(reader: Callable[[Any], Any], data: Any, place: Place) -> Any:
    """Return what *reader* makes of *data*; what it refuses is told with its place."""
    try:
        return reader(data)
    except ConfigurationError as error:
        raise type(error)(sentence(place, error)) from error
    except (ValueError, TypeError) as error:
        raise ConfigurationError(sentence(place, show(data), " ".join(str(error).split()))) from error


# Dataclasses --------------------------------------------------------------------------------------------------------


def make(cls: Any, table: Mapping[str, Any], place: Place, other: Other | None = None) -> Any:
    """Return the dataclass *cls* whose fields *table* gives; every mistake is told with its place."""
    given = read_fields(cls, table, place, other)
    check_missing(cls, given, place)
    return build(cls, given, place)


def check_missing(cls: Any, given: Mapping[str, Any], place: Place) -> None:
    """Raise `ConfigurationError` if *given* lacks a field of *cls* that has no default."""
    for item in dataclasses.fields(cls):
        if item.init and item.name not in given and _is_required(item):
            raise wrong(place, f"{item.name} is missing: give {ask_for(kinds_of(cls)[item.name])}")


def build(cls: Callable[..., Any], given: Mapping[str, Any], place: Place) -> Any:
    """Return ``cls(**given)``; what it refuses is told with *place*."""
    try:
        return cls(**given)
    except ConfigurationError as error:
        raise type(error)(sentence(place, error)) from error
    except Exception as error:
        raise ConfigurationError(
            sentence(place, " ".join(str(error).split()) or type(error).__name__, "correct it")
        ) from error


def read_fields(
    cls: Any,
    table: Mapping[str, Any],
    place: Place,
    other: Other | None = None,
    more: Sequence[str] = (),
    hidden: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the values of the fields that *table* gives; errors also name *more* keys, but no *hidden* field."""
    kinds = kinds_of(cls)
    names = [item.name for item in dataclasses.fields(cls) if item.init]
    read: dict[str, Any] = {}
    for key, data in table.items():
        name = key if key in names else key.replace("-", "_")
        if name not in names:
            known = [*more, *(name for name in names if name not in hidden)]
            near = did_you_mean(key, known) or f": it has {', '.join(known) or 'no fields'}"
            name = show(key).strip('"')
            raise wrong(place.at(key), f"{cls.__name__} has no field {name}{near}")
        if name in read:
            raise wrong(place.at(key), f"is there twice: write {name} once")
        read[name] = read_data(kinds[name], data, place.at(key), other)
    return read


def _is_required(item: dataclasses.Field[Any]) -> bool:
    return item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
