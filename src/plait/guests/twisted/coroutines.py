"""
Coroutines that await Deferreds, and what asyncio has, as they like
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Coroutine, Generator
from typing import Any

from twisted.internet.defer import Deferred


def start(coroutine: Coroutine[Any, Any, Any]) -> Deferred[Any]:
    """
    Run *coroutine*, and return the Deferred of what it comes to; to cancel that cancels it.

    Where a loop runs it is a task of asyncio's: a method that came as `async def` may use whatever asyncio has, which
    under Twisted alone it could not.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return Deferred.fromCoroutine(coroutine)  # before there is a loop: it begins at once, and awaits Deferreds only
    return Deferred.fromFuture(loop.create_task(_run(coroutine), name=getattr(coroutine, "__qualname__", None)))


async def _run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return await _drive(coroutine)


@types.coroutine
def _drive(coroutine: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """Run *coroutine* in the present task: of what it waits for, asyncio gets its own, and a future for a Deferred."""
    thrown: BaseException | None = None
    while True:
        try:
            waited = coroutine.send(None) if thrown is None else coroutine.throw(thrown)
        except StopIteration as stop:
            return stop.value
        thrown = None
        try:
            if isinstance(waited, Deferred):
                yield from _wait(waited)
            else:
                yield waited
        except BaseException as error:
            thrown = error  # for the coroutine, which waits


def _wait(deferred: Deferred[Any]) -> Generator[Any, Any, None]:
    """Wait until *deferred* has fired, whose result is for the coroutine to look at; cancelled, cancel it."""
    fired: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def note(result: Any) -> Any:
        if not fired.done():
            fired.set_result(None)
        return result

    deferred.addBoth(note)
    try:
        yield from fired
    except asyncio.CancelledError:
        if deferred.called:
            raise  # it waits for another one, in its chain, or had fired already
        deferred.cancel()
