"""A program's stop, and the end of all that came of it (promise 29)."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from plait import Limit, State, Tree, running
from plait.testing import reached
from tests.system.program_rig import (
    LOOPS,
    is_alive,
    python,
    run_on,
    shell,
    shop,
    until,
    who_runs,
)

IGNORES = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(1000)"
)

# Each leaves a process that carries the word in its arguments: in the group; in a session of its own; forked twice and
# in a session of its own; the same with an empty environment.  It begins when it has the limit by which it is known:
# on a busy machine that is later than its first line, and who wipes his environment before that may escape, as is said
# where programs are explained.
FORKS = """
import os, resource, sys, time
word, times = sys.argv[1], 0
while resource.getrlimit(resource.RLIMIT_RSS)[0] == resource.RLIM_INFINITY:
    time.sleep(0.001)

def leave(setsid, twice, environment):
    pid = os.fork()
    if pid:
        if twice:
            os.waitpid(pid, 0)
        return
    if setsid:
        os.setsid()
    if twice and os.fork():
        os._exit(0)
    for number in range(3):
        os.dup2(os.open(os.devnull, os.O_RDWR), number)
    os.execve("/bin/sh", ["sh", "-c", "trap '' TERM; while :; do sleep 1000; done", word], environment)

leave(False, False, os.environ)
leave(True, False, os.environ)
leave(True, True, os.environ)
leave(True, True, {})
print("up", flush=True)
time.sleep(1000)
"""


@pytest.fixture
def word() -> Iterator[str]:
    """A word that marks the processes of one test; what still carries it afterwards is ended."""
    word = f"plait-{uuid.uuid4().hex}"
    yield word
    for end in ("", "-one", "-two"):
        for pid in who_runs(word + end):
            os.kill(pid, signal.SIGKILL)


KILLED = r"did not end within 0\.\d+ s of SIGTERM: killed"


@pytest.mark.logs(KILLED)
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("how", ["stop", "kill -9"])
def test_nothing_that_came_of_it_survives(loop: str, how: str, word: str) -> None:
    """Whatever forked away, also twice, in its own session, without its environment, ends with the program."""

    async def main() -> None:
        seen: list[list[int]] = []
        application = shop(python(FORKS, word, ready_line="up", grace=0.2), limit=Limit(None))
        async with running(application) as tree:
            await until(lambda: len(who_runs(word)) == 5)
            if how == "kill -9":
                child = tree.find("shop/images")
                old = who_runs(word)
                child.value.send_signal(signal.SIGKILL)
                # Before the replacement starts, they have ended.
                while child.life == 1:
                    await child.changed()
                seen.append([pid for pid in old if is_alive(pid)])
        assert seen in ([], [[]])
        assert who_runs(word) == []

    run_on(loop, main())


def test_they_are_asked_before_they_are_killed(word: str, tmp_path: Path) -> None:
    """On stop, what left the group is asked to end too, and has the rest of the grace for it."""
    file = tmp_path / "said"
    source = """
    setsid sh -c 'trap "sleep 0.1; echo bye >> $0; exit" TERM; echo up; while :; do sleep 0.01; done' "$1" &
    sh -c 'trap "sleep 0.1; echo bye >> $0; exit" TERM; while :; do sleep 0.01; done' "$1" &
    wait
    """

    async def main() -> None:
        async with running(shop(shell(source, str(file), ready_line="up", grace=5))):
            await asyncio.sleep(0.1)

    asyncio.run(main())
    assert file.read_text() == "bye\nbye\n"


@pytest.mark.logs(KILLED)
@pytest.mark.parametrize("loop", LOOPS)
def test_one_that_ignores_its_signal_is_killed_after_its_grace(loop: str, caplog: pytest.LogCaptureFixture) -> None:
    """TERM, the grace, KILL: and the log says that it came to that."""

    async def main() -> None:
        tree = Tree(shop(python(IGNORES, ready_line="up", grace=0.3)))
        await tree.open()
        pid = tree.find("shop/images").value.pid
        began = time.monotonic()
        await tree.close()
        assert 0.3 <= time.monotonic() - began < 1.5
        assert not is_alive(pid)
        assert tree.state("shop/images") is State.STOPPED
        name = os.path.basename(sys.executable)
        assert caplog.messages == [f"{name} (pid {pid}): it did not end within 0.3 s of SIGTERM: killed"]

    run_on(loop, main())


@pytest.mark.parametrize("loop", LOOPS)
def test_a_hurried_stop_kills_at_once(loop: str) -> None:
    """Cancelled a second time, it does not wait for its grace."""

    async def main() -> None:
        tree = Tree(shop(python(IGNORES, ready_line="up", grace=8)))
        await tree.open()
        pid = tree.find("shop/images").value.pid
        tree.stop_soon()
        await asyncio.sleep(0.1)
        assert is_alive(pid)
        began = time.monotonic()
        tree.hurry(0.0)
        await until(lambda: not is_alive(pid))
        assert time.monotonic() - began < 1.0
        try:
            await tree.wait()
        except BaseExceptionGroup:
            pass  # on a machine this busy its end may come later than the last moment

    run_on(loop, main())


def test_the_signal_is_the_one_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    """Another signal than TERM can be given; how the program ended is in the log."""
    caplog.set_level(logging.INFO)
    source = "trap 'echo hurt; exit 4' INT; echo up; while :; do sleep 0.01; done"

    async def main() -> None:
        async with running(shop(shell(source, signal="INT", ready_line="up"))):
            pass

    asyncio.run(main())
    assert "hurt" in caplog.messages
    assert caplog.messages[-1].endswith("exited with status 4 after SIGINT")


def test_a_paused_program_is_stopped_too() -> None:
    """TERM comes with CONT, so one under SIGSTOP ends within its grace."""

    async def main() -> None:
        async with running(shop(shell("exec sleep 1000", grace=5))) as tree:
            tree.find("shop/images").value.send_signal(signal.SIGSTOP)
            began = time.monotonic()
        assert time.monotonic() - began < 2

    asyncio.run(main())


BOMB = """
import os, sys, time
print("up", flush=True)
while True:
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        time.sleep(0.05)
    else:
        try:
            os.wait()
        except ChildProcessError:
            pass
        time.sleep(0.002)
        if len(sys.argv[1]) and os.getppid() == 1 and time.monotonic() % 1 < 0.9:
            time.sleep(0.02)
"""


@pytest.mark.logs(KILLED)
@pytest.mark.parametrize("how", ["stop", "kill -9"])
def test_one_that_keeps_forking_away_ends(how: str, word: str) -> None:
    """A program whose descendants fork and lose their parents all the time is ended to the last of them."""

    async def main() -> None:
        async with running(shop(python(BOMB, word, ready_line="up", grace=0.1, restart="never"))) as tree:
            await until(lambda: len(who_runs(word)) > 10)
            if how == "kill -9":
                tree.find("shop/images").value.send_signal(signal.SIGKILL)
                await reached(tree, "shop/images", State.FAILED)
        assert who_runs(word) == []

    asyncio.run(main())
    time.sleep(0.1)
    assert who_runs(word) == []


@pytest.mark.logs(KILLED)
def test_processes_of_two_programs_are_told_apart(word: str) -> None:
    """The end of one program leaves alone what came of another."""

    async def main() -> None:
        one = python(FORKS, f"{word}-one", ready_line="up", name="one", grace=0.2)
        two = python(FORKS, f"{word}-two", ready_line="up", name="two", grace=0.2)
        async with running(shop(one, two)) as tree:
            await until(lambda: len(who_runs(f"{word}-one")) == len(who_runs(f"{word}-two")) == 5)
            others = who_runs(f"{word}-two")
            await tree.stop("shop/one")
            assert who_runs(f"{word}-one") == []
            assert who_runs(f"{word}-two") == others
        assert who_runs(f"{word}-two") == []

    asyncio.run(main())
