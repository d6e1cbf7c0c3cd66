"""
How what is printed becomes log records: standard output and standard error

Each whole line is one record; empty lines are none.  A library's own log handler that writes to one of the two would
say in its format what is said already: the record itself is taken in its place.
"""

from __future__ import annotations

import io
import logging
import sys
from threading import get_ident
from types import FrameType
from typing import BinaryIO, TextIO, cast

_LONGEST = 65_536  # bytes of one line; a line that does not end is cut there
_EMIT = logging.StreamHandler.emit.__code__


class Capture:
    """Standard output and standard error as records, from here to `end`; *handler* is where records go."""

    def __init__(self, handler: logging.Handler) -> None:
        self._streams: list[tuple[str, TextIO, TextIO | None, LineWriter]] = []
        self._turned: list[tuple[logging.StreamHandler[TextIO], TextIO]] = []
        for name, level in (("stdout", logging.INFO), ("stderr", logging.ERROR)):
            replaced: TextIO | None = getattr(sys, name)
            writer = LineWriter(logging.getLogger(name), level, replaced, handler)
            stream = open_log_stream(writer)
            self._streams.append((name, stream, replaced, writer))
            setattr(sys, name, stream)
        # Handlers that libraries made before: what they write is seen as what they write later is.
        for logger in list(logging.root.manager.loggerDict.values()):
            for other in logger.handlers if isinstance(logger, logging.Logger) else ():
                for _, stream, replaced, _ in self._streams:
                    if isinstance(other, logging.StreamHandler) and replaced and other.stream is replaced:
                        other.setStream(stream)
                        self._turned.append((other, replaced))

    def end(self) -> None:
        """Give the streams back; lines without an end are written."""
        for other, replaced in self._turned:
            if any(other.stream is stream for _, stream, _, _ in self._streams):
                other.setStream(replaced)
        for name, stream, original, writer in self._streams:
            if getattr(sys, name) is stream:
                setattr(sys, name, original)
            writer.write_parts()


class LineWriter(io.RawIOBase):
    """
    The raw end of a text stream that turns lines into records of *logger* at *level*.

    Parts of lines are kept for each thread apart, so that two threads that print never share a line.  ``fileno`` is
    that of the stream that was *replaced*: child processes and C libraries write there anyway.  What a log handler
    writes is left to *handler*, as the record that it came from.
    """

    def __init__(
        self, logger: logging.Logger, level: int, replaced: TextIO | None, handler: logging.Handler | None = None
    ) -> None:
        super().__init__()
        self._handler = handler
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
        frame = sys._getframe(1)  # the text stream above is no frame
        if frame.f_code is _EMIT and self._take(frame):
            return len(taken)
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

    def _take(self, frame: FrameType) -> bool:
        """Take the record that a log handler is about to write here, unless it comes to us anyway."""
        record = frame.f_locals.get("record")
        if self._handler is None or not isinstance(record, logging.LogRecord):
            return False
        if frame.f_locals.get("self") is self._handler:
            return False  # people's own place for the log is this stream
        logger: logging.Logger | None = logging.getLogger(record.name)
        while logger is not None:
            if self._handler in logger.handlers:
                return True
            logger = logger.parent if logger.propagate else None
        thread = get_ident()
        self._busy.add(thread)
        try:
            self._handler.handle(record)
        finally:
            self._busy.discard(thread)
        return True

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
