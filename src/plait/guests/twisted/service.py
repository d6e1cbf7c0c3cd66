"""
TwistedService: a Twisted service, or a whole Twisted application, in a tree of plait
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field, fields
from typing import Any, ClassVar

from twisted.application.service import IService

from plait import ConfigurationError, Context, Group, Service, value
from plait.guests.twisted.life import Life
from plait.guests.twisted.names import name_of, unique, word
from plait.guests.twisted.reactor import install
from plait.guests.twisted.troubles import POLICIES, Policies, Policy
from plait.guests.twisted.waiting import settle
from plait.guests.twisted.watching import is_collection

#: What the services in a collection have of the value that the collection is in.
_COMMON = (
    "restart",
    "start_timeout",
    "ready_after",
    "stop_timeout",
    "backoff",
    "limit",
    "timer",
    "listen",
    "unhandled",
)


@value
class TwistedService(Group):
    """
    A Twisted service among the services of plait.

    *source* is an ``IService``, a Twisted ``Application``, or a function that makes one, for each life anew; it may be
    a coroutine function, or return a Deferred.  ``await context.need(service)`` gives the ``IService``.

    The services in a collection (`MultiService`, ``Application``) stand in the tree by their names, or those of their
    classes, also those that come later.  Those of a plain `MultiService` start in order, each after the one before is
    ready, and stop in reverse.  A collection with methods of its own starts and stops its services itself, and its
    methods are called as they are.

    Ready is a service when what ``privilegedStartService`` and ``startService`` returned has fired, and its port is
    open.  One whose start goes on after *ready_after* seconds is told in the log, with where it waits, and counts as
    ready; it fails when that start fails.  A start that fails is taken back with ``stopService``.  What ``stopService``
    returns is awaited: for *stop_timeout* seconds, then it is cancelled and left behind.

    *restart*, *start_timeout*, *ready_after*, *stop_timeout*, *limit* and *backoff* hold for each of the services in
    it.  What follows when the function of a `TimerService` fails (*timer*), a port cannot be opened (*listen*), or an
    error is handled by nobody (*unhandled*) is ``"fail"``: the service fails, and is run again as its *restart* says;
    or ``"log"``.
    """

    source: Any = None
    name: str = field(default="", kw_only=True)
    children: Iterable[Service[Any]] = field(default=(), kw_only=True, repr=False)
    start_timeout: float | None = field(default=30.0, kw_only=True)
    ready_after: float | None = field(default=None, kw_only=True)
    stop_timeout: float | None = field(default=10.0, kw_only=True)
    timer: Policy = field(default="fail", kw_only=True)
    listen: Policy = field(default="fail", kw_only=True)
    unhandled: Policy = field(default="log", kw_only=True)
    is_part: bool = field(default=False, kw_only=True, repr=False)
    is_one: ClassVar[bool] = True

    def __post_init__(self) -> None:
        service = IService(self.source, None)
        if service is None and not callable(self.source):
            raise ConfigurationError(
                f"TwistedService: {self.source!r} is no Twisted service: give an IService, a Twisted Application, or a "
                "function that makes one"
            )
        for name in ("timer", "listen", "unhandled"):
            if getattr(self, name) not in POLICIES:
                raise ConfigurationError(
                    f"TwistedService: {name}={getattr(self, name)!r}: wanted one of {', '.join(POLICIES)}"
                )
        if self.ready_after is not None and not self.ready_after > 0:
            raise ConfigurationError(
                f"TwistedService: ready_after={self.ready_after!r}: wanted a number of seconds above 0, or None"
            )
        common = {name: getattr(self, name) for name in _COMMON}
        object.__setattr__(self, "children", () if service is None else tuple(parts_of(service, common)))
        super().__post_init__()

    def default_name(self) -> str:
        """Return the name of the service, or that of its class or function."""
        service = IService(self.source, None)
        if service is None:
            return word(getattr(self.source, "__name__", type(self.source).__name__))
        return name_of(service)

    def __repr__(self) -> str:
        text = super().__repr__()
        service = IService(self.source, None)
        if service is None:
            return text
        # Where it is in memory, by which Twisted shows a service, tells nobody anything.
        shown = f"{type(self.source).__qualname__}(...)" if service is self.source else f"Application({service.name!r})"
        return text.replace(repr(self.source), shown)

    def late_hint(self, waits: str) -> str:
        """Return what to do when it was not ready within *start_timeout*: what its start returned did not fire."""
        return f"{super().late_hint(waits)} of TwistedService"

    @property
    def end_timeout(self) -> float:
        """How many seconds its own stop may take."""
        return float("inf") if self.stop_timeout is None else self.stop_timeout

    @property
    def policies(self) -> Policies:
        """What follows from what goes wrong."""
        return Policies(self.timer, self.listen, self.unhandled)

    async def run(self, context: Context[Any]) -> None:
        """Live once: start it, wait, stop it."""
        reactor = install()
        reactor.attach_running()
        service = IService(self.source, None)
        if service is None:
            made = await settle(self.source, reactor.start_up)
            service = IService(made, None)
            if service is None:
                raise ConfigurationError(f"{context.path}: {self.source!r} returned {made!r}, which is no IService")
        common = {name: getattr(self, name) for name in _COMMON}
        life = Life(
            service,
            context,
            reactor,
            stop_timeout=self.stop_timeout,
            ready_after=self.ready_after,
            policies=self.policies,
            make_part=lambda service, name: part(service, name, common),
            is_top=not self.is_part,
        )
        await life.run()


def part(service: Any, name: str, common: dict[str, Any]) -> TwistedService:
    """Return *service*, which is in another Twisted service, as a service of plait."""
    return TwistedService(service, name=name, is_part=True, **common)


def parts_of(service: Any, common: dict[str, Any]) -> list[Service[Any]]:
    """Return the services in *service*, each as a service of plait with a name of its own."""
    found: dict[str, Service[Any]] = {}
    for each in dict.fromkeys(service) if is_collection(service) else ():
        name = unique(name_of(each), found)
        found[name] = part(each, name, common)
    return list(found.values())


def defaults() -> dict[str, Any]:
    """Return what the services in a collection have, where nobody says otherwise."""
    return {item.name: item.default for item in fields(TwistedService) if item.name in _COMMON}
