"""
Restart: from the exception that ends a service to the first line of its next life, in one process, without back-off.

Each life does nothing for a millisecond and crashes; the limit stands in a bare loop that awaits the task again.
Logging is off for all, as a traceback costs more than any restart.
"""

from __future__ import annotations

from functools import partial

from harness import Figure, Side, Want, options, run
from processes import program, report

if __name__ == "__main__":
    given = options(__doc__, rounds=7)
    times = 300 if given.quick else 2000
    run(
        "Restart: crash to the next life, in process",
        [
            Side("bare loop", partial(report, program("crash.py", "bare", times)), "bare loop"),
            Side("plait", partial(report, program("crash.py", "plait", times)), "bare loop"),
            Side("mode", partial(report, program("crash.py", "mode", times)), "bare loop", ("mode",)),
        ],
        [Figure("p50", "p50 us"), Figure("p99", "p99 us", ratio=False), Figure("cpu", "CPU us", ratio=False)],
        [Want("plait", "p50", 5.0, "bare loop")],
        given,
        warm_up=False,
    )
