"""The limit: the bare Protocol script behind a double fork with a readiness pipe.  Argument: port"""

import asyncio
import os
import signal
import sys


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


async def main(ready):
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    server = await loop.create_server(Echo, "127.0.0.1", int(sys.argv[1]))
    with open("daemon.pid", "w") as file:
        file.write(f"{os.getpid()}\n")
    os.write(ready, b"1")
    os.close(ready)
    await stop.wait()
    server.close()


wait, ready = os.pipe()
if os.fork():
    os.close(ready)
    os._exit(0 if os.read(wait, 1) else 1)
os.close(wait)
os.setsid()
if os.fork():
    os._exit(0)
null = os.open(os.devnull, os.O_RDWR)
for descriptor in range(3):
    os.dup2(null, descriptor)
asyncio.run(main(ready))
