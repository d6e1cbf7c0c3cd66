"""
Programs of others, from the package index: each in an environment of its own, with plait beside it, and its hosts.

An environment is made in ``build/third-party`` by what ``requirements/guests`` pins, and kept until that changes.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
import venv
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.system.daemon import Ended, Place, wait_for_end

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "build" / "third-party"

#: In how many seconds each program has to end after it was told to.
STOP = 10.0
#: What no log of theirs may contain.
UNEXPECTED = re.compile(r"Traceback \(most recent|Unhandled|#critical\]|#error\]")


#: For what a program says to nobody.
QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


class Environments:
    """The environments, made when they are first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._plait: Path | None = None

    def __call__(self, name: str) -> Path:
        """Return the environment of *name*; skips the test, with the reason, if it cannot be installed here."""
        folder = FOLDER / name
        lock = ROOT / "requirements" / "guests" / f"{name}.lock"
        if is_new(folder / "installed", lock.read_bytes(), sys.version.encode()):
            shutil.rmtree(folder, ignore_errors=True)
            venv.create(folder, with_pip=False, symlinks=True)
            if reason := self._install(folder, "--requirement", str(lock)):
                pytest.skip(f"NOT RUN: {name} cannot be installed on Python {sys.version.split()[0]}: {reason}")
            note(folder / "installed", lock.read_bytes(), sys.version.encode())
        # Its programs and entry points: all else is read where it is.
        plait = (ROOT / "pyproject.toml").read_bytes(), str(ROOT).encode()
        if is_new(folder / "plait", *plait):
            assert not self._install(folder, "--no-index", "--force-reinstall", str(self._wheel()))
            note(folder / "plait", *plait)
        return folder

    def _install(self, folder: Path, *arguments: str) -> str:
        """Install what *arguments* tell pip into *folder*; return why it cannot be, if so."""
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "--python", str(folder)]
        command = [*pip, "install", "--no-deps", *arguments]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=250)
        if not ended.returncode:
            return ""
        lines = [line.strip() for line in ended.stderr.splitlines()]
        return next((line for line in lines if re.match("(?i)error: ", line)), ended.stderr.strip())

    def _wheel(self) -> Path:
        """Return a wheel that installs plait as it is in the checkout, and follows it."""
        if self._plait is None:
            make = "import sys, hatchling.build; print(hatchling.build.build_editable(sys.argv[1]))"
            command = [sys.executable, "-c", make, str(self._folder)]
            ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
            self._plait = self._folder / ended.stdout.strip().rpartition("\n")[2]
        return self._plait


def is_new(mark: Path, *parts: bytes) -> bool:
    """Say whether *parts* are others than those that were noted in the file *mark*."""
    return not mark.exists() or mark.read_text() != checksum(*parts)


def note(mark: Path, *parts: bytes) -> None:
    """Note *parts* in the file *mark*."""
    mark.write_text(checksum(*parts))


def checksum(*parts: bytes) -> str:
    """Return a short text that is another one for other *parts*."""
    return f"{zlib.crc32(b' '.join(parts)):08x}"


@dataclass(frozen=True)
class Host:
    """Who runs the programs: plaitd, or twistd as the reference, with what is always said to it."""

    name: str
    words: tuple[str, ...]
    #: How it ends after TERM, and how after ``reactor.stop()``: 0.
    status: int

    def program(self, environment: Path) -> tuple[str, ...]:
        """Return the words that start it in *environment*."""
        if self.name == "twistd":
            # Where no cache of the plugins is, it would import them all before it has its reactor, and fail.
            scan = "from twisted.plugin import IPlugin, getPlugins; list(getPlugins(IPlugin))"
            python = environment / "bin" / "python"
            # Some write files where they are imported.
            subprocess.run([python, "-c", scan], cwd=environment, check=True, capture_output=True, timeout=50)
        else:
            forget_plugins(environment)
        return (str(environment / "bin" / self.name), *self.words)

    def as_twistd(self, place: Place, environment: Path, *beside: str) -> Path:
        """Return a folder with a program ``twistd`` that is this host, and with the programs *beside* it."""
        self.program(environment)
        folder = place.aside / "bin"
        folder.mkdir()
        for name, target in ((name, name) for name in beside):
            (folder / name).symlink_to(environment / "bin" / target)
        (folder / "twistd").symlink_to(environment / "bin" / self.name)
        return folder


PLAITD = Host("plaitd", (), 0)
TWISTD = Host("twistd", ("--reactor=asyncio",), -signal.SIGTERM)


def forget_plugins(environment: Path) -> None:
    """Let *environment* be as it is just after an installation, when Twisted has no cache of its plugins yet."""
    for cache in environment.glob("lib/python*/site-packages/twisted/plugins/dropin.cache"):
        cache.unlink()


class Daemon:
    """A program of others that runs as a daemon: its process, its pidfile, its logs."""

    def __init__(self, place: Place, pidfile: Path, *logs: Path) -> None:
        self.place = place
        self.pidfile = pidfile
        self.logs = logs
        self.pid = int(pidfile.read_text())

    def stop(self, *command: str, besides: tuple[Daemon, ...] = (), **options: Any) -> int:
        """
        Tell it to stop, by a signal or by a *command* of its own, and wait for the end; return its exit code.

        Nothing may be left of it then *besides* others that go on, nor an error be in its logs.
        """
        asking = None
        asked = time.monotonic()
        if command:
            asking = self.place.popen(program=command, **QUIET | options)
        else:
            os.kill(self.pid, signal.SIGTERM)
        assert wait_for_end(self.pid, STOP), f"{self.pid} runs {STOP:g} s after it was told to stop"
        seconds = time.monotonic() - asked
        # Ours since its starter ended; and a command that asks whether it has gone waits for that.
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        if asking is not None:
            assert asking.wait(STOP) == 0
        assert seconds < STOP
        assert not self.pidfile.exists()
        assert self.place.relatives() == [each.pid for each in besides]
        for log in self.logs:
            assert_quiet(log.read_text())
        return code


def assert_quiet(log: str) -> None:
    """Fail if *log* tells of an error."""
    assert not UNEXPECTED.search(log), log


def run(place: Place, *command: str | Path, code: int = 0, **options: Any) -> Ended:
    """Run *command* to its end, which is to be *code*."""
    ended = place.run(program=tuple(map(str, command)), **options)
    assert ended.code == code, ended
    return ended


def wait_for_line(path: Path, pattern: str, seconds: float = 20.0) -> re.Match[str]:
    """Wait until the file at *path* has a line in which *pattern* is found; it need not be there yet."""
    command = ["tail", "--lines=+1", "--follow=name", "--retry", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as tail:
        assert tail.stdout is not None
        text, deadline = "", time.monotonic() + seconds
        try:
            while not (found := re.search(pattern, text)):
                ready = select.select([tail.stdout], [], [], max(0.0, deadline - time.monotonic()))[0]
                assert ready, f"{pattern!r} did not come into {path.name}:\n{text}"
                text += os.read(tail.stdout.fileno(), 65536).decode(errors="replace")
        finally:
            tail.kill()
    return found


def free_port() -> int:
    """Return the number of a port at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number: int = free.getsockname()[1]
        return number


def ask(port: int, data: bytes, seconds: float = 10.0) -> bytes:
    """Send *data* to *port*, say that this was all, and return all that comes back."""
    with socket.create_connection(("127.0.0.1", port), seconds) as talk:
        talk.sendall(data)
        talk.shutdown(socket.SHUT_WR)
        answer = b""
        while part := talk.recv(65536):
            answer += part
        return answer
