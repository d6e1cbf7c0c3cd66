"""
What must happen to turn one group into another.
"""

from __future__ import annotations

from dataclasses import dataclass

from plait.tree.application import Group


@dataclass(frozen=True)
class Difference:
    """What must happen to turn one group into another: names, each in declared order of the group it comes from."""

    stop: tuple[str, ...]
    start: tuple[str, ...]
    inside: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.stop or self.start or self.inside)


def difference(old: Group, new: Group) -> Difference:
    """
    Compare two groups.

    Equal children keep their lives and appear nowhere.  A group that is still a group is looked into (*inside*) rather
    than replaced; any other changed child is stopped and started.
    """
    before = {child.name: child for child in old}
    after = {child.name: child for child in new}
    stop, start, inside = [], [], []
    for name, child in before.items():
        other = after.get(name)
        if other == child:
            continue
        if type(child) is type(other) and isinstance(child, Group) and not child.is_one:
            inside.append(name)
        else:
            stop.append(name)
    for name in after:
        if name not in before or name in stop:
            start.append(name)
    return Difference(tuple(stop), tuple(start), tuple(inside))
