"""
Where everything is: the whole stack of every task and every thread, as values.

What is seen here can be asked for at any moment, also by a signal whose handler interrupts a loop that is blocked:
nothing here waits for anybody, takes a lock, or reads a file, until a `Stack` is made a text.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import sys
from types import FrameType
from typing import Any, NamedTuple

from plait.tree.service import path_in
from plait.tree.stack import STACKS, WHERE, chain, is_ours
from plait.values import Value, value


class Line(NamedTuple):
    """One line of a stack: its *file*, its *number* in that, and the *function*."""

    # A tuple, which is made in a fifth of the time of a dataclass: there may be a hundred thousand, and the loop waits.

    file: str
    number: int
    function: str

    def __str__(self) -> str:
        return f"{self.file}:{self.number} in {self.function}"


@value
class Stack(Value):
    """
    Where one task or thread is.

    *name* is that of the task or, where it has one that can be known, of the thread; *path* that of the service which
    it belongs to, or an empty text.  *lines* go from the outermost call to the innermost, asyncio's own included.
    *where* is the innermost of people's lines.  *waits_for* names the task whose end it waits for.
    """

    kind: str
    name: str
    path: str
    where: str
    lines: tuple[Line, ...] = ()
    waits_for: str = ""

    def __str__(self) -> str:
        """Return it for people: a line that says where it is, then the stack, a line each, with its source."""
        import linecache

        of = f" of {self.path}" if self.path and self.path != self.name else ""
        lines = [f"{self.kind} {self.name}{of}: at {self.where}"]
        for line in self.lines:
            source = linecache.getline(line.file, line.number).strip()
            lines.append(f"  {line}: {source}" if source else f"  {line}")
        if self.waits_for:
            lines.append(f"  waits for task {self.waits_for}")
        return "\n".join(lines)


def describe_tasks(loop: asyncio.AbstractEventLoop, running: FrameType | None = None) -> tuple[Stack, ...]:
    """
    Return the stack of every task of *loop*, by name, and after it those of the tasks that another framework has there.

    It is called in the thread of the loop, or while the loop waits.  Of the task that runs at that moment the frames
    are those of the thread: *running* is the innermost, if it is not the caller's.
    """
    innermost = running or sys._getframe(1)
    present = asyncio.current_task(loop)
    tasks = sorted(asyncio.all_tasks(loop), key=lambda task: task.get_name())
    return tuple(stack for task in tasks for stack in _of_task(task, innermost if task is present else None))


def describe_threads(main: FrameType | None = None) -> tuple[Stack, ...]:
    """Return the stack of every Python thread; *main* is the innermost frame of this one, if it is not the caller's."""
    import threading

    innermost = main or sys._getframe(1)
    me = threading.get_ident()
    # Read without the lock of `threading`, which whoever a signal interrupts may hold.
    names = {ident: thread.name for ident, thread in list(threading._active.items())}  # type: ignore[attr-defined]
    stacks = []
    for ident, frame in sys._current_frames().items():
        lines = _lines_of(innermost if ident == me else frame)
        stacks.append(Stack("thread", names.get(ident, str(ident)), "", _innermost(lines), lines))
    return tuple(sorted(stacks, key=lambda stack: stack.name))


def _of_task(task: asyncio.Task[Any], running: FrameType | None) -> list[Stack]:
    lines: tuple[Line, ...] = ()
    others: list[tuple[str, str, str, list[tuple[str, int, str]]]] = []
    told = waits_for = ""
    if running is not None:
        lines = _lines_of(running, getattr(task.get_coro(), "cr_frame", None))
    else:
        frames, last = chain(task)
        for frame, code, number in frames:
            lines += (Line(code.co_filename, number, code.co_qualname),)
            says = frame.f_locals.get(WHERE) if frame is not None else None
            if callable(says) and not told:
                told = str(says())
            tells = frame.f_locals.get(STACKS) if frame is not None else None
            if callable(tells):
                others += tells()
        waits_for = _waited_for(last)
    path = _path_of(task)
    stack = Stack("task", task.get_name(), path, told or _innermost(lines), lines, waits_for)
    inside = [Stack(kind, name, path, at, tuple(Line(*line) for line in frames)) for kind, name, at, frames in others]
    return [stack, *inside]


def _lines_of(frame: FrameType | None, until: FrameType | None = None) -> tuple[Line, ...]:
    """Return the lines from *frame* outwards to *until*, or to the outermost, in the order of calls."""
    lines: list[Line] = []
    while frame is not None:
        lines.append(Line(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_qualname))
        frame = None if frame is until else frame.f_back
    return tuple(reversed(lines))


def _innermost(lines: tuple[Line, ...]) -> str:
    found = [line for line in lines if is_ours(line.file)] or lines
    return str(found[-1]) if found else "an unknown line"


def _waited_for(waits: Any) -> str:
    """Return the name of the task behind what a coroutine waits for, or an empty text."""
    if waits is None:
        return ""
    candidates = [waits, *gc.get_referents(waits)]
    return next((each.get_name() for each in candidates if isinstance(each, asyncio.Task)), "")


def _path_of(task: asyncio.Task[Any]) -> str:
    """Return the path of the service that *task* belongs to: what `plait.current` is in it."""
    # A task tells its context from Python 3.12 on; it refers to it before, too.
    found = (each for each in gc.get_referents(task) if isinstance(each, contextvars.Context))
    variables = next(found, None)
    return "" if variables is None else path_in(variables)
