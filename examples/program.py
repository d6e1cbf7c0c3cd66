"""
A supervised child program beside a listener.

The program is a small web server of files; when it dies it is started again, and when the application stops, or is
killed, it goes too.  The listener tells on port 8102 which process serves at the moment::

    plaitd -ny program.py
    curl http://127.0.0.1:8101/
    nc 127.0.0.1 8102
"""

import asyncio
import sys

from plait import Application, Listener, Program, current

files = Program(
    [sys.executable, "-u", "-m", "http.server", "8101", "--bind", "127.0.0.1"],
    name="files",
    ready_line="^Serving HTTP",
)


async def tell(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer with the process that serves; after a crash, wait for the next one."""
    program = await current().need(files)
    writer.write(f"process {program.pid} serves http://127.0.0.1:8101/\n".encode())


application = Application("program", [files, Listener("tcp:8102:interface=127.0.0.1", tell, name="status")])
