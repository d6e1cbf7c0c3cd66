"""
What failed in a guest and was only logged: whose failure it is, who hears of it, and that ``sys.exit()`` is obeyed
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import weakref
from collections.abc import Callable
from typing import Any

from twisted.internet import defer
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure

from plait.guests.twisted import reactor
from plait.guests.twisted.records import Event, failure_of, is_order

Listener = Callable[[Failure | None, Event], None]

#: How long an error may lie among the garbage before it is looked for, in seconds.
_PATIENCE = 1.0

_listeners: list[Listener] = []


def listen(listener: Listener) -> None:
    """
    Call *listener* for each event that tells of an error, in the context where it happened, after it was logged.

    It gets the failure, None for a `log.err` of something else, and the event.
    """
    _listeners.append(listener)


def begin() -> None:
    """Hear of errors from now on, and let each Deferred keep whose it was when its error was left unhandled."""
    publisher: Any = globalLogPublisher  # its types ask for a class where a function does
    publisher.addObserver(watch)
    defer.DebugInfo = _Carrying  # type: ignore[misc]


def watch(event: Event) -> None:
    """Pass on the error that *event* tells of; an order to stop is carried out."""
    if "log_failure" not in event and not event.get("isError"):
        return
    failure = failure_of(event)
    if failure is None and event.get("log_namespace") != "log_legacy":
        return
    if failure is not None and is_order(failure):
        _stop_for(failure.value)
        return
    for listener in _listeners:
        listener(failure, event)


def _stop_for(order: BaseException | None) -> None:
    code = order.code if isinstance(order, SystemExit) else 1
    reason = f"sys.exit({code!r})" if isinstance(order, SystemExit) else "KeyboardInterrupt"
    number = code if isinstance(code, int) else int(code is not None)
    installed = reactor.install()
    # It may have been in a thread.
    installed.callFromThread(installed.stop_application, reason, number)


class _Carrying(defer.DebugInfo):
    """
    What a Deferred leaves when nobody handled its error, which says so in the context where that came about.

    It says so when it is collected as garbage: at any time, while any other service runs.  An error in a callback
    always waits for that, for it is in a circle with its Deferred; so the garbage is looked through soon, and an order
    to stop is obeyed before.
    """

    def __init__(self) -> None:
        self._context = contextvars.copy_context()
        self._failed: Failure | None = None

    @property
    def failResult(self) -> Failure | None:  # noqa: N802 - its name in Twisted
        """What failed, as long as nobody handles it."""
        return self._failed

    @failResult.setter
    def failResult(self, failure: Failure | None) -> None:  # noqa: N802
        self._failed = failure
        if failure is None:
            return
        if is_order(failure):
            reactor.install().callFromThread(_obey, weakref.ref(self))
        _unhandled.add(self)

    def __del__(self) -> None:
        if self._failed is not None:
            self._context.run(super().__del__)


def _obey(reference: weakref.ref[_Carrying]) -> None:
    info = reference()
    if info is not None and is_order(info.failResult):
        assert info.failResult is not None
        _stop_for(info.failResult.value)


class _Unhandled:
    """The errors that nobody handled yet, and perhaps nobody can any more."""

    def __init__(self) -> None:
        self._infos = weakref.WeakSet[_Carrying]()
        self._looks_in: asyncio.AbstractEventLoop | None = None

    def add(self, info: _Carrying) -> None:
        """Look after a while whether *info* is garbage."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return  # it is in a thread, or nothing runs yet
        self._infos.add(info)
        if self._looks_in is not loop:
            self._looks_in = loop
            loop.call_later(_PATIENCE, self._look, context=contextvars.Context())

    def _look(self) -> None:
        self._looks_in = None
        if gc.isenabled() and any(info.failResult is not None for info in self._infos):
            gc.collect(1)  # what is young: that costs little
        self._infos.clear()


_unhandled = _Unhandled()
