"""
A tree inside a loop that is already there.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import AbstractContextManager, nullcontext
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
        self._cancelled = False
        body = asyncio.current_task()
        assert body is not None
        self._cancelling = body.cancelling()
        try:
            await tree.open()
        except asyncio.CancelledError as error:
            tree.stop_soon("cancelled")
            await self._wait()
            self._note(error)
            raise
        self._body: asyncio.Task[Any] | None = body
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
        assert body is not None
        # Not if somebody else cancelled it, too: that is then not ours to end.
        gave_up = self._cancelled and body.uncancel() <= self._cancelling
        self._tree.stop_soon("left the block")
        cancelled = await self._wait()
        if cancelled is not None:
            self._note(cancelled)
            raise cancelled
        failure = self._tree.error
        if failure is not None and (error is None or gave_up):
            raise failure
        if error is not None:
            self._note(error)

    async def _wait(self) -> asyncio.CancelledError | None:
        """Wait for the end, whatever comes; return the cancellation that came meanwhile, if one did, and hurried it."""
        cancelled = None
        with _shielded():
            while not self._tree.has_ended:
                try:
                    await asyncio.shield(self._tree._ended)
                except asyncio.CancelledError as error:
                    cancelled = error
                    self._tree.hurry()
        return cancelled

    def _note(self, error: BaseException) -> None:
        failure = self._tree.error
        if failure is not None and failure is not error:
            error.add_note(f"and while stopping: {failure}")


def _shielded() -> AbstractContextManager[object]:
    """Return a shield against the cancellations of anyio, if that is in use: they come again until they are obeyed."""
    anyio = sys.modules.get("anyio")
    return nullcontext() if anyio is None else anyio.CancelScope(shield=True)
