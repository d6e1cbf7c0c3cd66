"""
Twisted's log events on the one bus, that of ``logging``; or all that is logged, to an observer of the application's own
"""

from __future__ import annotations

import gc
import logging
import warnings
from collections.abc import Callable
from typing import Any

from twisted.logger import globalLogBeginner, globalLogPublisher

from plait.guests.twisted import failures
from plait.guests.twisted.observers import ObserverHandler, Sink, find_component, is_bus
from plait.guests.twisted.records import Event, is_herald, level_of, make_record

_observer: Callable[[Event], None] | None = None
_has_begun = False
_others = 0
_others_hand_on = False


def observe(event: Event) -> None:
    """Make a record of *event*: of the logger that is called as its namespace, in the context it is emitted in."""
    if is_herald(event) or _hands_on():
        return
    name = str(event.get("log_namespace") or "twisted")
    logger, level = logging.getLogger(name), level_of(event)
    if logger.isEnabledFor(level):
        record = make_record(event, name, level)
        if record is not None:
            logger.handle(record)


def _hands_on() -> bool:
    """Say whether the program itself hands events on to ``logging``: then they are on the bus, as it wants them."""
    global _others, _others_hand_on
    others = getattr(globalLogPublisher, "_observers", ())
    if len(others) != _others:
        _others = len(others)
        _others_hand_on = any(is_bus(getattr(each, "legacyObserver", each)) for each in others)
    return _others_hand_on


def make_handler(observer: Any, path_of: Callable[[], str]) -> logging.Handler:
    """Let *observer* be what logs, from `begin` on, and return the handler that gives it the records of ``logging``."""
    global _observer
    handler = ObserverHandler(observer, path_of)
    _observer = handler.sink
    return handler


def handler_maker(source: Any) -> Callable[[Callable[[], str]], logging.Handler] | None:
    """Return what makes a handler for the log observer that the application *source* has as a component, or None."""
    global _observer
    found = find_component(source)
    if found is None:
        return None
    if is_bus(found):
        _observer = Sink(found, _log_anyway)
        return None
    return lambda path_of: make_handler(found, path_of)


def _log_anyway(record: logging.LogRecord) -> None:
    """Log what an observer failed with that hands on to ``logging``, and why."""
    logging.getLogger("plait").error("a log observer of the application failed", exc_info=True)
    logger = logging.getLogger(record.name)
    if logger.isEnabledFor(record.levelno):
        logger.handle(record)


def begin() -> None:
    """Send Twisted's events where they belong, those first that were emitted before; once in a process."""
    global _has_begun
    if _has_begun:
        return
    _has_begun = True
    # Warnings stay with who has them: plaitd makes records of them, and Twisted would say them a second time.
    show = warnings.showwarning
    beginner: Any = globalLogBeginner  # its types ask for a class where a function does
    try:
        beginner.beginLoggingTo([_observer or observe], redirectStandardIO=False)
    finally:
        warnings.showwarning = show
    failures.begin()


def begin_unless_begun() -> None:
    """As `begin`, but for a program that has said itself where Twisted's events go: they go nowhere else."""
    global _has_begun
    if getattr(globalLogBeginner, "_temporaryObserver", None) is not None:
        begin()
    elif not _has_begun:
        _has_begun = True
        failures.begin()


def finish() -> None:
    """Have what failed without being handled logged while there still is a log: it lies among the garbage."""
    gc.collect()
