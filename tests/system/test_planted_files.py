"""What somebody plants at the place of the pidfile, the log or a socket, at any moment: refused, and left as it is."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.root

#: Swaps what is at a place for something else, as fast as it can, as often as it is told; then removes it.
ATTACKER = """
import os, random, sys
place, count, target, other, sock = sys.argv[1], int(sys.argv[2]), "target", "other", "target.sock"
chance = random.Random(4711)

def clear():
    try:
        os.unlink(place)
    except FileNotFoundError:
        pass
    except IsADirectoryError:
        os.rmdir(place)

def put(make, *words):
    clear()
    try:
        make(*words)
    except FileExistsError:
        pass

swaps = 0
while swaps < count:
    kind = chance.randrange(8)
    if kind == 0:
        put(os.symlink, target, place)
    elif kind == 1:
        put(os.symlink, "missing", place)
    elif kind == 2:
        put(os.mkfifo, place)
    elif kind == 3:
        put(os.link, other, place)
    elif kind == 4:
        put(os.link, sock, place)
    elif kind == 5:
        clear()
    else:
        # A second name that is there when the place is looked at, and not when the names are counted.
        for _ in range(chance.randrange(1, 20)):
            put(os.link, target, place)
            clear()
            swaps += 1
    swaps += 1
clear()
"""

VICTIMS = {
    "pidfile": """
from plait.process.pidfile import Pidfile
def go():
    Pidfile.lock(place, "plaitd.pid").remove()
""",
    "log": """
from plait.runner.sinks import open_log_file
def go():
    file = open_log_file(place)
    try:
        os.write(file, b"a line of the log\\n")
    finally:
        os.close(file)
""",
    "socket": """
from plait.endpoints import Endpoint
from plait.sockets import Sockets
endpoint = Endpoint.listening("unix:place")
def go():
    sockets = Sockets()
    try:
        sockets.open(endpoint)
    finally:
        sockets.close_all()
""",
}

#: Opens the place again and again until the attacker has ended; prints how often it could, and what it was told.
VICTIM = """
import collections, json, os, subprocess, sys
from plait.errors import BindError, CannotCreate
place = os.path.abspath("place")
{go}
told = collections.Counter()
attacker = subprocess.Popen([sys.executable, "-S", "attacker.py", "place", sys.argv[1]])
while attacker.poll() is None:
    try:
        go()
    except (BindError, CannotCreate, OSError) as error:
        told[str(error)] += 1
    else:
        told[""] += 1
print(json.dumps([attacker.returncode, told]))
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that anybody may change, with a file and a socket of root's, and a file of somebody else's."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        (folder / "target").write_text("precious")
        (folder / "target").chmod(0o640)
        (folder / "other").write_text("theirs")
        os.chown(folder / "other", 54321, 54321)
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(folder / "target.sock"))
            bound.listen()
            (folder / "target.sock").chmod(0o600)
            yield folder


def look(folder: Path) -> list[tuple[object, ...]]:
    """Return what must not change."""
    return [
        (name, stat.filemode(status.st_mode), status.st_uid, status.st_gid, status.st_nlink, status.st_size)
        for name in ("target", "other", "target.sock")
        for status in [(folder / name).lstat()]
    ]


@pytest.mark.promise(84)
@pytest.mark.time_limit(600)
@pytest.mark.parametrize("what", VICTIMS)
def test_whatever_is_swapped_in_is_refused_and_unchanged(folder: Path, what: str, is_long: bool) -> None:
    """Over 10,000 timed swaps: no file of root's or of somebody else's is written, changed or removed."""
    before = look(folder)
    (folder / "attacker.py").write_text(ATTACKER)
    (folder / "victim.py").write_text(VICTIM.format(go=VICTIMS[what]))
    done = subprocess.run(
        [sys.executable, "victim.py", "100000" if is_long else "10000"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    code, told = json.loads(done.stdout)
    assert code == 0
    assert look(folder) == before
    assert (folder / "target").read_text() == "precious"
    assert (folder / "other").read_text() == "theirs"
    assert not (folder / "missing").exists()
    assert {path.name for path in folder.iterdir()} <= {
        *("target", "other", "target.sock", "attacker.py", "victim.py", "place")
    }
    refused = sum(count for sentence, count in told.items() if sentence)
    assert refused > 20, told
    assert len(told) > 2, told  # for more than one reason
