"""The public names, what importing them costs, and what is loaded when a server serves."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import plait

SOURCE = Path(plait.__file__)


def test_every_public_name_is_there_and_said_once() -> None:
    """What type checkers see, what `__all__` lists and what can be imported are the same."""
    tree = ast.parse(SOURCE.read_text())
    seen = {
        alias.asname: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("plait.")
        for alias in node.names
    }

    assert seen == plait._MODULES
    assert ["__version__", *sorted(seen)] == plait.__all__
    for name, module in seen.items():
        assert getattr(plait, name) is getattr(import_module(module or ""), name or "")
    assert set(plait.__all__) <= set(dir(plait))


def test_an_unknown_name_is_an_attribute_error() -> None:
    """As of any module."""
    assert not hasattr(plait, "Applicaton")


def fresh(code: str) -> list[str]:
    """Run *code* in a fresh interpreter, and return the JSON list that it prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found: list[str] = json.loads(done.stdout)
    return found


def test_importing_plait_imports_nothing_else() -> None:
    """No loop, no runner, no command line, no signal."""
    loaded = fresh(
        "import json, signal, sys; before = set(sys.modules); handlers = [signal.getsignal(n) for n in range(1, 32)]\n"
        "import plait\n"
        "assert handlers == [signal.getsignal(n) for n in range(1, 32)]\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )

    mine = [name for name in loaded if name.startswith("plait")]
    heavy = {"asyncio", "logging", "socket", "ssl", "argparse", "dataclasses", "signal"}
    assert ["plait"] == mine
    assert not heavy & set(loaded)


BARE = """
import asyncio, json, sys
class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        print(json.dumps(sorted(sys.modules)), flush=True)
        transport.abort()
        loop.stop()
loop = asyncio.new_event_loop()
server = loop.run_until_complete(loop.create_server(Echo, "127.0.0.1", 0))
import socket
client = socket.socket()
client.setblocking(False)
client.connect_ex(server.sockets[0].getsockname())
loop.run_forever()
"""

APPLICATION = """
import asyncio, json, socket, sys
from plait import Application, Listener
async def echo(reader, writer):
    print(json.dumps(sorted(sys.modules)), file=sys.__stdout__, flush=True)  # sys.stdout is the log
    import os
    os._exit(0)
application = Application("echo", [Listener("unix:sock", echo)])
"""

PLAITD = """
import socket, sys, threading
sys.argv = ["plaitd", "-n", "-r", "asyncio", "-l", "log", "-y", "echo_application.py"]
from plait.cli.plaitd import main
from plait.process.prepare import Prepared
def ready(self):
    client = socket.socket(socket.AF_UNIX)
    client.connect("sock")
    client.detach()
Prepared.ready = ready
main()
"""

#: How many modules more than a bare script a plaitd that serves an echo application has loaded.  Each costs about
#: 0.1 ms at every start, so one more needs a reason.
MORE_THAN_BARE = 54


def test_few_modules_are_loaded_when_an_echo_server_serves(tmp_path: Path) -> None:
    """A start loads what it needs and no more."""
    (tmp_path / "echo_application.py").write_text(APPLICATION)
    done = subprocess.run(
        [sys.executable, "-c", PLAITD], capture_output=True, text=True, cwd=tmp_path, timeout=20, check=True
    )
    more = set(json.loads(done.stdout)) - set(fresh(BARE)) - {"echo_application"}

    assert len(more) <= MORE_THAN_BARE, sorted(more)
    allowed = {"__future__", "copy", "dataclasses", "gc", "getopt", "org", "org.python", "org.python.core"}
    assert {name for name in more if not name.startswith("plait")} <= allowed
