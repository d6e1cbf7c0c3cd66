"""
Echo of a Twisted application: messages of 1 KiB per second of the server's processor time, of the same ``.tac`` file.
"""

from __future__ import annotations

from dataclasses import replace

import servers
from echo import side
from harness import Figure, Want, options, run

KINDS = [
    replace(servers.TWISTD_ASYNCIO, against="twistd -r asyncio"),
    replace(servers.TWISTD, against="twistd -r asyncio"),
    servers.GUEST_ASYNCIO,
    servers.GUEST_UVLOOP,
]

if __name__ == "__main__":
    given = options(__doc__, rounds=7)
    run(
        "Echo of a Twisted application: 1 KiB, 50 connections",
        [side(kind, given.seconds(2.0, 0.5)) for kind in KINDS],
        [Figure("work", "k messages a CPU second"), Figure("wall", "k messages a second", ratio=False)],
        [
            Want("plaitd -r asyncio", "work", 0.98, "twistd -r asyncio", at_least=True),
            Want("plaitd -r uvloop", "work", 1.2, "twistd -r asyncio", at_least=True),
        ],
        given,
        warm_up=False,
    )
