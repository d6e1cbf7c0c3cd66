"""
When a line of the log is written: at once, or from a thread that a slow disk may hold up

Until `Writer.write_behind` each line is written before ``put`` returns.  From then on a line is put into a queue, and
one thread writes what is in it with one call, then waits a moment for more: a line costs less than its own system call,
and a disk, a pipe or a syslog that stalls delays nobody who logs.
"""

from __future__ import annotations

import atexit
import logging
import os
import select
import signal
import stat
import sys
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Protocol

ROOM = 16 * 1024 * 1024
"""Bytes that may wait for a place that takes nothing; what is logged beyond is lost, and counted."""
GATHER = 0.01
"""Seconds for which lines are gathered when some were written a moment ago."""
LAST_WAIT = 5.0
"""Seconds that a place which takes nothing has at the end."""


class Taker(Protocol):
    """What takes whole lines: a file, a stream, a socket."""

    @property
    def descriptor(self) -> int:
        """The number of what is open."""

    def write(self, data: bytes, notice: bytes = b"") -> None:
        """Write one record, behind a *notice*; raises OSError when nothing of it could be written."""

    def write_many(self, lines: Sequence[bytes]) -> int:
        """Write as many records as one call takes, return how many; never raises: `write` says why it was not more."""

    def reopen(self) -> int:
        """Open it again and return how many lines stay torn; raises OSError, and changes nothing, when that fails."""

    def close(self) -> int:
        """Close it and return how many lines stay torn."""


class Writer:
    """
    Puts lines into *place*, called *name* in messages, and survives what it cannot write.

    When writing fails, that is said once on standard error, and the lost records are counted; the first record that
    can be written again comes after one that says how many they were, made by *notice*.
    """

    def __init__(self, place: Taker, name: str, notice: Callable[[int, str], bytes]) -> None:
        self.name = name
        self.place = place
        self.lost = 0
        self._notice = notice
        self._reason = ""
        # One that its own thread may take twice: a signal's handler may log while the line before it is on its way.
        self._lock = threading.RLock()
        self._queue: list[bytes] | None = None  # None: nothing waits, each line is written at once
        self._calls: list[tuple[int, Callable[[], object]]] = []  # what to do before the line of that number
        self._size = 0
        self._dropped = 0
        self._caller = 0  # the thread that is about to do one of the calls
        self._thread: threading.Thread | None = None
        self._is_idle = False
        self._is_closing = False
        self._wake = threading.Lock()
        self._hurry = threading.Lock()

    def put(self, data: bytes) -> None:
        """Write *data*, one record; never raises, and once `write_behind` was called never waits."""
        if self._caller and self._caller == threading.get_ident():
            self._write(data)  # it tells of what is done between two records, and belongs there
            return
        with self._lock:
            queue = self._queue
            if queue is None:
                self._write(data)
            elif self._size > ROOM:
                self._drop()
            else:
                queue.append(data)
                self._size += len(data)
                if self._is_idle:
                    self._rouse()

    def write_behind(self) -> None:
        """Write from a thread from now on; where there can be no more threads, go on as before."""
        with self._lock:
            if self._queue is not None:
                return
            self._wake.acquire(blocking=False)
            self._hurry.acquire(blocking=False)
            self._is_idle, self._is_closing = True, False
            self._queue, self._calls, self._size = [], [], 0
            self._thread = threading.Thread(target=self._run, name="plait-log", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:
                self._queue = self._thread = None
                return
        # A daemon thread, for a program that never closes its log must end all the same: with all that it said.
        atexit.register(self.flush)
        forget = weakref.WeakMethod(self._become_child)
        os.register_at_fork(after_in_child=lambda: (method := forget()) and method())

    def flush(self, seconds: float = LAST_WAIT) -> bool:
        """Wait until all that was put up to now is written, at most *seconds*; say whether it is."""
        done = threading.Lock()
        done.acquire()
        if not self._call(done.release):
            return True
        return done.acquire(timeout=seconds)

    def reopen(self, done: Callable[[str | None], object]) -> None:
        """
        Open the place again, behind the records up to now, then call *done*: with None, or why it is the old one still.

        It is called at once, or in the writer's thread.
        """

        def reopen() -> None:
            done(self._reopen())

        if not self._call(reopen):
            with self._lock:
                problem = self._reopen()
            done(problem)

    def close(self, seconds: float = LAST_WAIT) -> None:
        """Write what waits, for at most *seconds*, say on standard error what stays lost, and close the place."""
        thread = self._thread
        if thread is not None:
            atexit.unregister(self.flush)
            with self._lock:
                self._is_closing = True
                self._ring()
            thread.join(seconds)
            with self._lock:
                lines, self._queue, self._thread = self._queue or [], None, None
                if not thread.is_alive():
                    self._write_all(lines)  # what others put while it ended
            if thread.is_alive():
                # The place is the thread's as long as it hangs there: to close it would take it away from under it.
                waiting = len(lines) + self._dropped
                tell(f"{self.name}: it took nothing for {LAST_WAIT:g} s: {waiting} records or more were lost")
                return
        with self._lock:
            self.lost += self._dropped + self.place.close()
            self._dropped = 0
            if self.lost:
                tell(self._loss())
                self.lost = 0

    # In the writer's thread, or where lines are written at once -----------------------------------------------------

    def _run(self) -> None:
        # A signal that is delivered here would not interrupt what blocks the main thread.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        written = 0.0
        while True:
            self._wake.acquire()
            while True:
                with self._lock:
                    lines, calls = self._queue, self._calls
                    # Said before it is looked at: a finalizer may log right here, and would wake nobody.
                    self._is_idle = True
                    if lines is None or (self._is_closing and not lines and not calls):
                        return
                    if not lines and not calls:
                        break
                    self._is_idle = False
                    self._queue, self._calls, self._size = [], [], 0
                    if self._dropped:
                        self._reason = "it took nothing for a while"
                        self.lost += self._dropped
                        self._dropped = 0
                start = 0
                for number, call in calls:
                    self._write_all(lines[start:number])
                    start = number
                    self._caller = threading.get_ident()
                    try:
                        call()
                    except Exception as error:
                        self._write(self._notice(logging.ERROR, f"{self.name}: {type(error).__name__}: {error}"))
                    finally:
                        self._caller = 0
                self._write_all(lines[start:] if start else lines)
                del lines, calls
                now = time.monotonic()
                if now - written < GATHER:
                    self._hurry.acquire(timeout=GATHER)
                    now = time.monotonic()
                written = now

    def _write_all(self, lines: list[bytes]) -> None:
        try:
            done = 0 if self.lost or not lines else self.place.write_many(lines)
        except MemoryError:
            done = 0
        for line in lines[done:]:
            self._write(line)

    def _write(self, data: bytes) -> None:
        try:
            if self.lost:
                self.place.write(data, self._notice(logging.WARNING, self._loss()))
                self.lost = 0
            else:
                self.place.write(data)
        except (OSError, MemoryError) as error:
            self._reason = getattr(error, "strerror", None) or type(error).__name__
            if not self.lost:
                tell(f"{self.name}: cannot be written ({self._reason}): records are lost until it can")
            self.lost += 1

    def _reopen(self) -> str | None:
        try:
            self.lost += self.place.reopen()
        except OSError as error:
            return f"{self.name}: cannot be opened again ({error.strerror}): writing goes on in the old file"
        return None

    def _loss(self) -> str:
        records = "1 record was" if self.lost == 1 else f"{self.lost} records were"
        return f"{self.name}: {records} lost while it could not be written ({self._reason or 'reopened'})"

    # The queue ------------------------------------------------------------------------------------------------------

    def _call(self, function: Callable[[], object]) -> bool:
        with self._lock:
            if self._queue is None:
                return False
            self._calls.append((len(self._queue), function))
            self._ring()
        return True

    def _ring(self) -> None:
        if self._is_idle:
            self._rouse()
        try:
            self._hurry.release()
        except RuntimeError:
            pass  # it was in a hurry already

    def _rouse(self) -> None:
        self._is_idle = False
        try:
            self._wake.release()
        except RuntimeError:
            pass  # a signal's handler that logged a moment ago has done it

    def _drop(self) -> None:
        if not self._dropped:
            tell(f"{self.name}: takes nothing: records are lost until it does", patient=False)
        self._dropped += 1

    def _become_child(self) -> None:
        # The thread is the parent's, and so are the lines that wait: here each is written at once.
        if self._thread is not None:
            self._lock, self._wake, self._hurry = threading.RLock(), threading.Lock(), threading.Lock()
            self._queue = self._thread = None
            self._dropped = 0
            atexit.unregister(self.flush)


def tell(sentence: str, *, patient: bool = True) -> None:
    """
    Say *sentence* on standard error, or nowhere; without *patient* only where that cannot take time.

    It goes to the descriptor: whatever stands in ``sys.stderr`` may end in the very log that cannot be written.
    """
    try:
        if sys.__stderr__ is None:
            return
        descriptor = sys.__stderr__.fileno()
        if not patient:
            poll = select.poll()
            poll.register(descriptor, select.POLLOUT)
            if stat.S_ISREG(os.fstat(descriptor).st_mode) or not poll.poll(0):
                return
        os.write(descriptor, f"{sentence}\n".encode(errors="backslashreplace"))
    except (OSError, ValueError):
        pass  # it was the last place to say it; the number of lost records is still kept
