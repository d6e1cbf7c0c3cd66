"""
What stands in for the event loop until there is one: it keeps what the loop is to watch.

A ``.tac`` file and the privileged part of a start run before the fork and before the privileges are dropped; the loop
is made afterwards, because no selector may cross a fork.
"""

from __future__ import annotations

import contextvars
import time
from collections.abc import Callable
from typing import Any


class _Handle:
    """A timer that nobody runs: the reactor keeps its own list of what is due."""

    def cancel(self) -> None:
        """Do nothing."""


class EarlyLoop:
    """
    Takes what the reactor asks of a loop, for the loop that comes: `calls`, and what it wants to read.

    `others` holds each call by its descriptor.  What the reactor has in lists of its own is among them.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[Callable[..., object], tuple[Any, ...], contextvars.Context]] = []

        self.others: dict[int, tuple[tuple[Any, ...], contextvars.Context]] = {}

    def add_reader(self, fd: int, *call: Any) -> None:
        """Keep the call."""
        self.others[fd] = call, contextvars.copy_context()

    def remove_reader(self, fd: int) -> bool:
        """Forget the call."""
        return self.others.pop(fd, None) is not None

    def add_writer(self, fd: int, *call: Any) -> None:
        """Do nothing: the reactor knows who is to write."""

    def remove_writer(self, fd: int) -> None:
        """Do nothing."""

    def time(self) -> float:
        """Return what a loop's clock says."""
        return time.monotonic()

    def call_at(self, when: float, *call: Any) -> _Handle:
        """Return what can be cancelled."""
        return _Handle()

    def call_soon_threadsafe(self, function: Callable[..., object], *arguments: Any) -> _Handle:
        """Keep the call."""
        self.calls.append((function, arguments, contextvars.copy_context()))
        return _Handle()
