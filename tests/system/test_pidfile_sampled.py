"""
Promise 37: whoever reads the pidfile finds the number of a plaitd, whenever he looks.

Sampled a thousand times a second over starts, reload signals and stops; there is no upgrade yet to sample it over.
"""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.system.daemon import Place

#: Its clients are told who answers.
APPLICATION = """
from plait import Listener

async def answer(reader, writer):
    writer.write(b"%d" % os.getpid())

application = Application("shop", [Listener("unix:answer.sock", answer)])
"""

#: How long from one look to the next, in seconds.
STEP = 0.001
#: Every how many looks somebody connects, too.
CONNECTS = 20


@dataclass(frozen=True)
class Sample:
    """What was seen: between which moments, what was in the pidfile (None: no file), and what was wrong about it."""

    began: float
    ended: float
    content: str | None
    wrong: str


class Sampler:
    """Looks at the pidfile from a thread, as a context manager."""

    def __init__(self, place: Place) -> None:
        self.samples: list[Sample] = []
        self._place = place
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._over.is_set():
            began = time.monotonic()
            content = self._read()
            wrong = self._judge(content, len(self.samples) % CONNECTS == 0)
            self.samples.append(Sample(began, time.monotonic(), content, wrong))
            due = max(due + STEP, time.monotonic() - STEP)
            time.sleep(max(0.0, due - time.monotonic()))  # at regular moments: that is what is sampled

    def _read(self) -> str | None:
        try:
            return self._place.pidfile.read_text()
        except FileNotFoundError:
            return None

    def _judge(self, content: str | None, connects: bool) -> str:
        if not content:
            return ""  # not yet, or no longer: whether it may be so now is known to who starts and stops it
        if not re.fullmatch(r"[1-9]\d*\n", content):
            return f"cannot be read as a number: {content!r}"
        try:
            command = Path(f"/proc/{int(content)}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            command = b""
        if b"plaitd" not in command and self._read() == content:
            return f"names {content!r}, who is {command!r}"
        if connects:
            try:
                with socket.socket(socket.AF_UNIX) as client:
                    client.settimeout(20)
                    client.connect(str(self._place.folder / "answer.sock"))
                    answer = client.recv(100).decode()
            except OSError:
                return ""  # it starts or stops
            if f"{answer}\n" != content and self._read() == content:
                return f"names {content!r}, but {answer} serves"
        return ""


@pytest.mark.promise(37)
@pytest.mark.time_limit(300)
def test_the_pidfile_of_a_plaitd_that_serves_is_always_there(place: Place, is_long: bool) -> None:
    """From the moment that its start returns to the moment that it is told to stop; and it never names a stranger."""
    place.write(APPLICATION)
    chance = random.Random(4711)
    cycles = 100 if is_long else 5
    served = []
    with Sampler(place) as sampler:
        for _ in range(cycles):
            daemon = place.daemonize()
            began = time.monotonic()
            for _ in range(20):
                daemon.send(chance.choice((signal.SIGHUP, signal.SIGUSR1)))
                time.sleep(0.01)
            served.append((began, time.monotonic(), daemon.pid))
            assert daemon.stop().code == 0
            os.unlink(place.folder / "plaitd.log")
    assert [sample for sample in sampler.samples if sample.wrong] == []
    looks = 0
    for began, ended, pid in served:
        while_it_served = [sample for sample in sampler.samples if began <= sample.began and sample.ended <= ended]
        looks += len(while_it_served)
        assert {sample.content for sample in while_it_served} <= {f"{pid}\n"}
    assert looks > 20 * cycles, "it was hardly looked at"
    # An empty file is seen only between its making and its locking, which is before anybody was told that it started.
    print(f"{len(sampler.samples)} looks, {looks} while it served, ", end="")
    print(f"{sum(sample.content == '' for sample in sampler.samples)} found it empty while it started")
