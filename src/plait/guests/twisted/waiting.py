"""
Waiting, in asyncio, for what a method of Twisted's returned: a Deferred, a coroutine, or nothing to wait for.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure


async def settle(returned: Any, describe: Callable[[Any], str], before_waiting: Callable[[], None]) -> Any:
    """
    Return what *returned* comes to: itself, or what the Deferred or coroutine gives; raises what that fails with.

    *before_waiting* is called if there is something to wait for.  *describe* says where it hangs.  Cancelled, it
    cancels what it waits for.
    """
    if inspect.iscoroutine(returned) or isinstance(returned, asyncio.Future):
        deferred = Deferred.fromCoroutine(_follow(returned))
    elif isinstance(returned, Deferred):
        deferred = returned
    else:
        return returned
    done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def give(value: Any) -> None:
        if not done.done():
            done.set_result(value)

    def fail(failure: Failure) -> None:
        error = failure.value
        assert error is not None
        if isinstance(error, StopIteration):
            error = RuntimeError(f"raised {error!r}")  # a Future takes it for its own end
        if error.__traceback__ is None:
            error.add_note(failure.getTraceback())
        if not done.done():
            done.set_exception(error)

    deferred.addCallbacks(give, fail)
    if not done.done():
        before_waiting()

    def __plait_where__() -> str:  # noqa: N807
        return describe(deferred)

    try:
        return await done
    except asyncio.CancelledError:
        if not deferred.called:
            deferred.cancel()
        raise


async def _follow(awaited: Any) -> Any:
    if isinstance(awaited, asyncio.Future):
        return await Deferred.fromFuture(awaited)
    return await awaited
