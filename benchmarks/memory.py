"""
Memory: what an idle echo server holds that nobody shares (USS), half a second after it serves.

A bare server lives beside all of them, so that the pages of Python itself are always shared: otherwise they would be
counted or not, depending on what else this machine runs.
"""

from __future__ import annotations

import time

import servers
from harness import Figure, Sample, Want, options, run
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
    """Start it once and look."""
    with kind.serve() as server:
        time.sleep(0.5)
        return {"uss": server.uss()}


if __name__ == "__main__":
    given = options(__doc__, rounds=5)
    with servers.BARE_PROTOCOL.serve():
        run(
            "Memory: idle echo server",
            [kind.side(measure) for kind in KINDS],
            [Figure("uss", "USS MiB", 2)],
            [Want("plait Protocol", "uss", 1.2, "bare Protocol"), Want("plait Protocol", "uss", 0.6, "twistd")],
            given,
        )
