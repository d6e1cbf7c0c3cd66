"""
Stop: from TERM to the process being gone, idle and with 1,000 idle connections that have had one answer.

The connections belong to the client, which keeps them open: only the server's stop ends them.
"""

from __future__ import annotations

from functools import partial

import servers
from harness import Figure, Sample, Side, Want, options, run
from load import hold
from servers import Kind

KINDS = [
    servers.BARE_PROTOCOL,
    servers.PLAIT_PROTOCOL,
    servers.BARE_STREAMS,
    servers.PLAIT_STREAMS,
    servers.TWISTD,
    servers.AIORUN,
    servers.AIOMISC,
    servers.MODE,
    servers.UVICORN,
    servers.GUNICORN,
]
LOADED = 1000


def measure(kind: Kind, connections: int) -> Sample:
    """Stop it once."""
    with kind.serve() as server:
        held = hold(server.port, connections, kind.http)
        try:
            return {"stop": server.stop() * 1000}
        finally:
            for client in held:
                client.close()


def sides(kind: Kind) -> list[Side]:
    """Return a side for each number of connections; gunicorn's worker keeps none."""
    counts = {"idle": 0} if kind is servers.GUNICORN else {"idle": 0, "1,000": LOADED}
    return [
        Side(f"{kind.name}, {text}", partial(measure, kind, count), f"{kind.against}, {text}", kind.needs)
        for text, count in counts.items()
    ]


if __name__ == "__main__":
    run(
        "Stop: TERM to gone",
        [side for kind in KINDS for side in sides(kind)],
        [Figure("stop", "ms")],
        [
            Want("plait Protocol, idle", "stop", 1.2, "bare Protocol, idle"),
            Want("plait Protocol, 1,000", "stop", 1.2, "bare Protocol, 1,000"),
            Want("plait streams, idle", "stop", 1.2, "bare streams, idle"),
            Want("plait streams, 1,000", "stop", 0.5, "bare streams, 1,000"),
        ],
        options(__doc__, rounds=7),
        warm_up=False,
    )
