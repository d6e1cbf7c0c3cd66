"""
What goes wrong in a Twisted service and nobody would hear of, a timer or a port: how it is heard of, what follows
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from twisted.application.internet import StreamServerEndpointService
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import CannotListenError
from twisted.python.failure import Failure

from plait import BindError
from plait.guests.twisted.waiting import error_of

if TYPE_CHECKING:
    from plait.guests.twisted.watching import Watch

#: It is told, and all goes on; or the service fails, and is run again as its *restart* says.
Policy = Literal["log", "fail"]
POLICIES = ("log", "fail")

#: Whether what Twisted logs just now has been told otherwise.
tells_itself = False


class Policies(NamedTuple):
    """What follows when a timer's function fails, a port cannot be opened, an error is handled by nobody."""

    timer: Policy = "fail"
    listen: Policy = "fail"
    unhandled: Policy = "log"


class Trouble:
    """Something that went wrong in a service, of a *kind* that `Policies` knows, as the *error* that it is."""

    def __init__(self, kind: str, error: BaseException) -> None:
        self.kind = kind
        self.error = error


def cannot_listen(path: str, error: CannotListenError) -> BindError:
    """Return *error*, which the service at *path* met, as one of plait's."""
    host, port, cause = (*error.args, None, None, None)[:3]
    where = f"{host}:{port}" if host else f"port {port}" if isinstance(port, int) else f"{port}"
    code = getattr(cause, "errno", None)
    why = os.strerror(code).lower() if isinstance(code, int) else str(cause)
    found = BindError(f"{path}: cannot listen on {where}: {why}")
    found.__cause__ = error
    return found


def timer_failed(watch: Watch, method: Callable[[Failure], object], why: Failure) -> None:
    """Report that the function of a timer failed; *method* is what Twisted calls for that, which logs it."""
    global tells_itself
    watch.report("timer", error_of(why))
    if watch.policy("timer") == "log":
        tells_itself = True
        try:
            method(why)
        finally:
            tells_itself = False
    else:
        watch.service._loop.running = False  # as the method does, without logging what the service fails with


def listening(watch: Watch, method: Callable[[], Any]) -> Any:
    """Call *method*, and hear what comes of an endpoint's ``listen``: the service itself keeps it quiet."""
    service = watch.service
    if not isinstance(service, StreamServerEndpointService):
        return method()
    endpoint: Any = service.endpoint
    opened: list[Deferred[None]] = []
    service.endpoint = _Endpoint(endpoint, lambda deferred: opened.append(_listens(watch, deferred)))
    try:
        returned = method()
    finally:
        service.endpoint = endpoint
    return opened[0] if opened and returned is None else returned


def _listens(watch: Watch, deferred: Deferred[Any]) -> Deferred[None]:
    """Return what fires when *deferred*, of a port that is opened, has."""
    opened: Deferred[None] = Deferred()
    raises = watch.service._raiseSynchronously and deferred.called

    def failed(failure: Failure) -> Any:
        if failure.check(CancelledError):
            return failure
        if not raises:
            watch.report("listen", error_of(failure))
        return failure if raises or watch.policy("listen") == "log" else None

    def told(result: Any) -> Any:
        opened.callback(None)
        return result

    deferred.addErrback(failed)
    deferred.addBoth(told)
    return opened


class _Endpoint:
    """An endpoint whose ``listen`` is heard of."""

    def __init__(self, endpoint: Any, hear: Callable[[Deferred[Any]], None]) -> None:
        self._endpoint = endpoint
        self._hear = hear

    def listen(self, factory: Any) -> Any:
        """Listen, and tell what comes of it."""
        deferred = self._endpoint.listen(factory)
        if isinstance(deferred, Deferred):
            self._hear(deferred)
        return deferred

    def __getattr__(self, name: str) -> Any:
        return getattr(self._endpoint, name)
