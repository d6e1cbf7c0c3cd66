"""
Where a Deferred hangs: the line that waits, or what can be known of one that nothing waits behind.

A Deferred does not know who will fire it.  But what it waits for itself can be found: another Deferred that was
returned into its chain, those of a DeferredList, and, behind ``inlineCallbacks`` and coroutines, the line that waits.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from twisted.internet.defer import Deferred

#: How far it is followed: a chain may be a circle.
_FARTHEST = 50


def where_hangs(function: Any, deferred: Deferred[Any] | None, coroutine: Any = None) -> str:
    """Return where *deferred*, which *function* has returned, hangs; *coroutine* is what it stands for, if any."""
    line, last = _line_of(coroutine) if coroutine is not None else ("", deferred)
    for _ in range(_FARTHEST):
        step = _behind(last)
        if step is None:
            break
        found, last = step
        line = found or line
    if line:
        return line
    behind = next(iter(_functions_behind(last)), "")
    return f"{_first_line_of(function)}, whose Deferred has not fired" + (f": {behind} waits for it" if behind else "")


def _behind(waited: Any) -> tuple[str, Any] | None:
    """Return the line that waits behind *waited*, if there is one, and what is waited for there."""
    if not isinstance(waited, Deferred):
        return None
    chained = getattr(waited, "_chainedTo", None)
    if chained is not None:
        return "", chained
    gathered = getattr(waited, "_deferredList", None)
    if gathered is not None:
        pending = [each for each in gathered if not _has_result(each)]
        return ("", pending[0]) if pending else None
    status = _status_of(waited)
    awaited = getattr(status, "waitingOn", None)
    generator = _generator_in(awaited, status)
    if generator is None:
        return None
    return _line_of(generator)


def callbacks_of(deferred: Any) -> list[Any]:
    """Return the pairs of what is called when *deferred* fires."""
    found = getattr(deferred, "_callbacks", None)  # since Twisted 25.5, which warns of the name it had before
    return found if found is not None else getattr(deferred, "callbacks", [])


def _has_result(deferred: Any) -> bool:
    return bool(deferred.called) and getattr(deferred, "_chainedTo", None) is None


def _status_of(deferred: Deferred[Any]) -> Any:
    """Return what ``inlineCallbacks`` keeps about the generator whose Deferred this is: only its canceller knows."""
    canceller = getattr(deferred, "_canceller", None)
    for cell in getattr(canceller, "__closure__", None) or ():
        try:
            if hasattr(cell.cell_contents, "waitingOn"):
                return cell.cell_contents
        except ValueError:
            continue  # an empty cell
    return None


def _generator_in(awaited: Any, status: Any) -> Any:
    """Return the generator that goes on when *awaited* fires: an argument of its callback."""
    if status is None or awaited is None:
        return None
    for callbacks in callbacks_of(awaited):
        for arguments in (each for each in callbacks if isinstance(each, tuple)):
            parts = [*arguments, *(part for each in arguments if isinstance(each, tuple) for part in each)]
            if any(part is status for part in parts):
                return next((part for part in parts if inspect.isgenerator(part) or inspect.iscoroutine(part)), None)
    return None


def _line_of(waits: Any) -> tuple[str, Any]:
    """Return the innermost line of a suspended generator or coroutine, and what it waits for."""
    line = ""
    while waits is not None:
        frame = getattr(waits, "cr_frame", None) or getattr(waits, "gi_frame", None) or getattr(waits, "ag_frame", None)
        if frame is None:
            break
        waited = frame.f_locals.get("self") if frame.f_code is Deferred.__iter__.__code__ else None
        if isinstance(waited, Deferred):
            return line, waited
        code = frame.f_code
        line = f"{code.co_filename}:{frame.f_lineno} in {code.co_qualname}"
        inner = getattr(waits, "cr_await", None) or getattr(waits, "gi_yieldfrom", None)
        if inner is None and inspect.isgenerator(waits):
            return line, _awaited_by(waits)
        waits = inner
    return line, waits


def _awaited_by(generator: Any) -> Any:
    """Return the Deferred that a generator of ``inlineCallbacks`` has yielded, if it is still in a variable of it."""
    for value in generator.gi_frame.f_locals.values():
        if isinstance(value, Deferred) and _generator_waits(value, generator):
            return value
    return None


def _generator_waits(deferred: Any, generator: Any) -> bool:
    return any(
        part is generator
        for callbacks in callbacks_of(deferred)
        for arguments in callbacks
        if isinstance(arguments, tuple)
        for part in (*arguments, *(inner for each in arguments if isinstance(each, tuple) for inner in each))
    )


def _functions_behind(deferred: Any) -> Iterator[str]:
    """Yield the first line of each function of people's that waits behind *deferred*."""
    for callbacks in callbacks_of(deferred):
        for function in (part for each in callbacks for part in (each if isinstance(each, tuple) else (each,))):
            code = getattr(getattr(function, "__func__", function), "__code__", None)
            if code is not None and not _is_plumbing(code.co_filename):
                yield _first_line_of(function)


def _first_line_of(function: Any) -> str:
    plain = inspect.unwrap(getattr(function, "__func__", function))
    code = getattr(plain, "__code__", None)
    if code is None:
        return str(getattr(plain, "__qualname__", repr(plain)))
    return f"{code.co_filename}:{code.co_firstlineno} in {code.co_qualname}"


def _is_plumbing(file: str) -> bool:
    return "/twisted/internet/" in file or "/plait/guests/" in file
