"""
Connection: one that is kept open, on the virtual clock and UNIX sockets.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import plait
from plait import (
    Application,
    Backoff,
    Connection,
    Context,
    Group,
    StartFailed,
    State,
    StopApplication,
    running,
    service,
)
from plait.errors import ConfigurationError, PlaitError
from plait.services import gate
from plait.services.connection import Connected, ConnectFailed, Disconnected
from plait.testing import Trace, run
from plait.tree.tree import Tree

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]
PLAIN = Backoff(base=1, cap=8, jitter=0, quiet=60, immediate=False)


def now() -> float:
    return asyncio.get_running_loop().time()


class Broker:
    """A server on a UNIX socket: it greets each client, echoes lines, and can go away and come back."""

    def __init__(self, path: Path, answer: Callable[..., Awaitable[None]] | None = None) -> None:
        self.path = str(path / "broker")
        self.endpoint = f"unix:{self.path}"
        self.answer = answer or self.echo
        self.arrivals: list[float] = []
        self.clients: dict[asyncio.StreamWriter, asyncio.Task[None]] = {}
        self.server: asyncio.Server | None = None

    async def echo(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello\n")
        while line := await reader.readline():
            writer.write(line)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.arrivals.append(now())
        task = asyncio.current_task()
        assert task is not None
        self.clients[writer] = task
        try:
            await self.answer(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            del self.clients[writer]
            writer.close()

    async def come(self) -> None:
        self.server = await asyncio.start_unix_server(self.serve, self.path)

    async def go(self) -> None:
        assert self.server is not None
        self.server.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)  # from Python 3.13 on, closing the server has done it
        await self.cut()

    async def cut(self) -> None:
        """End all connections."""
        tasks = list(self.clients.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    @asynccontextmanager
    async def there(self) -> AsyncIterator[Broker]:
        await self.come()
        try:
            yield self
        finally:
            await self.go()


@asynccontextmanager
async def keeping(*services: Any) -> AsyncIterator[Tree]:
    """Run *services*; nothing of theirs may be left."""
    async with running(Application("shop", services)) as tree:
        yield tree
    assert not gate._gates


def of(trace: Trace, *kinds: type) -> list[Any]:
    return [event for event in trace.events if isinstance(event, kinds)]


# Kept open ------------------------------------------------------------------------------------------------------------


def test_calls_the_handler_with_a_connection_and_again_when_it_was_lost(tmp_path: Path) -> None:
    """Each time that the other end closes, a new connection is made and the handler runs again, in its context."""
    lines: list[tuple[str, bytes]] = []

    async def follow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            lines.append((plait.current().path, line))

    async def main() -> None:
        async with Broker(tmp_path).there() as broker, keeping(Connection(broker.endpoint, follow)) as tree:
            trace = Trace(tree)
            await asyncio.sleep(5)
            await broker.cut()
            await asyncio.sleep(5)
            await broker.cut()
            await asyncio.sleep(5)
            assert lines == [("shop/follow", b"hello\n")] * 3
            assert broker.arrivals[0] < 0.001
            assert 5.04 < broker.arrivals[1] < 5.11
            lost, made = of(trace, Disconnected)[0], of(trace, Connected)[0]
            assert str(made) == f"shop/follow: connected to {broker.endpoint}"
            assert str(lost) == (
                f"shop/follow: connection to {broker.endpoint} ended after 5 s: closed by the other end"
            )
        assert isinstance(trace.events, list)

    run(main())


def test_waits_for_a_broker_that_is_away_without_blocking_the_start(tmp_path: Path) -> None:
    """It is ready before it is connected; attempts go on, with growing waits up to the cap."""

    async def main() -> None:
        broker = Broker(tmp_path)
        retry = Backoff(base=1, cap=8, jitter=0, immediate=False)
        async with keeping(Connection(broker.endpoint, name="broker", retry=retry)) as tree:
            assert now() == 0
            trace = Trace(tree)
            await asyncio.sleep(30)
            failures = of(trace, ConnectFailed)
            assert [event.at for event in failures] == pytest.approx(
                [1, 3, 7, 15, 23]
            )  # the first came before we watched
            assert [event.failures for event in failures] == [2, 3, 4, 5, 6]
            assert [event.level for event in failures] == [30, 10, 30, 10, 10]  # told when their number has doubled
            assert str(failures[0]).startswith(f"shop/broker: cannot connect to {broker.endpoint} (FileNotFoundError: ")
            async with broker.there():
                await asyncio.sleep(5)
                assert broker.arrivals == pytest.approx([31])
                await broker.cut()
                await asyncio.sleep(3)
                # It had only been up for five seconds, but that is no failure of the destination.
                assert broker.arrivals[1:] == pytest.approx([36])

    run(main())


def test_a_user_of_the_link_may_close_the_connection(tmp_path: Path) -> None:
    """Whoever finds a connection unusable closes it, and gets the next one."""

    async def main() -> None:
        connection = Connection(f"unix:{tmp_path}/broker", name="broker")
        links: list[Any] = []

        @service
        async def user(context: Context[None]) -> None:
            links.append(await context.need(connection))

        async with Broker(tmp_path).there() as broker, keeping(connection, user) as tree:
            trace = Trace(tree)
            _, writer = await links[0].wait()
            writer.close()
            await asyncio.sleep(1)
            assert (await links[0].wait())[1] is not writer
            assert [event.why for event in of(trace, Disconnected)] == ["closed"]
            assert len(broker.arrivals) == 2

    run(main())


def test_a_protocol_is_kept_connected_too(tmp_path: Path) -> None:
    """A Protocol class gets a new instance for each connection, and hears of its end."""
    heard: list[object] = []

    class Follow(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            heard.append("made")

        def data_received(self, data: bytes) -> None:
            heard.append(data)

        def connection_lost(self, error: Exception | None) -> None:
            heard.append(error)

    async def main() -> None:
        async with Broker(tmp_path).there() as broker:
            async with keeping(Connection(broker.endpoint, Follow)):
                await asyncio.sleep(5)
                await broker.cut()
                await asyncio.sleep(5)
            assert heard == ["made", b"hello\n", None] * 2

    run(main())


def test_hands_the_present_connection_to_who_needs_it(tmp_path: Path) -> None:
    """A link always gives the connection of now, and makes its users wait while there is none."""
    seen: list[object] = []

    async def main() -> None:
        broker = Broker(tmp_path)
        connection = Connection(broker.endpoint, name="broker")

        @service
        async def user(context: Context[None]) -> None:
            link = await context.need(connection)
            context.ready()
            seen.append(link.is_connected)
            for _ in range(2):
                reader, writer = await link.wait()
                seen.append((round(now()), link.is_connected, await reader.readline()))
                assert await link.wait() == (reader, writer)
                assert await reader.read() == b""
                seen.append(link.is_connected)

        async with keeping(connection, user):
            await asyncio.sleep(10)
            async with broker.there():
                await asyncio.sleep(10)
            await asyncio.sleep(10)
            async with broker.there():
                await asyncio.sleep(10)
            await asyncio.sleep(1)
        assert seen == [False, (10, True, b"hello\n"), False, (30, True, b"hello\n"), False]

    run(main())


def test_who_waits_for_a_link_is_told_when_it_has_ended(tmp_path: Path) -> None:
    """Waiting for a connection of a service that was stopped is an error, not a wait for ever."""

    async def main() -> None:
        connection = Connection(f"unix:{tmp_path}/none", name="broker")
        links: list[Any] = []

        @service
        async def user(context: Context[None]) -> None:
            links.append(await context.need(connection))

        async with keeping(connection, user) as tree:
            waiter = asyncio.create_task(links[0].wait())
            await asyncio.sleep(1)
            assert repr(links[0]) == "<Link of shop/broker: not connected>"
            await tree.stop("shop/broker")
            with pytest.raises(PlaitError) as caught:
                await waiter
            assert str(caught.value) == "shop/broker: is stopped: need it anew when it runs again"

    run(main())


def test_require_makes_the_start_wait_for_the_first_connection(tmp_path: Path) -> None:
    """With require=True, later services start when it is connected, and not before."""

    async def main() -> None:
        broker = Broker(tmp_path)
        asyncio.get_running_loop().call_later(5, lambda: tasks.append(asyncio.create_task(broker.come())))
        tasks: list[Any] = []
        async with keeping(Connection(broker.endpoint, name="broker", require=True)):
            assert 5 <= now() < 6
        await broker.go()

    run(main())


def test_require_fails_the_start_when_the_broker_does_not_come(tmp_path: Path) -> None:
    """With require=True, start_timeout counts."""

    async def main() -> None:
        with pytest.raises(StartFailed, match="shop/broker: did not start: not ready after 3 s") as caught:
            async with keeping(
                Connection(f"unix:{tmp_path}/none", name="broker", require=True, start_timeout=3, restart="never")
            ):
                pass
        assert str(caught.value).endswith(
            f": no connection to unix:{tmp_path}/none yet: leave out require= to start without one, or raise"
            " start_timeout="
        )
        assert not gate._gates

    run(main())


# Handlers that end ----------------------------------------------------------------------------------------------------


@pytest.mark.logs("ERROR shop.follow: the handler of the connection to unix:.* failed .ValueError: bad word")
def test_a_handler_that_fails_at_once_does_not_hammer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A fault of the handler is logged with its traceback, the connection closed, and the waits grow to 30 s."""

    async def follow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise ValueError("bad word")

    async def main() -> None:
        async with Broker(tmp_path).there() as broker, keeping(Connection(broker.endpoint, follow, retry=PLAIN)):
            await asyncio.sleep(100)
            assert broker.arrivals == pytest.approx([0, 1, 3, 7, 15, 31, 61, 91])
            assert not broker.clients

    run(main())
    record = next(record for record in caplog.records if record.name == "shop.follow")
    assert record.getMessage().endswith(" failed (ValueError: bad word)")
    assert record.exc_info is not None


def test_a_handler_that_returns_is_connected_anew(tmp_path: Path) -> None:
    """When the handler is done with a connection it is closed, and the next one made; often in a row, less often."""

    async def follow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(100 if now() > 20 else 0)

    async def main() -> None:
        async with (
            Broker(tmp_path).there() as broker,
            keeping(Connection(broker.endpoint, follow, retry=PLAIN)) as tree,
        ):
            trace = Trace(tree)
            await asyncio.sleep(200)
            assert broker.arrivals == pytest.approx([0, 1, 3, 7, 15, 31, 132])
            assert {event.why for event in of(trace, Disconnected)} == {"the handler returned"}

    run(main())


def test_a_handler_that_does_not_read_is_ended_when_the_other_end_has_closed(tmp_path: Path) -> None:
    """After the other end has closed, the handler has drain seconds; then it is cancelled, and connected anew."""
    ended: list[float] = []

    async def follow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append(now())

    async def main() -> None:
        async with Broker(tmp_path).there() as broker, keeping(Connection(broker.endpoint, follow, drain=3)) as tree:
            trace = Trace(tree)
            await asyncio.sleep(10)
            link = tree.find("shop/follow").value
            assert link.is_connected
            await broker.cut()
            await asyncio.sleep(1)
            assert not link.is_connected  # nobody gets it any more, although the handler has not let go of it
            await asyncio.sleep(9)
            assert ended == pytest.approx([13])
            assert link.is_connected
            assert len(broker.arrivals) == 2
            assert [event.why for event in of(trace, Disconnected)] == ["closed by the other end"]

    run(main())


@pytest.mark.logs("the handler of the connection .* failed .CancelledError")
def test_a_handler_that_is_cancelled_by_somebody_else_has_failed(tmp_path: Path) -> None:
    """A CancelledError that is no order to stop is a fault like any other."""

    async def follow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if now() < 1:
            raise asyncio.CancelledError
        await reader.read()

    async def main() -> None:
        async with Broker(tmp_path).there() as broker, keeping(Connection(broker.endpoint, follow, retry=PLAIN)):
            await asyncio.sleep(10)
            assert broker.arrivals == pytest.approx([0, 1])

    run(main())


def test_a_handler_may_stop_the_application(tmp_path: Path) -> None:
    """StopApplication does what it does everywhere."""

    async def follow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise StopApplication("enough")

    async def main() -> None:
        async with Broker(tmp_path).there() as broker:
            tree = Tree(Application("shop", [Connection(broker.endpoint, follow), Group("other")]))
            await tree.open()
            await tree.wait()
            assert tree.reason == "enough"

    run(main())


def test_an_other_end_that_closes_at_once_is_asked_less_and_less(tmp_path: Path) -> None:
    """Accepting and closing is no success: the waits grow, up to the cap of the probe."""

    async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pass

    async def main() -> None:
        async with (
            Broker(tmp_path, close).there() as broker,
            keeping(Connection(broker.endpoint, name="broker", retry=PLAIN)),
        ):
            await asyncio.sleep(60)
            waits = [b - a for a, b in zip(broker.arrivals, broker.arrivals[1:], strict=False)]
            assert len(waits) < 14
            assert all(wait >= 1 for wait in waits)
            assert waits[-1] >= 8

    run(main())


# Preparation ----------------------------------------------------------------------------------------------------------


async def log_in(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Greet, and expect to be greeted."""
    if await reader.readline() != b"hello\n":
        raise ConnectionError("no greeting")


def test_a_connection_counts_only_when_it_is_prepared(tmp_path: Path) -> None:
    """Before the handler, and before anybody gets the connection, the first exchange has happened."""
    seen: list[object] = []

    async def prepare(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(1)
        await log_in(reader, writer)
        seen.append("prepared")

    async def follow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append("followed")
        await reader.read()

    async def main() -> None:
        async with Broker(tmp_path).there() as broker:
            async with keeping(Connection(broker.endpoint, follow, prepare=prepare, require=True)):
                assert now() == pytest.approx(1)
            assert seen == ["prepared", "followed"]

    run(main())


def test_a_loss_while_it_is_prepared_is_a_failed_attempt(tmp_path: Path) -> None:
    """Unlike Twisted's ClientService (defect 33), nobody gets the dead connection, and the next one is made."""

    async def slam(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(broker.arrivals) <= 2:
            return
        await broker.echo(reader, writer)

    for prepare in (log_in, lambda_sleep):
        with_broker = tmp_path / prepare.__name__
        with_broker.mkdir()
        broker = Broker(with_broker, slam)

        async def main(prepare: Any = prepare, broker: Broker = broker) -> None:
            async with (
                broker.there(),
                keeping(Connection(broker.endpoint, name="broker", prepare=prepare, retry=PLAIN)) as tree,
            ):
                trace = Trace(tree)
                await asyncio.sleep(10)
                assert len(of(trace, ConnectFailed)) == 2
                assert len(of(trace, Connected)) == 1
                assert not of(trace, Disconnected)
                assert len(broker.clients) == 1

        run(main())


async def lambda_sleep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Prepare without looking at the connection."""
    await asyncio.sleep(0.5)


@pytest.mark.logs("ERROR shop.broker: cannot connect to unix:.* .PermissionError2: wrong password. .PermissionError2")
def test_a_refused_login_closes_the_connection_and_waits_longer_each_time(tmp_path: Path) -> None:
    """What is no error of the network is logged as one of ours; the connection is closed each time."""

    class PermissionError2(Exception):
        pass

    async def prepare(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise PermissionError2("wrong password")

    async def main() -> None:
        async with (
            Broker(tmp_path).there() as broker,
            keeping(Connection(broker.endpoint, name="broker", prepare=prepare, retry=PLAIN)) as tree,
        ):
            await asyncio.sleep(100)
            assert broker.arrivals == pytest.approx([0, 1, 3, 7, 15, 31, 61, 91])
            assert not broker.clients
            assert tree.find("shop/broker").state is State.READY

    run(main())


def test_a_preparation_that_hangs_is_ended_and_its_connection_closed(tmp_path: Path) -> None:
    """The endpoint's timeout bounds the preparation."""

    async def prepare(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(3600)

    async def main() -> None:
        async with Broker(tmp_path).there() as broker:
            endpoint = f"{broker.endpoint}:timeout=2"
            async with keeping(Connection(endpoint, name="broker", prepare=prepare, retry=PLAIN)) as tree:
                trace = Trace(tree)
                await asyncio.sleep(4.5)
                assert [str(event.error) for event in of(trace, ConnectFailed)] == ["not prepared in 2 s"]
                assert len(broker.clients) == 1  # the second attempt's

    run(main())


@pytest.mark.parametrize("state", ["connecting", "preparing", "connected", "waiting"])
def test_a_stop_in_any_state_leaves_nothing_behind(tmp_path: Path, state: str) -> None:
    """Stopped while it connects, prepares, is connected or waits: no task, no transport, no descriptor remains."""

    async def prepare(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if state == "preparing":
            await asyncio.sleep(3600)

    async def main() -> None:
        async with Broker(tmp_path).there() as broker:
            endpoint = broker.endpoint if state != "waiting" else f"unix:{tmp_path}/none"
            async with keeping(Connection(endpoint, name="broker", prepare=prepare)):
                if state != "connecting":
                    await asyncio.sleep(1)
            await asyncio.sleep(0.1)
            assert not broker.clients
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left

    run(main())


# Stop -----------------------------------------------------------------------------------------------------------------


def test_a_stop_sends_what_was_written(tmp_path: Path) -> None:
    """A goodbye that the handler writes in its finally arrives."""
    heard: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read())

    async def follow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read()
        finally:
            writer.write(b"goodbye")

    async def main() -> None:
        async with Broker(tmp_path, listen).there() as broker:
            async with keeping(Connection(broker.endpoint, follow)):
                await asyncio.sleep(1)
            await asyncio.sleep(0.1)
            assert heard == [b"goodbye"]

    run(main())


def test_a_stop_is_bounded_when_the_other_end_does_not_read(tmp_path: Path) -> None:
    """Twisted's ClientService waits for ever there; after drain seconds the connection is cut."""

    async def ignore(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(3600)

    async def follow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"x" * 10_000_000)
        await writer.drain()

    async def main() -> None:
        async with Broker(tmp_path, ignore).there() as broker:
            async with keeping(Connection(broker.endpoint, follow, drain=2)):
                await asyncio.sleep(10)
            assert now() == pytest.approx(12)

    run(main())


# What a person writes -------------------------------------------------------------------------------------------------


async def follow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    pass


def forgot(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    pass


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Connection("udp:broker:53", follow),
            "Connection follow: endpoint=udp:broker:53: datagrams know no connection: use tcp or unix",
        ),
        (
            lambda: Connection("tcp:broker:1883", forgot),
            "Connection forgot: handler=forgot: is not async: write async def forgot(reader, writer)",
        ),
        (
            lambda: Connection("tcp:broker:1883", follow, prepare=forgot),  # type: ignore[arg-type]
            "Connection follow: prepare=forgot: wanted an async function",
        ),
        (
            lambda: Connection("tcp:broker:1883", follow, retry=5),  # type: ignore[arg-type]
            "Connection follow: retry=5: wanted a Backoff, such as Backoff(base=0.1, cap=5)",
        ),
        (
            lambda: Connection("tcp:broker:1883", follow, drain=-1),
            "Connection follow: drain=-1: wanted a number of seconds from 0",
        ),
    ],
)
def test_refuses_what_cannot_be(make: Callable[[], object], message: str) -> None:
    """What cannot be is refused when it is written, with the field and what was wanted."""
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert str(caught.value) == message


def test_is_a_value() -> None:
    """Equal when its fields are, picklable, hashable, and shown as it was written."""
    connection = Connection("broker:1883", follow, name="broker")
    assert connection == pickle.loads(pickle.dumps(connection))
    assert connection == Connection("tcp:broker:1883", follow, name="broker")
    assert hash(connection)
    assert repr(connection) == "Connection('tcp:broker:1883', follow, name='broker')"
    assert Connection("tcp:broker:1883").name == "connection"
