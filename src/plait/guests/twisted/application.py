"""
A Twisted application as one of plait's, and what it wants of the process.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field, replace
from typing import Any

from twisted.application.service import IProcess, IService

from plait import Application, Backoff, Context, Hosting, Limit, value
from plait.guests.twisted import logs, watching
from plait.guests.twisted.life import Life, is_plain
from plait.guests.twisted.names import name_of
from plait.guests.twisted.reactor import install
from plait.guests.twisted.service import TwistedService, defaults, part, parts_of
from plait.guests.twisted.troubles import Policies
from plait.guests.twisted.watching import is_collection

#: A server does not end because one of its services, a timer perhaps, fails again and again; nor because what a start
#: returned takes its time, or fires only at the end: twistd never waited for it.
_COMMON = {
    **defaults(),
    "start_timeout": None,
    "ready_after": 30.0,
    "limit": Limit(None),
    "backoff": Backoff(base=1.0, cap=60.0),
}


@value
class TwistedApplication(Application):
    """The Twisted application *source*, whose services are those of this application."""

    source: Any = field(default=None, kw_only=True)
    asked: Hosting = field(default=Hosting(), kw_only=True, repr=False)

    async def run(self, context: Context[Any]) -> None:
        """Live once: start the services, keep them alive, stop them."""
        service = IService(self.source)
        if not is_plain(service):
            await super().run(context)
            return
        life = Life(
            service,
            context,
            install(),
            stop_timeout=_COMMON["stop_timeout"],
            ready_after=_COMMON["ready_after"],
            policies=Policies(),
            make_part=lambda service, name: part(service, name, _COMMON),
            is_top=True,
        )
        await life.run()

    def hosting(self) -> Hosting:
        """Return what it wants of the process."""
        return replace(self.asked, make_handler=logs.handler_maker(self.source))


def host(source: Any, name: str) -> TwistedApplication:
    """
    Return the application of plait that *source* is, called *name* where it has no name of its own.

    One that is a single service, or has methods of its own, stands below it, and is run again as any other.
    """
    service = IService(source)
    is_alone = not is_plain(service)
    return TwistedApplication(
        name_of(service) if service.name and not is_alone else name,
        [TwistedService(service, **_COMMON)] if is_alone else parts_of(service, _COMMON),
        source=source,
        limit=_COMMON["limit"],
        backoff=_COMMON["backoff"],
        asked=Hosting(
            asks=_process_of(source),
            start_privileged=lambda: start_privileged(service),
            begin=logs.begin,
            finish=_finish,
        ),
    )


def _finish() -> None:
    try:
        install().abandon()
    finally:
        logs.finish()


def _process_of(source: Any) -> tuple[tuple[str, Any], ...]:
    """Return the settings that the application's own `IProcess` component stands for."""
    process = IProcess(source, None)
    if process is None:
        return ()
    found = {"uid": process.uid, "gid": process.gid, "title": process.processName}
    return tuple((name, str(value)) for name, value in found.items() if value is not None)


def start_privileged(service: Any) -> None:
    """Do the privileged start of all that is in *service*."""
    reactor, policies = install(), Policies()
    watching.watch(service, policies)
    for each in _single(service):
        reactor.privileged.do(watching.watch(each, policies))


def _single(service: Any) -> Iterator[Any]:
    """Yield the services that have a life of their own: those in plain collections."""
    if is_collection(service) and is_plain(service):
        for each in service:
            yield from _single(each)
    else:
        yield service
