"""
Methods of Twisted services that came as ``async def`` await Deferreds and whatever asyncio has.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, succeed

from plait import Application, State, current, running
from plait.guests.twisted import TwistedService
from plait.guests.twisted.coroutines import start
from plait.testing import run


def fires(value: Any = None) -> Deferred[Any]:
    """Return a Deferred that fires soon."""
    deferred: Deferred[Any] = Deferred()
    asyncio.get_running_loop().call_later(0.1, deferred.callback, value)
    return deferred


class Both(Service):
    """Awaits of both kinds."""

    def __init__(self) -> None:
        self.told: list[object] = []

    async def startService(self) -> None:  # type: ignore[override]
        """Start slowly."""
        super().startService()
        self.told.append(await fires("a Deferred"))
        async with asyncio.timeout(5):
            await asyncio.sleep(0.1)
        self.told.append(await succeed("one that has fired"))
        self.told.append(await asyncio.to_thread(lambda: current().path))

    async def stopService(self) -> None:  # type: ignore[override]
        """Stop slowly."""
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(0.1))
        await fires()
        self.told.append("stopped")


def test_a_service_may_await_both_kinds() -> None:
    """A start and a stop that await Deferreds, sleeps, threads and groups of tasks are awaited."""
    service = Both()

    async def use() -> None:
        async with running(Application("app", [TwistedService(service, name="both")])) as tree:
            assert service.told == ["a Deferred", "one that has fired", "app/both"]
            assert tree.state("app/both") is State.READY

    run(use())
    assert service.told[-1] == "stopped"


@pytest.mark.parametrize("kind", ["a Deferred", "a future"])
def test_what_a_coroutine_waits_for_is_cancelled_with_it(kind: str) -> None:
    """Who cancels the Deferred of a coroutine cancels what that waits for; it may put away what it has."""
    told: list[str] = []

    async def use() -> None:
        never: Deferred[None] = Deferred()
        future = asyncio.get_running_loop().create_future()

        async def waits() -> None:
            try:
                await (never if kind == "a Deferred" else future)
            except (CancelledError, asyncio.CancelledError):
                await asyncio.sleep(0.1)
                told.append("put away")
                raise

        deferred = start(waits())
        await asyncio.sleep(0.1)
        deferred.addErrback(lambda failure: told.append(failure.type.__name__))
        deferred.cancel()
        await asyncio.sleep(0.2)
        assert (never.called, future.cancelled()) == ((True, False) if kind == "a Deferred" else (False, True))

    run(use())
    assert told == ["put away", "CancelledError"]


@pytest.mark.parametrize("kind", ["a Deferred", "a future"])
def test_an_error_of_what_a_coroutine_waits_for_is_its_own(kind: str) -> None:
    """What fails is raised at the line that waits, with its traceback."""

    async def use() -> str:
        async def waits() -> str:
            failing: Deferred[None] = Deferred()
            future = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_later(0.1, failing.errback, ValueError("no luck"))
            asyncio.get_running_loop().call_later(0.1, future.set_exception, ValueError("no luck"))
            try:
                await (failing if kind == "a Deferred" else future)
            except ValueError as error:
                return f"caught {error}"
            finally:
                failing.addErrback(lambda failure: None)
                future.exception() if future.done() else None
            return "nothing was raised"

        return await start(waits()).asFuture(asyncio.get_running_loop())

    assert run(use()) == "caught no luck"


def test_a_thread_that_is_left_is_waited_for_in_real_time() -> None:
    """The end of a run on the virtual clock gives it a time, from 3.12 on, which the clock must not jump over."""
    ended = []

    async def use() -> None:
        asyncio.get_running_loop().run_in_executor(None, lambda: ended.append(threading.Event().wait(0.2)))

    run(use())
    assert ended == [False]
