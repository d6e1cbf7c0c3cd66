"""
What can happen: states, legal transitions, events.

An event is a value with a sentence for people (``str(event)``) and a flat map for machines (``event.as_map()``).
Logs, status and metrics are derived from events; nothing is reported in a second way.
"""

from __future__ import annotations

import enum
import logging

from plait.errors import IllegalTransition
from plait.values import OpenValue, value


class State(enum.StrEnum):
    """Where a child is in its life."""

    IDLE = "idle"
    STARTING = "starting"
    READY = "ready"
    WAITING = "waiting"
    STOPPING = "stopping"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"
    LEFT_BEHIND = "left behind"


#: From a state to those that may follow it.  Any other step is a bug, and raises.
TRANSITIONS: dict[State, frozenset[State]] = {
    State.IDLE: frozenset({State.STARTING}),
    State.STARTING: frozenset({State.READY, State.WAITING, State.DONE, State.FAILED, State.STOPPING}),
    State.READY: frozenset({State.WAITING, State.DONE, State.FAILED, State.STOPPING}),
    State.WAITING: frozenset({State.STARTING, State.STOPPED, State.FAILED}),
    # Waiting and failed follow stopping when it was stopped because it did not become ready in its time.
    State.STOPPING: frozenset({State.STOPPED, State.LEFT_BEHIND, State.WAITING, State.FAILED}),
    State.DONE: frozenset({State.STARTING}),
    State.FAILED: frozenset({State.STARTING}),
    State.STOPPED: frozenset({State.STARTING}),
    State.LEFT_BEHIND: frozenset({State.STARTING, State.WAITING, State.FAILED}),
}


def check_transition(path: str, old: State, new: State) -> None:
    """Raise `IllegalTransition` unless *new* may follow *old*."""
    if new not in TRANSITIONS[old]:
        raise IllegalTransition(f"{path}: {new} cannot follow {old}: please report this as a bug of plait")


@value
class Event(OpenValue):
    """
    Something that happened to the service at *path*, *at* this time of the loop's monotonic clock (seconds).

    Subclass it to publish your own through ``context.publish``; give it a ``__str__`` that is a sentence, in which
    ``self.describe(error)`` is what it tells of an error.
    """

    path: str
    at: float

    @property
    def level(self) -> int:
        """How serious it is, as a level of ``logging``."""
        return logging.DEBUG

    def as_map(self) -> dict[str, object]:
        """Return the event as a flat map: its ``event`` name and its fields."""
        return {"event": type(self).__name__, **self.__dict__}

    @staticmethod
    def describe(error: BaseException) -> str:
        """Return an error as one line: its type and its message; of a group, those of what is in it."""
        return describe(error)


@value
class StateChanged(Event):
    """
    A child went from *old* to *new*.

    *life* counts the calls of ``run`` (1 is the first).  *cause* is the error that made it so, if any.  *delay* is the
    back-off in seconds when *new* is ``waiting``.
    """

    old: State
    new: State
    life: int
    cause: BaseException | None = None
    delay: float = 0.0

    @property
    def level(self) -> int:
        """An error when something failed or was left behind, a warning when it runs again."""
        if self.new is State.WAITING:
            return logging.WARNING if self.cause is not None else logging.INFO
        if self.new in (State.FAILED, State.LEFT_BEHIND):
            return logging.ERROR
        # The errors of a group's children have been told one by one.
        told = self.cause is None or isinstance(self.cause, BaseExceptionGroup)
        return logging.DEBUG if told else logging.ERROR

    def __str__(self) -> str:
        text = f"{self.path}: {self.new}"
        if self.new is State.WAITING:
            text += f", starts again in {self.delay:.3g} s" if self.delay else ", starts again at once"
        if self.cause is not None:
            text += f" ({describe(self.cause)})"
        return text


def describe(error: BaseException) -> str:
    """Return an error as one line: its type and its message; of a group, those of what is in it."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(describe(each) for each in error.exceptions)
    try:
        text = " ".join(str(error).split())
    except Exception:
        text = ""  # its own text is what fails
    name = type(error).__name__
    return f"{name}: {text}" if text else name
