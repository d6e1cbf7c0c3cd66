"""
Restart of a program: from kill -9 of a child to its replacement answering.

The child is a server in C that starts in two milliseconds and answers with its process id.  It has lived for 1.2 s when
it is killed, so that none of the keepers takes it for one that cannot start.
"""

from __future__ import annotations

import os
import signal
import socket
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from harness import Figure, Sample, Side, Want, options, run
from load import compiled
from processes import HOST, PROGRAMS, Server, free_port, program, tool

SUPERVISOR = """[supervisord]
nodaemon=true
pidfile={folder}/supervisord.pid
logfile={folder}/supervisord.log
childlogdir={folder}
[program:child]
command={child}
"""
CIRCUS = """[circus]
endpoint = ipc://{folder}/endpoint
pubsub_endpoint = ipc://{folder}/pubsub
[watcher:child]
cmd = {child}
"""


def bare(child: str, folder: Path) -> list[str]:
    """Return the command of the limit."""
    return program("bare_keeper.py", *child.split())


def plait(child: str, folder: Path) -> list[str]:
    """Return the command of plaitd."""
    return [tool("plaitd"), "-n", "-r", "asyncio", "-y", str(PROGRAMS / "plait_keeper.py")]


def procmon(child: str, folder: Path) -> list[str]:
    """Return the command of twistd with procmon."""
    return [tool("twistd"), "-n", "-y", str(PROGRAMS / "twisted_keeper.tac")]


def supervisor(child: str, folder: Path) -> list[str]:
    """Return the command of supervisord."""
    (folder / "supervisord.conf").write_text(SUPERVISOR.format(folder=folder, child=child))
    return [tool("supervisord"), "-c", str(folder / "supervisord.conf")]


def circus(child: str, folder: Path) -> list[str]:
    """Return the command of circusd."""
    (folder / "circus.ini").write_text(CIRCUS.format(folder=folder, child=child))
    return [tool("circusd"), str(folder / "circus.ini")]


def ask(port: int, other: int = 0) -> int:
    """Return the process id that answers at *port*, as soon as it is not *other*."""
    give_up = time.monotonic() + 20
    while time.monotonic() < give_up:
        try:
            with socket.create_connection((HOST, port), timeout=1) as client:
                answer = client.recv(32)
        except OSError:
            answer = b""
        if answer and int(answer) != other:
            return int(answer)
        time.sleep(0.0001)
    raise TimeoutError("no replacement after 20 s")


def measure(keeper: Callable[[str, Path], list[str]], kills: int) -> Sample:
    """Kill the child so many times."""
    port = free_port()
    child = " ".join([*compiled("tiny.c", "tiny.py"), str(port)])
    waits = []
    with Server(lambda folder: keeper(child, folder), port, BENCH_COMMAND=child):
        pid = ask(port)
        for _ in range(kills):
            time.sleep(1.2)
            began = time.perf_counter()
            os.kill(pid, signal.SIGKILL)
            pid = ask(port, pid)
            waits.append(time.perf_counter() - began)
    return {"wait": statistics.median(waits) * 1000}


if __name__ == "__main__":
    given = options(__doc__, rounds=7)
    kills = 1 if given.quick else 3
    run(
        "Restart of a program: kill -9 to its replacement serving",
        [
            Side("bare loop", partial(measure, bare, kills), "bare loop"),
            Side("plait", partial(measure, plait, kills), "bare loop"),
            Side("twistd procmon", partial(measure, procmon, kills), "bare loop", ("twisted",)),
            Side("supervisor", partial(measure, supervisor, kills), "bare loop", ("supervisor",)),
            Side("circus", partial(measure, circus, kills), "bare loop", ("circus",)),
        ],
        [Figure("wait", "ms", 2)],
        [Want("plait", "wait", 1.3, "bare loop")],
        given,
        warm_up=False,
    )
