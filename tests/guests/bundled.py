"""
The plugins that come with Twisted, run by a host and proved by real clients.

A case is a generator: it prepares files, yields the plugin's options, and is continued when the plugin runs, to show
with a client that it does.  If it yields once more, it is continued when the plugin has been stopped, with what it had
open until then.  Which host runs it is no business of the case.
"""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
import sysconfig
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.conftest import describe_process, find_children
from tests.guests.conversation import Conversation
from tests.guests.network import connect, listening
from tests.system.daemon import PATIENCE, PLAITD, Daemon, Ended, Foreground, Place, wait_for_end

TWISTD = os.path.join(sysconfig.get_path("scripts"), "twistd")

#: What no log may contain unless its case says so: a level from warning on, a traceback, a warning of Python.
UNEXPECTED = re.compile(r"#(warn\w*|error|critical)\]|Traceback|Unhandled|Warning: ")

#: How long a stop may take.
STOP = 10.0

Steps = Generator[list[str], None, None]
Case = Callable[["Rig"], Steps]


@dataclass(frozen=True)
class Bundled:
    """A case: which plugin it is about, and the generator."""

    plugin: str
    case: Case
    #: Whether twistd leaves a child behind.
    leaves: bool

    @property
    def name(self) -> str:
        """How the case is called in a report."""
        return f"{self.plugin}-{self.case.__name__}"


CASES: list[Bundled] = []
#: Cases in which it is shown what fails, in Twisted itself.
FAILING: list[Bundled] = []


def failing(plugin: str) -> Callable[[Case], Case]:
    """Make a generator a case of what fails in *plugin*."""

    def note(case: Case) -> Case:
        FAILING.append(Bundled(plugin, case, False))
        return case

    return note


def bundled(plugin: str, *, leaves: bool = False) -> Callable[[Case], Case]:
    """Make a generator a case of *plugin*; *leaves* says that twistd leaves a child behind."""

    def note(case: Case) -> Case:
        CASES.append(Bundled(plugin, case, leaves))
        return case

    return note


@dataclass(frozen=True)
class Host:
    """Who runs the plugins: a program with the options that stand in front of a plugin's name."""

    program: str
    words: tuple[str, ...]
    daemon: bool
    #: How it ends after TERM.
    status: int = 0
    #: Who it is, when it runs.
    uid: int = 0

    def command(self, plugin: str) -> list[str]:
        """Return the words up to the options of *plugin*."""
        # Two of Twisted's names are also plait's, which come first.
        twisted = ["--twisted"] if self.program == PLAITD and plugin in ("portforward", "procmon") else []
        return [*self.words, *twisted, plugin]


FOREGROUND = Host(PLAITD, ("-n",), False)
DAEMON = Host(PLAITD, (), True)
#: twistd says in no log that it has started, but does not return before.
REFERENCE = Host(TWISTD, ("-r", "asyncio", "--logfile", "plaitd.log", "--pidfile", "plaitd.pid"), True, -signal.SIGTERM)


@dataclass
class Rig:
    """What a case has: a folder for its files, clients, and a second server where it takes two."""

    place: Place
    host: Host
    #: Files that a plugin is to see in the place of others, by their paths there.
    mounts: dict[Path, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    #: Regular expressions of what its log may contain in spite of `UNEXPECTED`.
    expected: list[str] = field(default_factory=list)
    #: Ports at which no client is left connected when it is told to stop.
    spared: set[int] = field(default_factory=set)
    #: The plugin that runs.
    running: Foreground | Daemon | None = None

    def __post_init__(self) -> None:
        self.data.mkdir()

    @property
    def data(self) -> Path:
        """The folder for the files of the case."""
        return self.place.root / "data"

    def write(self, name: str, text: str, mode: int = 0o644) -> str:
        """Write a file of the case, and return its path."""
        path = self.data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return str(path)

    def client(self, *words: str, code: int = 0, **how: Any) -> str:
        """Run a client to its end, which must be *code*, and return what it wrote."""
        how = {"env": os.environ | {"HOME": str(self.data), "LC_ALL": "C.UTF-8"}, "stdin": subprocess.DEVNULL} | how
        if "input" in how:
            del how["stdin"]
        done = subprocess.run(words, capture_output=True, timeout=PATIENCE, check=False, **how)
        output = done.stdout.decode(errors="replace")
        assert done.returncode == code, (words, done.returncode, output, done.stderr.decode(errors="replace"), self.log)
        return output

    @contextmanager
    def talk(self, *words: str) -> Iterator[Conversation]:
        """Have a client run with which one talks."""
        environment = os.environ | {"HOME": str(self.data), "LC_ALL": "C.UTF-8", "TERM": "xterm"}
        how: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        process = subprocess.Popen(words, env=environment, **how)
        try:
            yield Conversation(process)
        finally:
            process.kill()
            process.communicate()

    @property
    def log(self) -> str:
        """What the plugin that runs has logged."""
        if isinstance(self.running, Foreground):
            while self.running._read(0.0):
                pass
            return self.running.output + self.running.errors
        return self.place.log

    def _start(self, host: Host, words: list[str], folder: Path) -> Foreground | Daemon:
        program: tuple[str, ...] = (host.program,)
        if self.mounts:
            script = ""
            for source, target in self.mounts.items():
                script += f"mount --bind {source} {target} && "
            program = ("unshare", "--mount", "sh", "-c", script + 'exec "$@"', "sh", host.program)
        how: dict[str, Any] = {"program": program, "cwd": folder, "environment": self.environment}
        if not host.daemon:
            with open(self.place.root / "errors", "ab") as errors:
                process = self.place.popen(*words, stdout=subprocess.PIPE, stderr=errors, **how)
            return Foreground(self.place, process).ready()
        ended = self.place.run(*words, **how)
        assert ended.code == 0, ended
        return Daemon(self.place, int((folder / "plaitd.pid").read_text()))

    @contextmanager
    def other(self, plugin: str, *options: str) -> Iterator[None]:
        """Have another plugin run meanwhile, by the same host."""
        folder = self.place.root / f"other-{plugin}"
        folder.mkdir()
        host = DAEMON if self.host.program == PLAITD else self.host  # so that nobody has to read its log
        running = self._start(host, [*host.command(plugin), *options], folder)
        try:
            yield
        finally:
            running.send(signal.SIGTERM)
            assert wait_for_end(running.pid, STOP)

    def prove(self, case: Bundled) -> None:
        """Run the plugin, let the case prove it, stop it, and look for what is left."""
        before = set(find_children())
        steps = case.case(self)
        options = next(steps)
        for path in (self.data, *self.data.rglob("*")):
            os.chown(path, self.host.uid, -1)
        self.running = self._start(self.host, [*self.host.command(case.plugin), *options], self.place.folder)
        status = Path(f"/proc/{self.running.pid}/status").read_text()
        assert re.findall(r"^Uid:\t(.*)$", status, re.MULTILINE) == ["\t".join([str(self.host.uid)] * 4)]
        next(steps, None)
        clients: list[socket.socket] = []
        try:
            # Clients that say nothing, and stay: no reason not to stop.
            for address in listening():
                if address[1] not in self.spared:
                    with suppress(ConnectionRefusedError):  # it was for one connection, which is over
                        clients.append(connect(address))
            ended = self.running.stop(signal.SIGTERM, PATIENCE)
            if case.leaves and self.host is REFERENCE:
                self._end_children(before)
            for client in clients:
                client.settimeout(STOP)
                try:
                    while client.recv(65536):
                        pass
                except ConnectionResetError:
                    pass
        finally:
            for client in clients:
                client.close()
        assert next(steps, None) is None
        self._judge(ended)
        self._look_for_children(before)
        self.place.assert_nothing_left(GRACE)
        assert listening() == []

    def _judge(self, ended: Ended) -> None:
        log = self.log if self.host.daemon else ended.output + ended.errors
        assert ended.code == self.host.status, (ended, log)
        assert ended.seconds < STOP, (ended, log)
        lines = [line for line in log.splitlines() if UNEXPECTED.search(line)]
        unexpected = [line for line in lines if not any(re.search(words, line) for words in self.expected)]
        assert not unexpected, log

    def _end_children(self, before: set[int]) -> None:
        """End what twistd has left behind, which must be something."""
        left = set(find_children()) - before
        assert left
        for pid in left:
            os.kill(pid, signal.SIGKILL)

    def _look_for_children(self, before: set[int]) -> None:
        """Fail if a process is left that the place does not know: what a plugin starts may have an environment anew."""
        for pid in set(find_children()) - before:
            assert wait_for_end(pid, GRACE), f"left behind: {describe_process(pid)}"


#: How long a child whose plugin has ended may take to be gone.
GRACE = 2.0


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait until *condition* holds: for what nobody tells us of."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come about"
        select.select([], [], [], 0.02)
