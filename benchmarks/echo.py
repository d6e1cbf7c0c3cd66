"""
Echo: messages of 1 KiB per second of the server's processor time, on 50 connections that each wait for their answer.

The framework must not be on the data path: a Protocol factory is judged against the same Protocol bare, a stream
handler against asyncio's own streams, each on the same loop.
"""

from __future__ import annotations

import servers
from harness import Figure, Sample, Side, Want, options, run
from load import put_load
from servers import Kind

KINDS = [
    servers.BARE_PROTOCOL,
    servers.PLAIT_PROTOCOL,
    servers.BARE_STREAMS,
    servers.PLAIT_STREAMS,
    servers.BARE_PROTOCOL_UVLOOP,
    servers.PLAIT_PROTOCOL_UVLOOP,
    servers.BARE_STREAMS_UVLOOP,
    servers.PLAIT_STREAMS_UVLOOP,
    servers.AIOMISC,
    servers.TWISTD,
    servers.TWISTD_ASYNCIO,
    servers.ANYIO,
]


def side(kind: Kind, seconds: float) -> Side:
    """Return the side that loads *kind*, for so long."""

    def measure(kind: Kind) -> Sample:
        """Load it once."""
        with kind.serve() as server:
            return put_load(server, "echo", 50, 1024, 1, seconds)

    return kind.side(measure)


if __name__ == "__main__":
    given = options(__doc__, rounds=7)
    run(
        "Echo: 1 KiB, 50 connections",
        [side(kind, given.seconds(2.0, 0.5)) for kind in KINDS],
        [Figure("work", "k messages a CPU second"), Figure("wall", "k messages a second", ratio=False)],
        [Want(kind.name, "work", 0.97, kind.against, at_least=True) for kind in KINDS if kind.name.startswith("plait")],
        given,
        warm_up=False,
    )
