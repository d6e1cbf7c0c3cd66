"""
Link: the present connection of a `Connection`, for whoever needs it.
"""

from __future__ import annotations

import asyncio
from typing import Any

from plait.errors import PlaitError


class Link:
    """
    What a `Connection` publishes: not a connection, but the way to the present one.

    ``link = await context.need(broker)``, and then, each time that it is used, ``await link.wait()``.
    """

    __slots__ = ("_changed", "_given", "_has_ended", "_path")

    def __init__(self, path: str) -> None:
        self._path = path
        self._changed = asyncio.Event()
        self._given: Any = None
        self._has_ended = False

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection now, as far as is known."""
        return self._given is not None

    async def wait(self) -> Any:
        """
        Return the present connection, waiting while there is none: ``(reader, writer)``, or the protocol.

        Use it and let it go: when it breaks, wait for the next one here.  Raises `PlaitError` when the service has
        stopped.
        """
        while self._given is None:
            if self._has_ended:
                raise PlaitError(f"{self._path}: is stopped: need it anew when it runs again")
            await self._changed.wait()
        return self._given

    def up(self, given: Any) -> None:
        """Hand out *given* from now on; for the service itself, as are the others below."""
        self._given = given
        self._changed.set()

    def down(self, *_: object) -> None:
        """Let everybody wait."""
        self._given = None
        if not self._has_ended:
            self._changed.clear()

    def end(self) -> None:
        """Let nobody wait any more."""
        self._given = None
        self._has_ended = True
        self._changed.set()

    def __repr__(self) -> str:
        return f"<Link of {self._path}: {'connected' if self.is_connected else 'not connected'}>"
