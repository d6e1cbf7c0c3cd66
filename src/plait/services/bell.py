"""
Bell: wakes the one task that awaits it, at once.

A future wakes its task by a call that the loop makes on its next pass, and is used up then.  The clock, which is itself
called by the loop and not by any task, can let the task take its step right there; where ten thousand tasks wake up
every second, that and ten thousand futures less are most of the cost.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Generator


class Bell:
    """
    Something that looks like a future to the task that awaits it, and can be rung any number of times.

    The methods without a docstring are what a task asks of a future.
    """

    __slots__ = ("_asyncio_future_blocking", "_context", "_is_cancelled", "_loop", "_wake")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._wake: Callable[[Bell], object] | None = None
        self._context: contextvars.Context | None = None
        self._is_cancelled = False
        self._asyncio_future_blocking = False

    @property
    def is_awaited(self) -> bool:
        """Whether a task waits for it now."""
        return self._wake is not None

    def ring(self) -> bool:
        """
        Let the task that waits take its next step, now; return whether there is one.

        To be called by a callback of the loop, not by a task: a task cannot take a step inside of another's.
        """
        wake = self._wake
        if wake is None:
            return False
        self._wake = None
        self._context.run(wake, self)  # type: ignore[union-attr]
        return True

    def ring_soon(self) -> None:
        """Let the task that waits take its next step on the loop's next pass; this can be called by anybody."""
        if self._wake is not None:
            self._loop.call_soon(self._wake, self, context=self._context)
            self._wake = None

    def __await__(self) -> Generator[Bell, None, None]:
        self._asyncio_future_blocking = True
        yield self

    def add_done_callback(self, wake: Callable[[Bell], object], *, context: contextvars.Context) -> None:
        self._wake = wake
        self._context = context

    def cancel(self, msg: object = None) -> bool:
        self._is_cancelled = True
        if self._wake is None:
            return False  # it has been rung; the task is cancelled at its next step
        self.ring_soon()
        return True

    def result(self) -> None:
        if self._is_cancelled:
            self._is_cancelled = False
            raise asyncio.CancelledError

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._loop
