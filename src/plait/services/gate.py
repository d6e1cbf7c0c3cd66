"""
One probe per destination, then a paced release of all who wait.

A thousand connections that lose their server at the same moment must neither besiege it while it is away nor fall upon
it together when it returns.  So those to one destination share a gate.  While nothing is known, or the last attempt
failed, only one at a time may try, and they take turns in it; the waits between the probes grow, up to a cap.  When a
probe gets through, the others follow evenly spread.  When one of those fails, the gate closes again.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from random import random
from types import TracebackType

from plait.tree.policy import Backoff

#: All who wait are let through within so many seconds ...
SPREAD = 0.9
#: ... but no two closer than so many, when there are few.
APART = 0.01
#: A loop that was busy makes up for this many seconds of lateness at most: what is late must not come as a heap.
ARREARS = 0.02
#: Of a probe that has not answered for so many seconds nothing is known yet, so another one may try beside it: a packet
#: that was lost, or a hanging login of one, must not keep all others waiting.
PATIENCE = 3.0
#: A loop rings a timer up to the resolution of its clock too early.
RESOLUTION = 1e-6

#: What the network does to an attempt, and says something about the destination.
NETWORK_ERRORS = (OSError, EOFError)

_NOBODY = contextvars.Context()


class Turn:
    """One attempt to get through a gate: entered when it may be made; a network error of the body is its failure."""

    __slots__ = ("_gate", "failures", "policy", "waiter")

    def __init__(self, gate: Gate, policy: Backoff) -> None:
        self._gate = gate
        self.policy = policy
        self.failures = 0  # how often in a row the destination failed, this attempt included
        self.waiter: asyncio.Future[None] | None = None

    async def __aenter__(self) -> Turn:
        await self._gate.wait(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self._gate.worked(self)
        elif issubclass(kind, NETWORK_ERRORS):
            self._gate.failed(self)
            self.failures = self._gate.failures
        else:
            self._gate.gave_up(self)

    def died(self) -> None:
        """Say that the connection, made in this turn, was closed by the other end at once."""
        self._gate.died(self)


class Gate:
    """The way to one destination.  Make it with `gate_to`; ask it for a `turn`."""

    __slots__ = (
        "_apart",
        "_closed_at",
        "_handle",
        "_is_open",
        "_loop",
        "_next_at",
        "_opener",
        "_overdue",
        "_probe",
        "_probed_at",
        "_queue",
        "_under_way",
        "failures",
        "users",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._queue: deque[Turn] = deque()
        self._handle: asyncio.TimerHandle | None = None
        self._is_open = False
        self._closed_at = 0.0
        self._next_at = 0.0
        self._apart = APART
        self._under_way: set[Turn] = set()
        self._probe: Turn | None = None
        self._probed_at = 0.0
        self._overdue: set[Turn] = set()
        self._opener: Turn | None = None
        self.failures = 0
        self.users = 0

    def turn(self, policy: Backoff) -> Turn:
        """Return a turn, to be entered with ``async with``; *policy* is how long a probe waits after failures."""
        return Turn(self, policy)

    # What turns say -----------------------------------------------------------------------------------------------

    async def wait(self, turn: Turn) -> None:
        """Wait until *turn* may try."""
        turn.waiter = self._loop.create_future()
        self._queue.append(turn)
        # Many who come while the gate is open must all be through in time.
        self._apart = min(self._apart, SPREAD / len(self._queue))
        self._advance()
        try:
            await turn.waiter
        except asyncio.CancelledError:
            if turn in self._under_way:
                self.gave_up(turn)
            else:
                self._queue.remove(turn)
                self._set_timer(None)  # it may have been set for this one
                self._advance()
            raise

    def worked(self, turn: Turn) -> None:
        """Open for the others."""
        self._under_way.discard(turn)
        if turn is self._probe or turn in self._overdue:
            self._probe = None
            self._overdue.clear()
            self._is_open = True
            self._opener = turn
            self._apart = min(APART, SPREAD / max(1, len(self._queue)))
            self._next_at = self._loop.time() + self._apart
            self._set_timer(None)
        self._advance()

    def failed(self, turn: Turn) -> None:
        """Close; of many who were let through and fail together, only the first one counts."""
        self._under_way.discard(turn)
        self._overdue.discard(turn)
        if turn is self._probe or self._is_open:
            self._close()
        self._advance()

    def gave_up(self, turn: Turn) -> None:
        """Let another one try: this attempt has no result."""
        self._under_way.discard(turn)
        self._overdue.discard(turn)
        if turn is self._probe:
            self._probe = None
            self._set_timer(None)
        self._advance()

    def died(self, turn: Turn) -> None:
        """Close if it was this one that opened: something answers there, but it is not the server."""
        if turn is self._opener and self._probe is None:
            self._close()
            self._advance()

    # What happens then ----------------------------------------------------------------------------------------------

    def _close(self) -> None:
        self.failures += 1
        self._closed_at = self._loop.time()
        self._is_open = False
        self._probe = self._opener = None
        self._set_timer(None)

    def _advance(self) -> None:
        """Set the timer for the next one, or let it through."""
        if self._is_open and not self._queue and not self._under_way:
            self._is_open = False  # all are through
            self.failures = 0
        if self._handle is not None or not self._queue:
            return
        now = self._loop.time()
        if self._is_open:
            self._next_at = max(self._next_at, now - ARREARS)
            while self._queue and self._next_at <= now + RESOLUTION:
                self._next_at += self._apart
                self._let_through()
            if self._queue:
                self._set_timer(self._next_at)
        elif self._probe is not None:
            self._set_timer(self._probed_at + PATIENCE)
        else:
            delay = self._queue[0].policy.delay(self.failures, random()) if self.failures else 0.0
            if self._closed_at + delay > now + RESOLUTION:
                self._set_timer(self._closed_at + delay)
            else:
                self._let_probe()

    def _ring(self) -> None:
        self._handle = None
        if self._is_open:
            self._advance()
        elif self._queue:
            self._let_probe()

    def _let_probe(self) -> None:
        if self._probe is not None:
            self._overdue.add(self._probe)
            self._under_way.discard(self._probe)
        self._probe = self._let_through()
        self._probed_at = self._loop.time()
        self._advance()

    def _let_through(self) -> Turn:
        turn = self._queue.popleft()
        self._under_way.add(turn)
        assert turn.waiter is not None
        if not turn.waiter.done():
            turn.waiter.set_result(None)
        return turn

    def _set_timer(self, when: float | None) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        if when is not None:
            self._handle = self._loop.call_at(when, self._ring, context=_NOBODY)


# Services that know nothing of each other share what is known of a destination, and it belongs to a loop.  An entry
# lives as long as somebody uses it, so that no loop is kept alive.
_gates: dict[tuple[asyncio.AbstractEventLoop, Hashable], Gate] = {}


@contextmanager
def gate_to(destination: Hashable) -> Iterator[Gate]:
    """Give the gate to *destination*, shared with all who use it at the same time in the running loop."""
    loop = asyncio.get_running_loop()
    key = (loop, destination)
    gate = _gates.get(key)
    if gate is None:
        gate = _gates[key] = Gate(loop)
    gate.users += 1
    try:
        yield gate
    finally:
        gate.users -= 1
        if not gate.users:
            del _gates[key]
