"""
The shutdown of Twisted's reactor: its triggers in their phases, the first before any service stops, others after all
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred

from plait.guests.twisted.children import Children
from plait.guests.twisted.pools import Pools


class Shutdown:
    """
    One shutdown of a reactor after another; with it its *children* and the threads of its *pools* end.

    What holds the first phase is a trigger of our own, `hold`, that fires when all services have stopped.
    """

    def __init__(self, children: Children, pools: Pools) -> None:
        self._children = children
        self._pools = pools
        self._held: Deferred[None] | None = None
        self._finished: asyncio.Future[None] | None = None
        self._awaited: dict[Deferred[Any], str] = {}  # what the triggers of the first phase wait for, and whose it is

    @property
    def is_begun(self) -> bool:
        """Whether the first triggers have been called, and there is more to do."""
        return self._finished is not None

    def hold(self) -> Callable[[], Deferred[None]]:
        """Return the trigger for the next shutdown that holds its first phase."""
        held = self._held = Deferred()
        return lambda: held

    def noting(self, carried: Callable[..., Any], trigger: Callable[..., Any]) -> Callable[..., Any]:
        """Return *carried*, which notes what it returns as awaited, for *trigger*, until that fires."""

        def noted(*arguments: Any, **options: Any) -> Any:
            returned = carried(*arguments, **options)
            if isinstance(returned, Deferred) and not returned.called:

                def forget(result: Any) -> Any:
                    self._awaited.pop(returned, None)
                    return result

                self._awaited[returned] = f"{_name_of(trigger)}(), a trigger before the shutdown"
                returned.addBoth(forget)
            return returned

        return noted

    def begin(self, fire: Callable[[], object]) -> None:
        """Call the triggers of the first phase, which *fire* does."""
        self._children.begin_stop()
        self._finished = asyncio.get_running_loop().create_future()
        fire()

    async def finish(self) -> None:
        """Wait for what the first triggers returned, have the others called, and end what the reactor has begun."""
        try:
            try:
                await self._children.ending()
            finally:
                if self._finished is not None and self._held is not None:
                    self._held.callback(None)  # with the next phase their pipes are closed
            if self._finished is not None:
                await self._triggered(self._finished)
            await self._children.end()
            if self._finished is not None:
                await self._pools.ended()
        finally:
            self._finished = self._held = None
            self._children.kill("was still there when there was no more time")

    def end_soon(self) -> None:
        """Note that the last phase has come: its triggers, and those after them, are called without a pause."""
        finished = self._finished
        if finished is not None and not finished.done():
            finished.get_loop().call_soon(_finish, finished)

    async def _triggered(self, finished: asyncio.Future[None]) -> None:
        """Wait until all triggers of the shutdown were called; cancelled, cancel what the first ones wait for."""

        def __plait_where__() -> str:  # noqa: N807
            return "the Deferred of " + " and of ".join(self._awaited.values()) if self._awaited else "a trigger"

        try:
            await finished
        except asyncio.CancelledError:
            for deferred in tuple(self._awaited):
                deferred.addErrback(lambda failure: failure.trap(CancelledError) and None)
                deferred.cancel()
            raise


def _name_of(function: Any) -> str:
    return str(getattr(function, "__qualname__", function))


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():  # cancelled: who waited for it has run out of time
        future.set_result(None)
