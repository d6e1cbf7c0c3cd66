"""
The time limits of a group's starts and stops, behind one timer.

Starts and stops follow each other by the thousand and are nearly always in time, so the timer is left to ring too
early rather than being set for each: when it rings it looks, and is set again for what remains.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from plait.events import State

if TYPE_CHECKING:
    from plait.tree.child import Child
    from plait.tree.supervisor import Supervisor

#: A stop that takes this many seconds is told to the watchers, and again each time that it has doubled, up to ...
FIRST_NOTICE = 1.0
#: ... this many seconds between two tellings.
NOTICE_EVERY = 5.0

NEVER = float("inf")


class Alarm:
    """Rings for children whose time to start or to stop is over."""

    __slots__ = ("_children", "_handle", "_rings_at", "_supervisor")

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._children: dict[Child, None] = {}
        self._handle: asyncio.TimerHandle | None = None
        self._rings_at = NEVER

    def set(self, child: Child, deadline: float | None) -> None:
        """Ring for *child* at *deadline*, or (None) only tell when its stop waits long."""
        child.deadline = when = NEVER if deadline is None else deadline
        if child.state is State.STOPPING:
            child.notice_at = child.asked_at + FIRST_NOTICE if child.notice_at <= child.asked_at else child.notice_at
            when = min(when, child.notice_at)
        self._children[child] = None
        if when < self._rings_at:
            self._set(when)

    def clear(self, child: Child) -> None:
        """*child* is in time."""
        self._children.pop(child, None)

    def stop(self) -> None:
        """Ring no more."""
        self._children.clear()
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._rings_at = NEVER

    def _set(self, when: float) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._rings_at = when
        self._handle = self._supervisor.tree.call_at(when, self._ring)

    def _ring(self) -> None:
        self._handle = None
        self._rings_at = NEVER
        loop = self._supervisor.tree.loop
        # The loop may ring up to its clock's resolution early.
        now = loop.time() + 1e-6
        for child in tuple(self._children):
            if child.deadline <= now:
                del self._children[child]
                self._supervisor.overdue(child, now)
            elif child.state is State.STOPPING and child.notice_at <= now:
                self._tell(child, now)
        soonest = NEVER
        for child in self._children:
            soonest = min(soonest, child.deadline, child.notice_at if child.state is State.STOPPING else NEVER)
        if soonest < self._rings_at:
            self._set(soonest)

    def _tell(self, child: Child, now: float) -> None:
        waited = now - child.asked_at
        child.notice_at = now + min(waited, NOTICE_EVERY)
        if child.is_alone and child.task is not None:
            from plait.tree.patience import tell

            tell(child, child.task, now, waited)
