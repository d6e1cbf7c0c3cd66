"""
The stop of a Twisted service: by itself or by the tree, and whether what is asked to end comes to its end in its time
"""

from __future__ import annotations

import asyncio
from typing import Any

from twisted.application.service import Service as TwistedBase

from plait import Context, LeftBehind
from plait.guests.twisted.parts import Parts
from plait.guests.twisted.reactor import GuestReactor
from plait.guests.twisted.waiting import Outcome
from plait.guests.twisted.watching import Watch

#: How many seconds before it would be left behind a service that does not stop says so itself; and for how many it
#: waits at the most when it is told to hurry.
_MARGIN = 0.05
_LONGEST = 60.0


class Stop:
    """
    The stop of the service that *watch* watches, in the life that *context* is of, with its *parts*.

    *is_plain* says that it does nothing but stop its services, which the tree does then.  *timeout* is how many seconds
    its own stop may take.
    """

    def __init__(
        self,
        watch: Watch,
        parts: Parts,
        context: Context[Any],
        reactor: GuestReactor,
        *,
        is_plain: bool,
        timeout: float | None,
    ) -> None:
        self._watch = watch
        self._parts = parts
        self._context = context
        self._reactor = reactor
        self._is_plain = is_plain
        self._timeout = timeout
        self._stops_itself: asyncio.Future[None] | None = None

    def begin(self) -> asyncio.Future[None] | None:
        """Begin to stop, before the children do: who has a method of its own for that, stops them itself."""
        if self._context.is_ending:
            self._reactor.begin_shutdown()
        watch = self._watch
        if watch.stopping is None and not self._is_plain:
            watch.stop()
        if watch.stopping is None or watch.stopping.is_done:
            return None
        self._stops_itself = future = watch.stopping.future()
        self._look_whether_it_hangs()
        return future

    def forget(self) -> None:
        """Be waited for no more: the life is over."""
        if self._stops_itself is not None:
            self._stops_itself.cancel()

    def _until(self, outcome: Outcome) -> float | None:
        """Return when its own stop has taken too long; while its services come to their ends, it has not."""
        return None if self._timeout is None else max(outcome.since, self._parts.progress_at) + self._timeout

    def _look_whether_it_hangs(self) -> None:
        """If it stops no service any more, let the tree stop those that are left."""
        future, outcome, loop = self._stops_itself, self._watch.stopping, asyncio.get_running_loop()
        assert outcome is not None
        assert future is not None
        until = self._until(outcome)
        if until is None or future.done():
            return
        waits = any(each.stopping and not each.stopping.is_done for each in self._watch.children.values())
        now = loop.time() + 1e-6  # it may ring a little early
        if until <= now and waits:
            assert self._timeout is not None
            until = now + self._timeout
        if until <= now:
            future.set_result(None)
        else:
            timer = loop.call_at(until, self._look_whether_it_hangs)
            future.add_done_callback(lambda _: timer.cancel())

    async def finish(self) -> None:
        """Wait for the end of what was begun, or do all of it; raise the errors of that."""
        watch = self._watch
        if watch.stopping is None and self._is_plain:
            watch.forget_start()
            TwistedBase.stopService(watch.service)
            outcomes = [child.stop() for child in reversed(watch.children.values())]  # those that are in no tree
        elif watch.stopping is None:
            outcomes = [watch.stop()]
        else:
            outcomes = [watch.stopping]
        errors: list[Exception] = []
        for outcome in outcomes:
            try:
                if outcome is not None:
                    await self._ended(outcome)
            except Exception as error:
                errors.append(error)
        if len(errors) > 1:
            raise ExceptionGroup(f"{self._context.path}: errors while stopping", errors)
        if errors:
            raise errors[0]

    async def _ends_soon(self, outcome: Outcome) -> bool:
        """Say whether *outcome* comes in the time that is left when a stop is hurried, or its time is nearly over."""
        left = self._context.time_left - _MARGIN
        if left > 0 and not outcome.is_done:
            try:
                await asyncio.wait({outcome.future()}, timeout=min(left, _LONGEST))
            except asyncio.CancelledError:
                pass  # there is no more patience
        return outcome.is_done

    async def _ended(self, outcome: Outcome) -> None:
        """Wait for the end of a stop; asked a second time to come to an end, leave it behind."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        while True:
            try:
                async with asyncio.timeout_at(self._until(outcome)) as limit:
                    await outcome.wait(self._reactor.start_up)
                return
            except asyncio.CancelledError:
                if task.cancelling() < 2 or await self._ends_soon(outcome):
                    continue  # that it is to stop, it knows; or there is nothing more to wait for
            except TimeoutError:
                if not limit.expired():
                    raise
            path, waited, where = self._context.path, loop.time() - outcome.since, outcome.where()
            outcome.give_up()
            raise LeftBehind(f"{path}: left behind: did not stop in {waited:.3g} s, at {where}", path) from None
