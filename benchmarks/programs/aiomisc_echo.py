"""The echo server under aiomisc.  Argument: port"""

import sys

from aiomisc import entrypoint
from aiomisc.service import TCPServer


class Echo(TCPServer):
    async def handle_client(self, reader, writer):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()


with entrypoint(Echo(address="127.0.0.1", port=int(sys.argv[1]))) as loop:
    loop.run_forever()
