"""
A process: its start, its end, its signals
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
from typing import TYPE_CHECKING, Any

from plait.errors import ProgramFailed

if TYPE_CHECKING:
    from collections.abc import Mapping


class RunningProgram:
    """
    A program that runs: what a `Program` publishes.

    *returncode* is None while it runs, then its exit status, or minus the number of the signal that killed it.
    """

    __slots__ = ("_ended", "_fate", "_loop", "_pidfd", "_popen", "name", "pid", "returncode")

    def __init__(self, name: str, popen: subprocess.Popen[bytes]) -> None:
        self.name = name
        self.pid = popen.pid
        self.returncode: int | None = None
        self._fate = "runs"
        self._popen = popen
        self._ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._pidfd = -1
        self._watch()

    def __repr__(self) -> str:
        return f"<{self}: {self._fate}>"

    def __str__(self) -> str:
        return f"{self.name} (pid {self.pid})"

    @property
    def fate(self) -> str:
        """What became of it, in words: ``exited with status 3``, ``was killed by SIGSEGV (core dumped)``."""
        return self._fate

    @property
    def pidfd(self) -> int:
        """The descriptor that means this process and no other, -1 where the system has none; not yours to close."""
        return self._pidfd

    def send_signal(self, number: int) -> None:
        """Send it the signal *number*; raise `ProcessLookupError` if it has ended."""
        if self.returncode is not None:
            raise ProcessLookupError(f"{self} has ended")
        # It is not reaped before its end was heard, so its number cannot yet mean another process.
        os.kill(self.pid, number)

    async def wait(self) -> int:
        """Wait for its end and return its ``returncode``."""
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode

    # For its service ----------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        try:
            self._pidfd = os.pidfd_open(self.pid)
        except (AttributeError, OSError):
            # Not Linux, or no descriptor left: a thread waits, and leaves the reaping to us as well.
            threading.Thread(target=self._wait_in_thread, name=f"wait for {self}", daemon=True).start()
        else:
            self._loop.add_reader(self._pidfd, self._hear)

    def _wait_in_thread(self) -> None:
        try:
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        except ChildProcessError:
            pass
        try:
            self._loop.call_soon_threadsafe(self._hear)
        except RuntimeError:
            pass  # the loop is gone

    def _hear(self) -> None:
        if self._pidfd >= 0:
            self._loop.remove_reader(self._pidfd)
        try:
            found = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
        except ChildProcessError:
            found = None
        self.returncode, self._fate = read_status(found)
        self._ended.set()

    def send_group(self, number: int) -> None:
        """Send the signal *number* to its whole process group; nothing happens once it was reaped."""
        if self._popen.returncode is None:
            try:
                os.killpg(self.pid, number)
            except (ProcessLookupError, PermissionError):
                pass

    def reap(self) -> None:
        """Let the system forget it: from now on its number may mean another process."""
        if self._popen.returncode is None and self.returncode is not None:
            try:
                os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                pass
            self._popen.returncode = self.returncode

    def close(self) -> None:
        """Hear no more of it."""
        if self._pidfd >= 0:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1


def read_status(found: Any) -> tuple[int, str]:
    """Return the return code and its words for what ``waitid`` found."""
    if found is None:
        return 255, "ended, and somebody else took its exit status"
    if found.si_code == os.CLD_EXITED:
        return found.si_status, f"exited with status {found.si_status}"
    try:
        name = signal.Signals(found.si_status).name
    except ValueError:
        name = f"signal {found.si_status}"
    core = " (core dumped)" if found.si_code == os.CLD_DUMPED else ""
    return -found.si_status, f"was killed by {name}{core}"


def spawn(
    path: str,
    command: tuple[str, ...],
    *,
    directory: str | None,
    environment: Mapping[bytes, bytes],
    outputs: tuple[int, int],
    passed: tuple[int, ...],
) -> RunningProgram:
    """
    Begin *command* in a session of its own, with *outputs* as its standard output and error.

    Without a ``preexec_fn`` subprocess uses vfork: the cost does not grow with the memory that plaitd holds, and
    other threads do no harm.  Raise `ProgramFailed` in words that name *path*.
    """
    try:
        popen = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=outputs[0],
            stderr=outputs[1],
            cwd=directory,
            env=environment,
            pass_fds=passed,
            start_new_session=True,
        )
    except OSError as error:
        raise ProgramFailed(explain(path, command, directory, error)) from error
    return RunningProgram(os.path.basename(command[0]), popen)


def explain(path: str, command: tuple[str, ...], directory: str | None, error: OSError) -> str:
    """Return where, what and what to do about a program that could not be run."""
    if directory is not None and error.filename == directory:
        return f"{path}: cannot run in directory {directory!r} ({error.strerror}): create it, or change directory="
    advice = ""
    if isinstance(error, FileNotFoundError):
        advice = ": give the full path, or install it"
        if "/" in command[0]:
            there = os.path.exists(os.path.join(directory or "", command[0]))
            advice = ": install what its first line (#!) names" if there else ": look at the path, or install it"
    elif isinstance(error, PermissionError):
        advice = ": make it executable (chmod +x)"
    elif error.errno == 8:  # ENOEXEC
        advice = ": begin it with a line such as #!/bin/sh"
    return f"{path}: cannot run {command[0]!r} ({error.strerror}){advice}"
