"""A listener with real connections: who answers, what happens to errors, what remains."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import struct
from typing import Any

import pytest

from plait.errors import StopApplication
from plait.events import State
from plait.services.listener import Listener
from plait.testing import reached
from plait.tree.application import Application
from plait.tree.running import running
from plait.tree.service import Context, current, service
from plait.tree.tree import Tree
from tests.system.listening import LOCAL, Loop, connected, on_each_loop, serve, until


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.readline():
        writer.write(data)
        await writer.drain()


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


async def read_to_the_end(reader: asyncio.StreamReader) -> None:
    try:
        assert await reader.read() == b""
    except ConnectionResetError:
        pass  # an abort may be heard as one


async def greet(tree: Tree, address: Any) -> bytes:
    async with connected(address) as (reader, writer):
        writer.write(b"hello\n")
        return await reader.readline()


@on_each_loop
@pytest.mark.parametrize("handler", [echo, EchoProtocol, EchoBuffered])
def test_answers(loop: Loop, handler: Any) -> None:
    """A stream handler, a Protocol and a BufferedProtocol answer over TCP."""
    assert serve(loop, Listener(LOCAL, handler), greet) == b"hello\n"


@on_each_loop
@pytest.mark.parametrize("handler", [echo, EchoProtocol])
def test_answers_on_a_unix_socket_and_leaves_its_file(loop: Loop, handler: Any, tmp_path: Any) -> None:
    """On a unix socket it answers too, and the file is still there for the next life."""

    async def client(tree: Tree, address: Any) -> None:
        assert address == str(tmp_path / "socket")
        assert await greet(tree, address) == b"hello\n"
        (name,) = (child.name for child in tree.root.service)  # type: ignore[attr-defined]
        await tree.restart(f"shop/{name}")
        assert await greet(tree, address) == b"hello\n"

    serve(loop, Listener(f"unix:{tmp_path}/socket", handler), client)


@on_each_loop
def test_clients_wait_while_it_starts_again(loop: Loop) -> None:
    """Whoever connects between two lives is answered by the second."""

    async def client(tree: Tree, address: Any) -> None:
        await tree.stop("shop/echo")
        async with connected(address) as (reader, writer):
            writer.write(b"early\n")
            await tree.start("shop/echo")
            assert await reader.readline() == b"early\n"

    serve(loop, Listener(LOCAL, echo), client)


@on_each_loop
def test_handlers_know_whom_they_run_for(loop: Loop) -> None:
    """In handlers and protocols current() is the service's context, and a handler's task has the peer in its name."""
    seen = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        seen.append((current().path, task.get_name()))

    class Noting(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            seen.append((current().path, ""))
            transport.write(b"\n")

        def data_received(self, data: bytes) -> None:
            seen.append((current().path, ""))

        def connection_lost(self, error: Exception | None) -> None:
            seen.append((current().path, ""))

    async def client(tree: Tree, address: Any) -> None:
        async with connected(address) as (reader, writer):
            host, port = writer.get_extra_info("sockname")
            await reader.read()
            assert seen.pop() == ("shop/handler", f"shop/handler {host}:{port}")

    serve(loop, Listener(LOCAL, handler), client)

    async def other(tree: Tree, address: Any) -> None:
        async with connected(address) as (reader, writer):
            await reader.readline()
            writer.write(b"\n")
            await until(lambda: len(seen) == 2)

    serve(loop, Listener(LOCAL, Noting), other)
    assert seen == [("shop/noting", "")] * 3


@on_each_loop
def test_closes_what_a_handler_forgot_to_close(loop: Loop) -> None:
    """A connection ends, with all that was written, when its handler returns."""

    async def forgetful(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"x" * 1_000_000)

    async def client(tree: Tree, address: Any) -> None:
        async with connected(address) as (reader, _):
            assert len(await reader.read()) == 1_000_000

    serve(loop, Listener(LOCAL, forgetful), client)


@on_each_loop
@pytest.mark.logs("ZeroDivisionError")
def test_an_exception_ends_one_connection(loop: Loop, caplog: Any) -> None:
    """A handler that raises ends its connection; it is logged once, with traceback, path and peer; others go on."""

    async def picky(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.readline():
            writer.write(b"%d\n" % (10 // int(data)))

    async def client(tree: Tree, address: Any) -> str:
        async with connected(address) as (reader, writer), connected(address) as (unlucky_reader, unlucky):
            unlucky.write(b"0\n")
            assert await unlucky_reader.read() == b""
            writer.write(b"5\n")
            assert await reader.readline() == b"2\n"
            host, port = unlucky.get_extra_info("sockname")
            return f"{host}:{port}"

    peer = serve(loop, Listener(LOCAL, picky), client)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.name == "shop.picky"
    assert record.getMessage() == f"{peer}: the handler failed: ZeroDivisionError: integer division or modulo by zero"
    assert record.exc_info[2] is not None


@on_each_loop
@pytest.mark.parametrize("where", ["factory", "connection_made"])
@pytest.mark.logs("ValueError: not today")
def test_a_protocol_that_cannot_begin_ends_one_connection(loop: Loop, where: str, caplog: Any) -> None:
    """A factory or connection_made that raises is logged with the peer, and its connection closed."""
    calls = []

    class Moody(EchoProtocol):
        def __init__(self) -> None:
            calls.append(0)
            if where == "factory" and len(calls) == 1:
                raise ValueError("not today")

        def connection_made(self, transport: Any) -> None:
            if where != "factory" and len(calls) == 1:
                raise ValueError("not today")
            super().connection_made(transport)

    async def client(tree: Tree, address: Any) -> str:
        async with connected(address) as (reader, writer):
            await read_to_the_end(reader)
            host, port = writer.get_extra_info("sockname")
        assert await greet(tree, address) == b"hello\n"
        return f"{host}:{port}"

    peer = serve(loop, Listener(LOCAL, Moody), client)
    (record,) = caplog.records
    assert record.getMessage() == f"{peer}: the handler failed: ValueError: not today"


@on_each_loop
@pytest.mark.logs("ValueError: shop/picky")
def test_an_exception_of_a_protocol_ends_one_connection(loop: Loop, caplog: Any) -> None:
    """A protocol that raises ends its connection, as asyncio says; others go on."""

    class Picky(EchoProtocol):
        def data_received(self, data: bytes) -> None:
            if b"boom" in data:
                raise ValueError(current().path)
            super().data_received(data)

    async def client(tree: Tree, address: Any) -> None:
        async with connected(address) as (reader, writer):
            writer.write(b"boom\n")
            await read_to_the_end(reader)
        assert await greet(tree, address) == b"hello\n"

    serve(loop, Listener(LOCAL, Picky), client)
    (record,) = caplog.records
    assert str(record.exc_info[1]) == "shop/picky"


def reset(writer: asyncio.StreamWriter) -> None:
    """Break the connection off."""
    one = writer.get_extra_info("socket")
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@on_each_loop
@pytest.mark.parametrize("how", ["reset", "incomplete"])
def test_a_client_that_breaks_off_is_no_error(loop: Loop, how: str, caplog: Any) -> None:
    """When it is the client who breaks off, that is said at DEBUG only."""
    ended = []

    async def exact(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readexactly(4)
        finally:
            ended.append(0)

    async def client(tree: Tree, address: Any) -> None:
        async with connected(address) as (reader, writer):
            writer.write(b"12")
            await asyncio.sleep(0.02)
            if how == "reset":
                reset(writer)
            else:
                writer.write_eof()
                assert await reader.read() == b""
            await until(lambda: ended)
            await asyncio.sleep(0)

    caplog.set_level(logging.DEBUG, "shop")
    serve(loop, Listener(LOCAL, exact), client)
    (record,) = (record for record in caplog.records if record.name[:4] == "shop" and "listens on" not in record.msg)
    assert record.levelno == logging.DEBUG
    assert ": went away: " in record.getMessage()


@on_each_loop
@pytest.mark.logs("the database is gone")
def test_an_upstream_that_breaks_off_is_an_error(loop: Loop, caplog: Any) -> None:
    """The same exceptions are errors of the handler while its own client is still there."""

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise ConnectionResetError("the database is gone")

    async def client(tree: Tree, address: Any) -> None:
        async with connected(address) as (reader, _):
            assert await reader.read() == b""

    serve(loop, Listener(LOCAL, proxy), client)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR


@on_each_loop
@pytest.mark.parametrize("kind", ["stream", "protocol"])
def test_a_handler_can_stop_the_application(loop: Loop, kind: str) -> None:
    """StopApplication raised by whoever answers stops the application."""

    async def stop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise StopApplication("asked by a client")

    class Stop(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            raise StopApplication("asked by a client")

    @service
    async def bystander(context: Context[None]) -> None:
        context.ready()
        await asyncio.Event().wait()

    async def main() -> None:
        listener = Listener(LOCAL, stop if kind == "stream" else Stop)
        async with running(Application("shop", [bystander, listener])) as tree:
            async with connected(tree.find("shop/stop").value[0]):
                await tree.wait()
            assert tree.reason == "asked by a client"

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())


@on_each_loop
@pytest.mark.parametrize("handler", [echo, EchoProtocol])
def test_connections_that_came_and_went_leave_nothing(loop: Loop, handler: Any) -> None:
    """A thousand connections later no object of theirs is there."""

    async def client(tree: Tree, address: Any) -> None:
        async def some(number: int) -> None:
            for _ in range(number):
                assert await greet(tree, address) == b"hello\n"

        await some(10)
        gc.collect()
        before = len(gc.get_objects())
        for _ in range(4):
            await asyncio.gather(*[some(25) for _ in range(10)])
        await asyncio.sleep(0.01)
        gc.collect()
        assert len(gc.get_objects()) - before < 150

    serve(loop, Listener(LOCAL, handler), client)


@on_each_loop
def test_starts_again_after_a_failure_with_the_same_port(loop: Loop) -> None:
    """A life that failed is followed by one at the same address."""

    async def client(tree: Tree, address: Any) -> None:
        tree.find("shop/echo").task.cancel()  # by somebody who is not its supervisor
        await reached(tree, "shop/echo", State.READY, life=2)
        assert tree.find("shop/echo").value == (address,)
        assert await greet(tree, address) == b"hello\n"

    serve(loop, Listener(LOCAL, echo), client)
