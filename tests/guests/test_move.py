"""The how-to that moves an application from Twisted: each step runs as it stands there, for the same clients."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from tests.guests.tac import start
from tests.system.daemon import Place
from tests.system.places import FORMS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how-to" / "move-from-twisted.md"
STEPS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def find_free_ports(number: int) -> list[int]:
    """Return ports at which nobody listens."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@FORMS
@pytest.mark.parametrize("step", [0, 1, 2], ids=["a .tac", "a tree of Twisted services", "three worlds"])
def test_each_step_answers_the_same_clients(place: Place, step: int, daemonize: bool) -> None:
    """Orders are taken and counted at the same ports, reported to the log, and all is stopped in order."""
    name = "shop.tac" if step == 0 else "shop.py"
    orders, count = find_free_ports(2)
    text = STEPS[step].replace("8111", str(orders)).replace("8112", str(count))
    (place.folder / name).write_text(text)
    place.allow(name)

    running = start(place, daemonize, name=name)
    with socket.create_connection(("127.0.0.1", orders), 10) as client:
        for number in (1, 2):
            client.sendall(b"apples\n")
            assert client.recv(100) == b"order %d\n" % number
    with socket.create_connection(("127.0.0.1", count), 10) as client:
        assert client.recv(100) == b"2\n"
    ended = running.stop()

    assert ended.code == 0
    where = "shop/TimerService" if step == 0 else f"{'shop' if step == 1 else 'mixed'}/report"
    assert re.search(rf"\[{where}#info\] 0 orders$", ended.output, re.MULTILINE), ended.output
    assert "#error" not in ended.output


def test_the_last_step_is_the_example() -> None:
    """The page shows examples/mixed.py as it is, but for the docstring."""
    source = (ROOT / "examples" / "mixed.py").read_text()
    assert len(STEPS) == 3
    assert STEPS[-1] == source[source.index("import asyncio\n") :]
