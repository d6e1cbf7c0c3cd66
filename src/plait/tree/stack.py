"""
Where a task hangs: the line that waits.

A suspended coroutine shows only its outermost frame, so the chain of what it awaits is followed to the innermost frame
that is not asyncio's own.
"""

from __future__ import annotations

import asyncio
import os
from types import CodeType, FrameType
from typing import Any

_ASYNCIO = os.path.dirname(asyncio.__file__)

#: A local variable of this name in a frame, if callable, says where it really hangs (a thread, a child process).
WHERE = "__plait_where__"


def where(task: asyncio.Task[Any]) -> str:
    """Return ``file:line in function`` of the innermost line of people's code in which *task* waits."""
    found = ""
    for frame, code, line in _chain(task):
        told = frame.f_locals.get(WHERE) if frame is not None else None
        if callable(told):
            return str(told())
        if not found or not code.co_filename.startswith(_ASYNCIO):
            found = f"{code.co_filename}:{line} in {code.co_qualname}"
    return found or "an unknown line"


def _chain(task: asyncio.Task[Any]) -> list[tuple[FrameType | None, CodeType, int]]:
    waits: Any = task.get_coro()
    chain: list[tuple[FrameType | None, CodeType, int]] = []
    while waits is not None:
        if isinstance(waits, asyncio.Task):
            waits = waits.get_coro()
            continue
        frame = getattr(waits, "cr_frame", None) or getattr(waits, "gi_frame", None) or getattr(waits, "ag_frame", None)
        if frame is None:
            break
        chain.append((frame, frame.f_code, frame.f_lineno))
        waits = getattr(waits, "cr_await", None) or getattr(waits, "gi_yieldfrom", None)
    return chain
