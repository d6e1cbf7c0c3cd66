"""
A tree inside a loop that is already there.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any

from plait.events import State
from plait.tree.application import Application
from plait.tree.tree import Tree


class running:  # noqa: N801 - used like a function
    """
    Run *application* inside a loop that is already there::

        async with running(application) as tree:
            ...

    It is entered when all is ready, and raises `StartFailed` otherwise.  Leaving it stops everything and waits for the
    end.  If the tree gives up meanwhile, the body is cancelled and the error raised.
    """

    def __init__(self, application: Application, **options: Any) -> None:
        self._application = application
        self._options = options

    async def __aenter__(self) -> Tree:
        self._tree = tree = Tree(self._application, **self._options)
        try:
            await tree.open()
        except asyncio.CancelledError:
            tree.stop_soon("cancelled")
            await tree.wait()
            raise
        self._body = asyncio.current_task()
        self._cancelled = False
        tree._ended.add_done_callback(self._look)
        return tree

    def _look(self, _: object) -> None:
        if self._tree.error is not None and self._body is not None and self._tree.root.state is State.FAILED:
            self._cancelled = True
            self._body.cancel()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        body, self._body = self._body, None
        if self._cancelled and body is not None:
            body.uncancel()
            await self._tree.wait()
        self._tree.stop_soon("left the block")
        try:
            await self._tree.wait()
        except asyncio.CancelledError:
            self._tree.hurry()
            await self._tree.wait()
            raise
        except BaseException as failure:
            if error is None:
                raise
            error.add_note(f"and while stopping: {failure}")
