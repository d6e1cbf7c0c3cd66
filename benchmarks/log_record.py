"""
What a log record with three fields costs, plait beside its peers: CPU time in one process, to a file

Each round writes the same records through each peer, in a new random order; a ratio compares two figures of the same
round.  A peer that is not installed says so.  ``python benchmarks/log_record.py [--rounds N] [--quick]``.
"""

from __future__ import annotations

import asyncio  # noqa: F401 - a server has it loaded, and newer Pythons then ask it for the name of the task
import gc
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from harness import Figure, Sample, Side, Want, options, run

MESSAGE = "request served"
METHOD, STATUS, DURATION = "GET", 200, 0.0123
BASELINE = "stdlib Formatter + FileHandler"

Write = Callable[[int], None]


def write_records(log: logging.Logger) -> Write:
    """The work of everybody who stands under ``logging``: one message, three fields."""

    def write(count: int) -> None:
        for _ in range(count):
            log.info(MESSAGE, extra={"method": METHOD, "status": STATUS, "duration": DURATION})

    return write


@contextmanager
def standard(path: str, formatter: logging.Formatter) -> Iterator[Write]:
    handler = logging.FileHandler(path)
    handler.setFormatter(formatter)
    logging.root.addHandler(handler)
    old = logging.root.level
    logging.root.setLevel(logging.INFO)
    try:
        yield write_records(logging.getLogger("benchmark.record"))
    finally:
        logging.root.setLevel(old)
        logging.root.removeHandler(handler)
        handler.close()


@contextmanager
def standard_text(path: str) -> Iterator[Write]:
    fields = "method=%(method)s status=%(status)s duration=%(duration)s"
    line = f"%(asctime)s [%(name)s#%(levelname)s] %(message)s {fields}"
    with standard(path, logging.Formatter(line)) as write:
        yield write


@contextmanager
def standard_json(path: str) -> Iterator[Write]:
    from pythonjsonlogger.json import JsonFormatter

    with standard(path, JsonFormatter("%(asctime)s %(levelname)s %(name)s %(message)s")) as write:
        yield write


@contextmanager
def plait(path: str, format: str, *, behind: bool = True) -> Iterator[Write]:
    """With *behind* as while the loop runs, else as before and after it."""
    from plait.runner.logs import LogSettings, open_logs

    logs = open_logs(LogSettings(file=path, format=format), path_of=lambda: "")
    if behind:
        logs.write_behind()
    write = write_records(logging.getLogger("benchmark.record"))

    def write_all(count: int) -> None:
        write(count)
        logs.flush()  # what the thread has still to do is counted too

    try:
        yield write_all
    finally:
        logs.close()


@contextmanager
def structlog_json(path: str) -> Iterator[Write]:
    import orjson
    import structlog

    with open(path, "ab", buffering=0) as file:
        log = structlog.wrap_logger(
            structlog.BytesLogger(file),
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.JSONRenderer(serializer=orjson.dumps),
            ],
            wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
            cache_logger_on_first_use=True,
        ).bind(logger="benchmark.record")

        def write(count: int) -> None:
            for _ in range(count):
                log.info(MESSAGE, method=METHOD, status=STATUS, duration=DURATION)

        yield write


@contextmanager
def twisted_text(path: str) -> Iterator[Write]:
    from twisted.logger import Logger, textFileLogObserver

    # Line buffered: twistd flushes each event.
    with open(path, "a", buffering=1, encoding="utf-8") as file:
        log = Logger(namespace="benchmark.record", observer=textFileLogObserver(file))
        line = f"{MESSAGE} method={{method}} status={{status}} duration={{duration}}"

        def write(count: int) -> None:
            for _ in range(count):
                log.info(line, method=METHOD, status=STATUS, duration=DURATION)

        yield write


@contextmanager
def loguru_text(path: str) -> Iterator[Write]:
    from loguru import logger

    logger.remove()
    line = "{time:YYYY-MM-DDTHH:mm:ss} [{name}#{level}] {message} method={extra[method]} status={extra[status]}"
    added = logger.add(path, format=line + " duration={extra[duration]}")

    def write(count: int) -> None:
        for _ in range(count):
            logger.bind(method=METHOD, status=STATUS, duration=DURATION).info(MESSAGE)

    try:
        yield write
    finally:
        logger.remove(added)


PEERS = {
    BASELINE: (standard_text, ()),
    "plait text": (lambda path: plait(path, "text"), ()),
    "plait JSON": (lambda path: plait(path, "json"), ()),
    "plait text, at once": (lambda path: plait(path, "text", behind=False), ()),
    "plait JSON, at once": (lambda path: plait(path, "json", behind=False), ()),
    "stdlib + python-json-logger": (standard_json, ("pythonjsonlogger",)),
    "structlog + orjson": (structlog_json, ("structlog", "orjson")),
    "twisted.logger text": (twisted_text, ("twisted",)),
    "loguru text": (loguru_text, ("loguru",)),
}


def measure(open_peer: Callable[[str], object], records: int) -> float:
    """Return the CPU microseconds that one record costs; every record must have reached the file."""
    with tempfile.TemporaryDirectory(prefix="log-record-") as folder:
        path = os.path.join(folder, "out.log")
        with open_peer(path) as write:
            write(records // 20 + 1)  # caches, and the interpreter's own specialising
            gc.collect()
            gc.disable()
            try:
                start = time.process_time_ns()
                write(records)
                spent = time.process_time_ns() - start
            finally:
                gc.enable()
        with open(path, "rb") as file:
            lines = sum(1 for _ in file)
        if lines != records + records // 20 + 1:
            raise RuntimeError(f"{lines} lines in the file instead of {records + records // 20 + 1}")
    return spent / records / 1000


if __name__ == "__main__":
    given = options(__doc__, rounds=9, quick_rounds=3)
    records = 4_000 if given.quick else 20_000

    def figure(name: str) -> Sample:
        """Write the records once."""
        return {"cpu": measure(PEERS[name][0], records)}

    run(
        "A log record with three fields to a file",
        [Side(name, partial(figure, name), BASELINE, needs) for name, (_, needs) in PEERS.items()],
        [Figure("cpu", "CPU us a record", 2)],
        [Want("plait text", "cpu", 0.7, BASELINE), Want("plait JSON", "cpu", 0.6, BASELINE)],
        given,
    )
