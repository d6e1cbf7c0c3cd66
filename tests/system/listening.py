"""Running one listener under a real loop, and talking to it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pytest

from plait.services.listener import Listener
from plait.tree.application import Application
from plait.tree.running import running
from plait.tree.tree import Tree

T = TypeVar("T")
Loop = Callable[[], asyncio.AbstractEventLoop]

try:
    import uvloop
except ImportError:  # pragma: no cover - an extra
    LOOPS: list[Any] = [pytest.param(asyncio.new_event_loop, id="asyncio")]
else:
    uvloop.new_event_loop().close()  # the first one opens a pipe for ever, which no test shall be blamed for
    LOOPS = [
        pytest.param(asyncio.new_event_loop, id="asyncio"),
        pytest.param(uvloop.new_event_loop, id="uvloop"),
    ]

on_each_loop = pytest.mark.parametrize("loop", LOOPS)

LOCAL = "tcp:0:interface=127.0.0.1"


def serve(loop: Loop, listener: Listener, client: Callable[[Tree, Any], Awaitable[T]]) -> T:
    """Run ``client(tree, address)`` while *listener* runs in the application ``shop``; nothing may be left of it."""

    async def main() -> T:
        tasks = asyncio.all_tasks()
        sockets = find_sockets()
        async with running(Application("shop", [listener])) as tree:
            addresses = tree.find(f"shop/{listener.name}").value
            assert addresses
            result = await client(tree, addresses[0])
        assert asyncio.all_tasks() == tasks
        for _ in range(3):
            await asyncio.sleep(0)  # for the client's own ends
        assert find_sockets() == sockets
        return result

    with asyncio.Runner(loop_factory=loop) as runner:
        # The loop makes its own descriptors when it is first used.
        runner.run(asyncio.sleep(0))
        return runner.run(main())


def find_sockets() -> set[str]:
    """Return the sockets that this process has open."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add(os.readlink(f"/proc/self/fd/{name}"))
        except FileNotFoundError:
            pass  # the one that listed
    return {each for each in found if each.startswith("socket:")}


@asynccontextmanager
async def connected(address: Any, **options: Any) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect to *address*; close at the end, whatever the server did."""
    if isinstance(address, str):
        reader, writer = await asyncio.open_unix_connection(address, **options)
    else:
        reader, writer = await asyncio.open_connection(*address[:2], **options)
    try:
        yield reader, writer
    finally:
        writer.close()
        try:
            await writer.wait_closed()
        except (OSError, asyncio.CancelledError):
            pass


async def until(condition: Callable[[], object]) -> None:
    """Wait until *condition* holds; at most a few seconds."""
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)
