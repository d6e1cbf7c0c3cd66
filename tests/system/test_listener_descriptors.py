"""A listener in a process that runs out of descriptors."""

from __future__ import annotations

import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

try:
    import uvloop
except ImportError:  # pragma: no cover - an extra
    uvloop = None  # type: ignore[assignment]

SERVER = """
import asyncio, logging, os, resource, sys, time
from plait import Application, Context, Listener, running, service

resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stdout)

async def greet(reader, writer):
    writer.write(b"hello")
    await reader.read()

class Greet(asyncio.Protocol):
    def connection_made(self, transport):
        transport.write(b"hello")

@service
async def report(context):
    # What another service gets done meanwhile, told at each line of standard input.
    loop = asyncio.get_running_loop()
    lines = asyncio.Queue()
    loop.add_reader(0, lambda: lines.put_nowait(os.read(0, 100)))
    context.ready()
    began, used = time.monotonic(), time.process_time()
    while await lines.get():
        now, cpu = time.monotonic(), time.process_time()
        print("share", (cpu - used) / (now - began), flush=True)
        began, used = now, cpu

async def main():
    handler = {"stream": greet, "protocol": Greet}[sys.argv[2]]
    listener = Listener("tcp:0:interface=127.0.0.1", handler)
    async with running(Application("shop", [listener, report])) as tree:
        print("port", tree.find("shop/greet").value[0][1], flush=True)
        await tree.wait()

if sys.argv[1] == "uvloop":
    import uvloop
    factory = uvloop.new_event_loop
else:
    factory = None
with asyncio.Runner(loop_factory=factory) as runner:
    runner.run(main())
"""


@contextmanager
def server(loop: str, kind: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run the server; yield it and its port."""
    command = [sys.executable, "-c", SERVER, loop, kind]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process, int(read(process, "port ")[-1].split()[1])
        finally:
            process.kill()


def read(process: subprocess.Popen[str], until: str) -> list[str]:
    """Return the lines of the server, up to the first that begins with *until*."""
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line.rstrip("\n"))
        if line.startswith(until):
            return lines[-1:] if len(lines) == 1 else lines
    pytest.fail(f"the server ended: {lines}")


def ask(process: subprocess.Popen[str]) -> tuple[list[str], float]:
    """Return what was logged up to now, and the server's share of a core since it was asked last."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
    *log, share = read(process, "share ")
    return log, float(share.split()[1])


def wait(clients: list[socket.socket], seconds: float) -> tuple[list[socket.socket], list[socket.socket]]:
    """Return which of *clients* were greeted within so many *seconds*, and which were turned away."""
    greeted: list[socket.socket] = []
    refused: list[socket.socket] = []
    end = time.monotonic() + seconds
    waiting = set(clients)
    while waiting and (left := end - time.monotonic()) > 0:
        for one in select.select(list(waiting), [], [], left)[0]:
            waiting.discard(one)
            (greeted if one.recv(100) == b"hello" else refused).append(one)
    return greeted, refused


@pytest.mark.parametrize("kind", ["stream", "protocol"])
@pytest.mark.parametrize("loop", ["asyncio", pytest.param("uvloop", marks=pytest.mark.skipif(not uvloop, reason=""))])
def test_clients_wait_when_there_are_no_descriptors(loop: str, kind: str) -> None:
    """Without descriptors nobody is turned away: clients wait, others work on, one line says so, nothing spins."""
    with server(loop, kind) as (process, port), ExitStack() as stack:
        clients: list[Any] = []
        for number in range(80):
            clients.append(stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5)))
            if number < 40:
                assert clients[-1].recv(100) == b"hello"  # one after the other, up to near the limit
        greeted, refused = wait(clients[40:], 0.5)
        assert not refused
        assert 40 <= 40 + len(greeted) < 64

        log, _ = ask(process)
        assert log == [
            "ERROR tcp:0:interface=127.0.0.1: nobody can be accepted (Too many open files), clients wait: "
            "close something, or raise the limit of open files (ulimit -n, LimitNOFILE=)"
        ]
        more, refused = wait([one for one in clients[40:] if one not in greeted], 1.0)
        assert not more
        assert not refused
        log, share = ask(process)  # the other service answers, too
        assert log == []
        assert share < 0.2

        for one in clients[:40]:
            one.close()
        waiting = [one for one in clients[40:] if one not in greeted]
        more, refused = wait(waiting, 1.0)
        assert len(more) == len(waiting)
        assert not refused
        with socket.create_connection(("127.0.0.1", port), timeout=1) as late:
            assert late.recv(100) == b"hello"
        log, _ = ask(process)
        assert len(log) == 1
        assert log[0].startswith("INFO tcp:0:interface=127.0.0.1: clients are accepted again, after ")
