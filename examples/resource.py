"""
A resource and its users: a database that is opened before them, and closed after them.

Each line that a client sends is kept in lines.sqlite; the answer is how many there are. ::

    plaitd -ny resource.py
    echo hello | nc -N 127.0.0.1 8104

Stop it, start it again: it goes on counting.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from plait import Application, Listener, Periodic, Resource, current


@asynccontextmanager
async def open_database(file: str) -> AsyncIterator[sqlite3.Connection]:
    """Open the database; what comes after the yield happens when nobody uses it any more."""
    connection = sqlite3.connect(file)
    connection.execute("create table if not exists line (text text)")
    try:
        yield connection
    finally:
        connection.commit()
        connection.close()


database = Resource(open_database, arguments=("lines.sqlite",), name="database")


async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Keep each line, answer with their number."""
    connection = await current().need(database)  # what `open_database` yields
    async for line in reader:
        connection.execute("insert into line values (?)", (line.decode().strip(),))
        (count,) = connection.execute("select count(*) from line").fetchone()
        writer.write(b"%d\n" % count)
        await writer.drain()


async def commit() -> None:
    """Write to the disk what came since the last time."""
    connection = await current().need(database)
    connection.commit()


application = Application(
    "resource",
    [
        database,
        Periodic(5, commit, name="commit"),
        Listener("tcp:8104:interface=127.0.0.1", keep, name="keep"),
    ],
)
