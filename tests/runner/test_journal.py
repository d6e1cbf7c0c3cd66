"""What systemd's journal is sent, to the byte; when standard output is it; entries too long for a datagram."""

from __future__ import annotations

import array
import fcntl
import logging
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plait.errors import CannotCreate
from plait.runner import journal
from plait.runner.journal import JournalEntries, find_journal, open_journal, priority
from plait.runner.logs import LogSettings, open_logs

log = logging.getLogger("shop.stock")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A socket where the journal's would be."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as place:
        place.bind(str(tmp_path / "socket"))
        place.settimeout(10)
        monkeypatch.setattr(journal, "ADDRESS", str(tmp_path / "socket"))
        monkeypatch.setattr(open_journal, "__defaults__", (str(tmp_path / "socket"),))
        yield place


def parse(data: bytes) -> dict[str, bytes]:
    """The fields of an entry, by systemd's description of the protocol."""
    fields = {}
    while data:
        line, _, rest = data.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            size = int.from_bytes(rest[:8], "little")
            value, rest = rest[8 : 8 + size], rest[8 + size + 1 :]
        fields[name.decode()] = value
        data = rest
    return fields


def entry(path: str = "", **values: Any) -> dict[str, bytes]:
    return parse(JournalEntries("shop")(logging.makeLogRecord({"msg": "x", "name": "a.b"} | values), path))


def test_an_entry_is_these_bytes() -> None:
    """One record, byte by byte: short values as lines, long ones behind their length."""
    record = logging.LogRecord("a.b", logging.WARNING, "/shop.py", 7, "one\ntwo %s", ("é",), None, "sell")
    record.count = 3
    record.raw = b"\x00\xff"
    assert JournalEntries("shop")(record, "shop/web") == (
        b"MESSAGE\n\x17\x00\x00\x00\x00\x00\x00\x00[shop/web] one\ntwo \xc3\xa9\n"[:8]
        + (21).to_bytes(8, "little")
        + b"[shop/web] one\ntwo \xc3\xa9\n"
        b"PRIORITY=4\nSYSLOG_IDENTIFIER=shop\nLOGGER=a.b\nLEVEL=warning\n"
        b"CODE_FILE=/shop.py\nCODE_LINE=7\nCODE_FUNC=sell\nPLAIT_PATH=shop/web\n"
        b"COUNT=3\nRAW\n\x02\x00\x00\x00\x00\x00\x00\x00\x00\xff\n"
    )


@pytest.mark.parametrize(
    ("level", "number"), [(10, 7), (20, 6), (30, 4), (40, 3), (50, 2), (5, 7), (25, 6), (60, 2), ("x", 6)]
)
def test_priorities_are_syslogs(level: object, number: int) -> None:
    """debug to critical are 7, 6, 4, 3, 2; what lies between is what lies below it."""
    assert priority(level) == number


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("user id", "USER_ID"),
        ("_hidden", "HIDDEN"),
        ("1st", "FIELD_1ST"),
        ("é", "FIELD"),
        ("", "FIELD"),
        ("priority", "PRIORITY_"),
        ("x" * 100, "X" * 56),
    ],
)
def test_names_are_what_the_journal_takes(given: str, name: str) -> None:
    """Capitals, digits and underscores, not first; a name that is taken gets an underscore."""
    assert entry(**{given: "value"})[name] == b"value"


def test_two_fields_never_share_a_name() -> None:
    """Fields whose names become the same are told apart."""
    fields = entry(**{"a-b": 1, "a.b": 2, "A_B": 3})
    assert [fields[name] for name in ("A_B", "A_B_", "A_B__")] == [b"1", b"2", b"3"]


def test_values_are_never_in_the_way() -> None:
    """Containers are JSON; what cannot be shown, lone surrogates and errors among them, is described."""

    class Bad:
        def __str__(self) -> str:
            raise ValueError

    fields = entry(a=[1, {"b": None}], bad=Bad(), lone="\ud800", none=None)
    assert fields["A"] == b'[1,{"b":null}]'
    assert fields["BAD"] == b"<Bad that cannot be shown: ValueError>"
    assert fields["LONE"] == b"\\ud800"
    assert fields["NONE"] == b"None"


def test_a_traceback_is_seen_and_a_field() -> None:
    """The traceback is in the message, where people look, and in a field of its own."""
    try:
        raise KeyError("x")
    except KeyError:
        fields = entry(exc_info=sys.exc_info())
    assert fields["EXCEPTION"].startswith(b"Traceback (most recent call last):\n")
    assert fields["MESSAGE"] == b"[a.b] x\n" + fields["EXCEPTION"]


def test_the_journal_that_was_asked_for_gets_the_records(place: socket.socket) -> None:
    """With `journal` each record is one datagram, with the path of its service, behind the thread too."""
    logs = open_logs(LogSettings(journal=True, prefix="shop"), path_of=lambda: "shop/web")
    assert (logs.name, logs.is_stream) == ("the journal", False)
    log.info("one")
    logs.write_behind()
    log.info("two")
    logs.close()
    entries = [parse(place.recv(100_000)) for _ in range(2)]
    assert [each["MESSAGE"] for each in entries] == [b"[shop/web] one", b"[shop/web] two"]
    assert entries[0]["CODE_FUNC"] == b"test_the_journal_that_was_asked_for_gets_the_records"


def test_a_long_entry_goes_through_a_sealed_file(place: socket.socket) -> None:
    """What is too long for a datagram comes as a descriptor of a file in memory that nobody can change any more."""
    logs = open_logs(LogSettings(journal=True))
    log.info("x" * 1_000_000)
    logs.close()
    data, ancillary, _, _ = place.recvmsg(100_000, socket.CMSG_SPACE(4))
    assert data == b""
    ((_, _, raw),) = ancillary
    (descriptor,) = array.array("i", raw)
    try:
        seals = fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
        assert seals == fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
        size = os.fstat(descriptor).st_size
        assert parse(os.pread(descriptor, size, 0))["MESSAGE"] == b"[shop.stock] " + b"x" * 1_000_000
    finally:
        os.close(descriptor)


@pytest.mark.promise(53)
def test_only_the_stream_that_is_the_journal_becomes_it(
    place: socket.socket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Standard output is written in the journal's protocol if `$JOURNAL_STREAM` names it, and as it is otherwise."""
    status = os.fstat(1)
    for stream, is_journal in (
        (f"{status.st_dev}:{status.st_ino}", True),
        (f"{status.st_dev}:{status.st_ino + 1}", False),
        (f"{status.st_dev + 1}:{status.st_ino}", False),
        ("", False),
        ("nonsense", False),
    ):
        monkeypatch.setenv("JOURNAL_STREAM", stream)
        logs = open_logs(LogSettings())
        logs.close()
        assert (logs.name == "the journal") == is_journal
        assert logs.is_stream
    monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
    for settings in (LogSettings(format="json"), LogSettings(file=str(tmp_path / "a.log"))):
        logs = open_logs(settings)
        logs.close()
        assert logs.name != "the journal"
    assert find_journal(999, "1:1") is None


def test_a_journal_that_is_not_there_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for, it must be there; found by itself, standard output stays what it is."""
    monkeypatch.setattr(journal, "ADDRESS", f"{tmp_path}/none")
    monkeypatch.setattr(open_journal, "__defaults__", (f"{tmp_path}/none",))
    with pytest.raises(CannotCreate) as caught:
        open_logs(LogSettings(journal=True))
    assert str(caught.value) == (
        f"--journal: {tmp_path}/none: cannot be written (No such file or directory): "
        "run it where systemd-journald does, or leave --journal out"
    )
    status = os.fstat(1)
    monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
    logs = open_logs(LogSettings())
    logs.close()
    assert logs.name == "standard output"
