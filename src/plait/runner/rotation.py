"""
Rotating a log: by size or by day, with a bound on the files that are kept
"""

from __future__ import annotations

import functools
import logging
import os
import re
import stat
import time
from collections.abc import Callable, Sequence

from plait.errors import ConfigurationError
from plait.runner.sinks import Sink
from plait.values import Value, value

log = logging.getLogger("plait")


KEPT = 10
"""How many rotated files are kept unless it is said."""
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_SMALLEST, _MOST_KEPT = 1024, 9999


@value
class Rotation(Value):
    """
    When a log is rotated: before it would be longer than *size* bytes, or *daily*, at local midnight.

    *keep* old files are kept.  Sizes are binary, as with logrotate: 10M, 10MB and 10MiB are 10 x 1024 x 1024 bytes.
    """

    size: int = 0
    daily: bool = False
    keep: int = KEPT


def read_rotation(text: str) -> Rotation:
    """Read ``SIZE[:KEEP]`` or ``daily[:KEEP]``; raises ConfigurationError."""
    when, colon, kept = text.strip().partition(":")
    keep = int(kept) if kept.isascii() and kept.isdecimal() and len(kept) < 9 else 0
    if colon and not 1 <= keep <= _MOST_KEPT:
        raise ConfigurationError(f'log rotation "{text}": wanted 1 to {_MOST_KEPT} files to keep, such as {when}:14')
    if when.lower() == "daily":
        return Rotation(daily=True, keep=keep or KEPT)
    found = re.fullmatch(r"([0-9]{1,12})(?:\s*([kmg])?(?:i?b)?)", when.lower())
    if found is None:
        raise ConfigurationError(
            f'log rotation "{text}": wanted a size or "daily", and perhaps how many files to keep: 10MB:5, daily:14'
        )
    size = int(found[1]) * _UNITS[found[2] or ""]
    if size < _SMALLEST:
        raise ConfigurationError(f'log rotation "{text}": wanted at least 1KB: give a greater size, such as 10MB')
    return Rotation(size=size, keep=keep or KEPT)


def rotating(rotation: Rotation, name: str) -> Callable[[int, str, str], Sink]:
    """Return what makes a sink that is rotated as *rotation* says; *name* is the file's in messages."""
    return functools.partial(RotatingSink, rotation, name)


class RotatingSink(Sink):
    """
    A file that is renamed and begun anew when it is due, between two records.

    By size, ``plaitd.log.1`` is the newest of the old files, as with twistd; by day, ``plaitd.log.2026-11-23`` has what
    was written on that day.  When the file cannot be renamed that is logged once; it goes on growing, and the next try
    is when it has grown by as much again, or on the next day.
    """

    def __init__(self, rotation: Rotation, name: str, descriptor: int, path: str = "", unreachable: str = "") -> None:
        super().__init__(descriptor, path, unreachable)
        self._rotation = rotation
        self._name = name
        self._failed = False
        self._size = self._limit = 0
        self._begin()

    def write(self, data: bytes, notice: bytes = b"") -> None:
        more = len(notice) + len(data)
        self._make_room(more)
        super().write(data, notice)
        self._size += more

    def write_many(self, lines: Sequence[bytes]) -> int:
        limit = self._limit
        if not limit:
            self._make_room(0)
            return super().write_many(lines)
        # As many as belong into one file.
        start = 0
        while start < len(lines):
            self._make_room(len(lines[start]))
            end, size = start, self._size
            while end < len(lines) and (end == start or size + len(lines[end]) <= self._limit):
                size += len(lines[end])
                end += 1
            done = super().write_many(lines[start:end])
            if done < end - start:
                return start + done
            self._size, start = size, end
        return start

    def reopen(self) -> int:
        torn = super().reopen()
        self._begin()
        return torn

    def _begin(self) -> None:
        """Take the file as it is now for the beginning."""
        status = os.fstat(self.descriptor)
        self._size = status.st_size
        self._limit = self._rotation.size
        now = time.time()
        # A file of yesterday is rotated by the first record of today.
        began = min(status.st_mtime, now) if self._rotation.daily and status.st_size else now
        self._day = time.localtime(began)
        self._midnight = _next_midnight(self._day) if self._rotation.daily else 0.0

    def _make_room(self, more: int) -> None:
        if self._rest:
            return  # a line is torn: its end belongs to its beginning
        if self._limit and self._size + more > self._limit and self._size:
            # Somebody may have made it shorter, as logrotate's `copytruncate` does.
            self._size = os.fstat(self.descriptor).st_size
            if self._size + more > self._limit and self._size:
                self._rotate()
        elif self._midnight and time.time() >= self._midnight:
            if os.fstat(self.descriptor).st_size:
                self._rotate()
            else:
                self._begin()

    def _rotate(self) -> None:
        try:
            if self._is_still_there():
                mode = stat.S_IMODE(os.fstat(self.descriptor).st_mode)
                self._rename()
                super().reopen()
                if stat.S_IMODE(os.fstat(self.descriptor).st_mode) != mode:
                    os.fchmod(self.descriptor, mode)
            else:
                super().reopen()  # somebody else rotated it
        except OSError as error:
            self._limit = self._size + self._rotation.size if self._limit else 0
            self._midnight = _next_midnight(time.localtime()) if self._midnight else 0.0
            if not self._failed:
                self._failed = True
                log.error("%s: cannot be rotated (%s): it goes on growing", self._name, error.strerror)
            return
        self._failed = False
        self._begin()

    def _is_still_there(self) -> bool:
        try:
            return os.path.samestat(os.lstat(self._path), os.fstat(self.descriptor))
        except FileNotFoundError:
            return False

    def _rename(self) -> None:
        folder, name = os.path.split(self._path)
        old = _old_files(folder, name, daily=self._rotation.daily)
        if self._rotation.daily:
            day = time.strftime("%Y-%m-%d", self._day)
            taken = {found for _, found in old}
            again = 1
            target = f"{name}.{day}"
            while target in taken:
                again += 1
                target = f"{name}.{day}.{again}"
            os.rename(self._path, os.path.join(folder, target))
            surplus = old[: max(0, len(old) + 1 - self._rotation.keep)]
        else:
            by_number = {number[0]: found for number, found in old}
            free = 1
            while free in by_number and free < self._rotation.keep:
                free += 1
            # Highest first, and only up to the first gap: each file takes a place that nobody needs any more.
            for number in range(free - 1, 0, -1):
                os.rename(os.path.join(folder, f"{name}.{number}"), os.path.join(folder, f"{name}.{number + 1}"))
            os.rename(self._path, os.path.join(folder, f"{name}.1"))
            surplus = [(number, found) for number, found in old if number[0] > self._rotation.keep]
        for _, found in surplus:
            try:
                os.unlink(os.path.join(folder, found))
            except OSError:
                pass  # one file too many; the next rotation tries again


def _old_files(folder: str, name: str, *, daily: bool) -> list[tuple[tuple[int, ...], str]]:
    """The rotated files of the log *name*, with the numbers in their names, in the order of these."""
    numbers = r"(\d{4})-(\d\d)-(\d\d)(?:\.(\d{1,9}))?" if daily else r"([1-9]\d{0,8})"
    pattern = re.compile(re.escape(name) + r"\." + numbers, re.ASCII)
    with os.scandir(folder or ".") as entries:
        found = [(match, entry.name) for entry in entries if (match := pattern.fullmatch(entry.name))]
    return sorted((tuple(int(part or 1) for part in match.groups()), file) for match, file in found)


def _next_midnight(day: time.struct_time) -> float:
    """The first second of the day after *day*, local time; `mktime` knows how long that day is."""
    return time.mktime((day.tm_year, day.tm_mon, day.tm_mday + 1, 0, 0, 0, 0, 0, -1))
