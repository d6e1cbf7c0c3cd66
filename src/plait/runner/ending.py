"""
How a process ends whatever hangs in it: a stop always ends.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import sys
import threading
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plait.errors import LeftBehind
    from plait.tree.tree import Tree

log = logging.getLogger("plait")

#: How long tasks that nobody owned, and threads, may take at the very end, in seconds.
AFTERMATH = 1.0
#: How much later than the whole stop's limit the process ends by force when its loop is blocked, in seconds: later
#: than all that has a time of its own, tasks that nobody owned and then a thread.
MARGIN = 2 * AFTERMATH + 0.5
#: How long the last words may take, and then the putting away, in seconds.
LAST_WORDS = 0.5


class Ending:
    """
    Sees to the end of a run whose stop may take *limit* seconds, or any time if that is None.

    *leave* puts away what must be put away even when the process ends at once.
    """

    def __init__(self, limit: float | None, leave: Callable[[], None] | None = None) -> None:
        self.forces = True  # whether a thread ends the process when a stop takes too long
        self._limit = limit
        self._leave = leave
        self._last_resort: threading.Timer | None = None

    def tidy(self, loop: asyncio.AbstractEventLoop, tree: Tree | None) -> None:
        """Cancel what nobody owned, and close the loop unless something still runs in it."""
        left = {task for task in asyncio.all_tasks(loop) if not task.done()}
        names = {error.path for error in tree.left} if tree is not None else set()
        for task in left:
            if task.get_name() not in names:
                task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left, timeout=0 if names else AFTERMATH))
        for task in left:
            if not task.done() and task.get_name() not in names:
                from plait.tree.stack import where

                log.warning("task %s was left behind, at %s", task.get_name(), where(task))
        if all(task.done() for task in left):
            # Not with somebody left behind: a generator that he is in cannot be closed.
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

    def watch(self) -> None:
        """From now on the stop has its time: end the process by force when even its loop hangs."""
        limit = self._limit
        if limit is None or self._last_resort is not None or not self.forces:
            return
        if threading.current_thread() is not threading.main_thread():
            return  # a run inside of a program that is not ours to end

        def end() -> None:
            frame = sys._current_frames().get(threading.main_thread().ident or 0)
            place = f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame is not None else "an unknown line"
            self.end_now(70, f"did not stop in {limit:.3g} s, the loop is blocked at {place}: ends by force")

        timer = threading.Timer(limit + MARGIN, end)
        timer.daemon = True
        timer.name = "plait-end"
        timer.start()
        self._last_resort = timer

    def stand_down(self) -> None:
        """The process goes on after this run: nobody may end it by force any more."""
        if self._last_resort is not None:
            self._last_resort.cancel()
            self._last_resort.join()

    def end_now(self, exit_code: int, last_words: str = "") -> None:
        """End the process at once; a log that nobody reads, where even the last words block, has a moment for them."""
        steps = [functools.partial(log.critical, "%s", last_words)] if last_words else []
        for step in (*steps, self._leave):
            if step is not None:
                thread = threading.Thread(target=step, name="plait-end", daemon=True)
                try:
                    thread.start()
                    thread.join(LAST_WORDS)
                except RuntimeError:
                    pass  # there are no more threads to be had: the end is what counts
        os._exit(exit_code)

    def must_be_now(self, left: Collection[LeftBehind]) -> bool:
        """Say whether something still runs that an ordinary exit would wait for, after a last moment for it."""
        if left:
            return True
        for thread in threading.enumerate():
            if thread in (threading.main_thread(), threading.current_thread()) or thread.daemon:
                continue
            thread.join(AFTERMATH)
            if thread.is_alive():
                log.warning("thread %s was left behind", thread.name)
                return True
        return False
