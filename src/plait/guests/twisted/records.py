"""
From an event of Twisted's log to a record of ``logging``
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import twisted
from twisted.logger import LogLevel, formatEvent
from twisted.python.failure import Failure

import plait

Event = dict[str, Any]

LEVELS: Mapping[Any, int] = {
    LogLevel.debug: logging.DEBUG,
    LogLevel.info: logging.INFO,
    LogLevel.warn: logging.WARNING,
    LogLevel.error: logging.ERROR,
    LogLevel.critical: logging.CRITICAL,
}

#: What Twisted itself puts into an event, besides the keys that begin with ``log_``.
_TWISTEDS = frozenset(("message", "time", "system", "format", "isError", "failure", "why", "logLevel", "debugInfo"))
#: What Twisted says right before the failure of a Deferred that nobody handled, as an event of its own.
_HERALD = "Unhandled error in Deferred:"
_HERALDED = "Unhandled error in Deferred"
#: How deep events may come of the formatting of events: a ``__repr__`` that logs itself would never end.
_DEEPEST = 3

_TWISTED = twisted.__path__[0] + "/"
_PLAIT = plait.__path__[0] + "/"
#: Files whose frames lead from the reactor to people's code.
_PLUMBING = tuple(
    f"{_TWISTED}{name}"
    for name in (
        "internet/asyncioreactor.py",
        "internet/base.py",
        "internet/defer.py",
        "internet/posixbase.py",
        "python/context.py",
        "python/log.py",
        "python/threadpool.py",
        "_threads/",
    )
)
#: Files whose frames lie between who logs and us.
_WAY = (f"{_TWISTED}logger/", f"{_TWISTED}python/log.py", f"{_TWISTED}python/threadable.py", __file__)

_busy = threading.local()
_is_on_way: dict[str, bool] = {}


class EventRecord(logging.LogRecord):
    """
    The record of an event, with its keys for the formats that machines read.

    In text it looks as twistd shows it: what belongs there is in the message already.
    """

    # Not among the attributes, where other formats would take them for fields to show.
    __slots__ = ("plait_details",)

    plait_details: Mapping[str, object]


def level_of(event: Event) -> int:
    """Return the level of *event* as ``logging`` counts it."""
    level = LEVELS.get(event.get("log_level"))
    if level == logging.CRITICAL and is_order(failure_of(event)):
        return logging.INFO
    if level is None:
        return logging.CRITICAL if "log_failure" in event else logging.INFO
    return level


def failure_of(event: Event) -> Failure | None:
    """Return what failed by *event*, or None."""
    found = event.get("log_failure")
    if found is None and event.get("isError") and not event.get("message"):
        found = event.get("failure")
    return found if isinstance(found, Failure) else None


def is_order(failure: Failure | None) -> bool:
    """Say whether what failed is no error, but means that all is to stop: ``sys.exit()``, CTRL-C."""
    return failure is not None and isinstance(failure.value, SystemExit | KeyboardInterrupt)


def is_herald(event: Event) -> bool:
    """Say whether *event* only announces the next, that of a Deferred's failure."""
    return event.get("log_format") == _HERALD and event.get("log_namespace") == "twisted.internet.defer"


def text_of(event: Event, failure: Failure | None) -> str:
    """Return the text of *event*, without the traceback of its *failure*; empty if twistd would show nothing."""
    depth = getattr(_busy, "depth", 0)
    if depth >= _DEEPEST:
        return f"{event.get('log_format')} (logged while it was made into text)"
    if failure is not None and "log_failure" not in event:
        # `log.err`: Twisted has written the traceback into the text.
        event = {"log_format": "{why}", "why": event.get("why") or "Unhandled Error"}
    _busy.depth = depth + 1
    try:
        text = _format(event)
    finally:
        _busy.depth = depth
    if failure is not None:
        if event.get("log_namespace") == "twisted.internet.defer" and "debugInfo" in event:
            text = f"{_HERALDED} {text}".rstrip()
        text = text or "Unhandled Error"
        if is_order(failure):
            text = f"{text}: {failure.value!r}"
    return text


def _format(event: Event) -> str:
    form = event.get("log_format")
    if type(form) is str and "log_flattened" not in event:
        try:
            # The same in a fifth of the time, but for calls, {f()}, and what cannot be shown.
            return form.format_map(event)
        except BaseException:
            pass  # Twisted's own way describes it
    return formatEvent(event)


def make_record(event: Event, name: str, level: int) -> logging.LogRecord | None:
    """Return the record of *event*, to be of the logger *name* at *level*, or None if there is nothing to say."""
    failure = failure_of(event)
    text = text_of(event, failure)
    if not text:
        return None
    path, line, function = _caller()
    record = _make(name, level, path, line, text, (), None, function, None)
    when = event.get("log_time")
    if isinstance(when, int | float):
        record.relativeCreated += (when - record.created) * 1000
        record.created = when
        record.msecs = when % 1 * 1000
    if failure is not None and not is_order(failure):
        _attach(record, failure)
    system = event.get("log_system")
    if system is not None and system != "-":
        record.__dict__["system"] = system
    details = {key: value for key, value in event.items() if key not in _TWISTEDS and not str(key).startswith("log_")}
    if details and isinstance(record, EventRecord):
        record.plait_details = details
    return record


def _make(*arguments: Any) -> logging.LogRecord:
    factory = logging.getLogRecordFactory()
    return (EventRecord if factory is logging.LogRecord else factory)(*arguments)


def _attach(record: logging.LogRecord, failure: Failure) -> None:
    error = failure.value
    if not isinstance(error, BaseException):
        record.exc_text = failure.getTraceback()
    elif isinstance(failure.tb, TracebackType):
        record.exc_info = (type(error), error, trim(failure.tb))
    elif isinstance(error.__traceback__, TracebackType):
        record.exc_info = (type(error), error, trim(error.__traceback__))
    else:
        record.exc_text = _text_of_failure(failure, error)


def _text_of_failure(failure: Failure, error: BaseException) -> str:
    """Return the traceback of a *failure* that has let go of its frames, as Python would show it."""
    try:
        kept: Any = trim(failure.getTracebackObject())
        return "".join(traceback.format_exception(type(error), error, kept)).rstrip("\n")
    except Exception:
        return str(failure.getTraceback()).rstrip("\n")


def trim(trace: Any) -> Any:
    """Return *trace* from where people's code begins."""
    while trace is not None and trace.tb_next is not None:
        file = trace.tb_frame.f_code.co_filename
        if not file.startswith((_PLAIT, *_PLUMBING)):
            break
        trace = trace.tb_next
    return trace


def _caller() -> tuple[str, int, str]:
    """Return file, line and function of who logs."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        on_way = _is_on_way.get(file)
        if on_way is None:
            on_way = _is_on_way[file] = file.startswith((*_WAY, f"{_PLAIT}guests/twisted/logs.py"))
        if not on_way:
            return file, frame.f_lineno, frame.f_code.co_name
        frame = frame.f_back
    return "(unknown)", 0, "(unknown)"
