"""
What a service's thread gets from the loop, and tells it: context, errors, the line where it is
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any

from plait.errors import PlaitError, StopApplication

if TYPE_CHECKING:
    import socket

    from plait.endpoints import Endpoint
    from plait.events import Event
    from plait.tree.service import Context, Service


class ThreadHost:
    """What stands behind the context inside a thread: hands everything to the loop's thread."""

    def __init__(self, context: Context[Any], speaks: bool) -> None:
        self.path = context.path
        self.loop = asyncio.get_running_loop()
        self.speaks = speaks  # whether it says itself that it is ready
        self._host = context._host
        self._is_ready = not speaks

    def say_ready(self, life: int, value: Any) -> None:
        """Say ready, once."""
        if self._is_ready:
            raise PlaitError(f"{self.path}: ready() was said twice in one life: say it once, when it can serve")
        self._is_ready = True
        self._call(self._host.say_ready, life, value)

    async def need(self, life: int, service: Service[Any]) -> Any:
        """Refuse: what others publish belongs to the loop's thread."""
        raise PlaitError(f"{self.path}: need() is not for a thread: what {service.name} publishes belongs to the loop")

    def open_sockets(self, endpoint: Endpoint) -> tuple[socket.socket, ...]:
        """Return duplicates of the sockets of *endpoint*."""
        return self._host.open_sockets(endpoint)

    def publish(self, event: Event) -> None:
        """Tell *event* to the watchers, in the loop's thread."""
        self._call(self._host.publish, event)

    async def supervise(self, children: Iterable[Service[Any]] | None, **options: Any) -> None:
        """Refuse: a thread is no group."""
        raise PlaitError(f"{self.path}: a thread is no group")

    async def add(self, service: Service[Any]) -> str:
        """Refuse: a thread is no group."""
        raise PlaitError(f"{self.path}: a thread is no group")

    async def remove(self, name: str) -> None:
        """Refuse: a thread is no group."""
        raise PlaitError(f"{self.path}: a thread is no group")

    def ask(self, name: str) -> None:
        """Refuse: a thread is no group."""
        raise PlaitError(f"{self.path}: a thread is no group")

    begin_again = ask

    def at_end(self, function: Callable[[], Awaitable[object]]) -> None:
        """Await *function*, in the loop's thread, when everything has stopped."""
        self._call(self._host.at_end, function)

    def stop(self, reason: str, exit_code: int) -> None:
        """Stop everything."""
        self._call(self._host.stop, reason, exit_code)

    @property
    def time_left(self) -> float:
        """How long its stop may still take."""
        return self._host.time_left

    @property
    def is_ending(self) -> bool:
        """Whether everything is about to stop."""
        return self._host.is_ending

    def _call(self, function: Callable[..., object], *arguments: Any) -> None:
        try:
            self.loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            pass  # left behind, and the loop has closed since


def as_failure(path: str, error: BaseException) -> BaseException:
    """Return what a thread raised as something that a task may raise."""
    if isinstance(error, SystemExit):
        # The same as in a task: stop everything with this code.
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        return StopApplication(f"{path}: sys.exit({error.code!r})", code)
    if isinstance(error, Exception):
        return error
    failure = PlaitError(f"{path}: the thread raised {type(error).__name__}")
    failure.__cause__ = error
    return failure


def where_is(thread: threading.Thread) -> str:
    """Return ``file:line in function`` of the line that *thread* executes."""
    frame = sys._current_frames().get(thread.ident or 0)
    own = threading.__file__
    while frame is not None and frame.f_code.co_filename == own and frame.f_back is not None:
        frame = frame.f_back
    if frame is None:
        return f"thread {thread.name}, which has ended"
    return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_qualname}"
