"""What a syslog daemon is sent; one that dies, comes again, or does not read."""

from __future__ import annotations

import logging
import os
import re
import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from plait.errors import CannotCreate
from plait.runner import datagrams
from plait.runner.logs import Logs, LogSettings, open_logs
from plait.runner.syslog_daemon import SyslogLines

log = logging.getLogger("shop.stock")


@contextmanager
def daemon(path: Path, kind: int = socket.SOCK_DGRAM) -> Iterator[socket.socket]:
    """A syslog daemon's socket."""
    with socket.socket(socket.AF_UNIX, kind) as place:
        place.bind(str(path))
        place.settimeout(10)
        if kind == socket.SOCK_STREAM:
            place.listen()
        try:
            yield place
        finally:
            path.unlink()


def logs_to(path: Path) -> Logs:
    return open_logs(LogSettings(syslog=True, syslog_address=str(path), prefix="shop"), path_of=lambda: "shop/web")


def lines(record: logging.LogRecord, path: str = "") -> list[bytes]:
    return SyslogLines("shop")(record, path).splitlines()


@pytest.mark.parametrize(
    ("level", "number"), [("DEBUG", 15), ("INFO", 14), ("WARNING", 12), ("ERROR", 11), ("CRITICAL", 10)]
)
def test_a_message_has_priority_time_tag_and_text(level: str, number: int) -> None:
    """The facility is user, the levels are mapped, the number of the process and the service's path are kept."""
    record = logging.LogRecord("a.b", getattr(logging, level), "", 0, "sold %d", (3,), None)
    record.created, record.buyer = 1_800_000_000.0, "me too"
    (line,) = lines(record, "shop/web")
    assert re.fullmatch(
        rb'<%d>Jan 1[45] \d\d:\d\d:00 shop\[%d\]: \[shop/web#%b\] sold 3 buyer="me too"'
        % (number, os.getpid(), level.lower().encode()),
        line,
    ), line


def test_a_day_below_ten_has_a_blank() -> None:
    """The time is that of the old format, in English whatever the language."""
    record = logging.makeLogRecord({"levelno": 20, "msg": "x", "created": 1_785_900_000.0})
    assert re.match(rb"<14>Aug  [45] \d\d:\d\d:\d\d ", lines(record)[0]), lines(record)


def test_further_lines_are_messages_of_their_own() -> None:
    """Each line has its own head and begins with a TAB; a long one is cut between characters, and nothing is lost."""
    record = logging.makeLogRecord({"name": "root", "levelno": 20, "msg": "one\ntwo\n" + "é" * 5000})
    texts = [line.partition(b"]: ")[2] for line in lines(record)]
    assert texts[:2] == [b"[root#info] one", b"\ttwo"]
    assert all(len(text) <= 4000 and text.startswith(b"\t") and text.decode() for text in texts[2:])
    assert b"".join(text[1:] for text in texts[2:]).decode() == "é" * 5000


def test_each_line_is_a_datagram(tmp_path: Path) -> None:
    """At a socket for datagrams each line is one, without a newline."""
    with daemon(tmp_path / "log") as place:
        logs = logs_to(tmp_path / "log")
        logs.write_behind()
        log.info("one\ntwo")
        logs.close()
        assert [place.recv(8192).rpartition(b"]: ")[2] for _ in range(2)] == [b"[shop/web#info] one", b"\ttwo"]


def test_an_older_daemon_has_a_stream(tmp_path: Path) -> None:
    """At a stream lines end with a newline."""
    with daemon(tmp_path / "log", socket.SOCK_STREAM) as place:
        logs = logs_to(tmp_path / "log")
        connection, _ = place.accept()
        log.info("one\ntwo")
        logs.close()
        with connection, connection.makefile("rb") as file:
            assert [line.rpartition(b"]: ")[2] for line in file] == [b"[shop/web#info] one\n", b"\ttwo\n"]


@pytest.mark.parametrize("behind", [False, True])
def test_a_daemon_that_dies_is_said_once_and_found_again(
    behind: bool, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The service lives, the loss is said once and counted, and the count comes first when the daemon is back."""
    path = tmp_path / "log"
    with daemon(path):
        logs = logs_to(path)
        if behind:
            logs.write_behind()
        log.info("one")
        logs.flush()
    for _ in range(3):
        log.info("lost")
    logs.flush()
    with daemon(path) as place:
        log.info("two")
        logs.flush()
        assert [place.recv(8192).rpartition(b"]: ")[2] for _ in range(2)] == [
            b"[plait#warning] %b: 3 records were lost while it could not be written "
            b"(No such file or directory)" % str(path).encode(),
            b"[shop/web#info] two",
        ]
    with daemon(path) as place:  # started anew: nothing is lost
        log.info("three")
        logs.flush()
        assert place.recv(8192).endswith(b"three")
    logs.close()
    assert capfd.readouterr().err == (
        f"{path}: cannot be written (No such file or directory): records are lost until it can\n"
    )


def test_a_daemon_that_does_not_read_is_waited_for_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A daemon that hangs costs one wait, not one a record."""
    monkeypatch.setattr(datagrams, "_PATIENCE", 0.3)
    with daemon(tmp_path / "log") as place:
        logs = logs_to(tmp_path / "log")
        for _ in range(2000):
            log.info("x")
        lost = logs.handler.writer.lost  # type: ignore[attr-defined]
        assert lost > 1000
        while b"\0" not in (data := _receive(place)):
            assert data.endswith(b"x")
        log.info("again")
        logs.close()
        assert b"%d records were lost" % lost in place.recv(8192)
        assert place.recv(8192).endswith(b"again")
    assert "cannot be written (nobody reads it): records are lost until it can" in capfd.readouterr().err


def _receive(place: socket.socket) -> bytes:
    return place.recv(8192) if select.select([place], [], [], 0)[0] else b"\0"


def test_no_daemon_at_the_start_is_said(tmp_path: Path) -> None:
    """Who asks for syslog where there is none hears it at the start."""
    with pytest.raises(CannotCreate) as caught:
        logs_to(tmp_path / "log")
    assert str(caught.value) == (
        f"--syslog: {tmp_path}/log: cannot be written (No such file or directory): "
        "start a syslog daemon, or leave --syslog out"
    )
