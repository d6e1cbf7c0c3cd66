"""
What a person may ask of the log: where it goes, from which level on, how it looks, when it is rotated
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence

from plait.errors import ConfigurationError
from plait.values import Value, value

FORMATS = ("auto", "text", "text-ms", "json", "colour")
_LEVELS = ("debug", "info", "warning", "error", "critical")
KEPT = 10
"""How many rotated files are kept unless it is said."""
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_SMALLEST, _MOST_KEPT = 1024, 9999


@value
class LogSettings(Value):
    """
    Where the log goes, from which level on, and how it looks; everything as a person would type it.

    *file* is a path; empty or ``-`` is standard output.  Each *level* is a level, of everything, or ``NAME=LEVEL``, of
    the logger NAME or, if there is a ``/`` in it, of the service with that path and those below; the last one wins.  A
    level is a name of the standard library's in any case, or a number.  *format* is one of `FORMATS`; ``auto`` is what
    ``open_logs`` finds fit.  *rotate* is ``SIZE[:KEEP]`` or ``daily[:KEEP]``, see `Rotation`; it concerns files.

    Before *file* come, in this order, *logger* (``package.module:factory``, a callable that returns a handler),
    *journal* (systemd's, in its own protocol), and *syslog* (at *syslog_address*).  The latter two call the program
    *prefix*.  Raises ConfigurationError, with the nearest name, for what cannot be.
    """

    file: str = ""
    level: tuple[str, ...] = ("info",)
    format: str = "auto"
    rotate: str = ""
    logger: str = ""
    syslog: bool = False
    journal: bool = False
    prefix: str = "plaitd"
    syslog_address: str = "/dev/log"

    def __post_init__(self) -> None:
        self.levels()
        self.rotation()
        if self.format not in FORMATS:
            raise ConfigurationError(_unknown("log format", self.format, FORMATS))
        if self.journal and self.syslog:
            raise ConfigurationError("--journal, --syslog: one excludes the other: give one of them")
        if self.logger and not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*[.:][^\W\d]\w*", self.logger):
            raise ConfigurationError(
                f"--logger: {self.logger}: wanted package.module:factory, such as shop.logs:make_handler"
            )
        if not self.prefix.isprintable() or re.search(r"[\s:\[\]]", self.prefix) or len(self.prefix) > 48:
            raise ConfigurationError(f"--prefix {self.prefix!r}: wanted a name of at most 48 letters, such as shop")

    def levels(self) -> Levels:
        """The levels as numbers."""
        everything, loggers, paths = logging.INFO, {}, {}
        for text in self.level:
            name, equals, level = text.rpartition("=")
            number = level_number(level if equals else text)
            name = name.strip()
            if not equals or name in ("", "root"):
                if equals and not name:
                    raise ConfigurationError(
                        f'log level "{text}": there is no name before "=": give NAME=LEVEL, such as asyncio=warning'
                    )
                everything = number
            elif "/" in name:
                paths[name.strip("/")] = number
            else:
                loggers[name] = number
        return Levels(everything, loggers, paths)

    def rotation(self) -> Rotation | None:
        """When the file is rotated, and how many are kept; None for never."""
        return _read_rotation(self.rotate) if self.rotate.strip() else None


@value
class Levels(Value):
    """From which level on what is logged: *everything*, single *loggers*, services at *paths* and those below."""

    everything: int
    loggers: dict[str, int]
    paths: dict[str, int]


@value
class Rotation(Value):
    """
    When a log is rotated: before it would be longer than *size* bytes, or *daily*, at local midnight.

    *keep* old files are kept.  Sizes are binary, as with logrotate: 10M, 10MB and 10MiB are 10 x 1024 x 1024 bytes.
    """

    size: int = 0
    daily: bool = False
    keep: int = KEPT


def level_number(level: str) -> int:
    """The number of a level given by name, in any case, or as a number; raises ConfigurationError with the nearest."""
    text = level.strip()
    if text.isascii() and text.isdecimal():
        return min(int(text[:9]), 1 << 30)
    names = logging.getLevelNamesMapping()
    for name, number in names.items():
        if name.lower() == text.lower():
            return number
    raise ConfigurationError(_unknown("log level", level, _LEVELS))


def _read_rotation(text: str) -> Rotation:
    when, colon, kept = text.strip().partition(":")
    keep = int(kept) if kept.isascii() and kept.isdecimal() and len(kept) < 9 else 0
    if colon and not 1 <= keep <= _MOST_KEPT:
        raise ConfigurationError(f'log rotation "{text}": wanted 1 to {_MOST_KEPT} files to keep, such as {when}:14')
    if when.lower() == "daily":
        return Rotation(daily=True, keep=keep or KEPT)
    found = re.fullmatch(r"([0-9]{1,12})(?:\s*([kmg])?(?:i?b)?)", when.lower())
    if found is None:
        raise ConfigurationError(
            f'log rotation "{text}": wanted a size or "daily", and perhaps how many files to keep: 10MB:5, daily:14'
        )
    size = int(found[1]) * _UNITS[found[2] or ""]
    if size < _SMALLEST:
        raise ConfigurationError(f'log rotation "{text}": wanted at least 1KB: give a greater size, such as 10MB')
    return Rotation(size=size, keep=keep or KEPT)


def _unknown(what: str, given: str, known: Sequence[str]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(given.strip().lower(), known, 1)
    advice = f'did you mean "{near[0]}"?' if near else f"give one of {', '.join(known)}"
    return f'{what} "{given}": there is no such: {advice}'
