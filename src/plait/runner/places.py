"""
Where a value stands, and the words of the sentence about it when it cannot be used.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from plait.errors import ConfigurationError
from plait.runner.names import printable
from plait.values import Value, value

#: What a value in TOML is called.
TOLD = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    datetime.datetime: "a date and time",
    datetime.date: "a date",
    datetime.time: "a time of day",
}


class Text(str):
    """A text among data that somebody typed, as in ``--set``: it is read as `read_text` does, by the kind wanted."""


@value
class Place(Value):
    """
    Where a value stands: what it is in, and the *path* to it there; shown as ``plait.toml: app.port``.

    *origins* are the paths whose values came from elsewhere, with the words for it: ``{"app.port": "--set app.port"}``.
    """

    source: str
    path: str = ""
    origins: Mapping[str, str] = dataclasses.field(default_factory=dict, hash=False)

    def at(self, key: str | int) -> Place:
        """Return the place of what is in it under *key*."""
        if isinstance(key, int):
            step = f"[{key}]"
        else:
            step = key if key.replace("-", "_").isidentifier() else show(key)
            step = f".{step}" if self.path else step
        return Place(self.source, self.path + step, self.origins)

    def __str__(self) -> str:
        known = self.path
        while known and known not in self.origins:
            known = known[: max(known.rfind("."), known.rfind("["), 0)]
        if known:
            return self.origins[known] + self.path[len(known) :]
        return ": ".join(part for part in (self.source, self.path) if part)


def place_of(where: Place | str) -> Place:
    """Return *where* as a place; a text such as ``plait.toml: app`` is taken apart."""
    if isinstance(where, Place):
        return where
    source, _, path = where.rpartition(": ")
    return Place(source, path) if source else Place("", where)


def show(value: Any) -> str:
    """Return *value* as a person would write it in TOML, a long one cut short."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        shown = printable(value)
        return f'"{shown}"' if len(shown) <= 60 else f'"{shown[:57]}..."'
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return repr(value)


def tell(data: Any) -> str:
    """Return what was given instead of what was asked for: ``"80" is a text``, ``is a table``."""
    if isinstance(data, Mapping):
        return "is a table"
    if isinstance(data, list | tuple):
        return "is a list"
    for kind, words in TOLD.items():
        if type(data) is kind:
            return f"{show(data)} is {words}"
    return show(data)


def refuse(where: Place | str, what: str, wanted: str) -> ConfigurationError:
    """Return the error: *where* it was met (may be empty), *what* it is, what is *wanted* instead."""
    return ConfigurationError(sentence(where, what, f"wanted {wanted}"))


def wrong(where: Place | str, words: str) -> ConfigurationError:
    """Return the error: *where* it was met (may be empty), and the *words* about it."""
    return ConfigurationError(sentence(where, words))


def sentence(*parts: object) -> str:
    """Return the *parts* that say something, with colons between them, on one line whatever is in them."""
    return printable(": ".join(text for part in parts if (text := str(part))))


def did_you_mean(given: Any, known: Sequence[str]) -> str:
    """Return ``, did you mean ...?`` for the nearest of *known*, or nothing."""
    import difflib

    found = difflib.get_close_matches(str(given).replace("-", "_"), known, n=1, cutoff=0.6)
    return f", did you mean {found[0]}?" if found else ""
