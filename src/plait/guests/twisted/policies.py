"""
What follows when something goes wrong in a Twisted service that nobody would hear of
"""

from __future__ import annotations

from typing import Literal, NamedTuple

#: It is told, and all goes on; or the service fails, and is run again as its *restart* says.
Policy = Literal["log", "fail"]
POLICIES = ("log", "fail")


class Policies(NamedTuple):
    """What follows when a timer's function fails, a port cannot be opened, an error is handled by nobody."""

    timer: Policy = "fail"
    listen: Policy = "fail"
    unhandled: Policy = "log"
