"""
A periodic job beside a server: what is old is swept away while clients are served.

A client sends a word, and reads how many are remembered; after ten seconds a word is forgotten. ::

    plaitd -ny periodic.py
    echo hello | nc -N 127.0.0.1 8105
"""

import asyncio
import time

from plait import Application, Listener, Periodic, current

FORGET_AFTER = 10.0

words: dict[str, float] = {}


async def remember(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Remember each word, answer with the number of those remembered."""
    async for line in reader:
        words[line.decode().strip()] = time.monotonic()
        writer.write(b"%d\n" % len(words))
        await writer.drain()


def sweep() -> None:
    """Forget what is old.  If this failed, it would be logged, and done again in a second."""
    now = time.monotonic()
    old = [word for word, since in words.items() if now - since > FORGET_AFTER]
    for word in old:
        del words[word]
    if old:
        current().log.info("forgot %s", ", ".join(old))


application = Application(
    "periodic",
    [
        Periodic(1, sweep, name="sweep"),
        Listener("tcp:8105:interface=127.0.0.1", remember, name="remember"),
    ],
)
