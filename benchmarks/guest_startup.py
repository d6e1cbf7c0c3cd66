"""
Start-up of a Twisted application: from exec to the first accepted connection, of the same ``.tac`` file.
"""

from __future__ import annotations

from dataclasses import replace

import servers
from harness import Figure, Want, options, run
from startup import measure

KINDS = [
    replace(servers.TWISTD, against="twistd"),
    replace(servers.TWISTD_ASYNCIO, against="twistd"),
    servers.GUEST,
    replace(servers.GUEST_ASYNCIO, against="twistd"),
]

if __name__ == "__main__":
    run(
        "Start-up of a Twisted application",
        [kind.side(measure) for kind in KINDS],
        [Figure("answer", "answer ms"), Figure("connect", "connect ms", ratio=False), Figure("cpu", "CPU ms")],
        [Want(kind.name, "answer", 1.1, "twistd") for kind in KINDS[2:]],
        options(__doc__, rounds=40, quick_rounds=3),
    )
