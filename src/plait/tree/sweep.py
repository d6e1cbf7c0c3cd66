"""
Stop these, then start those: what a supervisor does over time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plait.tree.child import Child


class Sweep:
    """Stop some children in reverse order; then, when due, start some in order."""

    __slots__ = ("by_hand", "done", "due", "first", "starts", "stops")

    def __init__(self, stops: Iterable[Child], starts: Iterable[Child], due: bool = True) -> None:
        self.due = due
        self.by_hand = False  # a failed start is told to who asked, and not tried again
        self.first: Child | None = None  # added at run time: a failed start makes it vanish again
        self.done: asyncio.Future[None] | None = None
        self.stop(stops)
        self.start(starts)

    def stop(self, children: Iterable[Child]) -> None:
        """Say whom to stop: those of *children* that are alive."""
        alive = sorted((child for child in children if child.task is not None), key=lambda child: child.order)
        self.stops = [(child, child.task) for child in alive]
        for child in alive:
            child.doomed = True

    def start(self, children: Iterable[Child]) -> None:
        """Say whom to start, in this order."""
        self.starts = deque(children)
        for child in self.starts:
            child.sweep = self
