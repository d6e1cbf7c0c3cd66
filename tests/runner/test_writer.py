"""The thread behind the log: order, bounds, what it says of what is lost, its end; no record waits in who logs it."""

from __future__ import annotations

import gc
import json
import logging
import os
import re
import resource
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from plait.runner import writer as writers
from plait.runner.logs import LogSettings, open_logs
from plait.runner.sinks import Sink, open_log_file
from plait.runner.writer import Writer

log = logging.getLogger("shop")


LOSS = rb"the pipe: (\d+) records? (?:was|were) lost while it could not be written \(it took nothing for a while\)\n"


def notice(level: int, text: str) -> bytes:
    return f"{text}\n".encode()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe: its reader, and a writer that a `Writer` is to close."""
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)


def read_all(reader: int) -> list[bytes]:
    with open(reader, "rb", closefd=False) as file:
        return file.readlines()


def test_what_is_put_is_written_in_order(tmp_path: Path) -> None:
    """Lines that were put at once, behind the thread, and by several threads are all there, each thread's in order."""
    logs = open_logs(LogSettings(file=str(tmp_path / "a.log"), format="json"))
    log.info("-1", extra={"by": 0})
    logs.write_behind()
    logs.write_behind()

    def write(by: int) -> None:
        for number in range(2000):
            log.info("%d", number, extra={"by": by})

    threads = [threading.Thread(target=write, args=(by,)) for by in (1, 2, 3)]
    for thread in threads:
        thread.start()
    write(0)
    for thread in threads:
        thread.join()
    logs.close()
    lines = [json.loads(line) for line in (tmp_path / "a.log").read_text().splitlines()]
    for by in range(4):
        numbers = [int(line["message"]) for line in lines if line["by"] == by]
        assert numbers == list(range(-1 if by == 0 else 0, 2000))


def test_lines_that_come_together_are_written_together(tmp_path: Path) -> None:
    """A hundred records cost a few calls, not a hundred."""
    calls = []

    class Counting(Sink):
        def write_many(self, lines: list[bytes]) -> int:  # type: ignore[override]
            calls.append(len(lines))
            return super().write_many(lines)

    writer = Writer(Counting(os.open(tmp_path / "a", os.O_WRONLY | os.O_CREAT)), "a", notice)
    writer.write_behind()
    for number in range(1000):
        writer.put(b"%d\n" % number)
    writer.close()
    assert sum(calls) == 1000
    assert len(calls) < 500
    assert (tmp_path / "a").read_bytes() == b"".join(b"%d\n" % number for number in range(1000))


def test_a_place_that_takes_nothing_holds_nobody_up(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """While a pipe is full, putting returns at once; what has no room is counted, and said when it is read again."""
    monkeypatch.setattr(writers, "ROOM", 300_000)
    reader, descriptor = pipe
    writer = Writer(Sink(descriptor), "the pipe", notice)
    writer.write_behind()
    line = b"x" * 999 + b"\n"
    for _ in range(1000):  # more than a pipe and the queue hold; were it written here, this would never end
        writer.put(line)
    found: list[bytes] = []
    reading = threading.Thread(target=lambda: found.extend(read_all(reader)))
    reading.start()
    assert writer.flush(30)
    writer.put(b"later\n")
    writer.close()
    reading.join()
    said = [re.fullmatch(LOSS, text) for text in found if b"lost" in text]
    assert sum(int(match[1]) for match in said if match) == 1000 - found.count(line) > 0
    assert None not in said
    assert found[-1] == b"later\n"


def test_the_end_does_not_wait_for_ever(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A place that never takes anything has its time at the end, and then it is said how much is lost."""
    reader, descriptor = pipe
    writer = Writer(Sink(descriptor), "the pipe", notice)
    writer.write_behind()
    for _ in range(200):
        writer.put(b"x" * 999 + b"\n")
    began = time.monotonic()
    writer.close(0.05)
    assert time.monotonic() - began < 5
    assert "the pipe: it took nothing for 5 s: " in capfd.readouterr().err
    read = threading.Thread(target=lambda: [os.read(reader, 65536) for _ in range(4)])  # so that the thread can end
    read.start()
    read.join()
    os.close(descriptor)


def test_flush_says_whether_all_is_written(pipe: tuple[int, int]) -> None:
    """Flushing waits for what was put, no longer than it is told."""
    reader, descriptor = pipe
    writer = Writer(Sink(descriptor), "the pipe", notice)
    assert writer.flush(0)
    writer.write_behind()
    writer.put(b"one\n")
    assert writer.flush(30)
    assert os.read(reader, 100) == b"one\n"
    writer.put(b"x" * 1_000_000 + b"\n")
    assert not writer.flush(0.01)
    reading = threading.Thread(target=read_all, args=(reader,))
    reading.start()
    assert writer.flush(30)
    writer.close()
    reading.join()


def test_a_device_that_is_full_is_said_once(capfd: pytest.CaptureFixture[str]) -> None:
    """Behind the thread too, the service lives, standard error hears it once, and at the end how many."""
    logs = open_logs(LogSettings(file="/dev/full"))
    logs.write_behind()
    for _ in range(300):
        log.info("lost")
    logs.close()
    assert capfd.readouterr().err == (
        "/dev/full: cannot be written (No space left on device): records are lost until it can\n"
        "/dev/full: 300 records were lost while it could not be written (No space left on device)\n"
    )


def test_reopening_comes_between_two_records(tmp_path: Path) -> None:
    """What was logged before is in the old file, what is logged after in the new one, and so is what is said of it."""
    path = tmp_path / "a.log"
    logs = open_logs(LogSettings(file=str(path)))
    logs.write_behind()
    said: list[str | None] = []

    def done(problem: str | None) -> None:
        said.append(problem)
        log.info("opened")

    for number in range(100):
        log.info("old %d", number)
    assert logs.flush()
    path.rename(tmp_path / "a.log.1")
    log.info("old last")
    logs.reopen_soon(done)
    for number in range(100):
        log.info("new %d", number)
    assert logs.reopen() is None
    logs.close()
    assert said == [None]
    old, new = (name.read_text().splitlines() for name in (tmp_path / "a.log.1", path))
    assert len(old) == 101
    assert [line.partition("] ")[2] for line in new] == ["opened", *(f"new {number}" for number in range(100))]


def test_the_thread_ends_with_the_log(tmp_path: Path) -> None:
    """Closing leaves no thread; what is put later is written at once or counted, and nobody hangs."""
    logs = open_logs(LogSettings(file=str(tmp_path / "a.log")))
    logs.write_behind()
    assert "plait-log" in [thread.name for thread in threading.enumerate()]
    logs.close()
    assert "plait-log" not in [thread.name for thread in threading.enumerate()]


def test_no_signal_is_delivered_to_the_thread(tmp_path: Path) -> None:
    """A signal must interrupt what blocks the main thread: the thread of the log has all of them blocked."""
    logs = open_logs(LogSettings(file=str(tmp_path / "a.log")))
    logs.write_behind()
    log.info("x")
    assert logs.flush()
    (thread,) = [thread for thread in threading.enumerate() if thread.name == "plait-log"]
    status = Path(f"/proc/self/task/{thread.native_id}/status").read_text()
    logs.close()
    (mask,) = [int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigBlk")]
    assert all(mask & 1 << number - 1 for number in (1, 2, 10, 12, 15, 17))


def run(code: str, path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(code), str(path)],
        capture_output=True,
        text=True,
        timeout=60,
    )


START = """
import logging, os, sys
from plait.runner.logs import LogSettings, open_logs
logs = open_logs(LogSettings(file=sys.argv[1], format="json"))
logs.write_behind()
log = logging.getLogger("shop")
"""


def test_a_program_that_never_closes_its_log_loses_nothing(tmp_path: Path) -> None:
    """At the interpreter's end all is written, also by a program that ends by an error."""
    done = run(f"{START}\nfor number in range(1000): log.info(number)\nraise SystemExit(3)", tmp_path / "a.log")
    assert (done.returncode, done.stderr) == (3, "")
    assert len((tmp_path / "a.log").read_text().splitlines()) == 1000


def test_a_fork_writes_its_own_and_nothing_twice(tmp_path: Path) -> None:
    """What waits is written by the parent alone; the child writes each record at once."""
    code = """
    for number in range(1000):
        log.info("before %d", number)
    child = os.fork()
    for number in range(1000):
        log.info("%d %d", child == 0, number)
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    """
    done = run(START + textwrap.dedent(code), tmp_path / "a.log")
    assert done.stderr == ""
    messages = [json.loads(line)["message"] for line in (tmp_path / "a.log").read_text().splitlines()]
    assert sorted(messages) == sorted(
        [f"before {number}" for number in range(1000)] + [f"{who} {number}" for who in (0, 1) for number in range(1000)]
    )


def test_a_log_that_is_closed_is_forgotten(tmp_path: Path) -> None:
    """Neither the interpreter's end nor forks keep a closed log alive."""
    import weakref

    logs = open_logs(LogSettings(file=str(tmp_path / "a.log")))
    logs.write_behind()
    logs.close()
    ref = weakref.ref(logs.handler.writer)  # type: ignore[attr-defined]
    del logs
    gc.collect()
    assert ref() is None


def test_a_batch_that_is_cut_is_finished(tmp_path: Path) -> None:
    """A disk that becomes full amid many lines: the line that is torn is finished first, the others one by one."""
    path = tmp_path / "a.log"
    sink = Sink(open_log_file(str(path)))
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        for limit, done in ((4, 1), (6, 2), (8, 2)):
            os.truncate(path, 0)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
            lines = [b"one\n", b"two\n", b"six\n"]
            assert sink.write_many(lines) == done
            if done < 3:
                with pytest.raises(OSError, match="File too large"):
                    sink.write(lines[done])
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            for line in lines[done:]:
                sink.write(line)
            assert path.read_bytes() == b"".join(lines)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
        sink.close()


def test_what_goes_wrong_between_two_records_ends_nothing(tmp_path: Path) -> None:
    """An error of what is called when the log was opened again is a line, and the log goes on."""
    logs = open_logs(LogSettings(file=str(tmp_path / "a.log")))
    logs.write_behind()
    logs.reopen_soon(lambda problem: {}["x"])
    log.info("after")
    logs.close()
    lines = [line.partition(" ")[2] for line in (tmp_path / "a.log").read_text().splitlines()]
    assert lines == [f"[plait#error] {tmp_path}/a.log: KeyError: 'x'", "[shop#info] after"]


def test_signals_that_log_are_in_nobodys_way(tmp_path: Path) -> None:
    """A signal's handler that logs, wherever it meets a record on its way, breaks nothing and loses nothing."""
    logs = open_logs(LogSettings(file=str(tmp_path / "a.log")))
    logs.write_behind()
    heard = 0

    def hear(number: int, frame: object) -> None:
        nonlocal heard
        heard += 1
        log.info("heard")

    before = signal.signal(signal.SIGPROF, hear)
    try:
        signal.setitimer(signal.ITIMER_PROF, 0.0005, 0.0005)
        for said in range(5000):
            log.info("said")
            if said % 7 == 0:
                assert logs.flush()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    logs.close()
    text = (tmp_path / "a.log").read_text()
    assert (text.count("said\n"), text.count("heard\n")) == (5000, heard)
    assert heard > 10


def test_kill_costs_no_more_than_a_moment(tmp_path: Path) -> None:
    """What was logged some moments before SIGKILL is in the file, though nobody closed it or waited for it."""
    code = """
    for number in range(1000):
        log.info(number)
    import time
    time.sleep(1.0)
    os.kill(os.getpid(), 9)
    """
    done = run(START + textwrap.dedent(code), tmp_path / "a.log")
    assert done.returncode == -signal.SIGKILL
    assert len((tmp_path / "a.log").read_text().splitlines()) == 1000
