"""
One life of a service in the run of trio: its task, and the scope that cancels it

Nothing that happens in one life reaches the others.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable

import trio

from plait.guests.trio.guest_run import Run, present_run
from plait.guests.trio.stacks import OtherStack, stacks, where

#: How long a life has to end without its shields, when its loop ends, in seconds.
_LAST_MOMENT = 0.5


class Life:
    """What one service does in the run of its loop: a task, and the scope that cancels it."""

    def __init__(self, function: Callable[[], Awaitable[object]], path: str) -> None:
        self.error: BaseException | None = None
        self.ended = asyncio.Event()
        self._scope = trio.CancelScope()
        self._function = function
        self.path = path
        self._task: trio.lowlevel.Task | None = None
        self._run: Run | None = None

    async def begin(self) -> None:
        """Begin it, in the context of the caller; wait for the end of a run that is just ending."""
        self._run = run = await present_run(self.path)
        run.lives.add(self)
        self._task = trio.lowlevel.spawn_system_task(self._live, name=self.path, context=contextvars.copy_context())

    async def _live(self) -> None:
        try:
            with self._scope:
                await trio.lowlevel.checkpoint_if_cancelled()
                await self._function()
        except (trio.Cancelled, GeneratorExit):
            raise  # not by our scope: the run itself is at its end, and says why
        except BaseException as error:
            self.error = error
        self._task = None
        assert self._run is not None
        self._run.leave(self)

    def stop(self) -> None:
        """Cancel it."""
        self._scope.cancel("plait stops the service")

    async def give_up(self) -> None:
        """End it without its shields, or leave it, because the loop itself is about to end."""
        _break_shields(self._scope)
        try:
            await asyncio.wait_for(self.ended.wait(), _LAST_MOMENT)
        except TimeoutError:
            if self._run is not None:
                await self._run.give_up(self)

    def where(self) -> str:
        """Return ``file:line in function`` of the innermost line of people's code in which it waits."""
        task = self._task or (self._run.root if self._run is not None else None)
        return where(task) if task is not None else "the end of a run of trio"

    def stacks(self) -> list[OtherStack]:
        """Return the stacks of its tasks in trio."""
        task = self._task or (self._run.root if self._run is not None else None)
        return stacks(task) if task is not None else []


def _break_shields(scope: trio.CancelScope) -> None:
    """Let the cancellation of *scope* reach all that runs inside of it."""
    # What is shielded could only be thrown away as garbage otherwise, and its cleaning up with it.  Trio does not say
    # which scopes there are; that a shield can be taken off again, it promises.
    statuses = [getattr(scope, "_cancel_status", None)]
    while statuses:
        status = statuses.pop()
        inner = getattr(status, "_scope", scope)
        if inner is not scope:
            inner.shield = False
        statuses.extend(getattr(status, "_children", ()))
