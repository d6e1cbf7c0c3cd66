"""
The event loop that an application's own code made before there was one
"""

from __future__ import annotations

import asyncio
import logging
import warnings
from collections.abc import Callable

log = logging.getLogger("plait")

MakeLoop = Callable[[], asyncio.AbstractEventLoop]


def or_early(make_loop: MakeLoop, reactor: str) -> MakeLoop:
    """
    Return what finds the loop that was made while the application was loaded, or else calls *make_loop*.

    ``asyncio.get_event_loop()`` makes one where none runs.  What was given to that loop would otherwise never run, and
    nobody would know.  It takes part where *reactor* leaves the kind of loop open; where it does not, the log says what
    is lost.
    """

    def find_or_make() -> asyncio.AbstractEventLoop:
        made = find()
        if made is None:
            return make_loop()
        if reactor in ("auto", "asyncio"):
            return made
        log.warning(
            "the application used asyncio's event loop before %s was there: what it gave to it (%d tasks) "
            "does not run: do it when the reactor runs, or leave out --reactor",
            reactor,
            len(asyncio.all_tasks(made)),
        )
        return make_loop()

    return find_or_make


def kept(function: Callable[[], None]) -> Callable[[], None]:
    """Return *function*, to be called after a fork, with the loop of now: from Python 3.12 on a fork forgets it."""
    made = find()

    def call() -> None:
        if made is not None and find() is None:
            asyncio.set_event_loop(made)
        function()

    return call


def find() -> asyncio.AbstractEventLoop | None:
    """Return the loop that asyncio keeps for this thread, if there is one; to ask asyncio for it would make one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about asking for the policy, from Python 3.14 on
        policy = asyncio.get_event_loop_policy()
    made = getattr(getattr(policy, "_local", None), "_loop", None)
    return made if isinstance(made, asyncio.AbstractEventLoop) and not made.is_closed() else None
