"""
Echo of a Twisted application: messages of 1 KiB per second of the server's processor time, of the same ``.tac`` file.
"""

from __future__ import annotations

from dataclasses import replace

import servers
from harness import Figure, Sample, Want, options, run
from load import put_load
from servers import Kind

KINDS = [
    replace(servers.TWISTD_ASYNCIO, against="twistd -r asyncio"),
    replace(servers.TWISTD, against="twistd -r asyncio"),
    servers.GUEST_ASYNCIO,
    servers.GUEST_UVLOOP,
]

if __name__ == "__main__":
    given = options(__doc__, rounds=7)

    def measure(kind: Kind) -> Sample:
        """Load it once."""
        with kind.serve() as server:
            return put_load(server, "echo", 50, 1024, 1, given.seconds(2.0, 0.5))

    run(
        "Echo of a Twisted application: 1 KiB, 50 connections",
        [kind.side(measure) for kind in KINDS],
        [Figure("work", "k messages a CPU second"), Figure("wall", "k messages a second", ratio=False)],
        [
            Want("plaitd -r asyncio", "work", 0.98, "twistd -r asyncio", at_least=True),
            Want("plaitd -r uvloop", "work", 1.2, "twistd -r asyncio", at_least=True),
        ],
        given,
        warm_up=False,
    )
