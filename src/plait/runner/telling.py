"""
How errors that nobody handled, and whatever a signal did, are told in the log.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Any

from plait.errors import PlaitError
from plait.runner.signals import name_of

log = logging.getLogger("plait")


def people_trace(error: BaseException | None) -> Any:
    """
    Return the error and where in people's code it was raised, for ``exc_info``.

    One of ours says all in its sentence, and has none; of another, the frames of plait that led to it are left out.
    """
    if error is None or isinstance(error, PlaitError | TimeoutError | asyncio.CancelledError):
        return None
    own = os.path.dirname(os.path.dirname(__file__)) + os.sep
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None and trace.tb_frame.f_code.co_filename.startswith(own):
        trace = trace.tb_next
    if isinstance(error, BaseExceptionGroup) and (trace is None or trace.tb_frame.f_code.co_filename.startswith(own)):
        return None  # the errors of a stop, collected: each of them was told when it happened
    return type(error), error, trace


def tell_reopened(number: int, problem: str | None) -> None:
    """Log what came of opening the log again: None, or the *problem*."""
    if problem:
        log.error("received %s: %s", name_of(number), problem)
    else:
        log.info("received %s: opened the log again", name_of(number))


def tell_unhandled(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what nobody handled: an error in a callback, a task whose error nobody asked for."""
    error = context.get("exception")
    if isinstance(error, SystemExit | KeyboardInterrupt):
        return  # it was heard as the order to stop, see `Runner.run`
    subject = context.get("future") or context.get("handle") or context.get("transport") or context.get("protocol")
    text = context.get("message", "an error was not handled")
    log.error("%s (%r)", text, subject, exc_info=error if error is not None else None)
