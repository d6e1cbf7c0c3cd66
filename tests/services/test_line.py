"""`connect`: one connection, asyncio's own streams."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from plait import ConfigurationError, Endpoint, connect


async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one line."""
    writer.write(b"hello " + await reader.readline())
    writer.close()


async def ask(endpoint: str | Endpoint) -> bytes:
    """Say a line there, and return the answer."""
    reader, writer = await connect(endpoint)
    try:
        writer.write(b"world\n")
        return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


def test_gives_streams(tmp_path: Path) -> None:
    """Of a text and of an endpoint, to a port, a path and an abstract name."""

    async def main() -> None:
        name = f"@{tmp_path}"
        async with (
            await asyncio.start_server(greet, "127.0.0.1", 0) as server,
            await asyncio.start_unix_server(greet, tmp_path / "here"),
            await asyncio.start_unix_server(greet, "\0" + name[1:]),
        ):
            port = server.sockets[0].getsockname()[1]
            places = (f"127.0.0.1:{port}", f"unix:{tmp_path}/here", f"unix:{name}")
            assert [await ask(place) for place in places] == [b"hello world\n"] * 3
            assert await ask(Endpoint.connecting(places[0])) == b"hello world\n"

    asyncio.run(main())


def test_what_cannot_be_reached_is_an_oserror() -> None:
    """As asyncio raises it, but for the words of the time-out."""
    with socket.socket() as bound, socket.socket() as full:
        bound.bind(("127.0.0.1", 0))
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        waiting = [socket.socket() for _ in range(3)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(full.getsockname())
        try:
            with pytest.raises(ConnectionRefusedError):
                asyncio.run(connect(f"tcp:127.0.0.1:{bound.getsockname()[1]}"))
            with pytest.raises(TimeoutError, match=r"^no answer in 0\.1 s$"):
                asyncio.run(connect(f"tcp:127.0.0.1:{port}:timeout=0.1"))
        finally:
            for each in waiting:
                each.close()


def test_datagrams_are_refused() -> None:
    """They know no connection."""
    with pytest.raises(ConfigurationError) as caught:
        asyncio.run(connect("udp:127.0.0.1:53"))
    assert str(caught.value) == "connect: udp:127.0.0.1:53: datagrams know no connection: use tcp or unix"
