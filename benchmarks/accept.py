"""
Accept: connect, 16 bytes there and back, close; 16 at a time, per second of the server's processor time.

plait keeps track of every connection, so that it can drain them at a stop: that is in its figure.
"""

from __future__ import annotations

import servers
from harness import Figure, Sample, Want, options, run
from load import put_load
from servers import Kind

KINDS = [
    servers.BARE_PROTOCOL,
    servers.PLAIT_PROTOCOL,
    servers.BARE_STREAMS,
    servers.PLAIT_STREAMS,
    servers.BARE_PROTOCOL_UVLOOP,
    servers.PLAIT_PROTOCOL_UVLOOP,
    servers.AIOMISC,
    servers.TWISTD,
    servers.ANYIO,
]

if __name__ == "__main__":
    given = options(__doc__, rounds=7)

    def measure(kind: Kind) -> Sample:
        """Load it once."""
        with kind.serve() as server:
            return put_load(server, "accept", 16, 16, 1, given.seconds(2.0, 0.5))

    run(
        "Accept: connect, answer, close",
        [kind.side(measure) for kind in KINDS],
        [Figure("work", "k connections a CPU second", 2), Figure("wall", "k a second", 2, ratio=False)],
        [Want("plait Protocol", "work", 0.95, "bare Protocol", at_least=True)],
        given,
        warm_up=False,
    )
