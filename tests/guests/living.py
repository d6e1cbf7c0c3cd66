"""
A Twisted service in an open tree, on a virtual clock: what tests share that look at it in their own process.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from plait import Application, Backoff, Tree
from plait.guests.twisted import TwistedService, life, watching
from plait.guests.twisted.reactor import install
from plait.testing import Trace, run

reactor: Any = install()


def living(
    source: Any,
    body: Callable[[Tree, Trace], Awaitable[None]],
    *,
    policies: dict[str, Any] | None = None,
    **how: Any,
) -> Trace:
    """
    Run *body* beside an open tree with *source* in it, and close the tree.

    *source* is made a `TwistedService`, *how* it says, unless it is one; *policies* are those of the application: it
    starts again at once, and waits for each stop, where there are none.
    """
    service = source if isinstance(source, TwistedService) else TwistedService(source, name="web", **how)
    if policies is None:
        policies = {"backoff": Backoff(base=0), "stop_timeout": None}
    traces = []

    async def main() -> None:
        tree = Tree(Application("shop", [service], **policies))
        trace = Trace(tree)
        traces.append(trace)
        await tree.open()
        try:
            await body(tree, trace)
        finally:
            await tree.close("enough")

    run(main())
    return traces[0]


async def nothing(tree: Tree, trace: Trace) -> None:
    """Do nothing."""


def assert_nothing_left() -> None:
    """Fail if anything is watched, or the reactor is not as it was."""
    assert reactor.getDelayedCalls() == []
    assert reactor.users == []
    assert not reactor.running
    assert life._lives == {}
    assert watching._watches == {}
