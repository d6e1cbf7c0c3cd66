"""
A room where everybody reads what anybody writes.

    plaitd -ny chat.py
    nc 127.0.0.1 7008

When the room closes, everybody reads the end of the stream, and nobody has to be told to go.
"""

import asyncio

from plait import Application, Listener

PATIENCE = 64 * 1024  # who has so many bytes still to read is not reading any more


class Room:
    def __init__(self) -> None:
        self.members: dict[str, asyncio.StreamWriter] = {}

    async def chat(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"your name? ")
        name = (await reader.readline()).decode(errors="replace").strip()
        if not name or name in self.members:
            writer.write(b"that will not do\n")
            return
        self.members[name] = writer
        self.tell(f"* {name} is here")
        try:
            while line := await reader.readline():
                self.tell(f"{name}: {line.decode(errors='replace').rstrip()}")
        finally:
            del self.members[name]
            self.tell(f"* {name} has left")

    def tell(self, text: str) -> None:
        for writer in self.members.values():
            if writer.transport.get_write_buffer_size() > PATIENCE:
                writer.transport.abort()
            else:
                writer.write(text.encode() + b"\n")


application = Application("chat", [Listener("tcp:7008:interface=127.0.0.1", Room().chat)])
