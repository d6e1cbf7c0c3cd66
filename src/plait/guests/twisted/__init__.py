"""
Twisted in plait: its services in a tree, its applications under plaitd

To import this installs Twisted's reactor, on the loop that plait will run: import it before anything that imports
``twisted.internet.reactor``.
"""

from __future__ import annotations

from plait.guests.twisted.events import ErrorUnhandled, ListenFailed, TimerFailed
from plait.guests.twisted.reactor import install
from plait.guests.twisted.service import TwistedService

install()

__all__ = ["ErrorUnhandled", "ListenFailed", "TimerFailed", "TwistedService"]
