"""
Three worlds in one tree: a Twisted protocol, a listener of asyncio, and a function of trio.

It takes orders, a line each, says how many there are to whoever asks, and reports them to its log::

    pip install 'plait[twisted,trio]'
    plaitd -ny mixed.py
    nc 127.0.0.1 8111
    nc 127.0.0.1 8112
"""

import asyncio

import trio
from twisted.application import strports
from twisted.internet import protocol
from twisted.protocols import basic

from plait import Application, Listener, current
from plait.guests.trio import TrioService
from plait.guests.twisted import TwistedService

PERIOD = 60
orders: list[bytes] = []


class Orders(basic.LineOnlyReceiver):
    """Takes an order, and says its number."""

    delimiter = b"\n"

    def lineReceived(self, line: bytes) -> None:  # noqa: N802 - its name in Twisted
        """Take it."""
        orders.append(line)
        self.sendLine(b"order %d" % len(orders))


async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say how many there are."""
    writer.write(b"%d\n" % len(orders))


async def report() -> None:
    """Report the orders, again and again."""
    while True:
        current().log.info("%d orders", len(orders))
        await trio.sleep(PERIOD)


application = Application(
    "mixed",
    [
        TwistedService(
            strports.service("tcp:8111:interface=127.0.0.1", protocol.Factory.forProtocol(Orders)), name="orders"
        ),
        Listener("tcp:8112:interface=127.0.0.1", count),
        TrioService(report),
    ],
)
