"""The echo server as a plait application, with a Protocol factory."""

import asyncio
import os

from plait import Application, Listener


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


application = Application("echo", [Listener(f"tcp:{os.environ['BENCH_PORT']}:interface=127.0.0.1", Echo, name="echo")])
