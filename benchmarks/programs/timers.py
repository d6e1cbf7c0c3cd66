"""
Run 10,000 things once a second.  Arguments: who, "spread" or "burst", seconds.  Prints its figures as JSON.

The phases are spread over the second, or all the same.  While they are set up the loop's clock stands still, so that
everybody's grid is known exactly, however long the setting up takes.
"""

import asyncio
import functools
import json
import logging
import sys
import time
from array import array

who, spread, seconds = sys.argv[1], sys.argv[2] == "spread", float(sys.argv[3])
COUNT = 10_000
LEAD = 3.0  # seconds for setting up
logging.disable()

frozen = 0.0
monotonic = time.monotonic
late = array("d")
start = monotonic() + LEAD
dues = [start + (number / COUNT if spread else 0.0) for number in range(COUNT)]


def now():
    return frozen or monotonic()


def fire(number):
    at = monotonic()
    due = dues[number]
    if at >= start:
        late.append(at - due)
        dues[number] = due + 1.0


async def fire_async(number):
    fire(number)


def begin():
    """The first second belongs to the start."""
    global used
    del late[:]
    used = time.process_time_ns()


def finish():
    """What still fires while everything is taken down does not count."""
    global times, used
    times, used = sorted(late), time.process_time_ns() - used


async def measure():
    """Wait until the first second is over, then until the end."""
    global frozen
    frozen = 0.0
    loop = asyncio.get_running_loop()
    done = asyncio.Event()
    # Between two ticks of the grid, lest the burst be cut in two.
    loop.call_at(start + 1.5, begin)
    loop.call_at(start + 1.5 + seconds, lambda: (finish(), done.set()))
    await done.wait()


async def bare():
    loop = asyncio.get_running_loop()

    def ring(number):
        fire(number)
        loop.call_at(dues[number], ring, number)

    for number in range(COUNT):
        loop.call_at(dues[number], ring, number)
    await measure()


async def bare_async():
    async def keep(number):
        while True:
            await asyncio.sleep(dues[number] - monotonic())
            await fire_async(number)

    tasks = [asyncio.create_task(keep(number)) for number in range(COUNT)]
    await measure()
    for task in tasks:
        task.cancel()


async def plait(function=fire):
    global frozen
    from plait import Application, Group, Periodic, running

    loop = asyncio.get_running_loop()
    loop.time = now
    frozen = monotonic()
    services = [
        Periodic(1.0, functools.partial(function, number), phase=due - frozen, name=f"p{number}")
        for number, due in enumerate(dues)
    ]
    async with running(Application("timers", [Group("all", services)])):
        await measure()


async def plait_async():
    await plait(fire_async)


async def aiomisc():
    from aiomisc import PeriodicCallback

    callbacks = [PeriodicCallback(fire_async, number) for number in range(COUNT)]
    for callback, due in zip(callbacks, dues, strict=True):
        callback.start(1.0, delay=due - monotonic())
    await measure()


def twisted(make):
    global frozen
    from twisted.internet import reactor

    reactor.seconds = now
    for number in range(COUNT):
        frozen = dues[number] - 1.0
        make(number)
    frozen = 0.0
    reactor.callLater(start + 1.5 - monotonic(), begin)
    reactor.callLater(start + 1.5 + seconds - monotonic(), lambda: (finish(), reactor.stop()))
    reactor.run()


def looping_call(number):
    from twisted.internet.task import LoopingCall

    LoopingCall(fire, number).start(1.0, now=False)


def timer_service(number):
    from twisted.application.internet import TimerService

    TimerService(1.0, fire, number).startService()


asynchronous = {"bare": bare, "bare_async": bare_async, "plait": plait, "plait_async": plait_async, "aiomisc": aiomisc}
if who in asynchronous:
    asyncio.run(asynchronous[who]())
else:
    twisted({"looping_call": looping_call, "timer_service": timer_service}[who])

figures = {
    "cpu": used / 1000 / len(times),
    "p50": times[len(times) // 2] * 1000,
    "p99": times[len(times) * 99 // 100] * 1000,
    "max": times[-1] * 1000,
    "fired": 100 * len(times) / (COUNT * seconds),
}
print(json.dumps(figures), flush=True)
