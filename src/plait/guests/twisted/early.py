"""
What stands in for the event loop until there is one: it keeps what the loop is to watch.

A ``.tac`` file and the privileged part of a start run before the fork and before the privileges are dropped; the loop
is made afterwards, because no selector may cross a fork.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
import warnings
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


def make_when_asked() -> None:
    """
    Let ``asyncio.get_event_loop()`` make a loop before one runs, in silence: it will be that of plaitd.

    With Twisted's own reactor there is one already.  Asyncio itself warns, from Python 3.12 on, and fails where a
    module has no ``__name__``, as a ``.tac`` file; from 3.14 on it refuses.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about asking for the policy, from Python 3.14 on
        policy: Any = asyncio.get_event_loop_policy()
    if not hasattr(policy, "_local") or "get_event_loop" in vars(policy):
        return
    get = policy.get_event_loop

    def get_or_make() -> Any:
        local = policy._local  # a fork makes a new one
        is_first = local._loop is None and not getattr(local, "_set_called", False)
        if is_first and threading.current_thread() is threading.main_thread():
            policy.set_event_loop(policy.new_event_loop())
        return get()

    policy.get_event_loop = get_or_make
