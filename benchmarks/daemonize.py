"""
Daemonize: from exec until the command has returned to the shell, with the port answering.

"at return" is the share of the rounds in which a connection was possible at that very moment and answered, within the
25 ms that a busy machine may need for it; "serving" is when the first answer came.  The limit is a double fork of the
bare script with a readiness pipe.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from harness import Figure, Sample, Side, Want, options, run
from load import ask
from processes import HOST, PROGRAMS, connect, free_port, last_words, program, start, tool, wait, workplace

SUPERVISOR = """[supervisord]
pidfile={folder}/supervisord.pid
logfile={folder}/supervisord.log
childlogdir={folder}
[program:echo]
command={child}
"""


def bare(port: int, folder: Path) -> list[str]:
    """Return the command of the limit."""
    return program("bare_daemon.py", port)


def plait(port: int, folder: Path) -> list[str]:
    """Return the command of plaitd."""
    return [tool("plaitd"), "-r", "asyncio", "-y", str(PROGRAMS / "plait_protocol.py")]


def twistd(port: int, folder: Path) -> list[str]:
    """Return the command of twistd."""
    return [tool("twistd"), "-y", str(PROGRAMS / "twisted_echo.tac")]


def gunicorn(port: int, folder: Path) -> list[str]:
    """Return the command of gunicorn."""
    return [tool("gunicorn"), "-D", "--chdir", str(PROGRAMS), "--bind", f"{HOST}:{port}", "asgi_hello:wsgi"]


def supervisord(port: int, folder: Path) -> list[str]:
    """Return the command of supervisord, around the bare script,."""
    child = " ".join(program("bare_protocol.py", port))
    (folder / "supervisord.conf").write_text(SUPERVISOR.format(folder=folder, child=child))
    return [tool("supervisord"), "-c", str(folder / "supervisord.conf")]


def measure(daemon: Callable[[int, Path], list[str]]) -> Sample:
    """Daemonize once, and end what was made."""
    port = free_port()
    with workplace() as folder:
        command = daemon(port, folder)
        began = time.perf_counter()
        process = start(command, folder, BENCH_PORT=str(port))
        try:
            returned = wait(process) - began
            if process.wait():
                raise RuntimeError(f"ended with {process.returncode}: {last_words(folder)}")
            with socket.socket() as client:
                is_open = client.connect_ex((HOST, port)) == 0
            connect(port, 20)
            ask(port, daemon is gunicorn).close()
            serving = time.perf_counter() - began
            answers = is_open and serving - returned < 0.025
            return {"returned": returned * 1000, "serving": serving * 1000, "answers": 100.0 * answers}
        finally:
            process.kill()
            process.wait()
            end_daemons()


def children() -> list[int]:
    """Return the processes that are ours: the daemon, when its parents have ended."""
    return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]


def end_daemons(patience: float = 5.0) -> None:
    """End all that was made."""
    for pid in children():
        os.kill(pid, signal.SIGTERM)
    give_up = time.monotonic() + patience
    while pids := children():
        if time.monotonic() > give_up:
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
        time.sleep(0.005)


def adopt() -> None:
    """Become the parent of orphans, so that every daemon can be waited for and none is left behind."""
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


if __name__ == "__main__":
    adopt()
    run(
        "Daemonize: back at the shell, serving",
        [
            Side("bare double fork", partial(measure, bare), "bare double fork"),
            Side("plait", partial(measure, plait), "bare double fork"),
            Side("gunicorn", partial(measure, gunicorn), "bare double fork", ("gunicorn",)),
            Side("supervisord", partial(measure, supervisord), "bare double fork", ("supervisor",)),
            Side("twistd", partial(measure, twistd), "bare double fork", ("twisted",)),
        ],
        [
            Figure("returned", "returned ms"),
            Figure("serving", "serving ms", ratio=False),
            Figure("answers", "at return %", 0, ratio=False),
        ],
        [
            Want("plait", "returned", 1.2, "bare double fork"),
            Want("plait", "answers", 100.0, at_least=True),
        ],
        options(__doc__, rounds=9),
    )
