"""Start and stop many services that do nothing.  Arguments: who, how many, "nogc".  Prints its figures as JSON."""

import asyncio
import gc
import json
import os
import sys
import time

who, count = sys.argv[1], int(sys.argv[2])
figures = {}


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Phase:
    """Notes the processor time of its block, in microseconds a service."""

    def __init__(self, name):
        self.name = name

    def __enter__(self):
        self.began = time.process_time_ns()

    def __exit__(self, *_):
        figures[self.name] = (time.process_time_ns() - self.began) / 1000 / count


async def nothing():
    await asyncio.get_running_loop().create_future()


async def bare():
    loop = asyncio.get_running_loop()
    before = resident()
    with Phase("build"):
        pass
    with Phase("start"):
        tasks = [loop.create_task(nothing()) for _ in range(count)]
        await asyncio.sleep(0)
    figures["bytes"] = (resident() - before) / count
    with Phase("stop"):
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def plait():
    from plait import Application, Group, Limit, Service, running

    class Nothing(Service):
        async def run(self, context):
            context.ready()
            await asyncio.get_running_loop().create_future()

    before = resident()
    with Phase("build"):
        services = [Nothing(name=f"s{number}") for number in range(count)]
        run = running(Application("tree", [Group("all", services, limit=Limit(None))]))
        del services
    with Phase("start"):
        await run.__aenter__()
    figures["bytes"] = (resident() - before) / count
    with Phase("stop"):
        await run.__aexit__(None, None, None)


async def mode():
    from mode import Service

    class Nothing(Service):
        pass

    before = resident()
    with Phase("build"):
        root = Nothing()
        for _ in range(count):
            root.add_dependency(Nothing())
    with Phase("start"):
        await root.start()
    figures["bytes"] = (resident() - before) / count
    with Phase("stop"):
        await root.stop()


def aiomisc():
    from aiomisc import Service, entrypoint

    class Nothing(Service):
        async def start(self):
            pass

    before = resident()
    with Phase("build"):
        run = entrypoint(*[Nothing() for _ in range(count)], log_config=False)
    with Phase("start"):
        run.__enter__()
    figures["bytes"] = (resident() - before) / count
    with Phase("stop"):
        run.__exit__(None, None, None)


def twisted():
    from twisted.application.service import MultiService, Service

    before = resident()
    with Phase("build"):
        root = MultiService()
        for number in range(count):
            service = Service()
            service.setName(f"s{number}")
            service.setServiceParent(root)
    with Phase("start"):
        root.startService()
    figures["bytes"] = (resident() - before) / count
    with Phase("stop"):
        root.stopService()


sides = {"bare": bare, "plait": plait, "mode": mode, "aiomisc": aiomisc, "twisted": twisted}
gc.collect()
if sys.argv[3:] == ["nogc"]:
    gc.disable()
side = sides[who]
asyncio.run(side()) if asyncio.iscoroutinefunction(side) else side()
figures["life"] = figures["start"] + figures["stop"]
print(json.dumps(figures), flush=True)
