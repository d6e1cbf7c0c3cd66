"""
The runs of a function that is called again and again: never twice at once unless told to, never silent.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Literal

from plait.errors import StopApplication
from plait.events import Event, describe
from plait.services.bell import Bell
from plait.tree.service import Service, refuse
from plait.values import field, value

if TYPE_CHECKING:
    from plait.tree.service import Context

Overlap = Literal["skip", "queue", "overlap"]
OnError = Literal["log", "fail"]

OVERLAPS: tuple[Overlap, ...] = ("skip", "queue", "overlap")
ON_ERRORS: tuple[OnError, ...] = ("log", "fail")


@value
class RunFailed(Event):
    """The run of this *number* (1 is the first of a life) of a periodic function failed with *error*."""

    number: int
    error: BaseException

    def __str__(self) -> str:
        return f"{self.path}: run {self.number} failed ({describe(self.error)})"


@value
class Repeated(Service[None]):
    """
    What `Periodic` and `Cron` have in common: their function and its runs.

    The function takes no arguments, and is plain or async; `plait.current()` is the context of its service.  A plain
    one runs in the loop's thread, so it should be short.

    *overlap* says what happens when it is due while it still runs: ``"skip"`` drops that run, ``"queue"`` makes up for
    it as soon as the present one is over, ``"overlap"`` runs them side by side.  A plain function cannot overlap: it
    queues.  *timeout* bounds one run of an async function, in seconds.

    A run that fails, also by its time-out, is a `RunFailed` event and an error in the log, with its traceback; the
    next one comes as if nothing had happened.  With ``on_error="fail"`` the service fails instead, and its supervisor
    decides.  `StopApplication` always stops the application.

    The service is ready as soon as its first run is scheduled.  When it is stopped, a run in progress is cancelled and
    waited for.
    """

    overlap: Overlap = field(default="skip", kw_only=True)
    timeout: float | None = field(default=None, kw_only=True)
    on_error: OnError = field(default="log", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not callable(self.runs()):
            refuse(self, "function", "wanted a function without arguments")
        if self.overlap not in OVERLAPS:
            refuse(self, "overlap", f"wanted one of {', '.join(OVERLAPS)}")
        if self.on_error not in ON_ERRORS:
            refuse(self, "on_error", f"wanted one of {', '.join(ON_ERRORS)}")
        if self.timeout is not None and not self.timeout > 0:
            refuse(self, "timeout", "wanted a number of seconds above 0, or None")

    def default_name(self) -> str:
        """Return the name of the function."""
        function = self.runs()
        while isinstance(function, functools.partial):
            function = function.func
        name = getattr(function, "__name__", "")
        return name if name.isidentifier() else super().default_name()

    def runs(self) -> Callable[[], object]:
        """Return the function."""
        return self.function  # type: ignore[attr-defined, no-any-return]


class Runs:
    """The runs of one life, called and awaited by `live`, the life itself, whenever the clock says `due`."""

    __slots__ = ("_bell", "_context", "_error", "_function", "_job", "_number", "_owed", "_tasks")

    def __init__(self, job: Repeated, context: Context[None]) -> None:
        self._job = job
        self._function = job.runs()
        self._context = context
        self._bell = Bell(asyncio.get_running_loop())
        self._number = 0
        self._owed = 0
        self._error: BaseException | None = None
        self._tasks: set[asyncio.Task[None]] | None = None

    def due(self) -> None:
        """Begin a run now, or do what *overlap* says when one is in progress; to be called by the loop."""
        if not self._bell.ring() and self._job.overlap != "skip":
            self._owed += 1

    async def live(self) -> None:
        """Run whenever it is due, until cancelled, or until a failure ends the life."""
        bell, function = self._bell, self._function
        overlaps, timeout = self._job.overlap == "overlap", self._job.timeout
        try:
            while True:
                if self._owed:
                    self._owed -= 1
                else:
                    await bell
                if self._error is not None:
                    raise self._error
                self._number += 1
                try:
                    result = function()
                    if result is None or not hasattr(result, "__await__"):
                        continue
                    if overlaps:
                        self._spawn(result)
                    elif timeout is None:
                        await result
                    else:
                        await bounded(result, timeout)
                except (Exception, SystemExit, asyncio.CancelledError) as error:
                    self._failed(error, self._number)
        finally:
            self._error = None  # its traceback leads back to here
            if self._tasks:
                await self._cancel(self._tasks)

    def _spawn(self, result: Awaitable[object]) -> None:
        if self._tasks is None:
            self._tasks = set()
        name = f"{self._context.path}#{self._number}"
        task = asyncio.create_task(self._apart(result, self._number), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _apart(self, result: Awaitable[object], number: int) -> None:
        timeout = self._job.timeout
        try:
            await (result if timeout is None else bounded(result, timeout))
        except (Exception, SystemExit, asyncio.CancelledError) as error:
            self._failed(error, number)

    def _failed(self, error: BaseException, number: int) -> None:
        if isinstance(error, asyncio.CancelledError):
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise error  # we are asked to stop; otherwise it was cancelled by itself, and that is a failure
        context = self._context
        if self._job.on_error == "fail" or isinstance(error, (StopApplication, SystemExit)):
            if self._error is None:
                self._error = error
            self._owed += 1  # the life looks at once
            self._bell.ring_soon()
            return
        context.publish(RunFailed(context.path, asyncio.get_running_loop().time(), number, error))
        context.log.error("run %d failed (%s)", number, describe(error), exc_info=error)

    async def _cancel(self, tasks: set[asyncio.Task[None]]) -> None:
        try:
            for task in tuple(tasks):
                task.cancel()
            while tasks:
                await asyncio.wait(tasks)
        except asyncio.CancelledError:
            for task in tuple(tasks):
                task.cancel()
            raise


async def bounded(result: Awaitable[object], timeout: float) -> None:
    """Await *result* for at most *timeout* seconds."""
    try:
        async with asyncio.timeout(timeout) as limit:
            await result
    except TimeoutError as error:
        if limit.expired():
            error.args = (f"did not end in {timeout:g} s",)
        raise
