"""The echo server under aiorun.  Argument: port"""

import asyncio
import sys

import aiorun


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


async def main():
    await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", int(sys.argv[1]))


aiorun.run(main())
