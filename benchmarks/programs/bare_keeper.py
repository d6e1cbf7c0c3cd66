"""The limit: the shortest asyncio loop that starts a program again when it ends.  Arguments: the command"""

import asyncio
import sys


async def main():
    while True:
        child = await asyncio.create_subprocess_exec(*sys.argv[1:])
        await child.wait()


asyncio.run(main())
