"""
What an application of another framework wants of the process that runs it
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from plait.values import Value, value


def _nothing() -> None:
    pass


@value
class Hosting(Value):
    """
    What ``plaitd`` does for an application of another framework, besides running its tree; see `Application.hosting`.

    *asks* are settings of ``plaitd``, each the name of its field and a value, that count where the person who started
    it said nothing; *insists* count more than what was said.

    *start_privileged* is called once, in the process that will run it, before privileges are dropped and before there
    is a loop; what it raises ends the start, and a second signal to stop, or the end of the time for a stop, is raised
    in it.  *make_handler* makes what logs instead of the log that the settings name, and gets a function that says for
    which service something is logged.  *begin* is called when the log is open, *finish* when everything has stopped,
    while the log still is; a `PlaitError` that it raises is logged, and gives the exit code where there is no other.
    Where nothing can be run, also *finish* alone is called: it puts away what was begun.
    """

    asks: tuple[tuple[str, Any], ...] = ()
    insists: tuple[tuple[str, Any], ...] = ()
    start_privileged: Callable[[], None] | None = None
    make_handler: Callable[[Callable[[], str]], logging.Handler] | None = None
    begin: Callable[[], None] = _nothing
    finish: Callable[[], None] = _nothing
