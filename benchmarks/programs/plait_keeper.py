"""A child program kept alive by plait; BENCH_COMMAND is its command."""

import os

from plait import Application, Backoff, Limit, Program

application = Application(
    "keeper",
    [Program(os.environ["BENCH_COMMAND"].split(), name="child", restart="always")],
    limit=Limit(None),
    backoff=Backoff(base=0.0, cap=0.0),
)
