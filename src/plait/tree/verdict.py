"""
How a life ended, and what to say about it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from plait.errors import GaveUp, PlaitError, StartFailed
from plait.events import describe

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


def reason(error: BaseException, path: str) -> str:
    """Return why, for a sentence that already names *path*; what plait itself says is a sentence, and needs no type."""
    if isinstance(error, TimeoutError | PlaitError) and str(error):
        return str(error).removeprefix(f"{path}: ")
    return describe(error)
