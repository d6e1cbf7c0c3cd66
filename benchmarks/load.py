"""Put a server under load: the C client where there is a compiler, the Python one where there is none."""

from __future__ import annotations

import atexit
import functools
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from harness import Sample
from processes import HOST, PROGRAMS, Server


@functools.cache
def compiled(name: str, otherwise: str) -> tuple[str, ...]:
    """Return the command of a program in C, compiled now; or of its replacement in Python."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler:
        folder = Path(tempfile.mkdtemp(prefix="plait-bench-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        target = folder / Path(name).stem
        if not subprocess.run([compiler, "-O2", "-o", target, PROGRAMS / name], check=False).returncode:
            return (str(target),)
    print(f"no C compiler: {otherwise} instead of {name}, and its figures are not to be compared", file=sys.stderr)
    return (sys.executable, str(PROGRAMS / otherwise))


def put_load(server: Server, mode: str, connections: int, size: int, window: int, seconds: float) -> Sample:
    """Load *server* and return how much it did, in all and per second of its processor time."""
    arguments = (mode, server.port, connections, size, window, seconds)
    command = [*compiled("load.c", "load_client.py"), *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout
        if client.stdout.readline() != "go\n":
            raise RuntimeError("the load client failed")
        before = server.cpu()
        words = client.stdout.readline().split()
        used = server.cpu() - before
    count, errors = int(words[1]), int(words[2])
    if errors or not count:
        raise RuntimeError(f"{errors} errors, {count} answers under load")
    return {"wall": count / seconds / 1000, "work": count / used / 1000, "busy": used / seconds}


def ask(port: int, http: bool = False) -> socket.socket:
    """Connect, have one answer, and return the connection."""
    question = b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n" if http else b"x" * 16
    client = socket.create_connection((HOST, port), timeout=10)
    client.sendall(question)
    answer = b""
    while not (answer.endswith(b"hello\n") if http else len(answer) == len(question)):
        got = client.recv(4096)
        if not got:
            raise ConnectionResetError("closed without an answer")
        answer += got
    return client


def hold(port: int, count: int, http: bool) -> list[socket.socket]:
    """Open *count* connections, have one answer on each, and return them."""
    return [ask(port, http) for _ in range(count)]
