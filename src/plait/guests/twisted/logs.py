"""
Twisted's log events on the one bus, that of ``logging``
"""

from __future__ import annotations

import logging
import warnings
from typing import Any

from twisted.logger import globalLogBeginner

from plait.guests.twisted.records import Event, is_herald, level_of, make_record

_has_begun = False


def observe(event: Event) -> None:
    """Make a record of *event*: of the logger that is called as its namespace, in the context it is emitted in."""
    if is_herald(event):
        return
    name = str(event.get("log_namespace") or "twisted")
    logger, level = logging.getLogger(name), level_of(event)
    if logger.isEnabledFor(level):
        record = make_record(event, name, level)
        if record is not None:
            logger.handle(record)


def begin() -> None:
    """Send Twisted's events to ``logging`` from now on, those first that were emitted before; once in a process."""
    global _has_begun
    if _has_begun:
        return
    _has_begun = True
    _begin_with(observe)


def begin_unless_begun() -> None:
    """As `begin`, unless the program has said itself where Twisted's events go."""
    if getattr(globalLogBeginner, "_temporaryObserver", None) is not None:
        begin()


def _begin_with(*observers: Any) -> None:
    # Warnings stay with who has them: plaitd makes records of them, and Twisted would say them a second time.
    show = warnings.showwarning
    try:
        globalLogBeginner.beginLoggingTo(observers, redirectStandardIO=False)
    finally:
        warnings.showwarning = show
