"""
Writing at once what can be written at once
"""

from __future__ import annotations

from typing import Any

from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.tcp import Connection
from twisted.python.log import callWithLogger

from plait.guests.twisted.early import EarlyLoop


class SoonWriting(AsyncioSelectorReactor):
    """Twisted's asyncio reactor, but that a connection writes in the next turn of the loop."""

    def __init__(self, loop: Any) -> None:
        self._soon: dict[Any, None] = {}
        super().__init__(loop)

    def addWriter(self, writer: Any) -> None:  # noqa: N802
        """
        Have *writer* write, as soon as it can.

        A connection can nearly always write at once.  To try that in the next turn of the loop, and to watch its socket
        only where something is left, spares two calls of the system for each answer of a server.
        """
        if not (isinstance(writer, Connection) and writer.connected) or isinstance(self._asyncioEventloop, EarlyLoop):
            super().addWriter(writer)
        elif writer not in self._soon and not self._is_watched(writer):
            self._soon[writer] = None
            self._asyncioEventloop.call_soon(self._write_soon, writer)

    def _is_watched(self, writer: Any) -> bool:
        return writer in self._writers

    def _write_soon(self, writer: Any) -> None:
        if writer in self._soon:
            callWithLogger(writer, self._readOrWrite, writer, False)
            if self._soon.pop(writer, writer) is None:
                super().addWriter(writer)

    def removeWriter(self, writer: Any) -> None:  # noqa: N802
        """Let *writer* write no more."""
        if self._soon.pop(writer, writer) is not None:
            super().removeWriter(writer)

    def getWriters(self) -> list[Any]:  # noqa: N802
        """Return all that is to write."""
        return [*super().getWriters(), *self._soon]

    def removeAll(self) -> list[Any]:  # noqa: N802
        """Forget all that reads and writes, and return it."""
        soon, self._soon = self._soon, {}
        return list(dict.fromkeys([*super().removeAll(), *soon]))
