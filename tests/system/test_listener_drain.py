"""How a listener stops: who may finish, who is cut off, and that it ends."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from typing import Any, ClassVar

import pytest

from plait.events import State
from plait.services.listener import Listener
from plait.testing import reached
from plait.tree.tree import Tree
from tests.system.listening import LOCAL, Loop, connected, on_each_loop, serve, until


@on_each_loop
def test_a_handler_that_waits_for_its_client_reads_the_end(loop: Loop, caplog: Any) -> None:
    """At the stop an idle handler reads the end of the stream and ends by itself, at once and without a word."""
    ended = []

    async def idle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.readline():
            writer.write(data)
        ended.append("by itself")

    async def client(tree: Tree, address: Any) -> None:
        async with connected(address) as (reader, writer), connected(address) as (other, _):
            writer.write(b"hello\n")
            assert await reader.readline() == b"hello\n"
            began = time.monotonic()
            await tree.stop("shop/idle")
            assert time.monotonic() - began < 1
            assert await reader.read() == await other.read() == b""

    serve(loop, Listener(LOCAL, idle), client)
    assert ended == ["by itself"] * 2
    assert not caplog.records


@on_each_loop
def test_a_handler_that_waits_exactly_fails_silently(loop: Loop, caplog: Any) -> None:
    """A handler in readexactly() or readuntil() gets IncompleteReadError then, which is no error of its own."""

    async def exact(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(4)

    async def client(tree: Tree, address: Any) -> None:
        async with connected(address) as (reader, writer):
            writer.write(b"12")
            await asyncio.sleep(0.02)
            await tree.stop("shop/exact")
            assert await reader.read() == b""

    serve(loop, Listener(LOCAL, exact), client)
    assert not caplog.records


@on_each_loop
def test_a_busy_handler_finishes_its_answer(loop: Loop, caplog: Any) -> None:
    """A handler that works on an answer gives it, and then reads the end of the stream."""
    working = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.readline():
            working.set()
            await asyncio.sleep(0.1)
            writer.write(b"answer to " + data)
            await writer.drain()

    async def client(tree: Tree, address: Any) -> None:
        async with connected(address) as (reader, writer):
            writer.write(b"one\n")
            await working.wait()
            stop = asyncio.ensure_future(tree.stop("shop/slow"))
            await asyncio.sleep(0.02)
            # What comes after the goodbye is thrown away; it must not turn the closing into a reset.
            writer.write(b"two\n" * 1000)
            assert await reader.read() == b"answer to one\n"
            await stop

    serve(loop, Listener(LOCAL, slow), client)
    assert not caplog.records


@on_each_loop
@pytest.mark.parametrize("kind", ["stream", "protocol"])
def test_what_has_arrived_is_still_answered(loop: Loop, kind: str) -> None:
    """A request that reached the machine before the stop is answered, also when nobody had read it yet."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.readline():
            writer.write(data)

    class Echo(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.transport.write(data)

    async def client(tree: Tree, address: Any) -> None:
        with socket.create_connection(address, timeout=5) as one:
            one.send(b"one\n")
            assert await asyncio.to_thread(one.recv, 100) == b"one\n"
            # The data is in the kernel and the cancellation under way before the loop looks at either.
            one.send(b"two\n")
            tree.find("shop/echo").task.cancel()
            assert await asyncio.to_thread(one.recv, 100) == b"two\n"
            assert await asyncio.to_thread(one.recv, 100) == b""

    serve(loop, Listener(LOCAL, echo if kind == "stream" else Echo), client)


@on_each_loop
@pytest.mark.logs("cut off 2 connections")
def test_handlers_that_do_not_end_are_cut_off_after_the_drain(loop: Loop, caplog: Any) -> None:
    """After drain seconds the handlers that still run are cancelled, their connections aborted, and that is said."""
    seen = []

    async def stubborn(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    async def client(tree: Tree, address: Any) -> float:
        async with connected(address) as (reader, _), connected(address):
            await until(lambda: len(asyncio.all_tasks()) >= 4)
            began = time.monotonic()
            await tree.stop("shop/stubborn")
            try:
                assert await reader.read() == b""
            except ConnectionResetError:
                pass
            return time.monotonic() - began

    assert 0.2 <= serve(loop, Listener(LOCAL, stubborn, drain=0.2), client) < 2
    assert seen == ["cancelled"] * 2
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == "cut off 2 connections still busy (drain=0.2 s)"


@on_each_loop
@pytest.mark.logs("cut off 1 connection")
def test_a_drain_of_0_cuts_at_once(loop: Loop, caplog: Any) -> None:
    """With drain=0 nobody may finish, neither handlers nor protocols."""

    async def idle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    class Idle(asyncio.Protocol): ...

    async def client(tree: Tree, address: Any) -> None:
        async with connected(address) as (reader, _):
            await asyncio.sleep(0.02)
            await tree.stop("shop/idle")
            try:
                assert await reader.read() == b""
            except ConnectionResetError:
                pass

    for handler in (idle, Idle):
        caplog.clear()
        serve(loop, Listener(LOCAL, handler, drain=0.0), client)
        (record,) = caplog.records
        assert record.getMessage() == "cut off 1 connection still busy (drain=0 s)"


@on_each_loop
@pytest.mark.parametrize("kind", ["stream", "protocol"])
@pytest.mark.logs("cut off 1 connection")
def test_a_second_cancellation_cuts_at_once(loop: Loop, kind: str) -> None:
    """Cancelled again while it drains, as a hurried stop does, it cuts at once."""

    async def stubborn(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    class Stubborn(asyncio.Protocol):
        def drain(self) -> None: ...

    async def client(tree: Tree, address: Any) -> None:
        async with connected(address):
            await asyncio.sleep(0.02)
            stop = asyncio.ensure_future(tree.stop("shop/stubborn"))
            await asyncio.sleep(0.05)
            began = time.monotonic()
            tree.find("shop/stubborn").task.cancel()
            await stop
            assert time.monotonic() - began < 1

    serve(loop, Listener(LOCAL, stubborn if kind == "stream" else Stubborn), client)


@on_each_loop
@pytest.mark.parametrize("kind", ["stream", "protocol"])
@pytest.mark.logs("cut off 1 connection")
def test_a_connection_that_comes_just_then_is_not_forgotten(loop: Loop, kind: str) -> None:
    """A connection that is being accepted at the very moment of the stop is cut off like the others."""

    async def idle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    class Idle(asyncio.Protocol): ...

    async def client(tree: Tree, address: Any) -> None:
        with socket.socket() as one:
            one.connect(address)
            await asyncio.sleep(0)
            tree.find("shop/idle").task.cancel()  # in the pass of the loop that accepts
            await reached(tree, "shop/idle", State.READY, life=2)
            one.settimeout(5)
            assert await asyncio.to_thread(receive, one) == b""

    serve(loop, Listener(LOCAL, idle if kind == "stream" else Idle, drain=0.0), client)


def receive(one: socket.socket) -> bytes:
    """Return what comes, or nothing when the connection is broken."""
    try:
        return one.recv(100)
    except ConnectionResetError:
        return b""


@on_each_loop
def test_nobody_is_accepted_while_it_drains(loop: Loop) -> None:
    """Who connects during the drain waits for the next life."""

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello\n")
        await asyncio.sleep(0.2)

    async def client(tree: Tree, address: Any) -> None:
        async with connected(address) as (reader, _):
            assert await reader.readline() == b"hello\n"
            stop = asyncio.ensure_future(tree.stop("shop/slow"))
            await asyncio.sleep(0.05)
            async with connected(address) as (late, _):
                await stop
                assert not late._buffer  # type: ignore[attr-defined]
                await tree.start("shop/slow")
                assert await late.readline() == b"hello\n"

    serve(loop, Listener(LOCAL, slow), client)


class Flood(asyncio.Protocol):
    """Sends more than the kernel takes."""

    lost: ClassVar[list[Exception | None]] = []

    def connection_made(self, transport: Any) -> None:
        transport.write(b"x" * 20_000_000)

    def connection_lost(self, error: Exception | None) -> None:
        self.lost.append(error)


@on_each_loop
def test_a_protocol_is_closed_after_what_it_wrote_is_sent(loop: Loop, caplog: Any) -> None:
    """What a protocol has written is sent before its connection closes, and it hears of the end."""
    Flood.lost.clear()

    async def client(tree: Tree, address: Any) -> None:
        async with connected(address) as (reader, _):
            stop = asyncio.ensure_future(tree.stop("shop/flood"))
            await asyncio.sleep(0.05)
            assert not Flood.lost
            assert len(await reader.read()) == 20_000_000
            await stop

    serve(loop, Listener(LOCAL, Flood), client)
    assert Flood.lost == [None]
    assert not caplog.records


@on_each_loop
@pytest.mark.logs("cut off 1 connection")
def test_a_protocol_whose_client_does_not_read_is_cut_off(loop: Loop, caplog: Any) -> None:
    """Who does not take what was written to him is cut off after drain seconds."""
    Flood.lost.clear()

    async def client(tree: Tree, address: Any) -> None:
        async with connected(address) as (_, writer):
            writer.transport.pause_reading()
            await asyncio.sleep(0.05)
            began = time.monotonic()
            await tree.stop("shop/flood")
            assert 0.2 <= time.monotonic() - began < 2

    serve(loop, Listener(LOCAL, Flood, drain=0.2), client)
    assert len(Flood.lost) == 1
    assert caplog.records[0].getMessage() == "cut off 1 connection still busy (drain=0.2 s)"


@on_each_loop
@pytest.mark.parametrize("kind", ["plain", "buffered", "async"])
def test_a_protocol_with_drain_finishes_by_itself(loop: Loop, kind: str, caplog: Any) -> None:
    """A protocol that has drain() is told, still gets its data, and closes by itself."""
    events: list[str] = []

    class Polite(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            events.append(data.decode())
            if data == b"end":
                self.transport.write(b"bye")
                self.transport.close()

        def drain(self) -> None:
            events.append("drain")
            self.transport.write(b"finish")

        def connection_lost(self, error: Exception | None) -> None:
            events.append("lost")

    class Buffered(asyncio.BufferedProtocol):
        connection_made = Polite.connection_made
        connection_lost = Polite.connection_lost
        drain = Polite.drain
        data_received = Polite.data_received

        def get_buffer(self, sizehint: int) -> bytearray:
            self.buffer = bytearray(100)
            return self.buffer

        def buffer_updated(self, nbytes: int) -> None:
            self.data_received(bytes(self.buffer[:nbytes]))  # type: ignore[arg-type]

    class Async(Polite):
        async def drain(self) -> None:  # type: ignore[override]
            super().drain()
            while "end" not in events:
                await asyncio.sleep(0.001)

    async def client(tree: Tree, address: Any) -> None:
        async with connected(address) as (reader, writer):
            writer.write(b"hello")
            await until(lambda: events)
            stop = asyncio.ensure_future(tree.stop("shop/polite"))
            assert await reader.readexactly(6) == b"finish"
            writer.write(b"end")
            assert await reader.read() == b"bye"
            await stop

    handler = {"plain": Polite, "buffered": Buffered, "async": Async}[kind]
    serve(loop, Listener(LOCAL, handler, name="polite"), client)
    assert events == ["hello", "drain", "end", "lost"]
    assert not caplog.records


@on_each_loop
@pytest.mark.logs("ValueError: no")
def test_a_drain_that_raises_closes_its_connection(loop: Loop, caplog: Any) -> None:
    """A drain() that raises is logged, and its connection closed like any other."""

    class Rude(asyncio.Protocol):
        def drain(self) -> None:
            raise ValueError("no")

    async def client(tree: Tree, address: Any) -> None:
        async with connected(address) as (reader, _):
            await asyncio.sleep(0.02)
            await tree.stop("shop/rude")
            assert await reader.read() == b""

    serve(loop, Listener(LOCAL, Rude), client)
    (record,) = caplog.records
    assert record.getMessage().endswith(": the handler failed: ValueError: no")


@on_each_loop
@pytest.mark.parametrize("kind", ["stream", "protocol"])
def test_many_idle_connections_end_at_once(loop: Loop, kind: str, caplog: Any) -> None:
    """Two hundred idle connections end in one sweep, without a word in the log."""
    lost = []

    async def idle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        lost.append(None)

    class Idle(asyncio.Protocol):
        def connection_lost(self, error: Exception | None) -> None:
            lost.append(error)

    async def client(tree: Tree, address: Any) -> None:
        clients = []
        try:
            for _ in range(200):
                one = socket.socket()
                one.setblocking(False)
                clients.append(one)
                await asyncio.get_running_loop().sock_connect(one, address)
            await asyncio.sleep(0.1)
            began = time.monotonic()
            await tree.stop("shop/idle")
            assert time.monotonic() - began < 1
            assert lost == [None] * 200
        finally:
            for one in clients:
                one.close()

    serve(loop, Listener(LOCAL, idle if kind == "stream" else Idle), client)
    assert not caplog.records
