"""
Running trees in tests, on a virtual clock.

::

    def test_starts_again_after_a_failure() -> None:
        async def main() -> None:
            async with running(Application("shop", [flaky])) as tree:
                await reached(tree, "shop/flaky", State.READY, life=2)

        run(main())

On the virtual clock a day passes in no time: when nothing can happen now, the clock jumps to the next timer.  When
nothing can happen any more at all, `Stuck` is raised instead of hanging.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from plait.errors import PlaitError
from plait.events import Event, State, StateChanged

if TYPE_CHECKING:
    from plait.tree.tree import Tree

T = TypeVar("T")


class Stuck(PlaitError):
    """Every task waits for something that will never come."""


class _JumpingSelector(selectors.DefaultSelector):
    """A selector that moves the clock of its loop instead of waiting."""

    def __init__(self, patience: float) -> None:
        super().__init__()
        self.now = 0.0
        self.real_work: list[Callable[[], bool]] = []
        self._patience = patience

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(0)
        if events or (timeout is not None and timeout <= 0):
            return events
        if timeout is not None and not any(is_under_way() for is_under_way in tuple(self.real_work)):
            self.now += timeout
            return []
        # Only a thread or a socket can bring something now: real time is the judge of those.
        events = super().select(self._patience)
        if not events:
            raise Stuck("every task waits for something that will never come: see which with asyncio.all_tasks()")
        return events


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """An event loop whose time jumps to the next timer when nothing else is to do; ``time()`` begins at 0."""

    def __init__(self, patience: float = 1.0) -> None:
        self._jumping = _JumpingSelector(patience)
        super().__init__(self._jumping)
        #: Whoever is driven by this loop, and does something by himself, can be asked here: meanwhile no time passes.
        self.real_work = self._jumping.real_work

    def time(self) -> float:
        """Return the virtual time, in seconds."""
        return self._jumping.now

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Wait for the threads; Python gives a *timeout* from 3.12 on, which the clock would jump over."""
        await super().shutdown_default_executor()


def run(main: Coroutine[Any, Any, T], *, patience: float = 1.0) -> T:
    """
    Run *main* on a virtual clock and return its result.

    *patience* is how many real seconds a thread or a socket may take when everything else waits for it.
    """
    with asyncio.Runner(loop_factory=lambda: VirtualClockLoop(patience)) as runner:
        return runner.run(main)


class Trace:
    """Remembers what happened in a tree; subscribe it before opening the tree."""

    def __init__(self, tree: Tree) -> None:
        self.events: list[Event] = []
        tree.subscribe(self.events.append)

    def states(self, *wanted: State) -> list[tuple[str, State]]:
        """Return (path, new state) of each change, or only of those into the *wanted* states."""
        changes = [(event.path, event.new) for event in self.events if isinstance(event, StateChanged)]
        return [change for change in changes if not wanted or change[1] in wanted]

    def paths(self, state: State) -> list[str]:
        """Return the paths that came into *state*, in order."""
        return [path for path, _ in self.states(state)]


async def reached(tree: Tree, path: str, state: State, *, life: int | None = None) -> None:
    """Wait until the service at *path* is in *state* (in this *life* of it, if given)."""
    child = tree.find(path)
    while child.state is not state or (life is not None and child.life != life):
        await child.changed()
