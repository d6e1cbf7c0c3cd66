"""A program's start, its words, and its end by itself (promise 28)."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from plait import Application, Backoff, GaveUp, Limit, Program, StartFailed, State, StateChanged, Tree, running
from plait.errors import ProgramFailed
from plait.services.spawn import RunningProgram
from plait.testing import reached
from tests.system.program_rig import LOOPS, python, run_on, shell, shop, until

AT_ONCE = Backoff(base=0)
SIGNALS = ["KILL", "TERM", "INT", "HUP", "QUIT", "SEGV", "ABRT", "BUS", "FPE", "USR1"]


@pytest.mark.parametrize("loop", LOOPS)
def test_death_by_any_signal_is_noticed_at_once(loop: str) -> None:
    """A program killed by a signal is noticed in under 100 ms, and the signal is in the event."""

    async def main() -> None:
        causes: list[str] = []
        program = shell("ulimit -c 0; exec sleep 1000")
        async with running(shop(program, limit=Limit(None), backoff=AT_ONCE)) as tree:
            tree.subscribe(lambda event: causes.append(str(event)) if getattr(event, "cause", None) else None)
            child = tree.find("shop/images")
            for life, name in enumerate(SIGNALS, 1):
                await reached(tree, "shop/images", State.READY, life=life)
                runs: RunningProgram = child.value
                began = time.monotonic()
                runs.send_signal(getattr(signal, f"SIG{name}"))
                while child.state is State.READY and child.life == life:
                    await child.changed()
                assert time.monotonic() - began < 0.1
                assert runs.returncode == -getattr(signal, f"SIG{name}")
                assert f"(ProgramFailed: sh (pid {runs.pid}) was killed by SIG{name})" in causes[-1]
                with pytest.raises(ProcessLookupError):
                    runs.send_signal(signal.SIGTERM)

    run_on(loop, main())


def test_an_exit_status_is_a_failure_that_says_so() -> None:
    """A status that is not among exit_codes is told in the failure."""

    async def main() -> None:
        tree = Tree(shop(shell("exit 3", ready_line="never")))
        with pytest.raises(StartFailed) as caught:
            await tree.open()
        cause = caught.value.__cause__
        assert isinstance(cause, ProgramFailed)
        assert cause.returncode == 3
        assert str(cause).startswith("sh (pid ")
        assert str(cause).endswith(") exited with status 3")

    asyncio.run(main())


def test_a_status_among_exit_codes_is_done(caplog: pytest.LogCaptureFixture) -> None:
    """0 is done by default; others are when exit_codes has them; the log has the status either way."""
    caplog.set_level(logging.INFO)

    async def main() -> None:
        stays = shell("exec sleep 1000", name="stays")
        async with running(shop(shell("exit 0"), shell("exit 3", name="three", exit_codes=(0, 3)), stays)) as tree:
            await reached(tree, "shop/images", State.DONE)
            await reached(tree, "shop/three", State.DONE)

    asyncio.run(main())
    messages = [record.getMessage() for record in caplog.records]
    assert any(message.endswith("exited with status 0") for message in messages)
    assert any(message.endswith("exited with status 3") for message in messages)


@pytest.mark.parametrize("loop", LOOPS)
def test_lines_become_records_with_the_path(loop: str, caplog: pytest.LogCaptureFixture) -> None:
    """Both streams are logged at INFO under the service's path, the last words before the end included."""
    caplog.set_level(logging.INFO)

    async def main() -> None:
        program = shell("echo one; echo two >&2; printf 'l\\377st'; exit 0")
        async with running(shop(program, shell("exec sleep 1000", name="stays"))) as tree:
            await reached(tree, "shop/images", State.DONE)

    run_on(loop, main())
    records = [record for record in caplog.records if record.name == "shop.images" and hasattr(record, "stream")]
    told = {(record.levelname, record.stream, record.getMessage()) for record in records}
    assert told == {("INFO", "stdout", "one"), ("INFO", "stderr", "two"), ("INFO", "stdout", "l\\xst")} or told == {
        ("INFO", "stdout", "one"),
        ("INFO", "stderr", "two"),
        ("INFO", "stdout", "l\\xffst"),
    }


@pytest.mark.parametrize("loop", LOOPS)
def test_a_flood_of_output_loses_nothing_and_blocks_nobody(loop: str, caplog: pytest.LogCaptureFixture) -> None:
    """A program that writes as fast as it can is slowed down; every line arrives; the loop stays quick."""
    caplog.set_level(logging.INFO)
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    logger = logging.getLogger("shop.images")
    handler = Keep()
    logger.addHandler(handler)
    logger.propagate = False

    async def main() -> None:
        slowest = 0.0
        flood = python("for n in range(60000): print('line', n)")
        async with running(shop(flood, shell("exec sleep 1000", name="stays"))) as tree:
            while tree.state("shop/images") is not State.DONE:
                began = time.monotonic()
                await asyncio.sleep(0)
                slowest = max(slowest, time.monotonic() - began)
        assert slowest < 0.5

    try:
        run_on(loop, main())
    finally:
        logger.removeHandler(handler)
        logger.propagate = True
    assert [line for line in lines if line.startswith("line")] == [f"line {number}" for number in range(60000)]


def test_it_gets_our_environment_with_additions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment is inherited and added to; what a service manager told us is not passed on."""
    monkeypatch.setenv("PLAIT_TEST_INHERITED", "yes")
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/systemd/notify")
    monkeypatch.setenv("LISTEN_FDS", "3")
    file = tmp_path / "seen"
    source = 'env > "$1"; pwd >> "$1"; read line || echo "no input" >> "$1"'

    async def main() -> None:
        program = shell(source, str(file), environment={"ADDED": "too"}, directory=tmp_path)
        async with running(shop(program, shell("exec sleep 1000", name="stays"))) as tree:
            await reached(tree, "shop/images", State.DONE)

    asyncio.run(main())
    seen = file.read_text().splitlines()
    assert {"PLAIT_TEST_INHERITED=yes", "ADDED=too", str(tmp_path), "no input"} <= set(seen)
    assert not [line for line in seen if line.startswith(("NOTIFY_SOCKET", "LISTEN_"))]
    assert [line for line in seen if line.startswith("PLAIT_PROGRAM=shop/images=")]


def test_it_is_ready_when_its_line_comes(tmp_path: Path) -> None:
    """With ready_line, later siblings start only after the program wrote it, on either stream."""
    file = tmp_path / "order"

    async def main() -> None:
        first = shell(
            'echo starting; sleep 0.2; echo first >> "$1"; echo "now listening" >&2; exec sleep 1000', str(file)
        )
        second = shell('echo second >> "$1"; exec sleep 1000', str(file), name="second")
        application = shop(Program(first.command, name="first", ready_line="listening$"), second)
        async with running(application) as tree:
            assert isinstance(tree.find("shop/first").value, RunningProgram)
            await until(lambda: "second" in file.read_text())
        assert file.read_text() == "first\nsecond\n"

    asyncio.run(main())


TELLS = """
import os, socket, time
time.sleep(0.1)
address = os.environ["NOTIFY_SOCKET"]
assert address[0] == "@"
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
    channel.connect("\\0" + address[1:])
    channel.send(b"STATUS=warming up")
    channel.send(b"READY=1\\nSTATUS=serving")
time.sleep(1000)
"""


@pytest.mark.parametrize("loop", LOOPS)
def test_it_is_ready_when_it_says_so(loop: str, caplog: pytest.LogCaptureFixture) -> None:
    """With notify, a program tells plait what it would tell systemd."""
    caplog.set_level(logging.INFO)

    async def main() -> None:
        async with running(shop(python(TELLS, notify=True))) as tree:
            assert tree.state("shop/images") is State.READY
            await until(lambda: "status: serving" in caplog.messages)
        assert "status: warming up" in caplog.messages

    run_on(loop, main())


@pytest.mark.parametrize(
    ("how", "hint"),
    [
        ({"notify": True}, "it has not said READY=1: leave out notify= if it never does, or raise start_timeout="),
        (
            {"ready_line": "^up"},
            "it has written no line for ready_line='^up': give the line that it does write, or raise start_timeout=",
        ),
    ],
)
def test_one_that_never_says_ready_is_late(how: dict[str, Any], hint: str) -> None:
    """Without its word the start fails after start_timeout, and the program is gone."""

    async def main() -> None:
        program = shell("exec sleep 1000", start_timeout=0.2, grace=0.1, name="images", **how)
        with pytest.raises(StartFailed) as caught:
            async with running(shop(program)):
                pass
        assert str(caught.value) == f"shop/images: did not start: not ready after 0.2 s: {hint}"

    asyncio.run(main())


@pytest.mark.parametrize("loop", LOOPS)
def test_what_cannot_be_run_is_one_sentence(loop: str, tmp_path: Path) -> None:
    """A program that is not there, may not be run, or has no directory: where, what, what to do; nothing leaks."""
    script = tmp_path / "tool"
    script.write_text("no program")
    script.chmod(0o644)
    cases = {
        Program(["plait-no-such-program"], name="images"): (
            "shop/images: cannot run 'plait-no-such-program' (No such file or directory):"
            " give the full path, or install it"
        ),
        Program([script], name="images"): (
            f"shop/images: cannot run '{script}' (Permission denied): make it executable (chmod +x)"
        ),
        shell("exit", directory=tmp_path / "gone"): (
            f"shop/images: cannot run in directory '{tmp_path}/gone' (No such file or directory):"
            " create it, or change directory="
        ),
    }

    async def main(program: Program) -> str:
        with pytest.raises(StartFailed) as caught:
            async with running(Application("shop", [program])):
                pass
        return str(caught.value.__cause__)

    for program, sentence in cases.items():
        found: list[str] = []

        async def note(program: Program = program, found: list[str] = found) -> None:
            found.append(await main(program))

        run_on(loop, note())
        assert found == [sentence]


def test_many_restarts_leak_nothing() -> None:
    """After 50 lives there are as many descriptors and children as before."""

    async def main() -> None:
        async with running(shop(shell("exec sleep 1000"), limit=Limit(None), backoff=AT_ONCE)) as tree:
            child = tree.find("shop/images")
            before: list[str] = []
            for life in range(1, 51):
                await reached(tree, "shop/images", State.READY, life=life)
                now = os.listdir("/proc/self/fd")
                assert len(now) == len(before or now)
                before = now
                child.value.send_signal(signal.SIGKILL)
                while child.life == life and child.state is State.READY:
                    await child.changed()

    asyncio.run(main())


def test_a_program_that_always_dies_makes_the_group_give_up() -> None:
    """Over the limit the group fails, and names the program and how it ended."""

    async def main() -> None:
        tree = Tree(shop(shell("exit 3"), limit=Limit(0)))
        await tree.open()
        with pytest.raises(GaveUp, match=r"sh \(pid \d+\) exited with status 3"):
            await tree.wait()

    asyncio.run(main())
    asyncio.run(main())


@pytest.mark.parametrize("loop", LOOPS)
def test_children_of_others_keep_their_exit_codes(loop: str) -> None:
    """What other code in the process starts is neither killed nor reaped."""

    async def main() -> None:
        other = subprocess.Popen(  # noqa: ASYNC220 - as thoughtless code would
            [sys.executable, "-I", "-S", "-c", "import sys; sys.stdin.read(); sys.exit(7)"], stdin=subprocess.PIPE
        )
        assert other.stdin is not None
        async with running(shop(shell("exec sleep 1000"), limit=Limit(None))) as tree:
            theirs = await asyncio.create_subprocess_exec("/bin/sh", "-c", "exit 5")
            child = tree.find("shop/images")
            child.value.send_signal(signal.SIGKILL)
            await reached(tree, "shop/images", State.READY, life=2)
            assert await theirs.wait() == 5
        assert other.poll() is None
        other.stdin.close()
        assert other.wait() == 7

    run_on(loop, main())


def test_a_stolen_exit_status_is_survived() -> None:
    """When other code reaps the program before us, its end is noticed all the same."""

    async def main() -> None:
        events: list[str] = []
        async with running(shop(shell("exec sleep 1000"), limit=Limit(None))) as tree:
            tree.subscribe(lambda event: events.append(str(event)) if isinstance(event, StateChanged) else None)
            child = tree.find("shop/images")
            pid = child.value.pid
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)  # noqa: ASYNC222 - it is dead
            await reached(tree, "shop/images", State.READY, life=2)
        assert f"sh (pid {pid}) ended, and somebody else took its exit status" in events[0]

    asyncio.run(main())
