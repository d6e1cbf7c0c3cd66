"""
The syslog daemon of this machine: records as its lines

Each line of a record is a message of its own, ``plaitd[4711]: [shop/web#info] text key=value``, further lines begin
with a TAB, as in the text format.  The facility is *user*, as with twistd; levels become syslog's, 7 debug, 6 info,
4 warning, 3 err, 2 crit.
"""

from __future__ import annotations

import os
import socket
import time
from logging import LogRecord

from plait.runner.datagrams import SocketTaker
from plait.runner.formats import Text
from plait.runner.journal import priority

_FACILITY = 1  # user
_LONGEST = 4000  # bytes of text in one message: daemons cut what is beyond their limit, often 8 KiB
# Not by strftime, which would write them in the language of the program.
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class SyslogLines:
    """The format: the messages of one record, each with a newline at its end; *prefix* is the program's name there."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._text = Text()
        self._stamp: tuple[int, str] = (-1, "")

    def __call__(self, record: LogRecord, path: str) -> bytes:
        text = self._text(record, path).partition(b" ")[2]
        try:
            second = int(record.created)
            stamp = self._stamp if second == self._stamp[0] else self._new_stamp(second)
        except (TypeError, ValueError, OverflowError, OSError):
            stamp = self._new_stamp(int(time.time()))
        level = _FACILITY * 8 + priority(record.levelno)
        head = f"<{level}>{stamp[1]} {self._prefix}[{record.process or os.getpid()}]: ".encode()
        return b"".join(b"%b%b\n" % (head, piece) for line in text.rstrip(b"\n").split(b"\n") for piece in _cut(line))

    def _new_stamp(self, second: int) -> tuple[int, str]:
        now = time.localtime(second)
        text = f"{_MONTHS[now.tm_mon - 1]} {now.tm_mday:2} {now.tm_hour:02}:{now.tm_min:02}:{now.tm_sec:02}"
        self._stamp = (second, text)
        return self._stamp


class SyslogTaker(SocketTaker):
    """The daemon's socket, which takes datagrams, or of an older daemon a stream."""

    kinds = (socket.SOCK_DGRAM, socket.SOCK_STREAM)

    def send(self, connection: socket.socket, data: bytes) -> None:
        if connection.type == socket.SOCK_STREAM:
            connection.sendall(data)
            return
        for line in data.splitlines():
            connection.send(line)


def open_syslog(address: str) -> SyslogTaker:
    """Connect to the syslog daemon at *address*, a unix socket; raises OSError."""
    return SyslogTaker(address)


def _cut(line: bytes) -> list[bytes]:
    pieces = []
    while len(line) > _LONGEST:
        end = _LONGEST
        while line[end] & 0xC0 == 0x80:  # not inside of a character
            end -= 1
        pieces.append(line[:end])
        line = b"\t" + line[end:]
    return [*pieces, line]
