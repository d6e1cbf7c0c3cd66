"""
What a program writes: its lines, one by one

Memory is bounded: what plaitd has not read waits in the pipe, and a program that writes faster than its lines can be
logged waits too.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

#: A longer line is cut into pieces of at most so many bytes.
LONGEST_LINE = 64 * 1024
#: So much is read at once: the lines of one reading are logged before the loop does anything else.
AT_ONCE = 8 * 1024
#: At the end of a program at most so much is still read, should somebody unknown keep writing.
AT_THE_END = 1024 * 1024


class Output:
    """The reading end of a pipe that calls *tell* with each line, as text without its end."""

    __slots__ = ("_loop", "_reader", "_rest", "_tell", "writer")

    def __init__(self, tell: Callable[[str], object]) -> None:
        self._loop = asyncio.get_running_loop()
        self._tell = tell
        self._rest = b""
        self._reader, self.writer = os.pipe()
        os.set_blocking(self._reader, False)

    def start(self) -> None:
        """Begin to read; the writing end is the program's alone from now on."""
        self.close_writer()
        self._loop.add_reader(self._reader, self._read)

    def _read(self) -> int:
        try:
            data = os.read(self._reader, AT_ONCE)
        except BlockingIOError:
            return 0
        if not data:
            self._loop.remove_reader(self._reader)
            return 0
        self.feed(data)
        return len(data)

    def feed(self, data: bytes) -> None:
        """Take *data* and tell the lines that it completes."""
        *lines, rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._tell_line(line.removesuffix(b"\r"))
        while len(rest) > LONGEST_LINE:
            piece, rest = cut(rest)
            self._tell_line(piece)
        self._rest = rest

    def _tell_line(self, line: bytes) -> None:
        while len(line) > LONGEST_LINE:
            piece, line = cut(line)
            self._tell(decode(piece))
        self._tell(decode(line))

    def finish(self) -> None:
        """Tell what is still in the pipe, and a last line without an end."""
        for _ in range(AT_THE_END // AT_ONCE):
            if not self._read():
                break
        if self._rest:
            self._tell_line(self._rest)
            self._rest = b""

    def close_writer(self) -> None:
        """Close our copy of the writing end."""
        if self.writer >= 0:
            os.close(self.writer)
            self.writer = -1

    def close(self) -> None:
        """Read no more."""
        self.close_writer()
        if self._reader >= 0:
            self._loop.remove_reader(self._reader)
            os.close(self._reader)
            self._reader = -1


def cut(line: bytes) -> tuple[bytes, bytes]:
    """Cut *line* at its longest allowed length, or up to three bytes before: never inside a character."""
    at = LONGEST_LINE
    while at > LONGEST_LINE - 3 and line[at] & 0xC0 == 0x80:
        at -= 1
    return line[:at], line[at:]


def decode(line: bytes) -> str:
    r"""Return *line* as text; bytes that are no UTF-8 become escapes such as ``\xff``."""
    return line.decode("utf-8", "backslashreplace")
