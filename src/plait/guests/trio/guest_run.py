"""
The trio run of an event loop: one, begun by the first who needs it, shared by all, ended by the last.

Trio allows one run in a thread, so the services of a loop cannot each have their own.
"""

from __future__ import annotations

import asyncio
import contextvars
import signal
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import trio

from plait import PlaitError
from plait.guests.trio.clock import clock_of

if TYPE_CHECKING:
    from plait.guests.trio.life import Life

#: The present run of each loop.
_runs: dict[asyncio.AbstractEventLoop, Run] = {}


async def present_run(path: str) -> Run:
    """Return the run of this loop, for the service at *path*; wait for the end of one that is just ending."""
    loop = asyncio.get_running_loop()
    while (run := _runs.get(loop)) is not None and run.is_ending:
        await run.ended.wait()
    return run or Run(loop, path)


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
        self._clock = clock_of(loop)
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
                clock=self._clock,
            )
            self._hooks = sys.get_asyncgen_hooks()
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
        self._finish(getattr(result, "error", None))

    def _finish(self, error: BaseException | None) -> None:
        del _runs[self._loop]
        if self._clock is not None:
            self._clock.end()
        self.is_ending = True
        self.root = None
        for life in self.lives:
            if error is not None and life.error is None:
                life.error = _broken(life.path, error)
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
        # The hooks are trio's while it runs, and only then: asynchronous generators outside of it are the loop's, which
        # sets its own anew when it was stopped and goes on.
        hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(*self._hooks)
        try:
            if self._is_abandoned:
                self._close(None)
            else:
                tick()
        except BaseException as error:
            # No other tick will come; there may be no more threads to be had.
            self._close(error)
            if not isinstance(error, Exception):
                raise
        finally:
            sys.set_asyncgen_hooks(*hooks)

    # The end of a loop in which somebody was left behind --------------------------------------------------------

    async def give_up(self, life: Life) -> None:
        """Hear that nobody waits for *life* any more; with the last one the run is put away as it is."""
        self._given_up.add(life)
        if self.lives <= self._given_up and not self._is_abandoned:
            self._is_abandoned = True
            self._token.run_sync_soon(lambda: None)  # the thread that waits for it comes back
        if self._is_abandoned:
            await self.ended.wait()

    def _close(self, error: BaseException | None) -> None:
        """Put away a run that will not go on."""
        if self.ended.is_set():
            return
        state = self._state() if self._state is not None else None
        generator = getattr(state, "unrolled_run_gen", None)
        if generator is not None:
            # It would be closed as garbage, perhaps by another thread, and this one could never run trio again.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)
                generator.close()
        self._finish(error)


def only(error: BaseException) -> BaseException:
    """Return *error*, or what is in it where it is a group of one."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _broken(path: str, error: BaseException) -> BaseException:
    """Return what the end of the run by *error* is for the service at *path*."""
    cause = only(error.__cause__ or error if isinstance(error, trio.TrioInternalError) else error)
    if isinstance(cause, KeyboardInterrupt):
        return cause  # it came in the middle of trio, and is for the loop
    failure = PlaitError(f"{path}: the run of trio, which all services share, broke: {cause!r}")
    failure.__cause__ = error
    return failure


@contextmanager
def _undisturbed() -> Iterator[None]:
    """
    Keep what is the loop's from being taken over by trio, which would do so where it begins.

    SIGINT stays as it is, also where nobody has taken it over yet, and so do the hooks for asynchronous generators.
    """
    hooks = sys.get_asyncgen_hooks()
    is_main = threading.current_thread() is threading.main_thread()
    takes = is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if takes:
        signal.signal(signal.SIGINT, lambda number, frame: signal.default_int_handler(number, frame))
    try:
        yield
    finally:
        sys.set_asyncgen_hooks(*hooks)
        if takes:
            signal.signal(signal.SIGINT, signal.default_int_handler)
