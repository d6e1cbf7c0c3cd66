"""What a tree should do, written a second time in the simplest way: recursion, no time, no tasks."""

from __future__ import annotations

from collections.abc import Iterator

from plait import State
from plait.tree.policy import affected, should_restart


class Node:
    """One place in the model of a tree."""

    def __init__(
        self,
        name: str,
        parent: Node | None,
        *,
        restart: str = "on-failure",
        strategy: str = "",
        limit: int | None = None,
    ) -> None:
        self.name = name
        self.parent = parent
        self.restart = restart
        self.strategy = strategy  # empty: a leaf
        self.limit = limit
        self.children: list[Node] = []
        self.state = State.IDLE
        self.lives = 0
        self.order = 0
        self.count = 0
        self.fail_starts = 0
        self.hangs = False
        self.held = False
        self.dynamic = False
        self.coming = False  # it is to be started, and others come first

    @property
    def path(self) -> str:
        return self.name if self.parent is None else f"{self.parent.path}/{self.name}"

    @property
    def root(self) -> Node:
        return self if self.parent is None else self.parent.root

    @property
    def alive(self) -> bool:
        return self.state is State.READY

    def walk(self) -> Iterator[Node]:
        yield self
        for child in self.children:
            yield from child.walk()

    # Lives --------------------------------------------------------------------------------------------------------

    def begin(self) -> bool:
        """Begin a life; say whether it became ready."""
        self.lives += 1
        self.held = self.coming = False
        clock = self.root
        clock.count_of_starts = getattr(clock, "count_of_starts", 0) + 1  # type: ignore[attr-defined]
        self.order = clock.count_of_starts  # type: ignore[attr-defined]
        if not self.strategy:
            if self.fail_starts:
                self.fail_starts -= 1
                self.state = State.FAILED
                return False
            self.state = State.READY
            return True
        self.count = 0
        self.children = [child for child in self.children if not child.dynamic]
        for child in self.children:
            child.held = False
        for child in self.children:
            if not child.begin():
                self.stop_children(self.children)
                self.state = State.FAILED
                return False
        self.state = State.READY
        return True

    def stop(self) -> None:
        """Stop, if alive."""
        if self.alive:
            self.stop_children(self.children)
            self.state = State.LEFT_BEHIND if self.hangs else State.STOPPED

    @staticmethod
    def stop_children(children: list[Node]) -> None:
        for child in sorted(children, key=lambda child: child.order, reverse=True):
            child.stop()
            child.coming = False

    def ended(self, *, failed: bool) -> None:
        """It ended by itself: what now?"""
        self.state = State.FAILED if failed else State.DONE
        if should_restart(self.restart, failed):  # type: ignore[arg-type]
            self.count_and_replace()

    def count_and_replace(self) -> None:
        group = self.parent
        if group is None:
            return  # the tree has given up
        group.count += 1
        if group.limit is not None and group.count > group.limit:
            group.stop_children(group.children)
            group.ended(failed=True)
        else:
            self.replace()

    def replace(self) -> None:
        """Start anew, with those whom the strategy names."""
        group = self.parent
        assert group is not None
        names = affected(group.strategy, [child.name for child in group.children], self.name)  # type: ignore[arg-type]
        those = [child for child in group.children if child.name in names]
        coming = [
            child for child in those if child is self or child.coming or (not child.held and child.restart != "never")
        ]
        group.stop_children(those)
        for child in coming:
            child.coming = True
        for child in coming:
            if not child.begin():
                if should_restart(child.restart, True):  # type: ignore[arg-type]
                    child.count_and_replace()
                    return
                child.state = State.FAILED

    # Orders -------------------------------------------------------------------------------------------------------

    def stop_by_hand(self) -> None:
        self.held = True
        self.stop()

    def start_by_hand(self) -> bool:
        if self.alive:
            return True
        if self.begin():
            return True
        self.held = True
        return False

    def restart_by_hand(self) -> None:
        self.held = False
        self.replace()
