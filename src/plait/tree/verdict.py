"""
How a life ended, and what to say about it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from plait.errors import GaveUp, PlaitError, StartFailed, StopApplication
from plait.events import describe
from plait.tree.service import speaking_of

if TYPE_CHECKING:
    from plait.tree.child import Child
    from plait.tree.policy import Limit


def start_failed(child: Child, error: BaseException) -> BaseException:
    """Return the error of a start that failed; one from deeper in the tree already says where."""
    if isinstance(error, StartFailed | GaveUp):
        return error
    failure = StartFailed(f"{child.path}: did not start: {reason(error, child.path)}", child.path)
    failure.__cause__ = error
    return failure


def too_late(child: Child) -> TimeoutError:
    """Return the error of a life that is not ready within its *start_timeout*, with what to do about it."""
    from plait.tree.stack import where

    assert child.task is not None
    group = child.supervisor
    starting = [] if group is None or not group.is_live else [each for each in group.children.values() if each.sweep]
    waits = f"for {starting[0].path}" if starting else f"at {where(child.task)}"
    try:
        hint = child.service.late_hint(waits)
    except Exception as error:  # the class may be anybody's
        hint = f"its late_hint() failed ({describe(error)})"
    return TimeoutError(f"not ready after {child.service.start_timeout:.3g} s: {hint}")


def gave_up(path: str, limit: Limit, child: Child, error: BaseException | None) -> GaveUp:
    """Return the error of a group that needed more restarts than its limit allows."""
    deepest = error.path if isinstance(error, StartFailed | GaveUp) else child.path
    why = f" ({reason(error, child.path)})" if error is not None else " (it ended)"
    failure = GaveUp(
        f"{path}: gave up: more than {limit.restarts} restarts in {limit.seconds:.3g} s, the last for {deepest}{why}",
        deepest,
    )
    failure.__cause__ = error
    return failure


def order_in(group: BaseExceptionGroup[BaseException], child: Child) -> BaseException | None:
    """Return what in *group* is no error but the order to stop everything, if it is there; the others are told."""
    orders, others = group.split((StopApplication, SystemExit))
    if orders is None:
        return None
    if others is not None:
        with speaking_of(child.path):
            log = logging.getLogger(child.path.replace("/", "."))
            log.error("failed, and asked to stop everything: %s", describe(others), exc_info=others)
    order: BaseException = orders
    while isinstance(order, BaseExceptionGroup):
        order = order.exceptions[0]
    return order


def reason(error: BaseException, path: str) -> str:
    """Return why, for a sentence that already names *path*; what plait itself says is a sentence, and needs no type."""
    if isinstance(error, TimeoutError | PlaitError) and str(error):
        return str(error).removeprefix(f"{path}: ")
    return describe(error)
