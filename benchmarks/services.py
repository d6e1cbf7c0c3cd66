"""
Services: start and stop of 10,000 and 100,000 services that do nothing, in one group.

Processor time in microseconds a service, and resident bytes a service once all have started (what describes them
included).  Bare tasks are created, cancelled and gathered.

Python's garbage collector looks at everything there is, again and again while it grows, for bare tasks as well; "no GC"
shows what is linear without it.
"""

from __future__ import annotations

from functools import partial

from harness import Figure, Side, Want, options, run
from processes import program, report

FEW, MANY = 10_000, 100_000
SIDES = {
    "bare tasks": ("bare", (FEW, MANY), ()),
    "plait": ("plait", (FEW, MANY), ()),
    "bare tasks, no GC": ("bare", (FEW, MANY), ()),
    "plait, no GC": ("plait", (FEW, MANY), ()),
    "twisted MultiService": ("twisted", (FEW, MANY), ("twisted",)),
    "aiomisc": ("aiomisc", (FEW, MANY), ("aiomisc",)),
    # Its build is quadratic: 100,000 are not done in a minute.
    "mode": ("mode", (FEW,), ("mode",)),
}

if __name__ == "__main__":
    run(
        "Services: start and stop in one group",
        [
            Side(
                f"{name}, {count:,}",
                partial(report, program("tree.py", who, count, *(["nogc"] if "no GC" in name else []))),
                f"bare tasks, no GC, {count:,}" if "no GC" in name else f"bare tasks, {count:,}",
                needs,
            )
            for name, (who, counts, needs) in SIDES.items()
            for count in counts
        ],
        [
            Figure("life", "start + stop us"),
            Figure("build", "build us", ratio=False),
            Figure("bytes", "bytes", 0, ratio=False),
        ],
        [
            Want("plait, 10,000", "life", 3.0, "bare tasks, 10,000"),
            Want("plait, 100,000", "life", 3.0, "bare tasks, 100,000"),
            Want("plait, 100,000", "life", 1.15, "plait, 10,000"),
            Want("plait, no GC, 100,000", "life", 1.15, "plait, no GC, 10,000"),
            Want("plait, 100,000", "bytes", 2.5 * 1024, "bare tasks, 100,000", beyond=True),
        ],
        options(__doc__, rounds=5, quick_rounds=1),
        warm_up=False,
    )
