"""
An application's own log observer in the place of plaitd's log
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

from twisted.logger import ILogObserver, LegacyLogObserverWrapper, Logger, LogLevel, STDLibLogObserver, eventAsText
from twisted.python import log as legacy
from twisted.python.failure import Failure

from plait.guests.twisted.records import LEVELS, Event, trim

_STREAMS = {"stdout": "__stdout__", "stderr": "__stderr__"}
_ATTRIBUTES = frozenset(logging.LogRecord("", 0, "", 0, "", (), None).__dict__) | {"message", "asctime", "taskName"}


class Sink:
    """
    The log observer *observer*, as Twisted's publisher calls it.

    What it raises is told once, on standard error, and what it did not take is written there.
    """

    def __init__(self, observer: Any) -> None:
        self.name = _name_of(observer)
        self._observer = observer if ILogObserver.providedBy(observer) else LegacyLogObserverWrapper(observer)
        self._has_failed = False
        self._here = threading.local()

    @property
    def is_busy(self) -> bool:
        """Whether the observer is just being called, in this thread."""
        return getattr(self._here, "depth", 0) > 0

    def __call__(self, event: Event) -> None:
        self._here.depth = getattr(self._here, "depth", 0) + 1
        try:
            self._observer(event)
        except Exception:
            self._tell(event)
        finally:
            self._here.depth -= 1

    def _tell(self, event: Event) -> None:
        if not self._has_failed:
            self._has_failed = True
            _say(f"plaitd: the log observer {self.name} failed; what it does not take is written here", "__stderr__")
            kind, error, trace = sys.exc_info()
            _say("".join(traceback.format_exception(kind, error, trim(trace))), "__stderr__")
        _say(eventAsText(event), "__stderr__")


class ObserverHandler(logging.Handler):
    """Gives each record to *sink* as an event of Twisted's; *path_of* says for which service something is logged."""

    def __init__(self, sink: Sink, path_of: Callable[[], str]) -> None:
        super().__init__()
        self._sink = sink
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
        except Exception:
            self.handleError(record)

    def _emit(self, record: logging.LogRecord) -> None:
        if not self._sink.is_busy:
            self._sink(event_of(record, self._path_of()))
        elif record.name in _STREAMS:
            # The observer prints: it would be asked to log that, without end.
            _say(record.getMessage(), _STREAMS[record.name])
        elif record.levelno >= logging.WARNING:
            _say(eventAsText(event_of(record, "")), "__stderr__")


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


def _name_of(observer: Any) -> str:
    return str(getattr(observer, "__qualname__", type(observer).__qualname__))


def _say(text: str, stream: str) -> None:
    file = getattr(sys, stream)
    try:
        if file is not None:
            file.write(text.rstrip("\n") + "\n")
            file.flush()
    except Exception:
        pass  # there is nobody left to tell
