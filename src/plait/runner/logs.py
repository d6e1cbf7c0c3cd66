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
from collections.abc import Callable, Sequence
from logging import LogRecord
from typing import TYPE_CHECKING, Literal, TextIO

from plait.errors import CannotCreate, ConfigurationError
from plait.runner.formats import Format, Text, text_of
from plait.runner.records import use_quick_loggers, use_standard_loggers
from plait.runner.sinks import STREAMS, Sink, open_log_file, open_stream
from plait.values import Value, value

if TYPE_CHECKING:
    from plait.runner.streams import LineWriter

LogFormat = Literal["auto", "text", "json", "colour"]
_FORMATS = ("auto", "text", "json", "colour")


@value
class LogSettings(Value):
    """
    Where the log goes, from which level on, and how it looks.

    *file* is a path; empty or ``-`` is standard output.  *level* is a name of the standard library's in any case, or a
    number.  *format* ``auto`` is what ``open_logs`` finds fit.  Raises ConfigurationError for a level or a format that
    there is not.
    """

    file: str = ""
    level: str = "info"
    format: LogFormat = "auto"

    def __post_init__(self) -> None:
        level_number(self.level)
        if self.format not in _FORMATS:
            raise ConfigurationError(_unknown("log format", self.format, _FORMATS))


def level_number(level: str) -> int:
    """The number of a level given by name, in any case, or as a number; raises ConfigurationError with the nearest."""
    text = level.strip()
    if text.isdecimal():
        return int(text)
    names = logging.getLevelNamesMapping()
    for name, number in names.items():
        if name.lower() == text.lower():
            return number
    raise ConfigurationError(
        _unknown("log level", level, [name.lower() for name in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")])
    )


def open_logs(
    settings: LogSettings, *, for_people: bool = False, path_of: Callable[[], str] = lambda: "", descriptor: int = -1
) -> Logs:
    """
    Send every record of the process to the place in *settings*; the caller closes what is returned.

    With the format ``auto``, plaitd writes text.  *for_people*, which ``plait run`` says, is coloured text on a
    terminal (plain when ``NO_COLOR`` is set or ``TERM`` is ``dumb``) and JSON anywhere else.  *path_of* gives the path
    of the service in whose context it is called.  *descriptor* is the file if it was opened before, because it is out
    of reach now: it cannot be opened again.  Raises CannotCreate when the file cannot be written.
    """
    stream = STREAMS.get(settings.file)
    name = stream[1] if stream else settings.file
    # A service may change the folder; the log stays where it was meant to be.
    path = "" if stream else os.path.abspath(settings.file)
    try:
        if descriptor >= 0:
            sink = Sink(descriptor)
        else:
            sink = Sink(open_stream(stream[0]) if stream else open_log_file(path), path)
    except OSError as error:
        raise CannotCreate(
            f"{name}: cannot be written ({error.strerror}): give another place with --logfile"
        ) from error
    format = choose_format(settings.format, for_people=for_people, terminal=os.isatty(sink.descriptor))
    return Logs(LineHandler(format, sink, name, path_of), level_number(settings.level))


def choose_format(format: LogFormat, *, for_people: bool, terminal: bool) -> Format:
    """The format for what is asked, see ``open_logs``; ``colour`` is coloured whatever the terminal says."""
    if format == "json" or (format == "auto" and for_people and not terminal):
        from plait.runner.json_lines import JSONLines  # `json` costs a start that needs none of it

        return JSONLines()
    plain = os.environ.get("NO_COLOR", "") != "" or os.environ.get("TERM") == "dumb"
    return Text(colours=format == "colour" or (format == "auto" and for_people and not plain))


class LineHandler(logging.Handler):
    """
    Writes each record with one call, and survives what it cannot write.

    When writing fails, that is said once on standard error, and the lost records are counted; the first record that
    can be written again comes after one that says how many they were.
    """

    def __init__(self, format: Format, sink: Sink, name: str, path_of: Callable[[], str]) -> None:
        super().__init__()
        self.place = name
        self.lost = 0
        # Bound here once: calling an object costs more than calling its method.
        self._format: Format = format.__call__  # type: ignore[operator]  # every callable has one
        self._sink = sink
        self._write = sink.write
        self._path_of = path_of
        self._reason = ""

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
        try:
            data = self._format(record, self._path_of())
        except Exception as error:
            problem = f"a record of logger {text_of(record.name)} cannot be shown: {text_of(error)}"
            data = self._own_record(logging.ERROR, problem)
        with self.lock:  # type: ignore[union-attr]  # each handler has one from its __init__ on
            try:
                if self.lost:
                    self._write(self._own_record(logging.WARNING, self._loss()) + data)
                    self.lost = 0
                else:
                    self._write(data)
            except OSError as error:
                self._count(error)
        return True

    def reopen(self) -> str | None:
        """See ``Logs.reopen``."""
        with self.lock:  # type: ignore[union-attr]
            try:
                self.lost += self._sink.reopen()
            except OSError as error:
                return f"{self.place}: cannot be opened again ({error.strerror}): writing goes on in the old file"
        return None

    def end(self) -> None:
        """
        Finish the last line, say on standard error what stays lost, and close the file.

        Not ``close``: that one is called by ``logging.shutdown``, and what is logged after it is not to be lost.
        """
        with self.lock:  # type: ignore[union-attr]
            self.lost += self._sink.close()
            if self.lost:
                _tell(self._loss())
                self.lost = 0

    def _count(self, error: OSError) -> None:
        self._reason = error.strerror or type(error).__name__
        if not self.lost:
            _tell(f"{self.place}: cannot be written ({self._reason}): records are lost until it can")
        self.lost += 1

    def _loss(self) -> str:
        records = "1 record was" if self.lost == 1 else f"{self.lost} records were"
        return f"{self.place}: {records} lost while it could not be written ({self._reason or 'reopened'})"

    def _own_record(self, level: int, message: str) -> bytes:
        return self._format(LogRecord(__name__, level, __file__, 0, message, (), None), "")


class Logs:
    """
    The log of this process, from ``open_logs`` to ``close``.

    While it is open, the root logger has its level and its handler.  Handlers that others gave to the root stay, but
    for plain ones that write to standard output or error: they would say everything twice.
    """

    def __init__(self, handler: LineHandler, level: int) -> None:
        self.handler: logging.Handler = handler
        self._handler = handler
        root = logging.root
        self._old_level = root.level
        self._set_aside = [other for other in root.handlers if _writes_to_streams(other)]
        for other in self._set_aside:
            root.removeHandler(other)
        self._captured: list[tuple[str, TextIO, TextIO | None, LineWriter]] = []
        self._warnings = False
        root.addHandler(handler)
        root.setLevel(level)
        use_quick_loggers()

    @property
    def name(self) -> str:
        """What to call the place in a message: the file as it was given, or ``standard output``."""
        return self._handler.place

    @property
    def is_stream(self) -> bool:
        """Whether the records go to a standard stream, where somebody may be looking."""
        return self.name in (name for _, name in STREAMS.values())

    def reopen(self) -> str | None:
        """
        Open the same path again, as after ``mv plaitd.log plaitd.log.1``; no record is lost, and none is torn.

        Returns None, or when it cannot be opened a sentence that says why; then the old file is written as before.
        """
        return self._handler.reopen()

    def capture_streams(self) -> None:
        """
        Make records of what is printed and of warnings, for a daemon: there is nobody to read its standard output.

        Lines of standard output go to the logger ``stdout`` at level info, those of standard error to ``stderr`` at
        level error, as with twistd; warnings to ``py.warnings``.  ``close`` undoes it, and writes lines without an end.
        """
        if self._captured:
            return
        from plait.runner.streams import LineWriter, open_log_stream

        for name, level in (("stdout", logging.INFO), ("stderr", logging.ERROR)):
            replaced: TextIO | None = getattr(sys, name)
            writer = LineWriter(logging.getLogger(name), level, replaced)
            stream = open_log_stream(writer)
            self._captured.append((name, stream, replaced, writer))
            setattr(sys, name, stream)
        if getattr(warnings.showwarning, "__module__", "") != "logging":
            self._warnings = True
            logging.captureWarnings(True)

    def close(self) -> None:
        """Write what is left, close the file, and leave ``logging``, the streams and warnings as they were before."""
        for name, stream, replaced, writer in self._captured:
            if getattr(sys, name) is stream:
                setattr(sys, name, replaced)
            writer.write_parts()
        self._captured.clear()
        if self._warnings:
            self._warnings = False
            logging.captureWarnings(False)
        root = logging.root
        if self._handler in root.handlers:
            root.removeHandler(self._handler)
            for other in self._set_aside:
                root.addHandler(other)
            root.setLevel(self._old_level)
            use_standard_loggers()
        self._handler.end()
        self._handler.close()


def _writes_to_streams(handler: logging.Handler) -> bool:
    streams = (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
    return type(handler) is logging.StreamHandler and any(handler.stream is stream for stream in streams)


def _tell(sentence: str) -> None:
    # To the descriptor: whatever stands in sys.stderr may end in the very log that cannot be written.
    try:
        if sys.__stderr__ is not None:
            os.write(sys.__stderr__.fileno(), f"{sentence}\n".encode(errors="backslashreplace"))
    except (OSError, ValueError):
        pass  # it was the last place to say it; the number of lost records is still kept


def _unknown(what: str, given: str, known: Sequence[str]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(given.strip().lower(), known, 1)
    advice = f'did you mean "{near[0]}"?' if near else f"give one of {', '.join(known)}"
    return f'{what} "{given}": there is no such: {advice}'
