"""
What is called later belongs to the service that asked for it
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from typing import Any

from twisted.logger import Logger

_log = Logger(namespace="twisted.internet.base")


def carry(text: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return *function* to be called once, later, for the service that it belongs to; its error is logged as such."""
    context = contextvars.copy_context()

    def guarded(*arguments: Any, **options: Any) -> Any:
        try:
            return function(*arguments, **options)
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError | GeneratorExit):
                raise
            _log.failure(text)
            return None

    def carried(*arguments: Any, **options: Any) -> Any:
        return context.run(guarded, *arguments, **options)

    return carried
