"""What the tests of `Program` share: real programs, and a look at what is alive."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from plait import Application, Program

try:
    import uvloop
except ImportError:
    LOOPS: list[Any] = ["asyncio", pytest.param("uvloop", marks=pytest.mark.skip(reason="uvloop is not installed"))]
else:
    uvloop.new_event_loop().close()  # the first one opens a pipe for ever, which no test shall be blamed for
    LOOPS = ["asyncio", "uvloop"]


def run_on(loop: str, main: Coroutine[Any, Any, None]) -> None:
    """Run *main* on the named event loop."""
    factory = uvloop.new_event_loop if loop == "uvloop" else None
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main)


def python(source: str, *arguments: str, **options: Any) -> Program:
    """Return a program in Python, quick to start."""
    options.setdefault("name", "images")
    return Program([sys.executable, "-I", "-S", "-c", source, *arguments], **options)


def shell(source: str, *arguments: str, **options: Any) -> Program:
    """Return a program in sh."""
    options.setdefault("name", "images")
    return Program(["/bin/sh", "-c", source, "sh", *arguments], **options)


def shop(*services: Any, **options: Any) -> Application:
    """Return an application called shop."""
    return Application("shop", services, **options)


def is_alive(pid: int) -> bool:
    """Say whether process *pid* runs: a zombie does not."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except (FileNotFoundError, ProcessLookupError):
        return False


def command_of(pid: int) -> list[str]:
    """Return the words with which process *pid* was begun."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().decode().split("\0")[:-1]
    except (FileNotFoundError, ProcessLookupError):
        return []


def who_runs(word: str) -> list[int]:
    """Return the living processes that have *word* among their arguments."""
    pids = [int(entry) for entry in os.listdir("/proc") if entry.isdecimal()]
    return [pid for pid in pids if word in command_of(pid) and is_alive(pid)]


async def until(condition: Callable[[], object], seconds: float = 10.0) -> float:
    """Look until *condition* holds, at most *seconds*; return how long it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, "it never came"
        await asyncio.sleep(0.002)
    return time.monotonic() - began
