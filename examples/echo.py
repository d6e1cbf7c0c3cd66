"""
Send back what clients send.

    plaitd -ny echo.py
    nc 127.0.0.1 7007
"""

import asyncio

from plait import Application, Listener


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


application = Application("echo", [Listener("tcp:7007:interface=127.0.0.1", echo)])
