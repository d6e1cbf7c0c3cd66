"""
What a person may ask of the log: where it goes, from which level on, how it looks, when it is rotated
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from plait.errors import ConfigurationError
from plait.values import Value, value

if TYPE_CHECKING:
    from plait.runner.rotation import Rotation

FORMATS = ("auto", "text", "text-ms", "json", "colour")
_LEVELS = ("debug", "info", "warning", "error", "critical")


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
    *prefix*.  *spare* is the file for what a log of people's own fails to take; ``-`` is standard error.  Raises
    ConfigurationError, with the nearest name, for what cannot be.
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
    spare: str = "-"

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
        if not self.rotate.strip():
            return None
        from plait.runner.rotation import read_rotation

        return read_rotation(self.rotate)


@value
class Levels(Value):
    """From which level on what is logged: *everything*, single *loggers*, services at *paths* and those below."""

    everything: int
    loggers: dict[str, int]
    paths: dict[str, int]


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


def _unknown(what: str, given: str, known: Sequence[str]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(given.strip().lower(), known, 1)
    advice = f'did you mean "{near[0]}"?' if near else f"give one of {', '.join(known)}"
    return f'{what} "{given}": there is no such: {advice}'
