"""
Start-up: from exec to the first accepted connection.

The client connects until it works and has one answer: a socket that listens before anybody accepts would flatter its
owner.  Processor time is read 0.25 s later.
"""

from __future__ import annotations

import time

import servers
from harness import Figure, Sample, Want, options, run
from load import ask
from servers import Kind

KINDS = [
    servers.BARE_PROTOCOL,
    servers.PLAIT_PROTOCOL,
    servers.PLAIT_STREAMS,
    servers.BARE_STREAMS,
    servers.AIORUN,
    servers.MODE,
    servers.AIOMISC,
    servers.UVICORN,
    servers.GUNICORN,
    servers.TWISTD,
]


def measure(kind: Kind) -> Sample:
    """Start it once."""
    with kind.serve() as server, ask(server.port, kind.http):
        answer = time.perf_counter() - server.began
        time.sleep(0.25)
        return {"answer": answer * 1000, "connect": server.serving * 1000, "cpu": server.cpu() * 1000}


if __name__ == "__main__":
    run(
        "Start-up: exec to the first accepted connection",
        [kind.side(measure) for kind in KINDS],
        [Figure("answer", "answer ms"), Figure("connect", "connect ms", ratio=False), Figure("cpu", "CPU ms")],
        [
            Want("plait Protocol", "answer", 1.2, "bare Protocol"),
            Want("plait Protocol", "answer", 0.42, "twistd"),
            Want("plait Protocol", "cpu", 1.2, "bare Protocol"),
        ],
        options(__doc__, rounds=15, quick_rounds=3),
    )
