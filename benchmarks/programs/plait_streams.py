"""The echo server as a plait application, with a stream handler."""

import os

from plait import Application, Listener


async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


application = Application("echo", [Listener(f"tcp:{os.environ['BENCH_PORT']}:interface=127.0.0.1", echo)])
