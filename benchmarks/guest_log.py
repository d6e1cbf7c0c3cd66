"""
What an event of Twisted's log costs, in plait's log and in twistd's: CPU time in one process, to a file

``python benchmarks/guest_log.py [--rounds N] [--quick]``.
"""

from __future__ import annotations

import asyncio  # noqa: F401 - a server has it loaded
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from harness import Figure, Sample, Side, Want, options, run
from log_record import Write, measure

BASELINE = "twistd"


def write_events(publisher: Any) -> Write:
    """Return what writes events with three fields to *publisher*, one in four as `log.msg` does it."""
    from twisted.logger import Logger
    from twisted.python.log import LogPublisher

    log = Logger(namespace="benchmark.record", observer=publisher)
    legacy = LogPublisher(publisher, publisher)

    def write(count: int) -> None:
        for number in range(count):
            if number % 4:
                log.info("request served {method} {status} {duration}", method="GET", status=200, duration=0.0123)
            else:
                legacy.msg(f"request served {number}", system="HTTPChannel,3,127.0.0.1")

    return write


@contextmanager
def twistd(path: str) -> Iterator[Write]:
    """As twistd logs: a file that rotates, and is flushed after each event."""
    from twisted.logger import LogPublisher, textFileLogObserver
    from twisted.python.logfile import LogFile

    file = LogFile.fromFullPath(path, rotateLength=1 << 40)
    yield write_events(LogPublisher(textFileLogObserver(file)))
    file.close()


@contextmanager
def plait(path: str, format: str = "text", *, level: str = "info") -> Iterator[Write]:
    """As plaitd logs while the loop runs."""
    from twisted.logger import LogPublisher

    from plait.guests.twisted.failures import watch
    from plait.guests.twisted.logs import observe
    from plait.runner.logs import LogSettings, open_logs

    logs = open_logs(LogSettings(file=path, format=format, level=(level,)), path_of=lambda: "")
    logs.write_behind()
    write = write_events(LogPublisher(observe, watch))

    def write_all(count: int) -> None:
        write(count)
        if level != "info":  # the lines that `measure` counts
            logging.getLogger("benchmark").log(logging.CRITICAL, "\n".join(["-"] * count))
        logs.flush()

    try:
        yield write_all
    finally:
        logs.close()


PEERS: dict[str, Callable[[str], Any]] = {
    BASELINE: twistd,
    "plaitd, text": plait,
    "plaitd, JSON": partial(plait, format="json"),
    "plaitd, not let through": partial(plait, level="critical"),
}

if __name__ == "__main__":
    given = options(__doc__, rounds=9, quick_rounds=3)
    records = 4_000 if given.quick else 20_000

    def figure(name: str) -> Sample:
        """Write the events once."""
        return {"cpu": measure(PEERS[name], records)}

    run(
        "An event of Twisted's log to a file",
        [Side(name, partial(figure, name), BASELINE, ("twisted",)) for name in PEERS],
        [Figure("cpu", "CPU us an event", 2)],
        [Want("plaitd, text", "cpu", 1.0, BASELINE), Want("plaitd, JSON", "cpu", 1.0, BASELINE)],
        given,
    )
