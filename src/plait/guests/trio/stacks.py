"""
Where tasks of trio are: the line that waits, and whole stacks.

Nothing here waits or takes a lock: it may be asked by a signal's handler, between any two lines.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import trio

#: Whose files are not people's.
_TRIO = os.path.dirname(trio.__file__) + os.sep
_OURS = os.path.dirname(__file__) + os.sep

#: A kind, a name, where it is, and the lines: file, number, function; what `plait.runner.stacks` asks for.
OtherStack = tuple[str, str, str, list[tuple[str, int, str]]]


def lines_of(task: trio.lowlevel.Task) -> list[tuple[str, int, str]]:
    """Return the lines in which *task* waits, the outermost first."""
    frames = task.iter_await_frames()
    return [(frame.f_code.co_filename, number, frame.f_code.co_qualname) for frame, number in frames]


def where(task: trio.lowlevel.Task) -> str:
    """
    Return ``file:line in function`` of people's innermost line in which *task*, or a child that it waits for, waits.

    Where nobody wrote a line, it is the first of trio's.
    """
    found = ""
    waits_for_children = False
    for file, number, function in lines_of(task):
        if file.startswith(_OURS):
            continue
        is_theirs = not file.startswith(_TRIO)
        if not found or is_theirs:
            found = f"{file}:{number} in {function}"
        if is_theirs:
            waits_for_children = False
        elif function == "Nursery._nested_child_finished":
            waits_for_children = True
    if waits_for_children and task.child_nurseries:
        # One of those is what hangs: the innermost nursery is the last.
        children = sorted(task.child_nurseries[-1].child_tasks, key=lambda child: child.name)
        if children:
            return where(children[0])
    return found or "an unknown line"


def stacks(task: trio.lowlevel.Task) -> list[OtherStack]:
    """Return the stacks of *task* and of all below it."""
    return [("trio task", each.name, where(each), lines_of(each)) for each in _family(task)]


def _family(task: trio.lowlevel.Task) -> Iterator[trio.lowlevel.Task]:
    yield task
    for nursery in list(task.child_nurseries):
        for child in sorted(nursery.child_tasks, key=lambda child: child.name):
            yield from _family(child)
