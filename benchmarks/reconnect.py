"""
Reconnection: 1,000 clients of one server that goes away, for 3 s and for 12 s.

Counted by the kernel, in a network namespace: how long after the server's return half and all are back, how many tried
in the worst 100 ms (as a share of the clients, from the loss on), attempts a client, processor time of the clients.
"""

from __future__ import annotations

from functools import partial

from harness import Figure, Sample, Side, Want, options, run
from processes import program, report

CLIENTS = 1000
SIDES = {
    "plait Connection": ("plait", ()),
    "twisted ClientService": ("client_service", ("twisted",)),
    "twisted ReconnectingClientFactory": ("client_factory", ("twisted",)),
    "aiomisc RobustTCPClient": ("aiomisc", ("aiomisc",)),
    "bare, fixed 1 s": ("fixed", ()),
}


def measure(who: str, away: float) -> Sample:
    """Go away once."""
    return report(program("outage.py", CLIENTS, away, *program("clients.py", who)))


def wants(away: int, seconds: float) -> list[Want]:
    """Return what is wanted of plait after so long an outage."""
    side = f"plait Connection, {away} s"
    return [
        Want(side, "all", seconds),
        Want(side, "worst", 15.0),
        Want(side, "attempts", 2.0),
    ]


if __name__ == "__main__":
    given = options(__doc__, rounds=3, quick_rounds=1)
    outages = [3] if given.quick else [3, 12]
    run(
        "Reconnection: 1,000 clients",
        [
            Side(f"{name}, {away} s", partial(measure, who, away), f"twisted ClientService, {away} s", needs)
            for away in outages
            for name, (who, needs) in SIDES.items()
        ],
        [
            Figure("all", "all back s", 2),
            Figure("half", "half back s", 2, ratio=False),
            Figure("worst", "worst 100 ms %", ratio=False),
            Figure("attempts", "attempts a client", 2, ratio=False),
            Figure("cpu", "CPU s", 2, ratio=False),
        ],
        [*wants(3, 1.5), *(wants(12, 1.9) if 12 in outages else [])],
        given,
        warm_up=False,
    )
