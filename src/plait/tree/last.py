"""
What the application itself still does when all its services have stopped, and how long it may.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from plait.tree.alarm import FIRST_NOTICE, NOTICE_EVERY

if TYPE_CHECKING:
    from plait.errors import LeftBehind
    from plait.tree.tree import Tree


class Bound:
    """
    The bounds of *task*, the last thing that *tree* does: it is told while it lasts, and cancelled at *when*.

    If it then goes on it is left behind, a moment later, and *leave* is called with the error that says so.
    """

    def __init__(
        self, tree: Tree, task: asyncio.Task[None], when: float, leave: Callable[[LeftBehind], object]
    ) -> None:
        self._tree, self._task, self._leave = tree, task, leave
        self._since = tree.loop.time()
        self._limit = tree.call_at(when, self._insist)
        self._notice = tree.call_later(FIRST_NOTICE, self._tell)

    def hasten(self, when: float) -> None:
        """Let it be cancelled at *when*, if that is sooner."""
        if when < self._limit.when():
            self._limit.cancel()
            self._limit = self._tree.call_at(when, self._insist)

    def lift(self) -> None:
        """It has ended."""
        self._limit.cancel()
        self._notice.cancel()

    def _tell(self) -> None:
        from plait.tree.patience import tell

        now = self._tree.loop.time()
        tell(self._tree.root, self._task, now, now - self._since)
        self._notice = self._tree.call_later(min(now - self._since, NOTICE_EVERY), self._tell)

    def _insist(self) -> None:
        self._task.cancel()
        self._limit = self._tree.call_later(self._tree.last_moment, self._end)

    def _end(self) -> None:
        self._leave(self._tree.leave_behind(self._tree.root, self._task, self._tree.loop.time() - self._since))


async def do_last(path: str, functions: list[Callable[[], Awaitable[object]]]) -> None:
    """Await *functions*, the last first; raise what they failed with, when all have been called."""
    errors: list[BaseException] = []
    cancelled: asyncio.CancelledError | None = None
    while functions:
        try:
            await functions.pop()()
        except asyncio.CancelledError as error:
            cancelled = error
        except Exception as error:
            errors.append(error)
    if errors:
        raise BaseExceptionGroup(f"{path}: errors while stopping", errors)
    if cancelled is not None:
        raise cancelled
