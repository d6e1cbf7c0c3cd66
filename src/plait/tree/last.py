"""
What is done when all services of a tree have stopped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


async def do_last(path: str, functions: list[Callable[[], Awaitable[object]]]) -> None:
    """Await *functions*, the last first; raise what they failed with, when all have been called."""
    errors: list[BaseException] = []
    cancelled: asyncio.CancelledError | None = None
    while functions:
        try:
            await functions.pop()()
        except asyncio.CancelledError as error:
            cancelled = error
        except Exception as error:
            errors.append(error)
    if errors:
        raise BaseExceptionGroup(f"{path}: errors while stopping", errors)
    if cancelled is not None:
        raise cancelled
