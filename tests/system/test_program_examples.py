"""The examples of programs, threads and resources, with real clients."""

from __future__ import annotations

import asyncio
import runpy
import signal
from pathlib import Path
from typing import Any

import pytest

from plait import Application, State, running
from plait.testing import reached

EXAMPLES = Path(__file__).parents[2] / "examples"


def load(name: str) -> dict[str, Any]:
    """Return what the example defines."""
    return runpy.run_path(str(EXAMPLES / name))


async def ask(port: int, *lines: str) -> list[str]:
    """Send *lines* and return the lines that come back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.writelines(f"{line}\n".encode() for line in lines)
    writer.write_eof()
    answer = (await reader.read()).decode().splitlines()
    writer.close()
    await writer.wait_closed()
    return answer


def test_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The child serves files, and another one does when it was killed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hello.txt").write_text("hello from a child")
    application: Application = load("program.py")["application"]

    async def main() -> None:
        async with running(application) as tree:
            child = tree.find("program/files")
            for life in (1, 2):
                await reached(tree, "program/files", State.READY, life=life)
                pid = child.value.pid
                assert await ask(8102) == [f"process {pid} serves http://127.0.0.1:8101/"]
                answer = await ask(8101, "GET /hello.txt HTTP/1.0", "")
                assert answer[-1] == "hello from a child"
                child.value.send_signal(signal.SIGKILL)
                while child.life == life and child.state is State.READY:
                    await child.changed()

    asyncio.run(main())


def test_thread() -> None:
    """The thread works while the listener answers."""

    async def main() -> None:
        async with running(load("thread.py")["application"]):
            first = last = int((await ask(8103))[0])
            while last == first:
                last = int((await ask(8103))[0])
            assert last > first

    asyncio.run(main())


def test_resource(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What clients send is kept from one run to the next."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    async def main() -> None:
        async with running(load("resource.py")["application"]):
            assert await ask(8104, "one", "two") == ["1", "2"]
        async with running(load("resource.py")["application"]):
            assert await ask(8104, "three") == ["3"]

    asyncio.run(main())
