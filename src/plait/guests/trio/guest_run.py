"""
The trio run of an event loop: one, begun by the first who needs it, shared by all, ended by the last.

Trio allows one run in a thread, so the services of a loop cannot each have their own.  What each has is a task of that
run, with a cancel scope of its own around it, and nothing it does reaches the others.
"""

from __future__ import annotations

import asyncio
import contextvars
import signal
import threading
import warnings
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from plait import PlaitError
from plait.guests.trio.clock import clock_of
from plait.guests.trio.stacks import OtherStack, stacks, where

#: The present run of each loop.
_runs: dict[asyncio.AbstractEventLoop, Run] = {}

#: How long a life has to end without its shields, when its loop ends, in seconds.
_LAST_MOMENT = 0.5


class Life:
    """What one service does in the run of its loop: a task, and the scope that cancels it."""

    def __init__(self, function: Callable[[], Awaitable[object]], path: str) -> None:
        self.error: BaseException | None = None
        self.ended = asyncio.Event()
        self._scope = trio.CancelScope()
        self._function = function
        self._path = path
        self._task: trio.lowlevel.Task | None = None
        self._run: Run | None = None

    async def begin(self) -> None:
        """Begin it, in the context of the caller; wait for the end of a run that is just ending."""
        loop = asyncio.get_running_loop()
        while (run := _runs.get(loop)) is not None and run.is_ending:
            await run.ended.wait()
        if run is None:
            run = Run(loop, self._path)
        self._run = run
        run.lives.add(self)
        self._task = trio.lowlevel.spawn_system_task(self._live, name=self._path, context=contextvars.copy_context())

    async def _live(self) -> None:
        try:
            with self._scope:
                await trio.lowlevel.checkpoint_if_cancelled()
                await self._function()
        except trio.Cancelled:
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
        return stacks(self._task) if self._task is not None else []


class Run:
    """One run of trio on *loop*, for the service at *path* and whoever comes while it lasts."""

    def __init__(self, loop: asyncio.AbstractEventLoop, path: str) -> None:
        if trio.lowlevel.in_trio_run():
            raise PlaitError(
                f"{path}: trio runs in this thread already, begun by somebody else, and it can do so only once:"
                " let that be a TrioService, too, or run it in a thread"
            )
        self.lives: set[Life] = set()
        self.is_ending = False
        self.ended = asyncio.Event()
        self._given_up: set[Life] = set()
        self._is_abandoned = False
        self._loop = loop
        self._end = trio.Event()
        self._state: weakref.ref[Any] | None = None
        # Nobody's context: the run is nobody's own.
        self._variables = contextvars.Context()
        self._variables.run(self._begin)
        _runs[loop] = self

    def _begin(self) -> None:
        with _undisturbed():
            trio.lowlevel.start_guest_run(
                self._main,
                run_sync_soon_threadsafe=self._soon_threadsafe,
                run_sync_soon_not_threadsafe=self._soon,
                done_callback=self._done,
                host_uses_signal_set_wakeup_fd=True,
                clock=clock_of(self._loop),
            )
        self.root = trio.lowlevel.current_root_task()
        self._token = trio.lowlevel.current_trio_token()

    async def _main(self) -> None:
        await self._end.wait()

    def leave(self, life: Life) -> None:
        """Hear that *life* is over; the last one's end is that of the run, which finalises what was left open."""
        if self.lives == {life}:
            self.is_ending = True
            self._end.set()
        else:
            self.lives.discard(life)
            life.ended.set()

    def _done(self, result: Any) -> None:
        error = getattr(result, "error", None)
        if error is not None and isinstance(error.__cause__, KeyboardInterrupt):
            error = error.__cause__
        self._finish(error)

    def _finish(self, error: BaseException | None) -> None:
        del _runs[self._loop]
        self.is_ending = True
        self.root = None
        for life in self.lives:
            life.error = life.error or error
            life.ended.set()
        self.lives.clear()
        self.ended.set()

    # How trio is driven -----------------------------------------------------------------------------------------

    def _soon(self, tick: Callable[[], object]) -> None:
        if self._state is None:
            self._state = weakref.ref(getattr(tick, "__self__", self))
        self._loop.call_soon(self._tick, tick, context=self._variables)

    def _soon_threadsafe(self, tick: Callable[[], object]) -> None:
        try:
            self._loop.call_soon_threadsafe(self._tick, tick, context=self._variables)
        except RuntimeError:
            pass  # left behind, and the loop has closed since

    def _tick(self, tick: Callable[[], object]) -> None:
        if self._is_abandoned:
            self._close()
        else:
            tick()

    # The end of a loop in which somebody was left behind --------------------------------------------------------

    async def give_up(self, life: Life) -> None:
        """Hear that nobody waits for *life* any more; with the last one the run is put away as it is."""
        self._given_up.add(life)
        if self.lives <= self._given_up and not self._is_abandoned:
            self._is_abandoned = True
            self._token.run_sync_soon(lambda: None)  # the thread that waits for it comes back
        if self._is_abandoned:
            await self.ended.wait()

    def _close(self) -> None:
        state = self._state() if self._state is not None else None
        generator = getattr(state, "unrolled_run_gen", None)
        if generator is not None and not self.ended.is_set():
            # It would be closed as garbage, perhaps by another thread, and this one could never run trio again.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)
                generator.close()
            self._finish(None)


class _undisturbed:  # noqa: N801 - used like a function
    """Keep trio from taking SIGINT over, which it does where nobody else has: it is the loop's, as without trio."""

    def __enter__(self) -> None:
        self._takes = (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        )
        if self._takes:
            signal.signal(signal.SIGINT, lambda number, frame: signal.default_int_handler(number, frame))

    def __exit__(self, *_: object) -> None:
        if self._takes:
            signal.signal(signal.SIGINT, signal.default_int_handler)


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
