"""The echo server under mode.  Argument: port"""

import asyncio
import sys

import mode


class Protocol(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


class Echo(mode.Service):
    async def on_start(self):
        self.server = await asyncio.get_running_loop().create_server(Protocol, "127.0.0.1", int(sys.argv[1]))

    async def on_stop(self):
        self.server.close()


mode.Worker(Echo(), loglevel="warning").execute_from_commandline()
