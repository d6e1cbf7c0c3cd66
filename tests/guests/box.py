"""
A box: a network, and an ``/etc``, of its own, in which programs are started that want ports and files of fixed names.

Only root can make one.  What runs in it is spoken to by clients that run in it too.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from pathlib import Path
from types import TracebackType

import plait
from tests.system.daemon import PATIENCE

#: What makes a box, and says so when it is made; it ends with its input, which we hold.
MAKE = """
set -e
ip link set lo up
mount --bind "$1" /etc
shift
# A Python in a folder that only root may enter is moved to where any user can read it, in this box alone.
while [ $# -gt 0 ]; do
    folder=$1 closed=$2 aside=$3
    shift 3
    mkdir "$aside"
    mount --bind "$folder" "$aside"
    mount -t tmpfs -o mode=755 tmpfs "$closed"
    mkdir -p "$folder"
    mount --move "$aside" "$folder"
done
echo made
exec cat
"""
#: What the ``/etc`` of a box has of the machine's.
KEPT = ("alternatives", "group", "ld.so.cache", "localtime", "passwd", "perl", "protocols", "services", "ssl")
NAMES = "127.0.0.1 localhost irc.freenode.net irc.freenode.org\n"
SWITCH = "hosts: files\npasswd: files\ngroup: files\nservices: files\n"


def make_etc(folder: Path, **texts: str) -> None:
    """Make *folder* the ``/etc`` of boxes, with these *texts* in its files."""
    folder.mkdir()
    for name in KEPT:
        source = Path("/etc", name)
        if source.is_dir():
            shutil.copytree(source, folder / name, symlinks=True)
        elif source.exists():
            shutil.copy(source, folder / name)
    for name, text in ({"hosts": NAMES, "nsswitch.conf": SWITCH} | texts).items():
        (folder / name).write_text(text)


def find_closed() -> list[tuple[str, str]]:
    """Return the folders that Python needs and that not every user can read, each with its part that is closed."""
    found: dict[str, str] = {}
    for folder in (Path(sys.base_prefix), Path(sys.prefix), Path(plait.__file__).parents[1]):
        for part in reversed([folder, *folder.parents]):
            if not part.stat().st_mode & 0o001:
                found.setdefault(str(part), str(folder))
                break
    return [(folder, part) for part, folder in found.items()]


class Talk:
    """A process: what it wrote, and what it is told."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.pid = process.pid
        self.output = ""
        self._searched = 0

    async def hear(self, pattern: str, seconds: float = PATIENCE) -> re.Match[str]:
        """Read what it writes until *pattern* is found in it, after what was found before."""
        try:
            async with asyncio.timeout(seconds):
                while not (found := re.compile(pattern, re.DOTALL).search(self.output, self._searched)):
                    assert await self._read(), f"{pattern!r} did not come:\n{self.output}"
        except TimeoutError:
            raise AssertionError(f"{pattern!r} did not come in {seconds:g} s:\n{self.output}") from None
        self._searched = found.end()
        return found

    async def _read(self) -> bool:
        assert self.process.stdout is not None
        data = await self.process.stdout.read(65536)
        self.output += data.decode(errors="replace")
        return bool(data)

    def say(self, text: str) -> None:
        """Write *text* to it."""
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode())

    async def ends(self, seconds: float = PATIENCE) -> int:
        """Wait for its end; return its exit code."""
        try:
            async with asyncio.timeout(seconds):
                while await self._read():
                    pass
                return await self.process.wait()
        except TimeoutError:
            raise AssertionError(f"{self.pid} did not end in {seconds:g} s:\n{self.output}") from None

    def say_no_more(self) -> None:
        """Let it have no more input."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def send(self, number: int) -> None:
        """Send it signal *number*, unless it has ended; not by `Process`, which would take its status from asyncio."""
        if self.process.returncode is None:
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                pass

    async def kill(self) -> None:
        """End it, if it has not ended."""
        self.send(signal.SIGKILL)
        self.say_no_more()
        await self.ends()


class Box:
    """
    The box, as an asynchronous context manager; leaving it ends what was started in it.

    *root* is for what it needs itself, *folder* is where programs are started, and *etc* is what `make_etc` made.
    """

    def __init__(self, root: Path, folder: Path, etc: Path) -> None:
        self.root = root
        self.folder = folder
        self._etc = etc
        self._talks: list[Talk] = []
        self.peers: list[Talk] = []

    async def __aenter__(self) -> Box:
        make = ["unshare", "--net", "--mount", "sh", "-c", MAKE, "make", str(self._etc)]
        for number, (folder, closed) in enumerate(find_closed()):
            make += [folder, closed, str(self.root / f"aside{number}")]
        self._holder = await self._start(*make)
        await self._holder.hear("made\n")
        self._network = os.readlink(f"/proc/{self._holder.pid}/ns/net")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for pid in self.inhabitants():
            if pid != self._holder.pid:
                os.kill(pid, signal.SIGKILL)
        for talk in [*self._talks, self._holder]:
            await talk.kill()

    def enter(self, *command: str) -> tuple[str, ...]:
        """Return the words that start *command* in the box, in place of themselves and in its folder."""
        into = ("nsenter", f"--target={self._holder.pid}", "--net", "--mount", f"--wdns={self.folder}")
        return (*into, *command)

    async def start(self, *command: str, **environment: str) -> Talk:
        """Start *command* in the box."""
        talk = await self._start(*self.enter(*command), **environment)
        self._talks.append(talk)
        return talk

    async def _start(self, *command: str, **environment: str) -> Talk:
        variables = {**os.environ, "HOME": str(self.folder), **environment}
        return Talk(
            await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=STDOUT, env=variables)
        )

    async def run(self, *command: str, told: str = "", code: int = 0, **environment: str) -> str:
        """Run *command* in the box, which reads *told* and ends with *code*; return what it wrote."""
        talk = await self.start(*command, **environment)
        talk.say(told)
        talk.say_no_more()
        ended = await talk.ends()
        assert ended == code, f"{command}: exit code {ended}:\n{talk.output}"
        return talk.output

    def inhabitants(self) -> list[int]:
        """Return the processes in the box, whoever started them."""
        found = []
        for entry in os.listdir("/proc"):
            try:
                if entry.isdecimal() and os.readlink(f"/proc/{entry}/ns/net") == self._network:
                    found.append(int(entry))
            except OSError:
                pass  # it has just ended
        return found

    def strangers(self) -> list[str]:
        """Return the commands of the processes in the box that were not started by us."""
        ours = {self._holder.pid, *(talk.pid for talk in self._talks)}
        return [
            Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            for pid in self.inhabitants()
            if pid not in ours
        ]
