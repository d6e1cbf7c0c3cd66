"""
From a log record to its line, in the format and for the place that were chosen
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from logging import LogRecord

from plait.runner.formats import Format, text_of
from plait.runner.writer import LAST_WAIT, Taker, Writer


class LineHandler(logging.Handler):
    """
    Hands each record to a `Writer` as the bytes that *format* makes of it, in the thread that logs.

    *path_of* gives the path of the service in whose context it is called.
    """

    def __init__(self, format: Format, place: Taker, name: str, path_of: Callable[[], str]) -> None:
        super().__init__()
        # Bound here once: calling an object costs more than calling its method.
        self._format: Format = format.__call__  # type: ignore[operator]  # every callable has one
        self._path_of = path_of
        self._levels: Mapping[str, int] = {}
        self._rest = 0
        self.writer = Writer(place, name, self._own_record)
        self._put = self.writer.put

    def use_levels(self, rest: int, paths: Mapping[str, int]) -> None:
        """Refuse what is below the level of the service it comes from, by its path, or else below *rest*."""
        self._rest, self._levels = rest, paths

    def emit(self, record: LogRecord) -> None:
        self.handle(record)

    def handle(self, record: LogRecord) -> bool:
        """As the standard library does, but in one call, and locked while writing, not while formatting."""
        if self.filters:
            verdict = self.filter(record)
            if not verdict:
                return False
            if isinstance(verdict, LogRecord):
                record = verdict
        path = ""
        try:
            path = self._path_of()
            if self._levels and record.levelno < self._level_of(path, record):
                return False
            data = self._format(record, path)
        except Exception as error:
            problem = f"a record of logger {text_of(record.name)} cannot be shown: {text_of(error)}"
            data = self._own_record(logging.ERROR, problem)
        self._put(data)
        return True

    def _level_of(self, path: str, record: LogRecord) -> int:
        while path:
            if path in self._levels:
                return self._levels[path]
            path = path.rpartition("/")[0]
        # The loggers let more through than they would, for the sake of the services that are named.
        logger: logging.Logger | None = logging.getLogger(record.name)
        while logger is not None and logger is not logging.root:
            if logger.level:
                return logger.level
            logger = logger.parent
        return self._rest

    def end(self, seconds: float = LAST_WAIT) -> None:
        """
        Write what is left, for at most *seconds*, say on standard error what stays lost, and close the file.

        Not ``close``: that one is called by ``logging.shutdown``, and what is logged after it is not to be lost.
        """
        self.writer.close(seconds)

    def _own_record(self, level: int, message: str) -> bytes:
        return self._format(LogRecord("plait", level, __file__, 0, message, (), None), "")
