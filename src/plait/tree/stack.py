"""
Where a task hangs: the line that waits.

A suspended coroutine shows only its outermost frame, so the chain of what it awaits is followed to the innermost frame
that is neither asyncio's own nor anyio's.
"""

from __future__ import annotations

import asyncio
import gc
import os
from types import AsyncGeneratorType, CodeType, FrameType
from typing import Any

_ASYNCIO = os.path.dirname(asyncio.__file__)
#: What is written with anyio waits in there, as anything else does in asyncio.
_ANYIO = f"-packages{os.sep}anyio{os.sep}"

#: A local variable of this name in a frame, if callable, says where it really hangs (a thread, a child process).
WHERE = "__plait_where__"
#: One of this name, if callable, returns the stacks of what else lives there, such as the tasks of another framework:
#: of each its kind, its name, where it is, and its lines (file, number, function), the outermost first.
STACKS = "__plait_stacks__"


def where(task: asyncio.Task[Any]) -> str:
    """Return ``file:line in function`` of the innermost line of people's code in which *task* waits."""
    found = ""
    for frame, code, line in chain(task)[0]:
        told = frame.f_locals.get(WHERE) if frame is not None else None
        if callable(told):
            return str(told())
        if not found or is_ours(code.co_filename):
            found = f"{code.co_filename}:{line} in {code.co_qualname}"
    return found or "an unknown line"


def is_ours(file: str) -> bool:
    """Say whether *file* is neither asyncio's own nor anyio's."""
    return not file.startswith(_ASYNCIO) and _ANYIO not in file


def chain(task: asyncio.Task[Any]) -> tuple[list[tuple[FrameType | None, CodeType, int]], Any]:
    """Return the frames in which *task* waits, the outermost first, and what the innermost waits for."""
    waits: Any = task.get_coro()
    last: Any = None
    found: list[tuple[FrameType | None, CodeType, int]] = []
    while waits is not None:
        if isinstance(waits, asyncio.Task):
            waits = waits.get_coro()
            continue
        frame = getattr(waits, "cr_frame", None) or getattr(waits, "gi_frame", None) or getattr(waits, "ag_frame", None)
        if frame is None:
            last = waits
            waits = _find_generator(waits)
            if waits is None:
                break
            continue
        found.append((frame, frame.f_code, frame.f_lineno))
        waits = (
            getattr(waits, "cr_await", None) or getattr(waits, "gi_yieldfrom", None) or getattr(waits, "ag_await", None)
        )
    return found, last


def _find_generator(waits: Any) -> Any:
    """Return the asynchronous generator behind a step of it, such as the end of an asynccontextmanager, or None."""
    # What stands between does not say itself whose step it is.
    if not type(waits).__name__.startswith("async_generator_"):
        return None
    return next((each for each in gc.get_referents(waits) if isinstance(each, AsyncGeneratorType)), None)
