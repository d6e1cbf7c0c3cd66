"""
An application's own log observer in the place of plaitd's log
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from typing import Any

from twisted.logger import ILogObserver, LegacyLogObserverWrapper, Logger, LogLevel, STDLibLogObserver
from twisted.python import log as legacy
from twisted.python.failure import Failure

from plait.guests.twisted.records import LEVELS, Event, level_of, make_record, trim

_STREAMS = ("stdout", "stderr")
_ATTRIBUTES = frozenset(logging.LogRecord("", 0, "", 0, "", (), None).__dict__) | {"message", "asctime", "taskName"}


class Sink:
    """
    The log observer *observer*, as Twisted's publisher calls it.

    An event with which it fails becomes a record, for *refused* to be told while the error is being handled.
    """

    def __init__(self, observer: Any, refused: Callable[[logging.LogRecord], object]) -> None:
        self._observer = observer if ILogObserver.providedBy(observer) else LegacyLogObserverWrapper(observer)
        self._refused = refused
        self._here = threading.local()

    @property
    def is_busy(self) -> bool:
        """Whether the observer is just being called, in this thread."""
        return getattr(self._here, "depth", 0) > 0

    def __call__(self, event: Event) -> None:
        try:
            self.give(event)
        except Exception as error:
            error.__traceback__ = trim(error.__traceback__)
            record = make_record(event, str(event.get("log_namespace") or "twisted"), level_of(event))
            if record is not None:
                self._refused(record)

    def give(self, event: Event) -> None:
        """Call the observer with *event*; raises what it raises."""
        self._here.depth = getattr(self._here, "depth", 0) + 1
        try:
            self._observer(event)
        finally:
            self._here.depth -= 1


class ObserverHandler(logging.Handler):
    """
    Gives each record to *observer* as an event of Twisted's; *path_of* says for which service something is logged.

    *sink* is for the publisher to give it Twisted's own.  What the observer fails with, and what it logs itself from
    warnings on, is left to ``handleError``.
    """

    def __init__(self, observer: Any, path_of: Callable[[], str]) -> None:
        super().__init__()
        self.sink = Sink(observer, lambda record: self.handleError(record))
        self._path_of = path_of

    def handle(self, record: logging.LogRecord) -> bool:
        """Handle it without a lock: an observer must do without, and one that logs might wait for its own."""
        found = self.filter(record)
        if found:
            self.emit(found if isinstance(found, logging.LogRecord) else record)
        return bool(found)

    def emit(self, record: logging.LogRecord) -> None:
        """Give *record* to the observer."""
        try:
            self._emit(record)
        except Exception as error:
            error.__traceback__ = trim(error.__traceback__)
            self.handleError(record)

    def _emit(self, record: logging.LogRecord) -> None:
        if not self.sink.is_busy:
            self.sink.give(event_of(record, self._path_of()))
        elif record.levelno >= logging.WARNING:
            # The observer logs, or prints to standard error: it would be asked to log that, without end.
            self.handleError(record)
        elif record.name == "stdout":
            _say(record.getMessage())


def event_of(record: logging.LogRecord, path: str) -> Event:
    """Return *record* as an event, in the system that it is shown with elsewhere: that of its service at *path*."""
    level = next((level for level, number in reversed(_LEVELS) if record.levelno >= number), LogLevel.debug)
    name = record.name
    try:
        text = record.getMessage().rstrip("\n")
    except Exception as error:
        text = f"a log record cannot be formatted ({error}): {record.msg!r} with {record.args!r}"
    key = "log_io" if name in _STREAMS else "log_text"
    event: Event = {each: value for each, value in record.__dict__.items() if each not in _ATTRIBUTES}
    event |= {
        "log_logger": Logger(namespace=name),
        "log_level": level,
        "log_namespace": name,
        "log_source": None,
        "log_format": f"{{{key}}}",
        key: text,
        "log_time": record.created,
    }
    if path:
        event["plait_path"] = path
        if name not in _STREAMS:
            event["log_system"] = f"{path}#{level.name}"
    if record.exc_info and record.exc_info[1] is not None:
        event["log_failure"] = Failure(record.exc_info[1], *record.exc_info[::2])
    return event


_LEVELS = sorted(LEVELS.items(), key=lambda item: item[1])


def find_component(source: Any) -> Any:
    """Return the log observer that was set as a component of the application *source*, or None."""
    get = getattr(source, "getComponent", None)
    if get is None:
        return None
    found = get(ILogObserver, None)
    return get(legacy.ILogObserver, None) if found is None else found


def is_bus(observer: Any) -> bool:
    """Say whether *observer* only hands on to ``logging``, whose records go to plaitd's log and to whatever else."""
    return isinstance(observer, STDLibLogObserver) or isinstance(
        getattr(observer, "__self__", None), legacy.PythonLoggingObserver
    )


def _say(text: str) -> None:
    file = sys.__stdout__
    try:
        if file is not None:
            file.write(text.rstrip("\n") + "\n")
            file.flush()
    except Exception:
        pass  # there is nobody left to tell
