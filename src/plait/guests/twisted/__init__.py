"""
Twisted in plait: its services in a tree, its applications under plaitd

To import this installs Twisted's reactor, on the loop that plait will run: import it before anything that imports
``twisted.internet.reactor``.
"""

from __future__ import annotations

try:
    import twisted as _twisted
except ModuleNotFoundError as error:
    if error.name != "twisted":
        raise
    from plait import ConfigurationError

    raise ConfigurationError("plait.guests.twisted: needs the package twisted: pip install plait[twisted]") from None

from plait.guests.twisted.events import ErrorUnhandled, ListenFailed, TimerFailed
from plait.guests.twisted.reactor import install
from plait.guests.twisted.service import TwistedService

install()

__all__ = ["ErrorUnhandled", "ListenFailed", "TimerFailed", "TwistedService"]

del _twisted
