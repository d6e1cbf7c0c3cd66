"""
Start what is measured, wait until it serves, read what it costs, and end it.

Times are those of the client (microseconds), costs those of the scheduler (nanoseconds, every thread of the whole
process tree).  Only processes that were started here are ever ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from harness import NotInstalled

PROGRAMS = Path(__file__).parent / "programs"
HOST = "127.0.0.1"
CPUS = sorted(os.sched_getaffinity(0))
SERVER_CPU, CLIENT_CPU = CPUS[0], CPUS[-1]

# Byte code must be on, or the compiler is measured; and nobody is measured in a debug mode, or taken for a unit.
LEFT_OUT = {"PYTHONDONTWRITEBYTECODE", "PYTHONASYNCIODEBUG", "PYTHONDEVMODE", "PYTHONUNBUFFERED", "NOTIFY_SOCKET"}
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in LEFT_OUT}

_soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (min(_hard, 20_000), _hard))
os.sched_setaffinity(0, {CLIENT_CPU})


def program(name: str, *arguments: object) -> list[str]:
    """Return the command that runs one of our programs."""
    return [sys.executable, str(PROGRAMS / name), *map(str, arguments)]


def tool(name: str) -> str:
    """Return the path of a command of this Python's environment."""
    path = Path(sys.executable).parent / name
    if not path.exists():
        raise NotInstalled(f"{name} is not installed beside {sys.executable}")
    return str(path)


def free_port() -> int:
    """Return a TCP port nobody listens at, below those that the system hands out (no client can connect to itself)."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port


@contextlib.contextmanager
def workplace() -> Iterator[Path]:
    """Give a folder of its own to one run, as the present folder of what runs there."""
    path = Path(tempfile.mkdtemp(prefix="plait-bench-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def start(command: Sequence[str], folder: Path, **variables: str) -> subprocess.Popen[bytes]:
    """Start *command* in *folder*, on the processor of servers; what it says goes to the file ``said`` there."""
    environment = {**ENVIRONMENT, **variables}
    os.sched_setaffinity(0, {SERVER_CPU})  # inherited by the child; a preexec_fn would make the start slower
    try:
        with open(folder / "said", "ab") as said:
            return subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
    finally:
        os.sched_setaffinity(0, {CLIENT_CPU})


def last_words(folder: Path) -> str:
    """Return the last line that what ran in *folder* said."""
    lines = (folder / "said").read_text(errors="replace").strip().splitlines() if (folder / "said").exists() else []
    return lines[-1] if lines else "it said nothing"


class Server:
    """
    A server in a folder of its own: ``with Server(command, port) as server`` gives one that accepts connections.

    *began* is when it was started (``time.perf_counter``), *serving* how many seconds later it could be connected to.
    The end of the block ends it.
    """

    def __init__(self, command: Callable[[Path], Sequence[str]], port: int, **variables: str) -> None:
        self.port = port
        self.began = self.serving = 0.0
        self._command = command
        self._variables = {"BENCH_PORT": str(port), **variables}
        self._folder = workplace()

    def __enter__(self) -> Server:
        folder = self._folder.__enter__()
        try:
            command = self._command(folder)
            self.began = time.perf_counter()
            self.process = start(command, folder, **self._variables)
            try:
                self.serving = connect(self.port, 20.0, self.process) - self.began
            except BaseException as error:
                end(self.process)
                raise RuntimeError(f"{error}: {last_words(folder)}") from None
        except BaseException:
            self._folder.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *error: object) -> None:
        end(self.process)
        self._folder.__exit__(None, None, None)

    def cpu(self) -> float:
        """Return the seconds of processor time used so far."""
        return cpu(self.process.pid)

    def uss(self) -> float:
        """Return the MiB that belong to nobody else."""
        return uss(self.process.pid)

    def stop(self) -> float:
        """Send TERM and return the seconds until the process was gone."""
        began = time.perf_counter()
        self.process.terminate()
        return wait(self.process) - began


def wait(process: subprocess.Popen[bytes], timeout: float = 30.0) -> float:
    """Return when the process ended (``time.perf_counter``), to the microsecond: ``Popen.wait`` polls, up to 50 ms."""
    handle = os.pidfd_open(process.pid)
    try:
        if not select.select([handle], [], [], timeout)[0]:
            raise TimeoutError(f"not gone after {timeout:g} s")
        return time.perf_counter()
    finally:
        os.close(handle)


def connect(port: int, timeout: float, process: subprocess.Popen[bytes] | None = None) -> float:
    """Connect, again and again until it works, and return when it did (``time.perf_counter``)."""
    give_up = time.perf_counter() + timeout
    while True:
        with socket.socket() as client:
            try:
                client.connect((HOST, port))
            except OSError:
                pass
            else:
                return time.perf_counter()
        if process is not None and process.poll() is not None:
            raise RuntimeError(f"ended with {process.returncode} before it served")
        if time.perf_counter() > give_up:
            raise TimeoutError(f"does not serve after {timeout:g} s")
        time.sleep(0.0002)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process that `start` started, and its group, whatever state it is in."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(3)
        except subprocess.TimeoutExpired:
            process.kill()
    # The group is ours alone (a session of its own): what the process left behind goes with it.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def family(pid: int) -> list[int]:
    """Return *pid* and all that descend from it."""
    parents: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                parent = int(Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[1])
                parents.setdefault(parent, []).append(int(name))
    found = [pid]
    for one in found:
        found += parents.get(one, [])
    return found


def cpu(pid: int) -> float:
    """Return the processor time in seconds of a process, its threads and its descendants."""
    total = 0
    for one in family(pid):
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"/proc/{one}/task"):
                total += int(Path(f"/proc/{one}/task/{thread}/schedstat").read_text().split()[0])
    return total / 1e9


def uss(pid: int) -> float:
    """Return the unshared memory in MiB of a process and its descendants."""
    total = 0
    for one in family(pid):
        for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
            if line.startswith(("Private_Clean:", "Private_Dirty:")):
                total += int(line.split()[1])
    return total / 1024


def report(command: Sequence[str], timeout: float = 300.0) -> dict[str, float]:
    """Run a program that measures itself, and return the figures it printed as its last line (JSON)."""
    with workplace() as folder:
        process = start(command, folder)
        try:
            process.wait(timeout)
            if process.returncode:
                raise RuntimeError(f"ended with {process.returncode}: {last_words(folder)}")
            figures: dict[str, float] = json.loads(last_words(folder))
            return figures
        finally:
            end(process)
