"""
Small programs that prepare themselves, started as real processes.

Each ends itself after half a minute, so that no failing test leaves one behind.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

HEAD = """
import os, signal, socket, sys, threading, time, traceback
from plait.endpoints import Endpoint
from plait.process.prepare import ProcessSettings, prepare

def daemon(*endpoints, **settings):
    settings.setdefault("daemonize", True)
    prepared = prepare(ProcessSettings(**settings), map(Endpoint.listening, endpoints), log_name="plaitd.log")
    signal.alarm(30)
    return prepared

def serve(prepared):
    # Blocked before anybody can know that we are ready, and stop us.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    prepared.ready()
    signal.sigwait({signal.SIGTERM})

"""


def start(folder: Path, body: str, **options: Any) -> subprocess.Popen[str]:
    """Start the program of *body* in *folder*."""
    program = folder / "program.py"
    program.write_text(HEAD + textwrap.dedent(body))
    options.setdefault("stdin", subprocess.DEVNULL)
    options.setdefault("stdout", subprocess.PIPE)
    options.setdefault("stderr", subprocess.PIPE)
    return subprocess.Popen([sys.executable, str(program)], cwd=folder, text=True, **options)


def run(folder: Path, body: str, **options: Any) -> tuple[int, str]:
    """Run the program of *body* in *folder* until the process that was started ends: its exit code and its errors."""
    with start(folder, body, **options) as process:
        _, errors = process.communicate(timeout=30)
    return process.returncode, errors


def read_pid(folder: Path) -> int:
    """Return the number in the pidfile in *folder*."""
    return int((folder / "plaitd.pid").read_text())


def end(pid: int, number: int = signal.SIGTERM) -> None:
    """Send signal *number* to the process *pid* and wait until it has gone."""
    handle = os.pidfd_open(pid)
    try:
        os.kill(pid, number)
        assert select.select([handle], [], [], 20)[0], f"{pid} does not end"
    finally:
        os.close(handle)


def status(pid: int) -> dict[str, str]:
    """Return what /proc says of the process *pid*."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}
