"""
A place in which plaitd is started, watched and stopped, and from which nothing escapes.

The test adopts whatever plaitd forks away, so that a daemon's exit code can be seen like that of any child, and so that
a process left behind is found.  An application tells the test a word with ``tell("word")``; nothing is polled.
"""

from __future__ import annotations

import ctypes
import os
import re
import select
import signal
import subprocess
import sysconfig
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.conftest import find_children

PLAITD = os.path.join(sysconfig.get_path("scripts"), "plaitd")

#: How long anything may take that ought to take some milliseconds: the machine may be busy.
PATIENCE = 20.0

#: What each application of these tests begins with; it does not move the lines of what follows.
HEAD = (
    "import asyncio, os, signal, sys, time; from plait import Application, Context, service; "
    "tell = lambda word: open(os.environ['TOLD'], 'w').write(word + chr(10)); "
)

#: An application that waits to be stopped, and says so.
IDLE = """
@service
async def idle(context):
    context.ready()
    try:
        await asyncio.Event().wait()
    finally:
        context.log.info("put away")

application = Application("shop", [idle])
"""

_PR_SET_CHILD_SUBREAPER = 36


def given(name: str) -> tuple[str, str]:
    """Return the words that give the file *name* to plaitd."""
    return ("-f" if name.endswith(".toml") else "-y", name)


@dataclass(frozen=True)
class Ended:
    """How a program ended: its exit code (negative: by that signal), what it wrote, after how many seconds."""

    code: int
    output: str
    errors: str
    seconds: float = 0.0

    @property
    def last_line(self) -> str:
        """The last line of the output, which for plaitd in the foreground is its log."""
        return self.output.rstrip("\n").rpartition("\n")[2]


class Place:
    """
    A folder to start plaitd in, as a context manager.

    Leaving it ends, by their numbers, the processes that came of it and are still there.  `left` says what a test
    should not have left; `assert_nothing_left` fails because of it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / "shop"
        self.folder.mkdir()
        self.aside = root / "aside"
        self.aside.mkdir()
        (root / "tmp").mkdir()
        (root / "errors").touch()
        os.mkfifo(root / "told")
        self._told = os.open(root / "told", os.O_RDWR | os.O_NONBLOCK)
        self._words = b""
        self._mark = f"PLAIT_TEST_PLACE={uuid.uuid4().hex}"
        self._mine = {"plaitd.log"}
        self._started: list[subprocess.Popen[bytes]] = []
        self._before: set[int] = set()

    def __enter__(self) -> Place:
        self._before = set(find_children())
        _adopt(True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            for _ in range(3):  # what we end may be about to start another
                if self._wait_for_relatives(0.0):
                    break
                for pid in self.relatives():
                    _send(pid, signal.SIGKILL)
                self._wait_for_relatives(PATIENCE)
            for process in self._started:
                process.wait(PATIENCE)
                if process.stdout is not None:
                    process.stdout.close()
            self.reap()
        finally:
            _adopt(False)
            os.close(self._told)

    # Starting ---------------------------------------------------------------------------------------------------

    @property
    def environment(self) -> dict[str, str]:
        """What plaitd is started with: by its mark, all that comes of it is known."""
        name, _, value = self._mark.partition("=")
        here = {name: value, "TOLD": str(self.root / "told"), "TMPDIR": str(self.root / "tmp")}
        managers = ("NOTIFY_SOCKET", "PLAIT_NOTIFY_FD", "LISTEN_FDS")
        return {key: value for key, value in os.environ.items() if key not in managers} | here

    def write(self, source: str, name: str = "shop.py") -> Path:
        """Write the application *source*, after a `HEAD` that is in its first line."""
        path = self.folder / name
        path.write_text(HEAD + source)
        self._mine.add(name)
        return path

    def line_of(self, text: str, name: str = "shop.py") -> str:
        """Return ``file:line`` of the one line of the application that contains *text*, as the log would say it."""
        lines = (self.folder / name).read_text().splitlines()
        (number,) = [number for number, line in enumerate(lines, 1) if text in line]
        return f"{name}:{number}"

    def popen(self, *arguments: str, program: tuple[str, ...] = (PLAITD,), **options: Any) -> subprocess.Popen[bytes]:
        """Start plaitd (or another *program*) with exactly these arguments."""
        environment = self.environment | options.pop("environment", {})
        options = {"stdin": subprocess.DEVNULL, "cwd": self.folder, "env": environment} | options
        process = subprocess.Popen([*program, *arguments], **options)
        self._started.append(process)
        return process

    def run(self, *arguments: str, **options: Any) -> Ended:
        """Run plaitd to the end of the process that is started."""
        began = time.monotonic()
        # Through files: a daemon that kept its starter's pipe would hold a reader for ever.
        with open(self.root / "output", "w+b") as output, open(self.root / "errors", "w+b") as errors:
            process = self.popen(*arguments, **({"stdout": output, "stderr": errors} | options))
            code = process.wait(PATIENCE)
            seconds = time.monotonic() - began
            output.seek(0)
            errors.seek(0)
            return Ended(code, output.read().decode(), errors.read().decode(), seconds)

    def foreground(self, *options: str, name: str = "shop.py", **how: Any) -> Foreground:
        """Start plaitd in the foreground."""
        with open(self.root / "errors", "wb") as errors:
            how = {"stdout": subprocess.PIPE, "stderr": errors} | how
            process = self.popen("-n", *options, *given(name), **how)
        return Foreground(self, process)

    def daemonize(self, *options: str, name: str = "shop.py", **how: Any) -> Daemon:
        """Start plaitd as a daemon, which must succeed without a word."""
        ended = self.run(*options, *given(name), **how)
        assert (ended.code, ended.output, ended.errors) == (0, "", ""), ended
        return Daemon(self, self.read_pid())

    # Looking ----------------------------------------------------------------------------------------------------

    @property
    def pidfile(self) -> Path:
        """Where the pidfile is while plaitd runs."""
        return self.folder / "plaitd.pid"

    def read_pid(self) -> int:
        """Return the number in the pidfile."""
        return int(self.pidfile.read_text())

    @property
    def log(self) -> str:
        """What is in plaitd.log."""
        return (self.folder / "plaitd.log").read_text()

    def heard(self, seconds: float = PATIENCE) -> str:
        """Return the next word that the application tells."""
        deadline = time.monotonic() + seconds
        while b"\n" not in self._words:
            left = deadline - time.monotonic()
            assert select.select([self._told], [], [], max(0.0, left))[0], "the application told nothing"
            self._words += os.read(self._told, 65536)
        word, _, self._words = self._words.partition(b"\n")
        return word.decode()

    def relatives(self) -> list[int]:
        """Return the living processes that came of what was started here, however far they forked away."""
        mark = self._mark.encode()
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdecimal() and int(entry) != os.getpid():
                try:
                    environment = Path(f"/proc/{entry}/environ").read_bytes()
                except OSError:
                    continue  # it ended, or is somebody else's
                if mark in environment.split(b"\0"):
                    found.append(int(entry))
        return found

    def _wait_for_relatives(self, seconds: float) -> bool:
        """Wait until no relative lives; say whether that came true in time."""
        deadline = time.monotonic() + seconds
        while pids := self.relatives():
            for pid in pids:
                if not wait_for_end(pid, max(0.0, deadline - time.monotonic())):
                    return False
        return True

    def left(self, seconds: float = 0.0) -> list[str]:
        """Return what is left: processes that do not end within *seconds*, and files."""
        found = []
        if not self._wait_for_relatives(seconds):
            for pid in self.relatives():
                command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
                found.append(f"process {pid}: {command}")
        found += sorted(path.name for path in self.folder.iterdir() if path.name not in self._mine)
        found += sorted(f"TMPDIR/{path.name}" for path in (self.root / "tmp").iterdir())
        return found

    def assert_nothing_left(self, seconds: float = 0.0) -> None:
        """Fail if any process, pidfile, socket file or temporary file is left."""
        left = self.left(seconds)
        assert not left, f"left behind: {left}"

    def allow(self, *names: str) -> None:
        """Take files of these names as the test's own."""
        self._mine |= set(names)

    def reap(self) -> None:
        """Take the statuses of adopted processes, which have ended; those that were started are `Popen`'s."""
        own = {process.pid for process in self._started}
        for pid in set(find_children()) - self._before - own:
            if wait_for_end(pid):  # one that is about to be gone shows no environment any more
                os.waitpid(pid, 0)


@dataclass
class _Running:
    """A plaitd that runs."""

    place: Place
    pid: int
    _asked_at: float = field(default=0.0, init=False)

    def send(self, number: int) -> None:
        """Send it signal *number*."""
        self._asked_at = time.monotonic()
        os.kill(self.pid, number)

    @property
    def was_told(self) -> bool:
        """Whether it was sent a signal."""
        return bool(self._asked_at)

    def wait(self, seconds: float = PATIENCE) -> Ended:
        """Wait for its end, which is to come within *seconds*; the seconds of the answer count from the last signal."""
        raise NotImplementedError

    def stop(self, number: int = signal.SIGTERM, seconds: float = PATIENCE) -> Ended:
        """Send it *number* and wait for its end."""
        self.send(number)
        return self.wait(seconds)

    @property
    def handled(self) -> set[int]:
        """The signals for which it has a handler at present."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("SigCgt:"):
                mask = int(line.partition(":")[2], 16)
                return {number for number in range(1, 65) if mask >> (number - 1) & 1}
        raise AssertionError("no SigCgt")


class Foreground(_Running):
    """A plaitd in the foreground: its log comes through a pipe."""

    def __init__(self, place: Place, process: subprocess.Popen[bytes]) -> None:
        super().__init__(place, process.pid)
        self.process = process
        self.output = ""  # what was read of its log up to now
        self._searched = 0

    def log_until(self, pattern: str, seconds: float = PATIENCE) -> re.Match[str]:
        """Read the log until a line comes that *pattern* is found in, after those found before."""
        deadline = time.monotonic() + seconds
        while True:
            end = self.output.rfind("\n") + 1
            for line in self.output[self._searched : end].splitlines(keepends=True):
                self._searched += len(line)
                if found := re.search(pattern, line):
                    return found
            if not self._read(deadline - time.monotonic()):
                raise AssertionError(f"{pattern!r} did not come:\n{self.output}{self.errors}")

    def forget(self) -> None:
        """Forget the log up to here: it would become long."""
        self.output, self._searched = self.output[self._searched :], 0

    def _read(self, seconds: float) -> bool:
        if self.process.stdout is None or seconds < 0:
            return False
        pipe = self.process.stdout.fileno()
        if not select.select([pipe], [], [], seconds)[0]:
            return False
        data = os.read(pipe, 65536)
        self.output += data.decode()
        return bool(data)

    @property
    def errors(self) -> str:
        """What it wrote to standard error."""
        return (self.place.root / "errors").read_text()

    def ready(self) -> Foreground:
        """Wait until it is ready."""
        self.log_until(r" is ready ")
        return self

    def wait(self, seconds: float = PATIENCE) -> Ended:
        """Wait for its end."""
        began = self._asked_at or time.monotonic()
        deadline = time.monotonic() + seconds
        # The pipe is read meanwhile, or a long log would hold it; somebody else may keep its other end.
        handle = os.pidfd_open(self.pid)
        pipe = self.process.stdout
        try:
            poller = select.poll()
            poller.register(handle, select.POLLIN)
            if pipe is not None:
                poller.register(pipe, select.POLLIN)
            ready: dict[int, int] = {}
            while handle not in ready:
                ready = dict(poller.poll(max(0.0, deadline - time.monotonic()) * 1000))
                assert ready, f"it did not end within {seconds:g} s: {state_of(self.pid)}\n{self.output}{self.errors}"
                if pipe is not None and pipe.fileno() in ready and not self._read(0.0):
                    poller.unregister(pipe)
            ended = time.monotonic() - began
            if pipe is not None:
                while self._read(0.0):
                    pass
                pipe.close()
                self.process.stdout = None
        finally:
            os.close(handle)
        return Ended(self.process.wait(), self.output, self.errors, ended)


class Daemon(_Running):
    """A plaitd that became a daemon, and by adoption a child of this process."""

    def wait(self, seconds: float = PATIENCE) -> Ended:
        """Wait for its end; the output is its log."""
        began = self._asked_at or time.monotonic()
        in_time = wait_for_end(self.pid, seconds)
        assert in_time, f"it did not end within {seconds:g} s: {state_of(self.pid)}\n{self.place.log}"
        ended = time.monotonic() - began
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return Ended(code, self.place.log, "", ended)


def state_of(pid: int) -> str:
    """Return what /proc says about where process *pid* hangs, for a person who looks for the reason."""
    wanted = ("State", "SigPnd", "ShdPnd", "SigBlk", "SigCgt", "Threads")
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    facts = [" ".join(line.split()) for line in lines if line.startswith(wanted)]
    return "; ".join([*facts, Path(f"/proc/{pid}/wchan").read_text(), Path(f"/proc/{pid}/syscall").read_text().strip()])


def wait_for_end(pid: int, seconds: float = PATIENCE) -> bool:
    """Wait at most *seconds* for the end of process *pid*; say whether it ended."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], seconds)[0])
    finally:
        os.close(handle)


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def _adopt(wanted: bool) -> None:
    """Become, or be no longer, whom orphans among the descendants are given to; see ``prctl(2)``."""
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(_PR_SET_CHILD_SUBREAPER, int(wanted), 0, 0, 0) == 0
