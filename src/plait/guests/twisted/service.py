"""
TwistedService: a Twisted service, or a whole Twisted application, in a tree of plait
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from twisted.application.service import IService

from plait import ConfigurationError, Context, Group, Service
from plait.guests.twisted.life import Life, is_collection, is_plain
from plait.guests.twisted.reactor import install
from plait.guests.twisted.waiting import settle


@dataclass(frozen=True, eq=False, repr=False)
class TwistedService(Group):
    """
    A Twisted service among the services of plait.

    *source* is an ``IService``, a Twisted ``Application``, or a function that makes one, for each life anew.
    """

    source: Any = None
    name: str = field(default="", kw_only=True)
    children: Iterable[Service[Any]] = field(default=(), kw_only=True)
    is_inner: bool = field(default=False, kw_only=True, repr=False)

    def __post_init__(self) -> None:
        service = IService(self.source, None)
        if service is None and not callable(self.source):
            raise ConfigurationError(
                f"TwistedService: {self.source!r} is no Twisted service: give an IService, a Twisted Application, or a "
                "function that makes one"
            )
        if service is not None and not self.children:
            object.__setattr__(self, "children", tuple(children_of(service)))
        super().__post_init__()

    def default_name(self) -> str:
        """Return the name of the service, or that of its class or function."""
        service = IService(self.source, None)
        if service is None:
            return word(getattr(self.source, "__name__", type(self.source).__name__))
        return name_of(service)

    async def run(self, context: Context[Any]) -> None:
        """Live once: start it, wait, stop it."""
        reactor = install()
        reactor.attach_running()
        service = IService(self.source, None)
        if service is None:
            made = await settle(self.source(), lambda _: f"the Deferred of {self.source!r}", reactor.start_up)
            service = IService(made, None)
            if service is None:
                raise ConfigurationError(f"{context.path}: {self.source!r} returned {made!r}, which is no IService")
        await Life(service, context, reactor, is_top=not self.is_inner).run(children_of)


def children_of(service: Any) -> list[Service[Any]]:
    """Return the services in *service*, each as a service of plait with a name of its own."""
    if not (is_collection(service) and is_plain(service)):
        return []
    found: list[Service[Any]] = []
    names: set[str] = set()
    for each in service:
        name = plain = name_of(each)
        number = 1
        while name in names:
            number += 1
            name = f"{plain}-{number}"
        names.add(name)
        found.append(TwistedService(each, name=name, is_inner=True))
    return found


def name_of(service: Any) -> str:
    """Return the name of a Twisted service, or that of its class."""
    return word(service.name) if service.name else word(type(service).__name__)


def word(text: object) -> str:
    """Return *text* as a name in plait's tree may be."""
    name = "".join("-" if sign in "/ " or not sign.isprintable() else sign for sign in str(text)).lstrip(".")
    return name or "twisted"
