"""A service that takes orders and reports: a conversation instead of sleeps."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from plait import Context, Service


class Boom(Exception):
    """What a probe fails with."""


class Hand:
    """Gives orders to the lives of one probe."""

    def __init__(self, **how: Any) -> None:
        self.lives = 0
        self.task: asyncio.Task[None] | None = None
        self.fail_starts = how.get("fail_starts", 0)  # so many lives fail before they are ready
        self.fail_from = how.get("fail_from", 1)  # counted from this life on
        self.unready = how.get("unready", False)  # never says ready
        self.cleanup = how.get("cleanup", 0.0)  # seconds that the stop takes
        self.swallow = how.get("swallow", 0)  # so many cancellations are ignored
        self.stop_error: str = how.get("stop_error", "")
        self._order: asyncio.Future[str] | None = None

    def order(self, word: str) -> None:
        """Tell the present life to ``fail``, to ``return``, or that its task is ``kill``-ed by a stranger."""
        assert self._order is not None
        assert self.task is not None
        if word == "kill":
            self.task.cancel()
        elif not self._order.done():
            self._order.set_result(word)

    async def live(self, context: Context[Any]) -> None:
        self.lives += 1
        self.task = asyncio.current_task()
        self._order = asyncio.get_running_loop().create_future()
        if self.fail_starts and self.lives >= self.fail_from:
            self.fail_starts -= 1
            raise Boom(f"start {self.lives}")
        if self.unready:
            await asyncio.Event().wait()
        context.ready(self.lives)
        try:
            word = await self._order
        except asyncio.CancelledError:
            await self._clean_up()
            raise
        if word == "fail":
            raise Boom(f"life {self.lives}")

    async def _clean_up(self) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + self.cleanup
        while self.swallow > 0:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.swallow -= 1
        if until > loop.time():
            await asyncio.sleep(until - loop.time())
        if self.stop_error:
            raise Boom(self.stop_error)


@dataclass(frozen=True)
class Probe(Service[int]):
    """Lives as its hand says."""

    hand: Hand = field(default_factory=Hand, compare=False, kw_only=True, repr=False)

    async def run(self, context: Context[int]) -> None:
        await self.hand.live(context)


def probe(name: str, *, restart: str = "on-failure", start_timeout: float | None = 30.0, **how: Any) -> Probe:
    """Make a probe; *how* goes to its hand, but for the fields of a service."""
    fields_ = {key: how.pop(key) for key in ("stop_timeout", "backoff") if key in how}
    return Probe(name=name, restart=restart, start_timeout=start_timeout, hand=Hand(**how), **fields_)  # type: ignore[arg-type]
