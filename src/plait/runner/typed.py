"""
Values of annotated types, from text and from data.

This module has the texts, what somebody typed on a command line or in the environment; `plait.runner.data` has the
data, `plait.runner.kinds` the annotations.  What cannot be used is refused with `ConfigurationError`, whose sentence
begins with where it was met.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args, get_origin

from plait.errors import ConfigurationError
from plait.runner.data import call, make, read_data, read_seconds
from plait.runner.kinds import (
    MAPPINGS,
    SEQUENCES,
    ask_for,
    describe_kind,
    is_callable_kind,
    is_record,
    item_kinds,
    kinds_of,
    main_kind,
    members_of,
    origin_of,
    peel,
    reader_in,
    repeats,
    values_of,
)
from plait.runner.places import Place, Text, place_of, refuse, show

__all__ = [
    "Place",
    "Text",
    "describe_kind",
    "gather",
    "kinds_of",
    "make",
    "peel",
    "read_data",
    "read_text",
    "repeats",
]


def read_text(kind: Any, text: str, where: Place | str = "") -> Any:
    """
    Return the value of *kind* that *text* spells.

    A list is written as in TOML, ``["a", "b"]``, or is the one value that it would have; a mapping is a table
    ``{a = 1}`` or one ``key=value``; a dataclass is a table.  Where None is allowed, ``none`` means it, unless it is a
    text of its own.
    """
    place, text = place_of(where), str(text)  # a `Text` would be sent back here
    if (reader := reader_in(kind)) is not None:
        return call(reader, text, place)
    if len(members_of(kind)) > 1:
        return _read_text_of_any(kind, text, place)
    bare, origin = peel(kind), origin_of(kind)
    if bare is str:
        return text
    if bare is bool:
        if text.lower() in ("true", "yes", "on", "1", "false", "no", "off", "0"):
            return text.lower() in ("true", "yes", "on", "1")
        raise refuse(place, show(text), ask_for(kind))
    if bare in (int, float):
        return _read_number(bare, text, place)
    if bare is type(None) and text.lower() == "none":
        return None
    if bare is datetime.timedelta:
        return read_seconds(_read_number(float, text, place), place)
    if bare in (datetime.datetime, datetime.date, datetime.time):
        try:
            return bare.fromisoformat(text)
        except ValueError:
            raise refuse(place, show(text), ask_for(kind)) from None
    if get_origin(bare) is Literal:
        for choice in get_args(bare):
            if text == str(choice) or (choice is None and text == "none"):
                return choice
        return read_data(kind, text, place)  # which says what is wrong
    if origin in SEQUENCES or origin in MAPPINGS or is_record(bare):
        return _read_composed(kind, text, place)
    if bare is Any:
        found = _read_toml(text)
        return text if found is None else found
    return read_data(kind, text, place)


def gather(kind: Any, texts: Sequence[str], where: Place | str = "") -> Any:
    """Return the value of *kind* that an option given once for each of *texts* has; see `repeats`."""
    if not repeats(kind) or len(texts) == 1:
        return read_text(kind, texts[-1], where)
    whole = main_kind(kind)
    read = [read_text(whole, text, where) for text in texts]
    if isinstance(read[0], Mapping):
        return {key: item for each in read for key, item in each.items()}
    return SEQUENCES[origin_of(whole)]([item for each in read for item in each])


def _read_text_of_any(kind: Any, text: str, place: Place) -> Any:
    """Read *text* as the first member of a union that takes it; what takes every text comes last."""
    members = values_of(kind)
    for member in members:
        try:
            return read_text(member, text, place)
        except ConfigurationError as error:
            refusal = error
    real = main_kind(kind)
    if is_record(real) or repeats(real) or is_callable_kind(real):
        raise refusal  # of one kind, its own words say most
    raise refuse(place, show(text), ask_for(kind))


def _read_number(kind: Any, text: str, place: Place) -> Any:
    try:
        # int() and float() alone would also take blanks around it, and the digits of other scripts.
        if text.isascii() and text.isprintable() and text == text.strip():
            number = int(text, 0) if kind is int else float(text)
            if number == number:
                return number
    except ValueError:
        pass
    raise refuse(place, show(text), ask_for(kind))


def _read_composed(kind: Any, text: str, place: Place) -> Any:
    """Read a list or a table, which are written as in TOML, or one item of it."""
    bare, origin = peel(kind), origin_of(kind)
    if text.startswith("[" if origin in SEQUENCES else "{"):
        found = _read_toml(text)
        if found is None:
            raise refuse(place, show(text), f"{ask_for(kind)}, as in TOML")
        return read_data(kind, found, place)
    if origin in MAPPINGS:
        key, mark, rest = text.partition("=")
        if not mark or not key:
            raise refuse(place, show(text), "key=value")
        key_kind, item_kind = item_kinds(bare)
        return {read_text(key_kind, key, place): read_text(item_kind, rest, place)}
    if origin in SEQUENCES:
        return read_data(kind, [Text(text)], place)
    raise refuse(place, show(text), f"{ask_for(kind)}, such as {{{next(iter(kinds_of(bare)), 'field')} = ...}}")


def _read_toml(text: str) -> Any:
    """Return the value that *text* is in TOML, or None."""
    import tomllib

    try:
        found = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return None
    return found["value"] if len(found) == 1 else None
