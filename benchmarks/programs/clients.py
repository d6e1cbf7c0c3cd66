"""Keep many connections to one place open.  Arguments: who, port, how many"""

import asyncio
import logging
import sys

who, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
logging.disable()


async def fixed():
    """Wait a second after each failure and each loss."""

    async def keep():
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                await reader.read()
                writer.close()
            except OSError:
                pass
            await asyncio.sleep(1)

    await asyncio.gather(*[keep() for _ in range(count)])


async def plait():
    from plait import Application, Connection, running

    async def follow(reader, writer):
        await reader.read()

    services = [Connection(f"tcp:127.0.0.1:{port}", follow, name=f"c{number}") for number in range(count)]
    async with running(Application("clients", services)):
        await asyncio.get_running_loop().create_future()


def client_service():
    from twisted.application.internet import ClientService
    from twisted.internet import endpoints, protocol, reactor

    for _ in range(count):
        endpoint = endpoints.clientFromString(reactor, f"tcp:127.0.0.1:{port}")
        ClientService(endpoint, protocol.Factory.forProtocol(protocol.Protocol)).startService()
    reactor.run()


def client_factory():
    from twisted.internet import protocol, reactor

    class Factory(protocol.ReconnectingClientFactory):
        noisy = False

        def buildProtocol(self, address):  # noqa: N802 - Twisted's name
            self.resetDelay()
            return protocol.Protocol()

    for _ in range(count):
        reactor.connectTCP("127.0.0.1", port, Factory())
    reactor.run()


def aiomisc():
    from aiomisc import entrypoint
    from aiomisc.service import RobustTCPClient

    class Client(RobustTCPClient):
        async def handle_connection(self, reader, writer):
            await reader.read()

    clients = [Client(address="127.0.0.1", port=port) for _ in range(count)]
    with entrypoint(*clients, log_config=False) as loop:
        loop.run_forever()


sides = {
    "fixed": fixed,
    "plait": plait,
    "client_service": client_service,
    "client_factory": client_factory,
    "aiomisc": aiomisc,
}
side = sides[who]
if asyncio.iscoroutinefunction(side):
    asyncio.run(side())
else:
    side()
