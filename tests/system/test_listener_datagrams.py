"""A listener for datagrams: UDP and unix, protocols and functions."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from plait.errors import StartFailed
from plait.events import State
from plait.services import datagrams
from plait.services.listener import Listener
from plait.testing import reached
from plait.tree.service import current
from plait.tree.tree import Tree
from tests.system.listening import Loop, on_each_loop, serve, until

LOCAL = "udp:0:interface=127.0.0.1"


class EchoProtocol(asyncio.DatagramProtocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        assert current().path == "shop/echo"
        self.transport.sendto(data, addr)


async def echo(data: bytes, address: Any, transport: asyncio.DatagramTransport) -> None:
    assert current().path == "shop/echo"
    transport.sendto(data, address)


@contextmanager
def asking(address: Any) -> Iterator[socket.socket]:
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as one:
        one.settimeout(5)
        one.bind(address + ".client" if isinstance(address, str) else ("127.0.0.1", 0))
        one.connect(address)
        yield one


async def ask(address: Any, data: bytes = b"hello") -> bytes:
    with asking(address) as one:
        one.send(data)
        return await asyncio.to_thread(one.recv, 100)


@on_each_loop
@pytest.mark.parametrize("handler", [echo, EchoProtocol])
def test_answers_datagrams(loop: Loop, handler: Any) -> None:
    """A DatagramProtocol and an async function answer over UDP."""

    async def client(tree: Tree, address: Any) -> None:
        assert await ask(address) == b"hello"

    serve(loop, Listener(LOCAL, handler), client)


@on_each_loop
@pytest.mark.parametrize("handler", [echo, EchoProtocol])
def test_answers_unix_datagrams(loop: Loop, handler: Any, tmp_path: Any) -> None:
    """The same over a unix socket."""

    async def client(tree: Tree, address: Any) -> None:
        assert await ask(address) == b"hello"

    serve(loop, Listener(f"unixgram:{tmp_path}/socket", handler), client)


@on_each_loop
@pytest.mark.logs("ZeroDivisionError")
def test_an_exception_ends_one_datagram(loop: Loop, caplog: Any) -> None:
    """A handler that raises is logged with the sender; the next datagram is answered."""

    async def picky(data: bytes, address: Any, transport: asyncio.DatagramTransport) -> None:
        transport.sendto(b"%d" % (10 // int(data)), address)

    async def client(tree: Tree, address: Any) -> str:
        with asking(address) as one:
            one.send(b"0")
            one.send(b"5")
            assert await asyncio.to_thread(one.recv, 100) == b"2"
            host, port = one.getsockname()
            return f"{host}:{port}"

    peer = serve(loop, Listener(LOCAL, picky), client)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage().startswith(f"{peer}: the handler failed: ZeroDivisionError: ")


@on_each_loop
@pytest.mark.logs("there is no address to send to")
def test_a_sender_without_an_address_harms_nobody(loop: Loop, tmp_path: Any, caplog: Any) -> None:
    """To answer a unix datagram whose sender has no address is an error of that handler, and only that."""

    async def client(tree: Tree, address: Any) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
            one.sendto(b"hello", address)
        await until(lambda: caplog.records)
        assert await ask(address) == b"hello"

    serve(loop, Listener(f"unixgram:{tmp_path}/socket", echo), client)
    (record,) = caplog.records
    assert record.getMessage() == (
        "a local client: the handler failed: ValueError: "
        "sendto: there is no address to send to: the sender has bound none, so it wants no answer"
    )


@on_each_loop
@pytest.mark.logs("ValueError: boom")
def test_a_protocol_that_raises_goes_on(loop: Loop, caplog: Any) -> None:
    """A DatagramProtocol that raises on one datagram answers the next."""

    class Picky(EchoProtocol):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            if data == b"boom":
                raise ValueError("boom")
            self.transport.sendto(data, addr)

    async def client(tree: Tree, address: Any) -> None:
        with asking(address) as one:
            one.send(b"boom")
            one.send(b"hello")
            assert await asyncio.to_thread(one.recv, 100) == b"hello"

    serve(loop, Listener(LOCAL, Picky), client)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR


@on_each_loop
def test_a_protocol_that_refuses_its_socket_fails_to_start(loop: Loop) -> None:
    """A connection_made that raises is a failed start, with the error as its cause."""
    refuses = False

    class Fragile(EchoProtocol):
        def connection_made(self, transport: Any) -> None:
            if refuses:
                raise ValueError("not today")
            super().connection_made(transport)

    async def client(tree: Tree, address: Any) -> None:
        nonlocal refuses
        await tree.stop("shop/fragile")
        refuses = True
        with pytest.raises(StartFailed, match="not today"):
            await tree.start("shop/fragile")

    serve(loop, Listener(LOCAL, Fragile), client)


@pytest.mark.logs("Fatal write error on datagram transport")
def test_a_protocol_that_loses_its_socket_is_started_again(tmp_path: Any, caplog: Any) -> None:
    """When the loop closes a transport for an error, the life fails, and the next one answers."""

    async def client(tree: Tree, address: Any) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
            # asyncio's transport does not survive the answer to nobody.
            one.sendto(b"hello", address)
        await reached(tree, "shop/echo", State.READY, life=2)
        assert await ask(address) == b"hello"

    serve(asyncio.new_event_loop, Listener(f"unixgram:{tmp_path}/socket", EchoProtocol), client)


@on_each_loop
def test_a_protocol_may_close_its_socket(loop: Loop) -> None:
    """A DatagramProtocol that closes its transport is done."""

    class Once(asyncio.DatagramProtocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: Any) -> None:
            self.transport.sendto(data, addr)
            self.transport.close()

    async def client(tree: Tree, address: Any) -> None:
        assert await ask(address) == b"hello"
        await reached(tree, "shop/once", State.DONE)

    serve(loop, Listener(LOCAL, Once), client)


@on_each_loop
def test_finishes_the_datagrams_in_work_and_leaves_the_others_to_the_next_life(loop: Loop) -> None:
    """At the stop handlers finish their answers; what comes during the drain is answered by the next life."""

    async def slow(data: bytes, address: Any, transport: asyncio.DatagramTransport) -> None:
        await asyncio.sleep(0.1)
        transport.sendto(b"answer to " + data, address)

    async def client(tree: Tree, address: Any) -> None:
        with asking(address) as one, asking(address) as late:
            one.send(b"one")
            stop = asyncio.ensure_future(tree.stop("shop/slow"))
            await asyncio.sleep(0.05)
            late.send(b"two")
            assert await asyncio.to_thread(one.recv, 100) == b"answer to one"
            await stop
            late.setblocking(False)
            with pytest.raises(BlockingIOError):
                late.recv(100)
            late.settimeout(5)
            await tree.start("shop/slow")
            assert await asyncio.to_thread(late.recv, 100) == b"answer to two"

    serve(loop, Listener(LOCAL, slow), client)


@on_each_loop
@pytest.mark.logs("cut off 1 datagram")
def test_handlers_of_datagrams_that_do_not_end_are_cut_off(loop: Loop, caplog: Any) -> None:
    """After drain seconds handlers are cancelled, and that is said."""

    async def stubborn(data: bytes, address: Any, transport: asyncio.DatagramTransport) -> None:
        await asyncio.sleep(60)

    async def client(tree: Tree, address: Any) -> None:
        with asking(address) as one:
            one.send(b"one")
            await until(lambda: len(asyncio.all_tasks()) >= 3)
            began = time.monotonic()
            await tree.stop("shop/stubborn")
            assert 0.1 <= time.monotonic() - began < 2

    serve(loop, Listener(LOCAL, stubborn, drain=0.1), client)
    (record,) = caplog.records
    assert record.getMessage() == "cut off 1 datagram still busy (drain=0.1 s)"


@on_each_loop
def test_an_idle_socket_is_closed_without_a_word(loop: Loop, caplog: Any) -> None:
    """A stop with nothing in work cuts nobody off, also with drain=0."""

    async def client(tree: Tree, address: Any) -> None:
        assert await ask(address) == b"hello"

    for handler in (echo, EchoProtocol):
        for drain in (0.0, 5.0):
            serve(loop, Listener(LOCAL, handler, drain=drain), client)
    assert not caplog.records


@on_each_loop
def test_reads_no_more_than_can_be_worked_on(loop: Loop, monkeypatch: Any) -> None:
    """With so many datagrams in work as are allowed, further ones wait in the kernel."""
    monkeypatch.setattr(datagrams, "IN_WORK", 2)
    running = 0
    most = 0
    gate = asyncio.Event()

    async def slow(data: bytes, address: Any, transport: asyncio.DatagramTransport) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await gate.wait()
        running -= 1
        transport.sendto(data, address)

    async def client(tree: Tree, address: Any) -> None:
        with asking(address) as one:
            for number in range(10):
                one.send(b"%d" % number)
            await until(lambda: running == 2)
            await asyncio.sleep(0.02)
            gate.set()
            answers = [await asyncio.to_thread(one.recv, 100) for _ in range(10)]
            assert sorted(answers) == [b"%d" % number for number in range(10)]

    serve(loop, Listener(LOCAL, slow), client)
    assert most == 2
