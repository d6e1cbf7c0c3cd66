"""
The threads of Twisted's reactor: whose they are, and a stop that waits for them without blocking the loop
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import sys
import threading
from collections.abc import Callable
from typing import Any

from plait.guests.twisted.carrying import carry


class Pools:
    """The thread pools of a reactor that are being stopped."""

    def __init__(self) -> None:
        self._stopping: list[tuple[threading.Thread, Any]] = []

    def carry(self, pool: Any) -> None:
        """Let what is called in *pool* belong to the service that asks for it."""
        call = pool.callInThreadWithCallback

        def call_carried(on_result: Any, function: Callable[..., Any], *args: Any, **kw: Any) -> None:
            context = contextvars.copy_context()
            if on_result is None:
                call(None, carry("Unhandled Error", function), *args, **kw)
            else:
                call(functools.partial(context.copy().run, on_result), context.run, function, *args, **kw)

        pool.callInThreadWithCallback = call_carried

    def stop(self, pool: Any) -> None:
        """Begin to stop *pool*, which waits for its threads: another thread does that, so that the loop goes on."""
        thread = threading.Thread(target=pool.stop, name="plait-twisted-threads", daemon=True)
        thread.start()
        self._stopping.append((thread, pool))

    async def ended(self) -> None:
        """Wait for the threads of all that are being stopped."""
        for thread, pool in self._stopping:
            await _joined(thread, pool)
        self._stopping.clear()


class NoPool:
    """In the place of a pool that is stopped elsewhere."""

    def stop(self) -> None:
        """Do nothing."""


async def _joined(thread: threading.Thread, pool: Any) -> None:
    """Wait for *thread*, which waits for the threads of *pool*."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def tell() -> None:
        if not done.done():  # who waited may have run out of time
            done.set_result(None)

    def wait() -> None:
        thread.join()
        try:
            loop.call_soon_threadsafe(tell)
        except RuntimeError:
            pass  # left behind, and the loop has closed since

    def __plait_where__() -> str:  # noqa: N807
        frames = sys._current_frames()
        for each in pool.threads:
            frame = frames.get(each.ident)
            if frame is not None:
                return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_qualname}, thread {each.name}"
        return "the end of the reactor's threads"

    def is_under_way() -> bool:
        return not done.done()

    # A clock of tests must not jump over the time limit of this meanwhile: threads run in real time.
    real_work: list[Callable[[], bool]] = getattr(loop, "real_work", [])
    real_work.append(is_under_way)
    threading.Thread(target=wait, name="plait-twisted-wait", daemon=True).start()
    try:
        await done
    finally:
        real_work.remove(is_under_way)
