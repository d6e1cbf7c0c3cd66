"""The examples of a kept connection and of a periodic job, with real clients."""

from __future__ import annotations

import asyncio
import logging
import runpy
from pathlib import Path
from typing import Any

import pytest

from plait import running

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


def test_proxy() -> None:
    """Clients are answered through one connection; while the server is away they wait, and are answered then."""

    async def main() -> None:
        async with running(load("proxy.py")["application"]):
            waiting = asyncio.create_task(ask(8106, "early"))
            async with asyncio.timeout(20):
                async with running(load("echo.py")["application"]):
                    assert await waiting == ["early"]
                    answers = await asyncio.gather(*[ask(8106, f"{number} a", f"{number} b") for number in range(20)])
                    assert answers == [[f"{number} a", f"{number} b"] for number in range(20)]
                waiting = asyncio.create_task(ask(8106, "between"))
                async with running(load("echo.py")["application"]):
                    assert await waiting == ["between"]

    asyncio.run(main())


def test_periodic(caplog: pytest.LogCaptureFixture) -> None:
    """Words are counted while they are remembered, and swept away when they are old."""
    caplog.set_level(logging.INFO)
    example = load("periodic.py")
    # The module of runpy is gone, its functions' names live on here.
    names = example["sweep"].__globals__

    async def main() -> None:
        async with running(example["application"]), asyncio.timeout(20):
            assert await ask(8105, "one", "two", "one") == ["1", "2", "2"]
            names["FORGET_AFTER"] = 0.0
            while names["words"]:
                await asyncio.sleep(0.05)
            names["FORGET_AFTER"] = 10.0
            assert await ask(8105, "three") == ["1"]

    asyncio.run(main())
    assert "forgot one, two" in caplog.text
