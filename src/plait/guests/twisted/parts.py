"""
The services in a Twisted collection as children of its life in the tree, also those that come and go
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context as Variables
from typing import Any

from plait import Context, NotFound, PlaitError, Service
from plait.guests.twisted.names import name_of, unique
from plait.guests.twisted.watching import Watch, is_collection


class Parts:
    """The services in the collection that *watch* watches, in the life that *context* is of."""

    def __init__(self, watch: Watch, context: Context[Any], make_part: Callable[[Any, str], Service[Any]]) -> None:
        self._watch = watch
        self._context = context
        self._make_part = make_part
        self._is_open = False  # the tree sees to them
        self._names: dict[int, str] = {}
        self._taken: set[str] = set()
        self._shown: set[int] = set()
        self._moves: set[asyncio.Task[None]] = set()
        #: When the stop of one of them was last heard of.
        self.progress_at = 0.0

    def begin(self, *, starts_them: bool) -> list[Service[Any]]:
        """Return those that are to stand in the tree now: all, if that *starts_them*, else those that run."""
        self._is_open = True
        collection = self._watch.service
        if not is_collection(collection):
            return []
        self._watch.look_inside()
        watches = self._watch.children
        here = list({id(each): each for each in collection}.values())
        for each in here:
            if not (starts_them or watches[id(each)].is_heard):
                watches[id(each)].is_started = True  # as far as can be known
        return [self._part(each) for each in here if starts_them or watches[id(each)].runs]

    def end(self) -> None:
        """Have none in the tree any more."""
        self._is_open = False

    def variables(self, child: Watch) -> Variables:
        """Return context variables in which the application's code is that of *child*."""
        return self._context.variables_of(self._name(child.service))

    def _name(self, service: Any) -> str:
        name = self._names.get(id(service))
        if name is None:
            name = self._names[id(service)] = unique(name_of(service), self._taken)
            self._taken.add(name)
        return name

    def _forget_name(self, service: Any) -> str | None:
        name = self._names.pop(id(service), None)
        self._taken.discard(name or "")
        return name

    def _part(self, service: Any) -> Service[Any]:
        self._shown.add(id(service))
        return self._make_part(service, self._name(service))

    def started(self, child: Watch) -> None:
        """Hear that the application has started a service in it."""
        if not self._is_open:
            return
        if id(child.service) not in self._shown:
            self._move(self._add(child))
        else:
            self._steer(self._context.start_child, self._name(child.service))

    def stopped(self, child: Watch) -> None:
        """Hear that a service in it is being stopped, but not by the tree."""
        name = self._names.get(id(child.service))
        if child.stopping is not None:
            child.stopping.when_done(self._progressed)
        if self._is_open and name is not None:
            self._steer(self._context.stop_child, name)

    def added(self, child: Watch) -> None:
        """Hear that a service was put into it, and started if this runs."""
        if self._is_open and child.runs and id(child.service) not in self._shown:
            child.is_started = True  # unheard, perhaps
            self._move(self._add(child))

    def removed(self, child: Watch) -> bool:
        """Hear that a service was taken out of it, and stopped if this runs; say whether its watch is still needed."""
        name = self._forget_name(child.service)
        self._shown.discard(id(child.service))
        if not self._is_open or name is None:
            return False
        self._move(self._remove(child, name))
        return True

    def _steer(self, command: Callable[[str], None], name: str) -> None:
        try:
            command(name)
        except NotFound:
            pass  # it has left the tree, or never came into it

    def _move(self, move: Awaitable[None]) -> None:
        task = asyncio.ensure_future(move)
        self._moves.add(task)  # the loop holds it weakly
        task.add_done_callback(self._moves.discard)

    def _add(self, child: Watch) -> Awaitable[None]:
        part = self._part(child.service)

        async def add() -> None:
            try:
                await self._context.add(part)
            except PlaitError as error:
                # The tree has told why; or this stops, and that with it.
                self._forget_name(child.service)
                self._shown.discard(id(child.service))
                self._context.log.debug("%s: %s", part.name, error)

        return add()

    async def _remove(self, child: Watch, name: str) -> None:
        try:
            await self._context.remove(name)
        except PlaitError:
            pass  # it was not there any more
        if child.parent is self._watch:
            child.end()

    def _progressed(self) -> None:
        self.progress_at = asyncio.get_running_loop().time()
