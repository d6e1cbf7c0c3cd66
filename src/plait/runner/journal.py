"""
systemd's journal: records in its own protocol, with all their fields

Fields are ``MESSAGE`` (with the path of the service and the traceback, as people want to see them), ``PRIORITY``,
``SYSLOG_IDENTIFIER``, ``CODE_FILE``, ``CODE_LINE``, ``CODE_FUNC``, ``LOGGER``, ``LEVEL``, where there are such
``PLAIT_PATH``, ``EXCEPTION`` and ``STACK``, and what the user added, under its name in capitals.

The protocol is documented by systemd in JOURNAL_NATIVE_PROTOCOL.
"""

from __future__ import annotations

import array
import errno
import fcntl
import os
import re
import socket
from logging import CRITICAL, DEBUG, ERROR, INFO, WARNING, LogRecord

from plait.runner.datagrams import SocketTaker
from plait.runner.formats import details_of, exception_of, field_names, level_name, message_of, text_of

ADDRESS = "/run/systemd/journal/socket"
_LONGEST_NAME = 64
_OURS = frozenset(
    {"MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER", "LOGGER", "LEVEL", "CODE_FILE", "CODE_LINE", "CODE_FUNC"}
    | {"PLAIT_PATH", "EXCEPTION", "STACK"}
)


class JournalEntries:
    """The format: what the journal wants to get for one record; *prefix* is what it calls the program."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def __call__(self, record: LogRecord, path: str) -> bytes:
        logger = text_of(record.name)
        exception = exception_of(record)
        stack = text_of(record.stack_info or "")
        message = "\n".join(filter(None, (message_of(record).rstrip("\n"), exception, stack)))
        fields: list[tuple[str, object]] = [
            ("MESSAGE", f"[{path or logger}] {message}"),
            ("PRIORITY", priority(record.levelno)),
            ("SYSLOG_IDENTIFIER", self._prefix),
            ("LOGGER", logger),
            ("LEVEL", level_name(record.levelno)),
            ("CODE_FILE", record.pathname),
            ("CODE_LINE", record.lineno),
            ("CODE_FUNC", record.funcName),
        ]
        fields += [
            (name, text) for name, text in (("PLAIT_PATH", path), ("EXCEPTION", exception), ("STACK", stack)) if text
        ]
        taken = set(_OURS)
        fields += [(_field_name(name, taken), record.__dict__[name]) for name in field_names(record)]
        fields += [(_field_name(name, taken), value) for name, value in details_of(record).items()]
        return b"".join(_encode(name, value) for name, value in fields)


class JournalTaker(SocketTaker):
    """The journal's socket; an entry that is too long for a datagram goes through a sealed file in memory."""

    def send(self, connection: socket.socket, data: bytes) -> None:
        try:
            connection.send(data)
        except OSError as error:
            if error.errno not in (errno.EMSGSIZE, errno.ENOBUFS):
                raise
            _send_file(connection, data)


def open_journal(address: str = ADDRESS) -> JournalTaker:
    """Connect to the journal; raises OSError."""
    return JournalTaker(address)


def find_journal(descriptor: int, stream: str) -> JournalTaker | None:
    """
    Connect to the journal if *descriptor* is the very stream that systemd, with ``$JOURNAL_STREAM``, says goes there.

    None when it is another one, for whoever redirected it wants the records there, or when the journal cannot be found.
    """
    try:
        status = os.fstat(descriptor)
        return open_journal() if stream == f"{status.st_dev}:{status.st_ino}" else None
    except OSError:
        return None


def priority(level: object) -> int:
    """Syslog's number for a level: 7 debug, 6 info, 4 warning, 3 error, 2 critical."""
    if not isinstance(level, int):
        return 6
    for floor, number in ((CRITICAL, 2), (ERROR, 3), (WARNING, 4), (INFO, 6), (DEBUG, 7)):
        if level >= floor:
            return number
    return 7


def _encode(name: str, value: object) -> bytes:
    if isinstance(value, bytes | bytearray | memoryview):
        data = bytes(value)
    else:
        data = _text(value).encode(errors="backslashreplace")
        if b"\n" not in data:
            return b"%b=%b\n" % (name.encode(), data)
    return b"%b\n%b%b\n" % (name.encode(), len(data).to_bytes(8, "little"), data)


def _text(value: object) -> str:
    if isinstance(value, dict | list | tuple | set | frozenset):
        from plait.runner.json_lines import encode

        return encode(value)
    return text_of(value)


def _field_name(name: object, taken: set[str]) -> str:
    # A leading underscore is for what the journal itself knows: it would drop the field.
    text = re.sub("[^A-Z0-9_]", "_", text_of(name).upper()).lstrip("_")[: _LONGEST_NAME - 8]
    if not text or text[0].isdecimal():
        text = f"FIELD_{text}".rstrip("_")
    while text in taken:
        text += "_"
        if len(text) > _LONGEST_NAME:
            text = f"FIELD_{len(taken)}"
    taken.add(text)
    return text


def _send_file(connection: socket.socket, data: bytes) -> None:
    descriptor = os.memfd_create("plait-journal", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with open(descriptor, "wb", buffering=0, closefd=False) as file:
            left = memoryview(data)
            while left:
                left = left[file.write(left) :]
        # The journal reads no file that could change under it.
        seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
        connection.sendmsg([], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))])
    finally:
        os.close(descriptor)
