"""
Where the time of a run goes: cProfile around the loop, and its report.

Only the thread of the loop is measured, from the moment the loop begins to run to its end, however it is stopped.  The
file is opened before, as the user that rotates the logs, relative to the directory where the process runs.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from plait.errors import CannotCreate
from plait.values import Value, value

if TYPE_CHECKING:
    import cProfile


@value
class Profiling(Value):
    """What to write of a run: to which *file*, and whether as *stats*, for the module ``pstats``, or as a text."""

    file: str
    stats: bool = False

    def preload(self) -> None:
        """Load what the report needs: later this may be another user's process."""
        import cProfile  # noqa: F401
        import pstats  # noqa: F401

    def refuse(self, rundir: str = ".") -> None:
        """Raise `CannotCreate` if the file could not be written from *rundir*; nothing is opened or made."""
        from plait.access import look

        try:
            _refuse_pipe(look(os.path.join(rundir, self.file), os.W_OK, makes=True))
        except OSError as error:
            raise self._cannot(error) from error

    @contextmanager
    def run(self) -> Iterator[None]:
        """Measure what runs inside; write the report when it ends.  Raises `CannotCreate` before, never afterwards."""
        try:
            # What an earlier run wrote stays until there is something to put in its place.
            descriptor = os.open(
                self.file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666
            )
            file = open(descriptor, "wb")  # noqa: SIM115 - closed below
            try:
                _refuse_pipe(os.fstat(descriptor))
            except OSError:
                file.close()
                raise
        except OSError as error:
            raise self._cannot(error) from error
        import cProfile

        profile = cProfile.Profile()
        with file:
            profile.enable()
            try:
                yield
            finally:
                profile.disable()
                self._write(profile, file)

    def _write(self, profile: cProfile.Profile, file: BinaryIO) -> None:
        import io
        import logging

        try:
            data = dump(profile) if self.stats else report(profile).encode("utf-8", "backslashreplace")
            if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                file.truncate()
            file.write(data)
            file.flush()
        except (OSError, io.UnsupportedOperation) as error:
            why = getattr(error, "strerror", None) or str(error)
            logging.getLogger("plait").error("--profile=%s: the report could not be written (%s)", self.file, why)

    def _cannot(self, error: OSError) -> CannotCreate:
        return CannotCreate(f"--profile={self.file}: cannot be written ({error.strerror}): give another place")


def _refuse_pipe(status: os.stat_result | None) -> None:
    """Raise the OSError that a pipe without a reader gives, also for one that has a reader: it may go meanwhile."""
    if status is not None and stat.S_ISFIFO(status.st_mode):
        raise OSError(errno.ENXIO, os.strerror(errno.ENXIO))


def dump(profile: cProfile.Profile) -> bytes:
    """Return the statistics as ``pstats.Stats`` reads them from a file."""
    import marshal

    profile.create_stats()
    return marshal.dumps(profile.stats)


def report(profile: cProfile.Profile) -> str:
    """Return a text: each function that was called, that which took most time of its own first."""
    import io
    import pstats

    text = io.StringIO()
    pstats.Stats(profile, stream=text).sort_stats("tottime").print_stats()
    return text.getvalue()
