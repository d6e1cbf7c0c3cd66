"""What becomes of programs when plaitd is killed with -9 (promises 30 and 31)."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plait import AlreadyRunning, CannotCreate, Limit, StartFailed, State, running
from plait.services.keeper import keeper
from plait.testing import reached
from tests.system.program_rig import LOOPS, is_alive, run_on, shell, shop, until, who_runs
from tests.system.test_program_stop import FORKS

# A stand-in for plaitd that a test can kill; its options come as an expression.
DAEMON = """
import asyncio, sys
from plait import Application, Program, running

async def main():
    command, options = eval(sys.argv[1])
    async with running(Application("shop", [Program(command, name="images", **options)])):
        print("ready", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


class Daemon:
    """A process that runs one program."""

    def __init__(self, command: list[str], **options: Any) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", DAEMON, repr((command, options))], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def wait_ready(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n", self.process.communicate()[1].decode()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def word() -> Iterator[str]:
    """A word that marks the processes of one test; what still carries it afterwards is ended."""
    word = f"plait-{uuid.uuid4().hex}"
    yield word
    for pid in who_runs(word):
        os.kill(pid, signal.SIGKILL)


def wait_until_gone(word: str, seconds: float) -> float:
    """Wait until nobody carries *word*; return how long it took."""
    began = time.monotonic()
    while who_runs(word):
        assert time.monotonic() - began < seconds, who_runs(word)
        time.sleep(0.005)
    return time.monotonic() - began


@pytest.mark.time_limit(300)
def test_programs_die_with_us(word: str, is_long: bool) -> None:
    """When plaitd is killed with -9, its program and all that forked away from it end within 1 s."""
    for _ in range(100 if is_long else 5):
        daemon = Daemon([sys.executable, "-I", "-S", "-c", FORKS, word], ready_line="up")
        daemon.wait_ready()
        while len(who_runs(word)) < 5:
            time.sleep(0.005)
        daemon.kill()
        wait_until_gone(word, 1.0)


@pytest.mark.time_limit(300)
def test_programs_die_with_us_also_when_they_only_just_start(word: str, is_long: bool) -> None:
    """There is no moment in a start at which a kill -9 of plaitd leaves a program behind."""
    for _ in range(100 if is_long else 10):
        daemon = Daemon(["/bin/sh", "-c", "while :; do sleep 0.01; done", word])
        time.sleep(random.uniform(0.05, 0.3))
        daemon.kill()
        time.sleep(0.05)
        wait_until_gone(word, 1.0)


def test_they_stay_when_told_to(word: str) -> None:
    """With dies_with_us=False a program outlives a plaitd that was killed."""
    daemon = Daemon(["/bin/sh", "-c", "while :; do sleep 0.01; done", word], dies_with_us=False)
    daemon.wait_ready()
    daemon.kill()
    time.sleep(0.5)
    assert len(who_runs(word)) == 1


def keepers() -> list[int]:
    """Return the keepers of this process."""
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        pids = [int(pid) for pid in file.read().split()]
    found = []
    for pid in pids:
        with open(f"/proc/{pid}/cmdline") as file:
            if "keeper_process.py" in file.read():
                found.append(pid)
    return found


def test_the_keeper_is_there_only_while_it_is_needed() -> None:
    """One keeper for all programs, from the first to the last; none for those that may outlive us."""

    async def main() -> None:
        async with running(shop(shell("exec sleep 1000", dies_with_us=False))):
            assert keepers() == []
        async with running(shop(shell("exec sleep 1000"), shell("exec sleep 1000", name="two"))) as tree:
            (pid,) = keepers()
            await tree.stop("shop/images")
            assert keepers() == [pid]
            await tree.stop("shop/two")
            assert keepers() == []

    asyncio.run(main())


def test_the_keeper_outlasts_a_restart() -> None:
    """It stays between two lives of a program, and goes with the loop."""

    async def main() -> None:
        async with running(shop(shell("exec sleep 1000"), limit=Limit(None))) as tree:
            before = keepers()
            tree.find("shop/images").value.send_signal(signal.SIGKILL)
            await reached(tree, "shop/images", State.READY, life=2)
            assert keepers() == before
            tree.find("shop/images").value.send_signal(signal.SIGKILL)
            await reached(tree, "shop/images", State.WAITING)
        assert keepers() == before

    asyncio.run(main())
    assert keepers() == []


@pytest.mark.logs("WARNING plait.keeper: the keeper was killed: there is a new one")
@pytest.mark.parametrize("loop", LOOPS)
def test_a_keeper_that_was_killed_is_replaced(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its end is heard, and there is another one at once."""
    monkeypatch.setattr("plait.services.keeper.AT_ONCE", 0.0)

    async def main() -> None:
        async with running(shop(shell("exec sleep 1000"))):
            (before,) = keepers()
            os.kill(before, signal.SIGKILL)
            await until(lambda: keepers() not in ([], [before]))

    run_on(loop, main())
    assert keepers() == []


@pytest.mark.logs("WARNING plait.keeper: the keeper cannot run .it ended at once.: programs will outlive this process")
def test_a_keeper_that_cannot_run_is_said(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """One that ends at once is not tried again and again; the program runs on, and the log says what is missing."""
    monkeypatch.setattr(sys, "executable", "/bin/false")

    async def main() -> None:
        async with running(shop(shell("exec sleep 1000"))) as tree:
            await until(lambda: caplog.messages)
            assert tree.state("shop/images") is State.READY

    asyncio.run(main())


def test_the_keeper_needs_an_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one, the start fails with a sentence that says what to do."""
    monkeypatch.setattr(sys, "executable", "/nowhere/python")

    async def main() -> None:
        with pytest.raises(StartFailed) as caught:
            async with running(shop(shell("exec sleep 1000"))):
                pass
        assert str(caught.value.__cause__) == (
            "shop/images: cannot start the keeper, which ends the program when plaitd is killed"
            " (No such file or directory): set dies_with_us=False to do without"
        )

    asyncio.run(main())
    assert keeper._holders == 0


# The lock ------------------------------------------------------------------------------------------------------------

# Notes a second copy of itself: only one may have the file "alone".
ALONE = """
import os, sys, time
word, alone, seen = sys.argv[1:]
try:
    os.close(os.open(alone, os.O_CREAT | os.O_EXCL))
except FileExistsError:
    with open(alone) as file:
        text = file.read()
    if text and os.path.exists(f"/proc/{text}/cmdline") and word in open(f"/proc/{text}/cmdline").read():
        with open(seen, "a") as file:
            file.write(f"{text} and {os.getpid()}\\n")
with open(alone, "w") as file:
    file.write(str(os.getpid()))
time.sleep(1000)
"""


@pytest.mark.time_limit(600)
def test_a_second_copy_never_runs(word: str, tmp_path: Path, is_long: bool) -> None:
    """Killed and started again at any moment, plaitd never runs two copies of a program under one lock."""
    lock, alone, seen = (str(tmp_path / name) for name in ("lock", "alone", "seen"))
    command = [sys.executable, "-I", "-S", "-c", ALONE, word, alone, seen]
    for trial in range(200 if is_long else 10):
        daemon = Daemon(command, lock=lock, dies_with_us=trial % 2 == 0, start_timeout=0.5)
        if trial % 3 == 0:
            time.sleep(0.25)
        else:
            time.sleep(random.uniform(0.05, 0.35))
        daemon.kill()
        if trial % 10 == 9:  # those that may outlive us hold the lock for the next ones
            for pid in who_runs(word):
                os.kill(pid, signal.SIGKILL)
    assert not os.path.exists(seen), Path(seen).read_text()
    assert os.path.exists(alone)


def test_a_start_waits_for_who_holds_the_lock(tmp_path: Path) -> None:
    """A start under a lock waits for the end of the one that carries it."""
    lock = tmp_path / "lock"

    async def main() -> None:
        holder = Daemon(["/bin/sh", "-c", "exec sleep 1000"], lock=str(lock), dies_with_us=False)
        holder.wait_ready()
        pid = int(lock.read_text())
        holder.kill()
        began = time.monotonic()
        asyncio.get_running_loop().call_later(0.3, os.kill, pid, signal.SIGKILL)
        async with running(shop(shell("exec sleep 1000", lock=lock))) as tree:
            assert 0.25 < time.monotonic() - began < 5
            assert int(lock.read_text()) == tree.find("shop/images").value.pid

    asyncio.run(main())


def test_a_lock_that_stays_held_is_said(tmp_path: Path) -> None:
    """When the holder does not end in time the start fails, and names its pid."""
    lock = tmp_path / "lock"

    async def main() -> None:
        holder = Daemon(["/bin/sh", "-c", "exec sleep 1000"], lock=str(lock))
        holder.wait_ready()
        pid = int(lock.read_text())
        try:
            with pytest.raises(StartFailed) as caught:
                async with running(shop(shell("exec sleep 1000", lock=lock, start_timeout=0.3))):
                    pass
        finally:
            holder.kill()
        cause = caught.value.__cause__
        assert isinstance(cause, AlreadyRunning)
        assert cause.pid == pid
        assert str(cause) == (
            f"shop/images: lock '{lock}' is held by process {pid}: stop it (kill {pid}), or give another lock="
        )
        await until(lambda: not is_alive(pid))

    asyncio.run(main())


def test_a_lock_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    """A lock file that cannot be written: where, what, what to do."""

    async def main() -> None:
        with pytest.raises(StartFailed) as caught:
            async with running(shop(shell("exit", lock=tmp_path / "gone" / "lock"))):
                pass
        assert isinstance(caught.value.__cause__, CannotCreate)
        assert str(caught.value.__cause__) == (
            f"shop/images: lock '{tmp_path}/gone/lock' cannot be written (No such file or directory):"
            " give another place with lock="
        )

    asyncio.run(main())


def test_a_lock_is_free_again_after_each_life(tmp_path: Path) -> None:
    """A program under a lock restarts as quickly as any other."""

    async def main() -> None:
        async with running(shop(shell("exec sleep 1000", lock=tmp_path / "lock"), limit=Limit(None))) as tree:
            tree.find("shop/images").value.send_signal(signal.SIGKILL)
            await reached(tree, "shop/images", State.READY, life=2)
            await tree.restart("shop/images")

    asyncio.run(main())
