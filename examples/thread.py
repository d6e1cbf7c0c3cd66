"""
A thread beside a listener: work that would block the loop.

The thread looks for primes, one after the other, and is told to stop by its event.  Ask for the last one that it
found::

    plaitd -ny thread.py
    nc 127.0.0.1 8103
"""

import asyncio
import itertools
import threading
from dataclasses import dataclass

from plait import Application, Context, Listener, Thread, current


@dataclass
class Search:
    """What the thread shares with the loop."""

    last: int = 2


def search_primes(stop: threading.Event, context: Context[Search]) -> None:
    """Look for primes until told to stop."""
    search = Search()
    context.ready(search)
    for number in itertools.count(3, 2):
        if stop.is_set():
            context.log.info("the last prime was %d", search.last)
            return
        if all(number % divisor for divisor in range(3, int(number**0.5) + 1, 2)):
            search.last = number


primes = Thread(search_primes, name="primes")


async def tell(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer with the last prime."""
    search = await current().need(primes)
    writer.write(b"%d\n" % search.last)


application = Application("thread", [primes, Listener("tcp:8103:interface=127.0.0.1", tell, name="answer")])
