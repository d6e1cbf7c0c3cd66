"""Crash a task again and again, and note how long until it runs again.  Arguments: who, how often.  Prints JSON."""

import asyncio
import json
import logging
import statistics
import sys
import time

who, count = sys.argv[1], int(sys.argv[2])
crashed = 0
waits = []
enough = None
logging.disable()  # nobody's traceback is part of the restart


class Crash(Exception):
    pass


async def live():
    """One life: note when it began, do nothing for a moment, crash."""
    global crashed
    if crashed:
        waits.append(time.perf_counter_ns() - crashed)
    if len(waits) >= count:
        enough.set()
        await asyncio.get_running_loop().create_future()
    await asyncio.sleep(0.001)
    crashed = time.perf_counter_ns()
    raise Crash


async def bare():
    async def keep():
        while True:
            try:
                await asyncio.create_task(live())
            except Crash:
                pass

    keeper = asyncio.create_task(keep())
    await enough.wait()
    keeper.cancel()


async def plait():
    from plait import Application, Backoff, Group, Limit, Service, running

    class Crashing(Service):
        async def run(self, context):
            context.ready()
            await live()

    group = Group("all", [Crashing(name="crashing")], limit=Limit(None), backoff=Backoff(base=0.0, cap=0.0))
    async with running(Application("crash", [group])):
        await enough.wait()


async def mode():
    from mode import Service
    from mode.supervisors import OneForOneSupervisor

    class Crashing(Service):
        @Service.task
        async def work(self):
            await live()

    service = Crashing()
    supervisor = OneForOneSupervisor(max_restarts=1e9, over=1.0)
    supervisor.add(service)
    await supervisor.start()
    await enough.wait()
    await supervisor.stop()


async def main():
    global enough
    enough = asyncio.Event()
    await asyncio.wait_for({"bare": bare, "plait": plait, "mode": mode}[who](), 60)


began = time.process_time_ns()
asyncio.run(main())
cuts = statistics.quantiles(waits, n=100)
cpu = (time.process_time_ns() - began) / 1000 / count
print(json.dumps({"p50": cuts[49] / 1000, "p99": cuts[98] / 1000, "cpu": cpu}), flush=True)
