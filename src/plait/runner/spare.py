"""
What a log of people's own does not take, and the log where that goes instead
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from logging import LogRecord

from plait.errors import CannotCreate
from plait.events import describe
from plait.runner.handler import LineHandler
from plait.runner.log_places import choose_format, open_place
from plait.runner.log_settings import LogSettings
from plait.values import replace


class Spare:
    """
    Takes each record that *handler*, called *name*, hands to its ``handleError``, and tells once of each kind of
    error; never raises.

    It goes where *settings* would have sent it without a log of people's own, which is opened by the first one: where
    all is well there is no other log.  What cannot be opened any more, by another user or in another root folder, is
    replaced by syslog, and that by standard error.
    """

    def __init__(self, handler: logging.Handler, settings: LogSettings, name: str, path_of: Callable[[], str]) -> None:
        self._plain = replace(settings, logger="", syslog=False, journal=False, file="/dev/stderr")
        self._settings = replace(settings, logger="", file="/dev/stderr" if settings.spare == "-" else settings.spare)
        self._name = name
        self._path_of = path_of
        self._lines: LineHandler | None = None
        self._told: set[type[BaseException]] = set()
        self._lock = threading.RLock()
        if type(handler).handleError is logging.Handler.handleError:  # else it knows itself what to do
            handler.handleError = self.take  # type: ignore[method-assign]

    def take(self, record: LogRecord) -> None:
        """Write *record*, and before it the error that is just being handled, if one of its kind was not told yet."""
        error = sys.exception()
        with self._lock:
            if self._lines is None:
                self._lines = self._open()
            if self._lines is None:
                return  # there is nobody left to tell
            if error is not None and type(error) not in self._told:
                self._told.add(type(error))
                text = f"{self._name} failed ({describe(error)}): what it does not take is written here"
                exception = (type(error), error, error.__traceback__)
                self._lines.handle(LogRecord("plait", logging.ERROR, __file__, 0, text, (), exception))
            record.__dict__.pop("plait_path", None)  # for the handler alone: here it has its place in the line
            self._lines.handle(record)

    def close(self) -> None:
        """Close what was opened; what still comes goes to standard error."""
        with self._lock:
            lines, self._lines = self._lines, None
            self._settings = self._plain
        if lines is not None:
            lines.end()

    def _open(self) -> LineHandler | None:
        for settings in (self._settings, replace(self._plain, syslog=self._settings is not self._plain), self._plain):
            try:
                place = open_place(settings)
            except CannotCreate:
                continue  # what cannot be told there, is told at the next
            format = place.format or choose_format(settings.format, for_people=False, terminal=False)
            return LineHandler(format, place.taker, place.name, self._path_of)
        return None
