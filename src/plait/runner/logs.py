"""
Where events and log records go

The standard library's ``logging`` is the one bus: what a service logs, what a library logs, and what plait has to say
end in the same file, in the same format, each with the path of the service that it comes from.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

from plait.runner.handler import LineHandler
from plait.runner.log_places import Place, choose_format, open_place
from plait.runner.log_settings import Levels, level_number
from plait.runner.log_settings import LogSettings as LogSettings
from plait.runner.records import use_quick_loggers, use_standard_loggers
from plait.runner.writer import LAST_WAIT

if TYPE_CHECKING:
    from plait.runner.spare import Spare
    from plait.runner.streams import Capture

__all__ = ["LogSettings", "Logs", "level_number", "open_logs"]


def open_logs(
    settings: LogSettings,
    *,
    for_people: bool = False,
    path_of: Callable[[], str] = lambda: "",
    descriptor: int = -1,
    place: Place | None = None,
    make_handler: Callable[[Callable[[], str]], logging.Handler] | None = None,
) -> Logs:
    """
    Send every record of the process to the place in *settings*; the caller closes what is returned.

    With the format ``auto``, plaitd writes text.  *for_people*, which ``plait run`` says, is coloured text on a
    terminal (plain when ``NO_COLOR`` is set or ``TERM`` is ``dumb``) and JSON anywhere else.  The journal and syslog
    have formats of their own, and standard output that is systemd's journal is written as such.  *path_of* gives the
    path of the service in whose context it is called.  What was opened before, because it is out of reach now, is the
    file's *descriptor* or, for any kind, the *place* that ``open_place`` returned.  What *make_handler* makes of
    *path_of* is written to instead of any place.  A record that such a handler fails with, or that of a ``logger``,
    goes where there would be a log without it.
    Raises CannotCreate when the place cannot be written, ConfigurationError for a ``logger`` that gives no handler.
    """
    if settings.logger:
        from plait.runner.custom_logger import make_handler as make_own

        handler, name = make_own(settings.logger, path_of), settings.logger
    elif make_handler is not None:
        handler, name = make_handler(path_of), "the application's own log"
    if settings.logger or make_handler is not None:
        from plait.runner.spare import Spare

        return Logs(handler, settings.levels(), name=name, spare=Spare(handler, settings, name, path_of))
    place = place or open_place(settings, descriptor=descriptor)
    is_terminal = place.is_stream and place.format is None and os.isatty(place.descriptor)
    format = place.format or choose_format(settings.format, for_people=for_people, terminal=is_terminal)
    lines = LineHandler(format, place.taker, place.name, path_of)
    return Logs(lines, settings.levels(), name=place.name, is_stream=place.is_stream)


class Logs:
    """
    The log of this process, from ``open_logs`` to ``close``.

    While it is open, the root logger has its level and its handler, and other loggers the levels that were given for
    them.  Handlers that others gave to the root stay, but for plain ones that write to standard output or error: they
    would say everything twice.
    """

    def __init__(
        self,
        handler: logging.Handler,
        levels: Levels,
        *,
        name: str,
        is_stream: bool = False,
        spare: Spare | None = None,
    ) -> None:
        self.handler = handler
        self._spare = spare
        self.name = name
        """What to call the place in a message: the file as it was given, ``standard output``, ``the journal``."""
        self.is_stream = is_stream
        """Whether the records go to a standard stream, where somebody may be looking."""
        root = logging.root
        self._old_levels: list[tuple[logging.Logger, int]] = []
        self._set_aside = [other for other in root.handlers if writes_to_streams(other)]
        for other in self._set_aside:
            root.removeHandler(other)
        self._capture: Capture | None = None
        self._warnings = False
        root.addHandler(handler)
        for logger, level in levels.loggers.items():
            self._set_level(logging.getLogger(logger), level)
        if levels.paths and isinstance(handler, LineHandler):
            handler.use_levels(levels.everything, levels.paths)
        self._set_level(root, min(levels.everything, *levels.paths.values()) if levels.paths else levels.everything)
        use_quick_loggers()

    @property
    def can_reopen(self) -> bool:
        """Whether there is a file of ours, or a place that knows how, to be opened again."""
        if isinstance(self.handler, LineHandler):
            return not self.is_stream
        return hasattr(self.handler, "reopen")

    def reopen(self) -> str | None:
        """
        Open the same path again, as after ``mv plaitd.log plaitd.log.1``; no record is lost, and none is torn.

        Returns None, or when it cannot be opened a sentence that says why; then the old file is written as before.
        Waits for what was logged before: inside a loop use ``reopen_soon``.
        """
        said: list[str | None] = []
        self.reopen_soon(said.append)
        self.flush()
        return said[0] if said else None

    def reopen_soon(self, done: Callable[[str | None], object]) -> None:
        """As ``reopen``, without waiting: *done* is called with the sentence or None, perhaps in another thread."""
        if isinstance(self.handler, LineHandler):
            self.handler.writer.reopen(done)
            return
        reopen = getattr(self.handler, "reopen", None)
        try:
            if reopen is not None:
                reopen()
            done(None)
        except Exception as error:
            done(f"{self.name}: cannot be opened again ({type(error).__name__}: {error}): writing goes on as before")

    def write_behind(self) -> None:
        """Write from a thread from now on, so that a place that stalls delays nobody who logs; ``close`` ends it."""
        if isinstance(self.handler, LineHandler):
            self.handler.writer.write_behind()

    def flush(self, seconds: float = LAST_WAIT) -> bool:
        """Wait until all that was logged is written, at most *seconds*; say whether it is."""
        if isinstance(self.handler, LineHandler):
            return self.handler.writer.flush(seconds)
        self.handler.flush()
        return True

    def capture_streams(self) -> None:
        """
        Make records of what is printed and of warnings, as twistd does: in a daemon nobody reads standard output.

        Lines of standard output go to the logger ``stdout`` at level info, those of standard error to ``stderr`` at
        level error; warnings to ``py.warnings``.  A record that a library's own handler would write to one of the two
        comes once, as the record that it is.  ``release_streams`` undoes it.
        """
        if self._capture is not None:
            return
        from plait.runner.streams import Capture

        self._capture = Capture(self.handler)
        if getattr(warnings.showwarning, "__module__", "") != "logging":
            self._warnings = True
            logging.captureWarnings(True)

    def release_streams(self) -> None:
        """Leave the streams and warnings as they were before; lines without an end are written."""
        if self._capture is not None:
            self._capture.end()
            self._capture = None
        if self._warnings:
            self._warnings = False
            logging.captureWarnings(False)

    def close(self) -> None:
        """Write what is left, close the file, and leave ``logging``, the streams and warnings as they were before."""
        self.release_streams()
        # What is done between two records, such as to open the file again, has something to log when it is done.
        is_written = self.flush()
        root = logging.root
        if self.handler in root.handlers:
            root.removeHandler(self.handler)
            for other in self._set_aside:
                root.addHandler(other)
            for logger, level in reversed(self._old_levels):
                logger.setLevel(level)
            use_standard_loggers()
        if isinstance(self.handler, LineHandler):
            self.handler.end(LAST_WAIT if is_written else 0.0)
        self.handler.close()
        if self._spare is not None:
            self._spare.close()

    def _set_level(self, logger: logging.Logger, level: int) -> None:
        self._old_levels.append((logger, logger.level))
        logger.setLevel(level)


def writes_to_streams(handler: logging.Handler) -> bool:
    """Say whether *handler* is a plain one that writes to standard output or standard error."""
    streams = (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
    return type(handler) is logging.StreamHandler and any(handler.stream is stream for stream in streams)
