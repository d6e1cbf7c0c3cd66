"""
Count things for other programs, over UDP: each datagram is a name, the answer is how often it was counted.

    plaitd -ny udp_service.py
    echo -n apples | nc -u -w1 127.0.0.1 7009
"""

import asyncio
from collections import Counter

from plait import Application, Listener, current

counters: Counter[str] = Counter()


async def count(data: bytes, address: tuple[str, int], transport: asyncio.DatagramTransport) -> None:
    name = data.decode(errors="replace").strip()
    counters[name] += 1
    current().log.info("%s: %d", name, counters[name])
    transport.sendto(f"{name} {counters[name]}\n".encode(), address)


application = Application("counters", [Listener("udp:7009:interface=127.0.0.1", count)])
