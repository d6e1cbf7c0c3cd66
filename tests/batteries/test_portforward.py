"""portforward: what it passes on, what it refuses, how it ends; over real sockets of this machine."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from plait import Application, ConfigurationError, Endpoint, EndpointError, UsageError, connect, running
from plait.batteries.portforward import PortForward, portforward
from plait.tree.tree import Tree
from tests.system.listening import LOCAL, Loop, connected, on_each_loop, until

there = Endpoint.connecting

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def destination(handler: Handler) -> AsyncIterator[str]:
    """Serve *handler* at a place of its own, whose system takes little for it, and give that as an endpoint."""
    tasks: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await handler(reader, writer)
        except (asyncio.CancelledError, ConnectionResetError):
            pass  # asyncio would complain
        finally:
            writer.close()
            tasks.discard(task)

    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    listening.bind(("127.0.0.1", 0))
    server = await asyncio.start_server(handle, sock=listening)
    try:
        yield "tcp:127.0.0.1:{1}".format(*server.sockets[0].getsockname())
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def forwarding(loop: Loop, handler: Handler, client: Callable[[Any], Awaitable[None]], **options: Any) -> None:
    """Run ``client(address)`` while a forwarder passes connections on to *handler*."""

    async def main() -> None:
        async with destination(handler) as to:
            forward = PortForward(LOCAL, to, name="forward", **options)
            async with running(Application("shop", [forward])) as tree:
                await client(address_in(tree))

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())


def address_in(tree: Tree) -> Any:
    """Return where the forwarder listens."""
    addresses = tree.find("shop/forward").value
    assert addresses
    return addresses[0]


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer what was said, when all is said."""
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer when all is said."""
    writer.write((await reader.read()).upper())


@on_each_loop
def test_bytes_go_both_ways(loop: Loop) -> None:
    """What a client says arrives there, and the answer here, whatever the size."""

    async def client(address: Any) -> None:
        async with connected(address) as (reader, writer):
            said = bytes(range(256)) * 8192
            sending = asyncio.ensure_future(_send(writer, said))
            assert await reader.readexactly(len(said)) == said
            await sending

    forwarding(loop, echo, client)


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


@on_each_loop
def test_the_end_of_one_direction_is_passed_on_and_the_other_goes_on(loop: Loop) -> None:
    """A destination that answers only when all is said gets to know that, and its answer arrives."""

    async def client(address: Any) -> None:
        async with connected(address) as (reader, writer):
            writer.write(b"hello")
            writer.write_eof()
            assert await reader.read() == b"HELLO"

    forwarding(loop, shout, client)


@on_each_loop
def test_a_destination_that_has_said_all_still_listens(loop: Loop) -> None:
    """The other way round: it ends its direction first, and goes on reading."""
    heard: list[bytes] = []

    go = asyncio.Event()

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"welcome")
        writer.write_eof()
        await go.wait()
        heard.append(await reader.read())

    async def talk(address: Any, size: int) -> None:
        async with connected(address) as (reader, writer):
            assert await reader.read() == b"welcome"
            writer.write(bytes(size))
            writer.write_eof()
            await until(lambda: len(heard) == len(SIZES))

    async def client(address: Any) -> None:
        async with asyncio.TaskGroup() as group:
            for size in SIZES:
                group.create_task(talk(address, size))
            await asyncio.sleep(0.2)  # until the end of what is said has gone as far as it comes
            go.set()

    forwarding(loop, greet, client)
    assert sorted(len(each) for each in heard) == SIZES


#: Of one of them the last piece, at most 64 KB, is still held in memory when the client has said all; the kernel holds
#: some 3 MB before that.
SIZES = [2_500_000 + size * 50_000 for size in range(20)]


@on_each_loop
def test_a_reader_that_is_slow_slows_the_sender_down(loop: Loop) -> None:
    """What the other side does not take is not gathered in memory: the sender is held."""
    go = asyncio.Event()
    total = 64 << 20
    counted = [0]

    async def lazy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go.wait()
        while data := await reader.read(1 << 20):
            counted[0] += len(data)
        writer.write(b"done")

    async def client(address: Any) -> None:
        async with connected(address) as (reader, writer):
            sent = 0
            block = bytes(1 << 20)

            async def send() -> None:
                nonlocal sent
                while sent < total:
                    writer.write(block)
                    sent += len(block)
                    await writer.drain()

            sending = asyncio.ensure_future(send())
            await asyncio.wait([sending], timeout=0.5)
            assert sent < total
            go.set()
            await sending
            writer.write_eof()
            assert await reader.read() == b"done"
            assert counted[0] == total

    forwarding(loop, lazy, client)


@on_each_loop
def test_a_client_that_breaks_off_is_told_to_the_destination(loop: Loop) -> None:
    """A reset is passed on as a reset, and nothing is logged above DEBUG."""
    ends: list[object] = []
    begun = asyncio.Event()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(5) == b"hello"
        begun.set()
        try:
            ends.append(await reader.read())
        except ConnectionResetError as error:
            ends.append(type(error))

    async def client(address: Any) -> None:
        async with connected(address) as (_, writer):
            writer.write(b"hello")
            await begun.wait()
            _reset(writer)
            await until(lambda: ends)

    forwarding(loop, listen, client)
    assert ends == [ConnectionResetError]


def _reset(writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    writer.transport.abort()


@on_each_loop
def test_half_an_answer_does_not_look_like_a_whole_one(loop: Loop) -> None:
    """A destination that breaks off in its answer is a reset for the client, not the end of the stream."""

    async def die(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"half")
        await reader.readexactly(1)
        _reset(writer)

    async def client(address: Any) -> None:
        async with connected(address) as (reader, writer):
            assert await reader.readexactly(4) == b"half"
            writer.write(b"!")
            with pytest.raises(ConnectionResetError):
                await reader.read()

    forwarding(loop, die, client)


@on_each_loop
def test_an_early_answer_arrives_although_the_destination_reads_no_more(loop: Loop) -> None:
    """A destination that refuses a long request and closes has its answer delivered."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        writer.write(b"too long")

    async def client(address: Any) -> None:
        async with connected(address) as (reader, writer):
            writer.write(b"x")
            assert await reader.read(100) == b"too long"

    forwarding(loop, refuse, client)


class Lazy:
    """A client that has read nothing yet, and whose system takes next to nothing for it."""

    def __init__(self, address: Any) -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.connect(address)

    def __enter__(self) -> Lazy:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    async def read(self) -> int:
        """Read to the end; return how much that was."""

        def read() -> int:
            count = 0
            while data := self.socket.recv(1 << 16):
                count += len(data)
            return count

        return await asyncio.to_thread(read)


def is_forwarding() -> bool:
    """Say whether any connection is passed on."""
    return any(task.get_name().startswith("shop/forward ") for task in asyncio.all_tasks())


@on_each_loop
def test_a_slow_client_gets_all_of_an_answer_whose_sender_has_left(loop: Loop) -> None:
    """What is on its way when both have said all is delivered."""
    answer = bytes(100_000)

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.write(answer)

    async def client(address: Any) -> None:
        with Lazy(address) as lazy:
            lazy.socket.shutdown(socket.SHUT_WR)
            await asyncio.sleep(0.05)  # for its task to begin
            await until(lambda: not is_forwarding())
            assert await lazy.read() == len(answer)

    forwarding(loop, say, client)


@on_each_loop
def test_an_answer_is_not_lost_when_its_sender_takes_no_more(loop: Loop) -> None:
    """A client that talks on after the destination has answered and closed has its answer delivered."""
    answer = bytes(100_000)

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        writer.write(answer)

    async def client(address: Any) -> None:
        with Lazy(address) as lazy:
            lazy.socket.send(b"?")
            await asyncio.sleep(0.05)
            while is_forwarding():  # one of the next words is refused, and a later one meets that
                lazy.socket.send(b"!")
                await asyncio.sleep(0.05)
            assert await lazy.read() == len(answer)

    forwarding(loop, say, client)


@on_each_loop
def test_who_takes_nothing_is_left_when_nothing_moves(loop: Loop) -> None:
    """A connection whose client never reads does not stay for ever: nothing is to be cut off at the stop."""

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(bytes(1 << 16))
            await writer.drain()

    async def client(address: Any) -> None:
        closing.enter_context(Lazy(address))
        await asyncio.sleep(0.05)
        await until(lambda: not is_forwarding())

    with ExitStack() as closing:
        forwarding(loop, flood, client, idle=0.3)


@pytest.mark.logs("cannot connect to tcp:127.0.0.1:")
def test_a_destination_that_is_away_is_told_once_and_its_clients_are_closed(caplog: Any) -> None:
    """The first client makes a warning, the others do not; when it answers again, that is said."""
    caplog.set_level("INFO", "shop.forward")
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]

        async def main() -> None:
            forward = PortForward(LOCAL, f"tcp:127.0.0.1:{port}", name="forward")
            async with running(Application("shop", [forward])) as tree:
                address = address_in(tree)
                for _ in range(3):
                    async with connected(address) as (reader, _writer):
                        assert await reader.read() == b""
                reserved.listen()
                for _ in range(2):
                    async with connected(address) as (reader, writer):
                        writer.write_eof()
                        there, _ = await asyncio.to_thread(reserved.accept)
                        there.close()
                        assert await reader.read() == b""

        asyncio.run(main())
    said = [record.getMessage() for record in caplog.records if f"127.0.0.1:{port}" in record.getMessage()]
    assert said == [
        f"cannot connect to tcp:127.0.0.1:{port} (Connection refused): clients are closed until it answers",
        f"tcp:127.0.0.1:{port} answers again",
    ]


@pytest.mark.logs("limit=1 is reached: whoever comes now is closed at once")
def test_above_the_limit_clients_are_closed(caplog: Any) -> None:
    """The one too many is closed, which is said once; when one has left, the next is served."""

    async def client(address: Any) -> None:
        async with connected(address) as (reader, writer):
            writer.write(b"one")
            assert await reader.readexactly(3) == b"one"
            for _ in range(2):
                async with connected(address) as (refused, _writer):
                    assert await refused.read() == b""
            writer.write_eof()
            assert await reader.read() == b""
        async with connected(address) as (reader, writer):
            writer.write(b"two")
            assert await reader.readexactly(3) == b"two"

    forwarding(asyncio.new_event_loop, echo, client, limit=1)
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warnings == ["limit=1 is reached: whoever comes now is closed at once"]


def test_an_idle_connection_is_reset(caplog: Any) -> None:
    """A connection on which nothing moved for *idle* seconds ends; one on which something moves does not."""
    caplog.set_level("DEBUG", "shop.forward")

    async def client(address: Any) -> None:
        async with connected(address) as (reader, writer):
            for _ in range(4):
                writer.write(b"x")
                assert await reader.readexactly(1) == b"x"
                await asyncio.sleep(0.3)
            with pytest.raises(ConnectionResetError):
                await reader.read()

    forwarding(asyncio.new_event_loop, echo, client, idle=1.0)
    assert "broke off: nothing moved for 1 s" in [record.getMessage() for record in caplog.records]


@on_each_loop
def test_a_stop_lets_the_destination_finish(loop: Loop) -> None:
    """At the stop the destination reads the end of the stream, and what it answers to that still arrives."""

    async def main() -> None:
        asked = asyncio.Event()

        async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readexactly(5)
            asked.set()
            assert await reader.read() == b""
            writer.write(b"goodbye")

        async with destination(slow) as to:
            forward = PortForward(LOCAL, to, name="forward")
            async with running(Application("shop", [forward])) as tree, connected(address_in(tree)) as (reader, writer):
                writer.write(b"hello")
                await asked.wait()
                await tree.stop("shop/forward")
                assert await reader.read() == b"goodbye"

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())


@on_each_loop
@pytest.mark.logs("cut off 1 connection still busy")
def test_a_stop_cuts_who_does_not_finish(loop: Loop) -> None:
    """A destination that goes on for ever is cut after *drain* seconds, and nothing is left open."""

    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        async with destination(never) as to:
            forward = PortForward(LOCAL, to, name="forward", drain=0.1)
            async with running(Application("shop", [forward])) as tree, connected(address_in(tree)) as (reader, writer):
                writer.write(b"hello")
                await tree.stop("shop/forward")
                with pytest.raises(ConnectionResetError):
                    await reader.read()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())


@on_each_loop
@pytest.mark.parametrize("side", ["client", "destination"])
def test_tls_on_one_side(loop: Loop, side: str, tmp_path: Path) -> None:
    """It takes TLS off, or puts it on, and what TLS cannot say, the end of one direction, costs no answer."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    serving = f"certKey={tmp_path}/server.pem:privateKey={tmp_path}/server.pem"
    secret = f"tls:127.0.0.1:{{}}:trustRoots={tmp_path}/authority.pem"

    async def main() -> None:
        inner = PortForward(f"ssl:0:interface=127.0.0.1:{serving}", plain, name="inner", drain=0.5)
        async with running(Application("shop", [inner])) as tree:
            hidden = secret.format(tree.find("shop/inner").value[0][1])  # type: ignore[index]
            if side == "client":
                reader, writer = await connect(hidden)
                writer.write(b"hello")
                assert await reader.readexactly(5) == b"hello"
                writer.close()
                return
            forward = PortForward(LOCAL, hidden, name="forward", drain=0.5)
            async with (
                running(Application("shop", [forward])) as outer,
                connected(address_in(outer)) as (reader, writer),
            ):
                writer.write(b"hello")
                writer.write_eof()
                assert await reader.read() == b"hello"

    async def whole() -> None:
        nonlocal plain
        async with destination(echo) as plain:
            await main()

    plain = ""
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(whole())


# The command line -----------------------------------------------------------------------------------------------------


def test_without_options_it_is_as_twistd_has_it() -> None:
    """The defaults are twistd's; --to says in one word what --host and --dest-port say in two."""
    (plain,) = portforward()
    assert plain == PortForward("tcp:6666", "tcp:localhost:6665")
    assert portforward(to=there("tcp:db:5432")) == portforward(host="db", dest_port=5432)
    assert portforward(host="::1", dest_port=80) == portforward(to=there("tcp6:\\:\\:1:80"))
    given = portforward(listen=Endpoint.listening("80"), to=there("a:1"), limit=3, idle=4.0, drain=2.0)
    assert given == Application(
        "portforward",
        [PortForward("tcp:80", "tcp:a:1", limit=3, idle=4.0, drain=2.0, stop_timeout=7.0)],
        stop_timeout=12.0,
    )


def test_a_long_drain_has_its_time() -> None:
    """The service, and the application, may take as long as connections may take to finish."""
    application = portforward(drain=100.0)
    (forward,) = application
    assert (forward.stop_timeout, application.stop_timeout) == (105.0, 110.0)


SLIPS: dict[str, tuple[dict[str, Any], str]] = {
    "both": ({"to": there("a:1"), "host": "b"}, "--to, --host, --dest-port: all say where to: give --to alone"),
    "datagrams": ({"to": there("udp:a:1")}, "--to udp:a:1: wanted a place for connections: use tcp or unix"),
    "limit": ({"limit": 0}, "--limit 0: wanted a whole number from 1"),
    "idle": ({"idle": 0.0}, "--idle 0: wanted a number of seconds above 0"),
    "drain": ({"drain": -1.0}, "--drain -1: wanted a number of seconds from 0"),
}


@pytest.mark.parametrize(("options", "words"), SLIPS.values(), ids=SLIPS)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], words: str) -> None:
    """As the command line spells them."""
    with pytest.raises(UsageError) as caught:
        portforward(**options)
    assert str(caught.value) == words


def test_a_place_that_cannot_be_is_refused() -> None:
    """In the words of endpoints."""
    with pytest.raises(EndpointError) as caught:
        portforward(dest_port=0)
    assert str(caught.value) == (
        'endpoint "tcp:localhost:0": port 0 is for listening on any free one: write the port to connect to'
    )


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "datagrams": (
        {"listen": "udp:1"},
        "PortForward portforward: listen=udp:1: wanted a place for connections: use tcp or unix",
    ),
    "limit": ({"limit": 0}, "PortForward portforward: limit=0: wanted a whole number from 1, or None"),
    "idle": ({"idle": 0.0}, "PortForward portforward: idle=0.0: wanted a number of seconds above 0, or None"),
    "drain": ({"drain": -1.0}, "Listener portforward: drain=-1.0: wanted a number of seconds from 0"),
}


@pytest.mark.parametrize(("fields", "words"), MISTAKES.values(), ids=MISTAKES)
def test_fields_that_cannot_be_are_refused(fields: dict[str, Any], words: str) -> None:
    """As Python spells them."""
    with pytest.raises(ConfigurationError) as caught:
        PortForward(**({"listen": "tcp:1", "to": "tcp:a:1"} | fields))
    assert str(caught.value) == words
