"""A listener with TLS: handshakes that fail or never end, certificates that change, the stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import ssl
import time
from pathlib import Path
from typing import Any

import pytest
import trustme

from plait.events import State
from plait.services.listener import Listener
from plait.testing import reached
from plait.tree.tree import Tree
from tests.system.listening import Loop, connected, on_each_loop, serve, until


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.readline():
        writer.write(data)


class EchoProtocol(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class EchoBuffered(asyncio.BufferedProtocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def get_buffer(self, sizehint: int) -> bytearray:
        self.buffer = bytearray(1024)
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.transport.write(bytes(self.buffer[:nbytes]))


AUTHORITY = trustme.CA()


def write_certificate(folder: Path) -> str:
    """Write a new certificate into *folder*; return an endpoint that uses it."""
    AUTHORITY.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
    return f"ssl:0:privateKey={folder}/server.pem:interface=127.0.0.1"


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    return context


@on_each_loop
@pytest.mark.parametrize("handler", [echo, EchoProtocol, EchoBuffered])
def test_answers_and_says_goodbye_over_tls(loop: Loop, handler: Any, tmp_path: Path, caplog: Any) -> None:
    """It answers over TLS, and at the stop an open connection ends with the goodbye of TLS, at once."""

    async def client(tree: Tree, address: Any) -> None:
        async with connected(address, ssl=trusting()) as (reader, writer):
            writer.write(b"hello\n")
            assert await reader.readline() == b"hello\n"
            (child,) = tree.find("shop").supervisor.children.values()  # type: ignore[union-attr]
            began = time.monotonic()
            writer.write(b"last\n")
            await tree.stop(child.path)
            assert time.monotonic() - began < 1
            assert await reader.read() in (b"last\n", b"")

    serve(loop, Listener(write_certificate(tmp_path), handler), client)
    assert not caplog.records


@on_each_loop
@pytest.mark.parametrize("handler", [echo, EchoProtocol])
def test_failed_handshakes_are_said_at_debug_only(loop: Loop, handler: Any, tmp_path: Path, caplog: Any) -> None:
    """Who speaks no TLS, or does not like the certificate, disturbs nobody and fills no log."""

    async def client(tree: Tree, address: Any) -> None:
        async with connected(address) as (reader, writer):
            writer.write(b"GET / HTTP/1.0\r\n\r\n")
            try:
                await reader.read()
            except ConnectionResetError:
                pass
        with pytest.raises(ssl.SSLCertVerificationError):
            async with connected(address, ssl=ssl.create_default_context()):
                pass
        async with connected(address) as (reader, writer):
            pass
        await until(
            lambda: len([record for record in caplog.records if "no TLS handshake" in record.getMessage()]) == 3
        )
        async with connected(address, ssl=trusting()) as (reader, writer):
            writer.write(b"hello\n")
            assert await reader.readline() == b"hello\n"

    caplog.set_level(logging.DEBUG)
    serve(loop, Listener(write_certificate(tmp_path), handler), client)
    said = [record for record in caplog.records if record.levelno > logging.DEBUG]
    assert all("listens on" in record.msg for record in said)


@on_each_loop
def test_a_handshake_that_never_comes_is_cut_off(loop: Loop, tmp_path: Path, caplog: Any) -> None:
    """Who connects and says nothing is cut off after handshake_timeout seconds."""

    async def client(tree: Tree, address: Any) -> None:
        async with connected(address) as (reader, _):
            began = time.monotonic()
            try:
                assert await reader.read() == b""
            except ConnectionResetError:
                pass
            assert 0.1 <= time.monotonic() - began < 2

    serve(loop, Listener(write_certificate(tmp_path), echo, handshake_timeout=0.1), client)
    assert not caplog.records


@on_each_loop
def test_a_stop_does_not_wait_for_handshakes(loop: Loop, tmp_path: Path, caplog: Any) -> None:
    """A client in the middle of its handshake does not delay the stop, and nothing of it remains."""

    async def client(tree: Tree, address: Any) -> None:
        async with connected(address) as (reader, _), connected(address):
            await asyncio.sleep(0.05)
            began = time.monotonic()
            await tree.stop("shop/echo")
            try:
                assert await reader.read() == b""
            except ConnectionResetError:
                pass
            assert time.monotonic() - began < 1

    serve(loop, Listener(write_certificate(tmp_path), echo), client)
    assert not caplog.records


@on_each_loop
def test_a_handshake_that_has_not_begun_is_closed(loop: Loop, tmp_path: Path) -> None:
    """A connection that was accepted in the very moment of the stop is closed, though nobody began with it."""

    async def client(tree: Tree, address: Any) -> None:
        with socket.socket() as one:
            one.connect(address)
            await asyncio.sleep(0)
            tree.find("shop/echo").task.cancel()  # in the pass of the loop that accepts
            await reached(tree, "shop/echo", State.READY, life=2)

    serve(loop, Listener(write_certificate(tmp_path), echo), client)
    gc.collect()  # a socket that nobody closed would say so, which is an error


@on_each_loop
@pytest.mark.parametrize("kind", ["stream", "protocol"])
@pytest.mark.logs("cut off 1 connection")
def test_a_client_that_never_says_goodbye_is_cut_off(loop: Loop, kind: str, tmp_path: Path) -> None:
    """A client that takes nothing, not even the goodbye of TLS, holds the stop for drain seconds."""

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"x" * 20_000_000)

    class Flood(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            transport.write(b"x" * 20_000_000)

    async def client(tree: Tree, address: Any) -> None:
        async with connected(address, ssl=trusting()) as (_, writer):
            writer.transport.pause_reading()
            await asyncio.sleep(0.1)
            began = time.monotonic()
            await tree.stop("shop/flood")
            assert time.monotonic() - began < 2
            writer.transport.abort()

    handler = flood if kind == "stream" else Flood
    serve(loop, Listener(write_certificate(tmp_path), handler, drain=0.2), client)


@on_each_loop
@pytest.mark.logs("the former certificate stays in use")
def test_a_new_certificate_is_used_for_new_connections(loop: Loop, tmp_path: Path, caplog: Any) -> None:
    """A certificate that was replaced is shown to the next client; one that cannot be used is said, and not used."""

    async def serial(address: Any) -> int:
        async with connected(address, ssl=trusting()) as (_, writer):
            return int(writer.get_extra_info("ssl_object").getpeercert()["serialNumber"], 16)

    async def client(tree: Tree, address: Any) -> None:
        first = await serial(address)
        write_certificate(tmp_path)
        second = await serial(address)
        assert second != first
        (tmp_path / "server.pem").write_text("nothing")
        assert await serial(address) == second
        assert await serial(address) == second
        assert len(caplog.records) == 1
        assert "the former certificate stays in use" in caplog.records[0].getMessage()

    serve(loop, Listener(write_certificate(tmp_path), echo), client)
