"""
``plaitd --help``: processor time from exec to exit, beside a Python that imports argparse and ends.

The Python that does nothing at all shows how much of both is its own.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from functools import partial

from harness import Figure, Sample, Side, Want, options, run
from processes import ENVIRONMENT, tool

COMMANDS = {
    "import argparse": lambda: [sys.executable, "-c", "import argparse"],
    "nothing": lambda: [sys.executable, "-c", "pass"],
    "plaitd --help": lambda: [tool("plaitd"), "--help"],
    "twistd --help": lambda: [tool("twistd"), "--help"],
}
#: Each sample is of so many, because one is a few hundredths of a second.
TIMES = 5


def measure(find: Callable[[], list[str]]) -> Sample:
    """Run a command some times."""
    command = find()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for _ in range(TIMES):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/", env=ENVIRONMENT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"cpu": used * 1000 / TIMES}


if __name__ == "__main__":
    run(
        "Help: exec to exit",
        [
            Side(name, partial(measure, find), "import argparse", ("twisted",) if name.startswith("twistd") else ())
            for name, find in COMMANDS.items()
        ],
        [Figure("cpu", "CPU ms")],
        [Want("plaitd --help", "cpu", 2.0, "import argparse")],
        options(__doc__, rounds=15, quick_rounds=3),
    )
