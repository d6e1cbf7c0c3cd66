"""
Twisted in plait: its services in a tree, its applications under plaitd

To import this installs Twisted's reactor, on the loop that plait will run: import it before anything that imports
``twisted.internet.reactor``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

try:
    import twisted as _twisted
except ModuleNotFoundError as error:
    if error.name != "twisted":
        raise
    from plait import ConfigurationError

    raise ConfigurationError("plait.guests.twisted: needs the package twisted: pip install plait[twisted]") from None

from plait.guests.twisted.reactor import install
from plait.guests.twisted.service import TwistedService

if TYPE_CHECKING:
    from plait.guests.twisted.events import ErrorUnhandled, ListenFailed, StartGoesOn, TimerFailed

install()

__all__ = ["ErrorUnhandled", "ListenFailed", "StartGoesOn", "TimerFailed", "TwistedService"]

del _twisted


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from plait.guests.twisted import events

    return getattr(events, name)
