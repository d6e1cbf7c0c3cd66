"""Rotating the log: by size, by day, how many files are kept, and what happens when it cannot be done."""

from __future__ import annotations

import logging
import os
import re
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from plait.runner import rotation
from plait.runner.logs import Logs, LogSettings, open_logs

log = logging.getLogger("shop")
KB = 1024


@contextmanager
def logs_in(path: Path, rotate: str, *, behind: bool = False, **more: Any) -> Iterator[Logs]:
    logs = open_logs(LogSettings(file=str(path), rotate=rotate, **more))
    try:
        if behind:
            logs.write_behind()
        yield logs
    finally:
        logs.close()


def numbers_in(*files: Path) -> list[int]:
    return [int(number) for path in files for number in re.findall(r"\] (\d+) ", path.read_text())]


@pytest.mark.parametrize("behind", [False, True])
def test_by_size_the_newest_are_kept_whole(behind: bool, tmp_path: Path) -> None:
    """No file is longer than its limit, no record is torn, the last ones are there in order, older ones are gone."""
    path = tmp_path / "a.log"
    with logs_in(path, "1KB:3", behind=behind):
        for number in range(100):
            log.info("%d %s", number, "x" * 50)
    assert sorted(os.listdir(tmp_path)) == ["a.log", "a.log.1", "a.log.2", "a.log.3"]
    files = [tmp_path / name for name in ("a.log.3", "a.log.2", "a.log.1", "a.log")]
    numbers = numbers_in(*files)
    assert numbers == list(range(numbers[0], 100))
    assert all(path.stat().st_size <= KB for path in files)
    assert all(path.stat().st_size > KB - 200 for path in files[:-1])


def test_nothing_is_lost_while_threads_write(tmp_path: Path) -> None:
    """Four threads log through a hundred rotations: every record is whole and there once."""
    path = tmp_path / "a.log"
    with logs_in(path, "4K:9999", behind=True):

        def write(first: int) -> None:
            for number in range(first, 4000, 4):
                log.info("%d %s", number, "x" * (number % 300))

        threads = [threading.Thread(target=write, args=(first,)) for first in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    files = list(tmp_path.iterdir())
    assert len(files) > 100
    assert sorted(numbers_in(*files)) == list(range(4000))
    assert all(file.stat().st_size <= 4 * KB for file in files)


def test_a_record_longer_than_the_limit_has_a_file_of_its_own(tmp_path: Path) -> None:
    """A record is never cut: it may be longer than a file should be."""
    with logs_in(tmp_path / "a.log", "1k:5"):
        for number in range(3):
            log.info("%d %s", number, "x" * 5000)
    assert [numbers_in(tmp_path / name) for name in ("a.log.2", "a.log.1", "a.log")] == [[0], [1], [2]]


def test_files_from_before_are_counted_in(tmp_path: Path) -> None:
    """A new start goes on with the file that is there; files beyond what is kept go, others of like names stay."""
    path = tmp_path / "a.log"
    for name in ("a.log.1", "a.log.2", "a.log.7", "a.log.x", "a.log.1.gz", "b.log.1", "a.log.01"):
        (tmp_path / name).write_text(f"{name}\n")
    path.write_text("here\n" * 200)
    with logs_in(path, "1K:3"):
        log.info("1 new")
    assert sorted(os.listdir(tmp_path)) == [
        *("a.log", "a.log.01", "a.log.1", "a.log.1.gz", "a.log.2", "a.log.3", "a.log.x", "b.log.1")
    ]
    assert (tmp_path / "a.log.1").read_text() == "here\n" * 200
    assert [(tmp_path / f"a.log.{number}").read_text() for number in (2, 3)] == ["a.log.1\n", "a.log.2\n"]


def test_a_gap_is_filled(tmp_path: Path) -> None:
    """Files are renamed only up to the first number that is free."""
    path = tmp_path / "a.log"
    for name in ("a.log.1", "a.log.3"):
        (tmp_path / name).write_text(f"{name}\n")
    path.write_text("x" * KB)
    with logs_in(path, "1K:5"):
        log.info("1 new")
    assert (tmp_path / "a.log.2").read_text() == "a.log.1\n"
    assert (tmp_path / "a.log.3").read_text() == "a.log.3\n"


def test_thousands_of_old_files_hold_nobody_up(tmp_path: Path) -> None:
    """What was left by a program without a bound is cleared away by the thread, while others log."""
    for number in range(1, 3001):
        (tmp_path / f"a.log.{number}").touch()
    (tmp_path / "a.log").write_text("x" * KB)
    with logs_in(tmp_path / "a.log", "1K:10", behind=True):
        log.info("1 new")
    assert len(os.listdir(tmp_path)) == 11


def test_the_new_file_has_the_mode_of_the_old_one(tmp_path: Path) -> None:
    """Whoever could read the log can read the next one, whatever the umask."""
    path = tmp_path / "a.log"
    path.write_text("x" * KB)
    path.chmod(0o640)
    old = os.umask(0o077)
    try:
        with logs_in(path, "1K"):
            log.info("1 new")
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "a.log.1").stat().st_mode) == 0o640


@pytest.mark.root
@pytest.mark.logs("cannot be rotated")
@pytest.mark.parametrize("behind", [False, True])
def test_a_file_that_cannot_be_renamed_goes_on(behind: bool, tmp_path: Path) -> None:
    """Where the folder may not be written, as after a change of the user, that is said once, and nothing is lost."""
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o755)
    path = tmp_path / "a.log"
    path.write_text("")
    os.chown(path, 12345, -1)
    os.seteuid(12345)
    try:
        with logs_in(path, "1K:3", behind=behind):
            for number in range(100):
                log.info("%d %s", number, "x" * 50)
    finally:
        os.seteuid(0)
    assert os.listdir(tmp_path) == ["a.log"]
    text = path.read_text()
    assert numbers_in(path) == list(range(100))
    assert text.count("cannot be rotated") == 1
    assert f"[plait#error] {path}: cannot be rotated (Permission denied): it goes on growing\n" in text


def test_a_file_that_somebody_else_moved_is_opened_again(tmp_path: Path) -> None:
    """After another program rotated the file, ours is begun anew and nobody's is renamed over."""
    path = tmp_path / "a.log"
    with logs_in(path, "1K:3"):
        log.info("1 %s", "x" * 900)
        path.rename(tmp_path / "a.log.1")
        log.info("2 %s", "x" * 900)
    assert numbers_in(tmp_path / "a.log.1") == [1]
    assert numbers_in(path) == [2]
    assert sorted(os.listdir(tmp_path)) == ["a.log", "a.log.1"]


def test_a_file_that_somebody_else_emptied_has_room_again(tmp_path: Path) -> None:
    """After logrotate's copytruncate the limit is counted from the file as it is."""
    path = tmp_path / "a.log"
    with logs_in(path, "1K:3"):
        log.info("1 %s", "x" * 900)
        os.truncate(path, 0)
        log.info("2 %s", "x" * 900)
    assert os.listdir(tmp_path) == ["a.log"]
    assert numbers_in(path) == [2]


class Clock:
    """The time of day that the rotation sees."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = time.mktime((2026, 11, 23, 12, 0, 0, 0, 0, -1))
        monkeypatch.setattr(rotation, "time", self)
        self.localtime, self.mktime, self.strftime = time.localtime, time.mktime, time.strftime

    def time(self) -> float:
        return self.now

    def set(self, *moment: int) -> None:
        self.now = time.mktime((*moment, 0, 0, -1)) + 0.5  # type: ignore[arg-type]


@pytest.mark.parametrize("behind", [False, True])
def test_by_day_each_day_has_its_file(behind: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At local midnight the file gets the date of what is in it; so many days are kept, empty ones make no file."""
    clock = Clock(monkeypatch)
    path = tmp_path / "a.log"
    with logs_in(path, "daily:3", behind=behind) as logs:
        for number, moment in enumerate(
            [
                (2026, 11, 23, 23, 59, 58),
                (2026, 11, 24, 0, 0, 0),
                (2026, 11, 24, 12, 0, 0),
                (2026, 11, 27, 3, 0, 0),
                (2026, 11, 28, 3, 0, 0),
                (2026, 11, 29, 3, 0, 0),
            ]
        ):
            clock.set(*moment)
            log.info("%d .", number)
            logs.flush()
    assert sorted(os.listdir(tmp_path)) == ["a.log", "a.log.2026-11-24", "a.log.2026-11-27", "a.log.2026-11-28"]
    assert numbers_in(tmp_path / "a.log.2026-11-24") == [1, 2]
    assert numbers_in(path) == [5]


def test_yesterdays_file_is_rotated_by_todays_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that did not run at midnight rotates when it writes next; a date that is taken gets a number."""
    clock = Clock(monkeypatch)
    path = tmp_path / "a.log"
    path.write_text("[x] 0 .\n")
    (tmp_path / "a.log.2026-11-21").write_text("another\n")
    clock.set(2026, 11, 21, 10, 0, 0)
    os.utime(path, (clock.now, clock.now))
    clock.set(2026, 11, 23, 10, 0, 0)
    with logs_in(path, "daily"):
        log.info("1 .")
    assert numbers_in(tmp_path / "a.log.2026-11-21.2") == [0]
    assert numbers_in(path) == [1]
    assert (tmp_path / "a.log.2026-11-21").read_text() == "another\n"


def test_streams_are_not_rotated(capfd: pytest.CaptureFixture[str]) -> None:
    """Where the log is no file the setting has nothing to do."""
    with logs_in(Path("-"), "1K"):
        for _ in range(30):
            log.info("x" * 100)
    assert len(capfd.readouterr().out.splitlines()) == 30
