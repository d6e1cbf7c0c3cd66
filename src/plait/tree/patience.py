"""
A stop that waits is told: for whom, how long of how long, and where it hangs.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from plait.events import Event
from plait.tree.application import Group
from plait.values import value

if TYPE_CHECKING:
    import asyncio

    from plait.tree.child import Child


@value
class StopWaits(Event):
    """A stop waits for this child, since *waited* of at most *limit* seconds; it hangs at *where* (file:line)."""

    waited: float
    limit: float | None
    where: str

    @property
    def level(self) -> int:
        """A warning."""
        return logging.WARNING

    def __str__(self) -> str:
        limit = "no limit" if self.limit is None else f"{self.limit:.3g} s"
        return f"{self.path}: still stopping after {self.waited:.1f} s of {limit}, at {self.where}"


def tell(child: Child, task: asyncio.Task[None], now: float, waited: float) -> None:
    """Tell that the stop of *child* waits for *task*: its own life, not its children's, or what it does last."""
    from plait.tree.stack import where

    service = child.service
    limit = service.end_timeout if isinstance(service, Group) else service.stop_timeout
    child.publish(StopWaits(child.path, now, waited, limit, where(task)))
