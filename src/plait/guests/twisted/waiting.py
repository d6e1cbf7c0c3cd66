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

from plait.guests.twisted.coroutines import start
from plait.guests.twisted.hanging import where_hangs
from plait.guests.twisted.records import trim


class Outcome:
    """
    What comes of one call of *function*: for the life that waits for it, and for whoever else made the call.

    *known* is the function that people know, if it is not that.
    """

    def __init__(self, function: Callable[[], Any], known: Any = None) -> None:
        self._known = known or function
        self.since = asyncio.get_running_loop().time() if _runs() else 0.0
        self.is_done = False
        self.is_failed = False  # by itself, with nothing to wait for
        self.returned: Any = None
        self.result: Any = None
        self._awaited: Any = None
        self._source: Deferred[Any] | None = None
        self._failure: Failure | None = None
        self._told: list[Deferred[Any]] = []
        self._listeners: list[Callable[[], object]] = []
        try:
            self.returned = function()
        except Exception:
            self._failure = Failure()
            self.is_failed = True
        if self._failure is None and inspect.iscoroutine(self.returned):
            self._awaited = self.returned
            self._source = start(self.returned)
        elif isinstance(self.returned, asyncio.Future):
            self._source = Deferred.fromFuture(self.returned)
        elif isinstance(self.returned, Deferred):
            self._source = self.returned
        else:
            self.is_done = True
            self.result = self.returned
        if self._source is not None:
            self.returned = self.tell()
            self._source.addBoth(self._arrived)

    @property
    def is_plain(self) -> bool:
        """Whether it returned nothing to wait for."""
        return self._source is None

    def value(self) -> Any:
        """Return what the call returned, as whoever made it is to have it; raise what it raised."""
        if self._failure is not None and self._source is None:
            self._failure.raiseException()
        return self.returned

    def again(self) -> Any:
        """Return what a further call is to return, which is spared: the same."""
        return self.returned if self._source is None else self.tell()

    def future(self) -> asyncio.Future[None]:
        """Return a future that is done when this is, whatever came of it."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.when_done(lambda: None if future.done() else future.set_result(None))
        return future

    def when_done(self, function: Callable[[], object]) -> None:
        """Call *function* when this is done."""
        if self.is_done:
            function()
        else:
            self._listeners.append(function)

    async def wait(self, before_waiting: Callable[[], object] = lambda: None) -> Any:
        """Return what the call comes to, or raise it; *before_waiting* is called if there is something to wait for."""
        if not self.is_done:
            before_waiting()

            def __plait_where__() -> str:  # noqa: N807
                return self.where()

            await self.future()
        if self._failure is not None:
            raise error_of(self._failure)
        return self.result

    @property
    def error(self) -> BaseException | None:
        """What it failed with, if it did."""
        return None if self._failure is None else error_of(self._failure)

    def where(self) -> str:
        """Return where it hangs."""
        return where_hangs(self._known, self._source, self._awaited)

    def give_up(self) -> None:
        """Cancel it; whoever else waits for it goes on."""
        for deferred in self._told:
            if not deferred.called:
                deferred.callback(None)
        if self._source is not None and not self.is_done:
            self._source.cancel()

    def tell(self) -> Deferred[Any]:
        """Return a Deferred that fires as this does."""
        source = self._source
        told: Deferred[Any] = Deferred(lambda _: None if source is None else source.cancel())
        self._told.append(told)
        if self.is_done:
            self._fire(told)
        return told

    def hush(self) -> None:
        """Let a failure be told once, by whoever waits for this."""
        if self._failure is not None:
            for told in self._told:
                hush(told)

    def _fire(self, told: Deferred[Any]) -> None:
        if not told.called:
            told.callback(self.result if self._failure is None else self._failure)
        if self._failure is not None:
            hush(told)

    def _arrived(self, result: Any) -> None:
        self.is_done = True
        if isinstance(result, Failure):
            self._failure = result
        else:
            self.result = result
        for told in self._told:
            self._fire(told)
        while self._listeners:
            self._listeners.pop()()


def hush(deferred: Deferred[Any]) -> None:
    """Let the failure of *deferred*, which is told otherwise, not be called unhandled if nobody else looks at it."""
    info = getattr(deferred, "_debugInfo", None)
    if info is not None:
        info.failResult = None


def error_of(failure: Failure) -> BaseException:
    """Return the error in *failure*, with where it came from."""
    error: BaseException | None = failure.value
    assert error is not None
    if isinstance(error, StopIteration):
        error = RuntimeError(f"raised {error!r}")  # a coroutine takes it for its own end
    if error.__traceback__ is None:
        error.add_note(failure.getTraceback())
    return error.with_traceback(trim(error.__traceback__))


async def settle(function: Callable[[], Any], before_waiting: Callable[[], object]) -> Any:
    """Call *function*, return what that comes to or raise it; cancelled, it cancels what it waits for."""
    outcome = Outcome(function)
    try:
        return await outcome.wait(before_waiting)
    except asyncio.CancelledError:
        outcome.give_up()
        raise


def _runs() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
