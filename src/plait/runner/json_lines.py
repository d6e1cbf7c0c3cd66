"""
How a log record looks as JSON: one valid object on one line, whatever the record holds

The fixed fields are ``time`` (RFC 3339, UTC, microseconds), ``level``, ``severity_number`` (OpenTelemetry's),
``logger``, ``path``, ``message``, and where there are such ``exception`` and ``stack``.  What the user added follows
under its own names; a name that is taken gets an underscore at its end.

Values that JSON does not have become strings: NaN and the infinities, integers beyond 64 bits, and the ``str`` of any
object that is no mapping, sequence or set.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from itertools import islice
from json.encoder import encode_basestring
from logging import LogRecord

from plait.runner.formats import (
    LAST,
    Memory,
    details_of,
    exception_of,
    field_names,
    level_name,
    message_of,
    severity_number,
    text_of,
)
from plait.runner.records import RESERVED

_FIXED = frozenset(("time", "level", "severity_number", "logger", "path", "message", "exception", "stack"))
_BIG = 1 << 53  # what every reader takes for the same integer
_DEEPEST = 10
_MOST_ITEMS = 10_000  # in the containers of one field
# Beyond ASCII: what some programs take for the end of a line, what steers a terminal, and what UTF-8 does not have.
_UNSAFE = "[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"

quote = encode_basestring


class JSONLines:
    """One object a line; see the top of this module for what is in it."""

    def __init__(self) -> None:
        self._stamp: tuple[float, str] = (-1.0, "")
        self._heads = Memory(_head)
        self._names = Memory(_name)

    def __call__(self, record: LogRecord, path: str) -> bytes:
        if record.exc_info or record.exc_text or record.stack_info:
            return self._careful(record, path)
        try:
            created = record.created
            stamp = self._stamp
            part = created - stamp[0]
            if not 0.0 <= part < 1.0:
                stamp = self._new_stamp(created // 1)
                part = created - stamp[0]
            values, names = record.__dict__, self._names
            fields = "}\n"
            for name in reversed(values):
                if name == LAST:
                    break
                value = values[name]
                kind = type(value)
                if kind is str:
                    value = quote(value)
                elif kind is float and value - value == 0.0:
                    value = repr(value)  # faster than the format() of an f-string
                elif kind is not int or not -_BIG < value < _BIG:
                    value = encode(value)
                fields = f"{names[name]}{value}{fields}"
            if type(record) is LogRecord and not record.args:
                message = record.msg
            else:
                message = record.getMessage()
                if details := details_of(record):
                    fields = self._with(details, values, fields)
            head = self._heads[record.levelno, record.name, path]
            micro = "%06d" % (part * 1e6)  # noqa: UP031 - half the time of :06d and int()
            line = f"{stamp[1]}{micro}{head}{quote(message)}{fields}"
            return line.encode() if line.isascii() else _safe(line)
        except Exception:
            return self._careful(record, path)

    def _with(self, details: Mapping[str, object], taken: Mapping[str, object], fields: str) -> str:
        more = []
        for name, value in details.items():
            if name in taken:
                raise ValueError("to be looked at with care")
            more.append(f"{self._names[name]}{quote(value) if type(value) is str else encode(value)}")
        return f"{fields[:-2]}{''.join(more)}{fields[-2:]}"

    def _careful(self, record: LogRecord, path: str) -> bytes:
        try:
            created = record.created
            stamp = self._new_stamp(created // 1)
        except (TypeError, ValueError, OverflowError, OSError):
            created = time.time()
            stamp = self._new_stamp(created // 1)
        head = _head((record.levelno, record.name, path))
        parts = [stamp[1], f"{int((created - stamp[0]) * 1e6):06d}", head, quote(message_of(record))]
        taken = set(_FIXED)
        for name in field_names(record):
            parts.append(f",{quote(_free(text_of(name), taken))}:{encode(record.__dict__[name])}")
        for name, value in details_of(record).items():
            parts.append(f",{quote(_free(text_of(name), taken))}:{encode(value)}")
        if exception := exception_of(record):
            parts.append(f',"exception":{quote(exception)}')
        if record.stack_info:
            parts.append(f',"stack":{quote(text_of(record.stack_info))}')
        parts.append("}\n")
        return _safe("".join(parts))

    def _new_stamp(self, second: float) -> tuple[float, str]:
        self._stamp = (second, time.strftime('{"time":"%Y-%m-%dT%H:%M:%S.', time.gmtime(second)))
        return self._stamp


def encode(value: object) -> str:
    """Any value as JSON; what cannot be read, goes round in a circle or has no end is described in a string."""
    try:
        return _encode(value, (), [_MOST_ITEMS])
    except Exception as error:
        return quote(f"<{type(value).__name__} that cannot be shown: {type(error).__name__}>")


def _encode(value: object, within: tuple[int, ...], left: list[int]) -> str:
    if isinstance(value, str):
        return quote(str.__str__(value))
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return int.__repr__(value) if -(1 << 63) <= value < 1 << 64 else quote(text_of(int(value)))
    if isinstance(value, float):
        return _encode_float(value)
    if not isinstance(value, dict | list | tuple | set | frozenset):
        return quote(text_of(value))
    if id(value) in within:
        return quote(f"<the same {type(value).__name__} again>")
    if len(within) == _DEEPEST:
        return quote(f"<{type(value).__name__} too deep to be shown>")
    within += (id(value),)
    room = max(left[0], 0)
    left[0] -= len(value)
    more = len(value) - room
    if isinstance(value, dict):
        taken: set[str] = set()
        pairs = [
            f"{quote(_free(text_of(key), taken))}:{_encode(item, within, left)}"
            for key, item in islice(dict.items(value), room)
        ]
        if more > 0:
            pairs.append(f"{quote(_free('...', taken))}:{quote(f'{more} more')}")
        return "{" + ",".join(pairs) + "}"
    items = [_encode(item, within, left) for item in islice(value, room)]
    if more > 0:
        items.append(quote(f"... {more} more"))
    return "[" + ",".join(items) + "]"


def _encode_float(value: float) -> str:
    if value != value:
        return '"NaN"'
    if value - value != 0.0:
        return '"Infinity"' if value > 0 else '"-Infinity"'
    return float.__repr__(value)


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _name(name: object) -> str:
    if type(name) is not str or name in _FIXED or name in RESERVED:
        raise ValueError("to be looked at with care")
    return f",{quote(name)}:"


def _head(source: tuple[int, str, str]) -> str:
    number, logger, path = source
    return (
        f'Z","level":{quote(level_name(number))},"severity_number":{severity_number(number)}'
        f',"logger":{quote(text_of(logger))},"path":{quote(path)},"message":'
    )


def _safe(line: str) -> bytes:
    return re.sub(_UNSAFE, _escape, line).encode()


def _escape(match: re.Match[str]) -> str:
    # A lone surrogate is no character: many readers refuse its escape, so it is shown as text.
    number = ord(match[0])
    return f"\\\\u{number:04x}" if 0xD800 <= number <= 0xDFFF else f"\\u{number:04x}"
