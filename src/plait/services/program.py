"""
Program: a child process, its output, its signals
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from signal import SIGTERM, Signals
from typing import TYPE_CHECKING, Any

from plait.services.program_life import ProgramLife
from plait.services.spawn import RunningProgram
from plait.tree.service import Context, Service, refuse
from plait.values import field, value

if TYPE_CHECKING:
    from plait.services.lock import ProgramLock


@value
class Program(Service[RunningProgram]):
    """
    Run *command*, a list of words, as a child process; publishes a `RunningProgram`.

    It is ready as soon as it runs; or, with *ready_line*, when it writes a line in which that regular expression is
    found; or, with *notify*, when it says ``READY=1`` to its ``NOTIFY_SOCKET``, as it would to systemd.

    Each line that it writes becomes a record of the service's log, at INFO, with ``stream`` "stdout" or "stderr".
    Standard input is empty.  It gets our environment, with *environment* added, and begins in *directory*.

    An exit status in *exit_codes* is "done"; any other, and death by a signal, is a failure that says so.

    To stop it, *signal* is sent to its whole process group, and to what left that; *grace* seconds later everything
    that is left is killed.  Nothing that came of it survives its end, also when it dies by itself, forks twice or
    begins a session of its own.  With *dies_with_us* (the default) that holds too when plaitd is killed with -9; a
    keeper, a small process beside plaitd, sees to it.

    With *lock*, the path of a file, a second copy never runs anywhere on this machine: before it starts, those who
    carry the lock are waited for during nine tenths of *start_timeout*; then it fails and names them.
    """

    command: Sequence[str | os.PathLike[str]]
    environment: Mapping[str, str] | None = field(default=None, kw_only=True, hash=False)
    directory: str | os.PathLike[str] | None = field(default=None, kw_only=True)
    signal: int | str = field(default=SIGTERM, kw_only=True)
    grace: float = field(default=5.0, kw_only=True)
    ready_line: str = field(default="", kw_only=True)
    notify: bool = field(default=False, kw_only=True)
    lock: str | os.PathLike[str] = field(default="", kw_only=True)
    dies_with_us: bool = field(default=True, kw_only=True)
    exit_codes: tuple[int, ...] = field(default=(0,), kw_only=True)

    def __post_init__(self) -> None:
        self._check_command()
        super().__post_init__()
        if self.environment is not None:
            self._set("environment", dict(self.environment))
        self._set("directory", None if self.directory is None else os.fspath(self.directory))
        self._set("lock", os.fspath(self.lock))
        self._set("exit_codes", tuple(self.exit_codes))
        try:
            number = self.signal
            name = f"SIG{number.upper().removeprefix('SIG')}" if isinstance(number, str) else number
            self._set("signal", Signals[name] if isinstance(name, str) else Signals(name))
        except (KeyError, ValueError):
            refuse(self, "signal", 'wanted a signal, such as signal.SIGINT or "INT"')
        if not self.grace >= 0:
            refuse(self, "grace", "wanted a number of seconds from 0")
        if self.stop_timeout is not None and self.grace >= self.stop_timeout:
            refuse(self, "grace", f"wanted less than stop_timeout={self.stop_timeout:g}")
        try:
            re.compile(self.ready_line)
        except re.error as error:
            refuse(self, "ready_line", f"wanted a regular expression ({error})")
        if self.notify and self.ready_line:
            refuse(self, "notify", "wanted either this or ready_line, not both")

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _check_command(self) -> None:
        name, command = self.name, self.command
        if not name:
            self._set("name", "program")  # for the sentence, should one be needed
        if isinstance(command, str):
            refuse(self, "command", "wanted a list of words: split it with shlex.split()")
        try:
            words = tuple(os.fspath(word) for word in command)
        except TypeError:
            refuse(self, "command", "wanted a list of words, each a str")
        if not words or not words[0]:
            refuse(self, "command", "wanted at least the name of a program")
        if any(not isinstance(word, str) or "\0" in word for word in words):
            refuse(self, "command", "wanted a list of words, each a str without NUL")
        self._set("command", words)
        self._set("name", name)

    def default_name(self) -> str:
        """Return the name of the program, without its folder."""
        return os.path.basename(os.fspath(self.command[0])).replace(" ", "-").lstrip(".") or "program"

    def late_hint(self, waits: str) -> str:
        """Return what to do when it was not ready within *start_timeout*."""
        if self.notify:
            return "it has not said READY=1: leave out notify= if it never does, or raise start_timeout="
        if self.ready_line:
            line = f"ready_line={self.ready_line!r}"
            return f"it has written no line for {line}: give the line that it does write, or raise start_timeout="
        return "raise start_timeout="

    async def run(self, context: Context[RunningProgram]) -> None:
        """Run the program once."""
        with ExitStack() as closing:
            lock = await self._lock(context, closing)
            life = ProgramLife(self, context, closing)
            try:
                life.start(lock)
                await life.wait()
            except asyncio.CancelledError:
                await life.stop()
                raise
            finally:
                await life.end()
            life.judge()

    async def _lock(self, context: Context[RunningProgram], closing: ExitStack) -> ProgramLock | None:
        if not self.lock:
            return None
        from plait.services.lock import ProgramLock

        lock = ProgramLock(context.path, os.fspath(self.lock))
        closing.callback(lock.close)
        await lock.take(None if self.start_timeout is None else 0.9 * self.start_timeout)
        return lock
