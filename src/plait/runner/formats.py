"""
How a log record looks: text, coloured text, JSON

A format is a callable: it takes a record and the path of the service that the record comes from, and returns the
bytes of whole lines.  It never raises for what a record holds: whatever cannot be shown is described in its place.

Each format has two ways to the same line.  The quick one is for plain records, which nearly all are; the careful one
takes each part by itself, for records with a traceback, with control characters, with values that are no text.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from logging import CRITICAL, DEBUG, ERROR, INFO, WARNING, LogRecord, getLevelName
from typing import Generic, TypeVar

from plait.runner.records import RESERVED, STANDARD

K = TypeVar("K")

Format = Callable[[LogRecord, str], bytes]

LAST = STANDARD[-1]
"""The last attribute that a record gets from the standard library: the fields come after it."""
_KEPT = 1000  # how many beginnings of lines, and names of fields, a format remembers
_LONGEST_REPR = 500
# What could end a line, move a cursor, reorder what is read, or not be encoded; TAB and newline are treated apart.
_UNSAFE = "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
_NAMED = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}


class Text:
    """
    Lines for people, as twistd writes them: ``2026-11-23T07:25:26+0000 [shop/web#info] text key=value``.

    Local time in whole seconds; the service's path, or else the logger's name; further lines of the same record begin
    with a TAB, and no other line does.  Control characters are shown as ``\\x1b``, so that no record can pass for two.
    With *colours* the line is the same, plus the colours.
    """

    def __init__(self, *, colours: bool = False) -> None:
        self._colours = colours
        self._stamp: tuple[float, str] = (-1.0, "")
        self._heads = Memory(self._head)
        self._names = Memory(self._name)

    def __call__(self, record: LogRecord, path: str) -> bytes:
        if self._colours or record.exc_info or record.exc_text or record.stack_info:
            return self._careful(record, path)
        try:
            stamp = self._stamp
            if not 0.0 <= record.created - stamp[0] < 1.0:
                stamp = self._new_stamp(record.created // 1)
            # Anything but text, which raises in the next line, is for the careful way.
            message = record.msg if type(record) is LogRecord and not record.args else record.getMessage()
            if not message.isprintable():
                return self._careful(record, path)
            values, names = record.__dict__, self._names
            fields = "\n"
            for name in reversed(values):
                if name == LAST:
                    break
                value = values[name]
                kind = type(value)
                if kind is str:
                    if not value.isalnum():
                        value = _quoted(value)
                elif kind is float:
                    value = repr(value)  # faster than the format() of an f-string
                elif kind is not int:
                    value = _quoted(text_of(value))
                fields = f"{names[name]}{value}{fields}"
            return f"{stamp[1]}{self._heads[record.levelno, record.name, path]}{message}{fields}".encode()
        except Exception:
            return self._careful(record, path)

    def _careful(self, record: LogRecord, path: str) -> bytes:
        try:
            stamp = self._new_stamp(record.created // 1)
        except (TypeError, ValueError, OverflowError, OSError):
            stamp = self._new_stamp(time.time() // 1)
        head = self._head((record.levelno, record.name, path))
        parts = [stamp[1], head, _continued(message_of(record).rstrip("\n"))]
        for name in field_names(record):
            parts += self._name(name), _quoted(text_of(record.__dict__[name]))
        for more in (exception_of(record), text_of(record.stack_info or "")):
            if more:
                parts += "\n\t", _continued(more)
        parts.append("\n")
        return "".join(parts).encode(errors="backslashreplace")

    def _new_stamp(self, second: float) -> tuple[float, str]:
        text = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(second))
        self._stamp = (second, f"\x1b[2m{text}\x1b[0m " if self._colours else f"{text} ")
        return self._stamp

    def _head(self, source: tuple[int, str, str]) -> str:
        number, logger, path = source
        level = _on_one_line(level_name(number))
        if self._colours:
            level = f"\x1b[{_colour(number)}m{level}\x1b[0m"
        return f"[{_on_one_line(path or text_of(logger))}#{level}] "

    def _name(self, name: object) -> str:
        if name in RESERVED:
            raise ValueError("not a field: the record was taken apart")
        text = _quoted(text_of(name))
        return f" \x1b[2m{text}=\x1b[0m" if self._colours else f" {text}="


class PreciseText(Text):
    """As `Text`, with milliseconds: ``2026-11-23T07:25:26.123+0000 [shop/web#info] text``."""

    def __call__(self, record: LogRecord, path: str) -> bytes:
        line = super().__call__(record, path)
        try:
            return b"%b.%03d%b" % (line[:19], record.created % 1 * 1000, line[19:])
        except (TypeError, ValueError, OverflowError):
            return line


class Memory(dict[K, str], Generic[K]):
    """What *make* returned for each key, so that it is made once; a program that invents keys starts it over."""

    def __init__(self, make: Callable[[K], str]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, key: K) -> str:
        if len(self) >= _KEPT:
            self.clear()
        text = self[key] = self._make(key)
        return text


def field_names(record: LogRecord) -> list[str]:
    """What a user added to *record* (``extra=``, a filter), in the order in which it was added."""
    return [name for name in record.__dict__ if name not in RESERVED]


def details_of(record: LogRecord) -> Mapping[str, object]:
    """What else *record* knows, for machines: its message says it to people already."""
    details = getattr(record, "plait_details", None)
    return details if isinstance(details, dict) else {}


def level_name(level: int) -> str:
    """The name of a level, in small letters: ``info``."""
    return text_of(getLevelName(level)).lower()


def severity_number(level: object) -> int:
    """OpenTelemetry's number for a level: 5 debug, 9 info, 13 warning, 17 error, 21 critical; 1 below, 0 for none."""
    if not isinstance(level, int):
        return 0
    for floor, number in ((CRITICAL, 21), (ERROR, 17), (WARNING, 13), (INFO, 9), (DEBUG, 5)):
        if level >= floor:
            return number
    return 1


def message_of(record: LogRecord) -> str:
    """The message of *record*; of one whose arguments do not fit, a sentence that says what and where."""
    try:
        return str.__str__(record.getMessage())
    except Exception as error:
        message, arguments = _short_repr(record.msg), _short_repr(record.args)
        where = f"{text_of(record.pathname)}:{text_of(record.lineno)}"
        problem = f"{type(error).__name__}: {text_of(error.args[0] if error.args else '')}"
        return f"{where}: a log record cannot be formatted ({problem}): {message} with {arguments}"


def exception_of(record: LogRecord) -> str:
    """The traceback that *record* carries, without a newline at its end; empty when it carries none."""
    try:
        if record.exc_info and record.exc_info[1] is not None:
            from traceback import format_exception

            return "".join(format_exception(*record.exc_info)).rstrip("\n")
        return text_of(record.exc_text or "").rstrip("\n")
    except Exception as error:
        return f"<a traceback that cannot be shown: {type(error).__name__}>"


def text_of(value: object) -> str:
    """Any value as text: its ``str``, or a description when that raises."""
    try:
        if isinstance(value, BaseException):
            return f"{type(value).__name__}: {value}"
        if isinstance(value, bytes | bytearray):
            return repr(value)
        return str.__str__(str(value))
    except Exception as error:
        if type(value) is int:  # too many digits for the interpreter's limit
            return hex(value)
        return f"<{type(value).__name__} that cannot be shown: {type(error).__name__}>"


def printable(text: str) -> str:
    """*text* with everything that could end a line or steer a terminal shown as an escape; TAB and newline stay."""
    return text if text.isprintable() else re.sub(_UNSAFE, _escape, text)


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    number = ord(character)
    return _NAMED.get(character) or (f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}")


def _continued(text: str) -> str:
    return printable(text.replace("\r\n", "\n")).replace("\n", "\n\t")


def _on_one_line(text: str) -> str:
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def _quoted(text: str) -> str:
    if text and text.isprintable() and not (" " in text or '"' in text or "=" in text):
        return text
    return '"' + _on_one_line(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def _short_repr(value: object) -> str:
    try:
        text = str.__str__(repr(value))
    except Exception:
        text = text_of(value)
    return text if len(text) <= _LONGEST_REPR else f"{text[:_LONGEST_REPR]}..."


def _colour(level: int) -> str:
    return {21: "1;31", 17: "31", 13: "33", 9: "32", 5: "36"}.get(severity_number(level), "2")
