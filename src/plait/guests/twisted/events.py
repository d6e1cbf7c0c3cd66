"""
What happens in Twisted services that nobody would hear of: timers that end, ports that are not opened, errors.
"""

from __future__ import annotations

import logging

from plait import Event, value


@value
class TimerFailed(Event):
    """The function of the `TimerService` at *path* raised *cause*; Twisted does not call it again."""

    cause: BaseException

    @property
    def level(self) -> int:
        """A warning."""
        return logging.WARNING

    def __str__(self) -> str:
        return f"{self.path}: the timer's function failed, and is not called again: {self.describe(self.cause)}"


@value
class ListenFailed(Event):
    """The service at *path* could not open its port, because of *cause*."""

    cause: BaseException

    @property
    def level(self) -> int:
        """A warning."""
        return logging.WARNING

    def __str__(self) -> str:
        return f"{self.path}: it does not listen: {self.describe(self.cause)}"


@value
class StartGoesOn(Event):
    """The start of the service at *path* goes on after *waited* seconds, at *where*; it counts as ready meanwhile."""

    waited: float
    where: str

    @property
    def level(self) -> int:
        """A warning."""
        return logging.WARNING

    def __str__(self) -> str:
        return f"{self.path}: its start goes on after {self.waited:.3g} s, at {self.where}: it counts as ready"


@value
class ErrorUnhandled(Event):
    """
    *cause* was handled by nobody: raised in a delayed call, a thread or by data that came, or left in a Deferred.

    *path* is that of the service in whose context it happened.  Twisted has logged it.
    """

    cause: BaseException

    @property
    def level(self) -> int:
        """For those who watch the tree: the log has it already."""
        return logging.DEBUG

    def __str__(self) -> str:
        return f"{self.path}: an error that nobody handled: {self.describe(self.cause)}"
