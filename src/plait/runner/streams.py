"""
How what is printed becomes log records: standard output and standard error of a daemon

Each whole line is one record; empty lines are none.
"""

from __future__ import annotations

import io
import logging
from threading import get_ident
from typing import BinaryIO, TextIO, cast

_LONGEST = 65_536  # bytes of one line; a line that does not end is cut there


class LineWriter(io.RawIOBase):
    """
    The raw end of a text stream that turns lines into records of *logger* at *level*.

    Parts of lines are kept for each thread apart, so that two threads that print never share a line.  ``fileno`` is
    that of the stream that was *replaced*: child processes and C libraries write there anyway.
    """

    def __init__(self, logger: logging.Logger, level: int, replaced: TextIO | None) -> None:
        super().__init__()
        self._logger = logger
        self._level = level
        self._replaced = replaced
        self._parts: dict[int, bytes] = {}
        self._busy: set[int] = set()

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        if self._replaced is None:
            raise io.UnsupportedOperation("there is no file behind it")
        return self._replaced.fileno()

    def write(self, data: object) -> int:
        """Take bytes; returns how many: all of them, always."""
        taken = bytes(memoryview(data))  # type: ignore[arg-type]  # any buffer, as for every raw stream
        thread = get_ident()
        if thread in self._busy:
            # A handler that prints what it could not do would be asked to handle that, without end.
            if self._replaced is not None:
                self._replaced.write(taken.decode(errors="backslashreplace"))
            return len(taken)
        text = self._parts.pop(thread, b"") + taken
        *lines, part = text.split(b"\n")
        if len(part) > _LONGEST:
            lines.append(part)
            part = b""
        if part:
            self._parts[thread] = part
        if lines:
            self._log(thread, lines)
        return len(taken)

    def write_parts(self) -> None:
        """Make records of the lines that have no end yet, in the order in which they were begun."""
        parts = list(self._parts.values())
        self._parts.clear()
        self._log(get_ident(), parts)

    def _log(self, thread: int, lines: list[bytes]) -> None:
        self._busy.add(thread)
        try:
            for line in lines:
                if line.strip():
                    self._logger.log(self._level, line.rstrip(b"\r").decode(errors="backslashreplace"))
        finally:
            self._busy.discard(thread)


def open_log_stream(writer: LineWriter) -> TextIO:
    """A text stream over *writer* to take the place of ``sys.stdout``: ``buffer``, ``encoding`` and all."""
    return io.TextIOWrapper(
        cast(BinaryIO, writer),  # as for `python -u`: a raw stream is buffer enough
        encoding="utf-8",
        errors="backslashreplace",
        newline="",
        write_through=True,
    )
