"""
A proxy that keeps one connection to the server behind it, for all its clients.

Clients send a line and read a line.  The line goes through the one connection upstream, which is made anew whenever it
is lost; meanwhile clients wait.  Any server that answers each line with a line will do, such as echo.py. ::

    plaitd -ny echo.py --pidfile= &
    plaitd -ny proxy.py
    echo hello | nc -N 127.0.0.1 8106
"""

import asyncio

from plait import Application, Connection, Listener, current

upstream = Connection("tcp:127.0.0.1:7007", name="upstream")
one_at_a_time = asyncio.Lock()


async def ask(line: bytes) -> bytes:
    """Send *line* upstream and return the answer; if the connection is lost meanwhile, ask on the next one."""
    link = await current().need(upstream)
    async with one_at_a_time:
        while True:
            reader, writer = await link.wait()
            try:
                writer.write(line)
                await writer.drain()
                answer: bytes = await reader.readline()
                if answer.endswith(b"\n"):
                    return answer
            except ConnectionError:
                pass
            writer.close()  # whatever it still answers is to no question


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer each line of a client with that of the server upstream."""
    async for line in reader:
        writer.write(await ask(line))
        await writer.drain()


application = Application("proxy", [upstream, Listener("tcp:8106:interface=127.0.0.1", serve, name="serve")])
