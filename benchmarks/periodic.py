"""
Periodic actions: 10,000 of them once a second, their phases spread over the second or all in one (a burst).

Processor time in microseconds a firing, and how late each came against a grid that never moves; "fired" below 100 %
is drift.  The limit stands in asyncio's own ``call_at`` on the grid.
"""

from __future__ import annotations

from functools import partial

from harness import Figure, Side, Want, options, run
from processes import program, report

SIDES = {
    "call_at": ("bare", ()),
    "plait": ("plait", ()),
    "plait, async function": ("plait_async", ()),
    "tasks that sleep": ("bare_async", ()),
    "twisted LoopingCall": ("looping_call", ("twisted",)),
    "twisted TimerService": ("timer_service", ("twisted",)),
    "aiomisc": ("aiomisc", ("aiomisc",)),
}

if __name__ == "__main__":
    given = options(__doc__, rounds=5, quick_rounds=1)
    lengths = {"spread": given.seconds(10, 2), "burst": given.seconds(8, 2)}
    run(
        "Periodic actions: 10,000 at 1 Hz",
        [
            Side(
                f"{name}, {phase}",
                partial(report, program("timers.py", who, phase, length)),
                f"call_at, {phase}",
                needs,
            )
            for phase, length in lengths.items()
            for name, (who, needs) in SIDES.items()
        ],
        [
            Figure("cpu", "CPU us", 2),
            Figure("p99", "p99 late ms", 2),
            Figure("p50", "p50 late ms", 2, ratio=False),
            Figure("fired", "fired %", ratio=False),
        ],
        [
            Want(f"{name}, {phase}", figure, limit, f"call_at, {phase}")
            for name in ("plait", "plait, async function")
            for phase in lengths
            for figure, limit in (("cpu", 1.3), ("p99", 1.5))
        ],
        given,
        warm_up=False,
    )
