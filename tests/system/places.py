"""
What tests of plaitd share: the folder that it is started in, as fixtures, and the two forms in which it is.

The fixtures are taken over by the ``conftest.py`` of whoever needs them.  A test that wants more of its place overrides
the fixture with one that asks for it: ``def place(place: Place) -> Place``.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.daemon import PATIENCE, Daemon, Foreground, Place, given

#: A test of both: in the foreground, and as a daemon.
FORMS = pytest.mark.parametrize("daemonize", [False, True], ids=["foreground", "daemon"])


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A folder to start plaitd in, where nothing may be left."""
    with Place(tmp_path) as place:
        yield place
        place.assert_nothing_left()


@pytest.fixture
def public() -> Iterator[Place]:
    """The same where everybody may write: pytest's own folders are closed to other users."""
    with tempfile.TemporaryDirectory() as root:
        os.chmod(root, 0o755)
        with Place(Path(root)) as place:
            place.folder.chmod(0o777)
            (place.root / "told").chmod(0o666)
            yield place
            place.assert_nothing_left()


@pytest.fixture
def peer(place: Place) -> Iterator[socket.socket]:
    """What an application connects to, at the path ``$PEER`` if a test gives it that: who accepts says what then."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(place.aside / "peer"))
        listening.listen(100)
        listening.settimeout(10)
        yield listening


def start(place: Place, daemonize: bool, *options: str, name: str = "shop.py") -> Foreground | Daemon:
    """Start plaitd, in the foreground or as a daemon, and return when it is ready."""
    if daemonize:
        return place.daemonize(*options, name=name)
    return place.foreground(*options, name=name).ready()


def accept_third(peer: socket.socket) -> socket.socket:
    """Hang up on the first two who connect to *peer*; return the connection of the third."""
    for _ in range(2):
        peer.accept()[0].close()
    connection, _ = peer.accept()
    connection.settimeout(10)
    return connection


def stop_while_it_starts(place: Place, daemonize: bool, name: str = "shop.py") -> str:
    """
    Start plaitd, and stop it with TERM when the application tells that it "starts"; return the log.

    The end is a good one; but who started a daemon is told that there is none.
    """
    if not daemonize:
        running = place.foreground(name=name)
        assert place.heard() == "starts"
        ended = running.stop()
        assert ended.code == 0, ended
        return ended.output
    with open(place.root / "errors", "wb") as errors:
        process = place.popen(*given(name), stderr=errors)
    assert place.heard() == "starts"
    os.kill(place.read_pid(), signal.SIGTERM)
    assert process.wait(PATIENCE) == 70
    said = (place.root / "errors").read_text()
    assert said == "plaitd: received SIGTERM, before it was ready\n", said
    return place.log


def start_five_at_once(place: Place, name: str = "shop.py") -> tuple[subprocess.Popen[bytes], list[str]]:
    """Start five daemons at once; return the starter of the only one that there is, and what the others wrote."""
    files = [open(place.root / f"errors{number}", "w+") for number in range(5)]  # noqa: SIM115 - closed below
    processes = [place.popen(*given(name), stderr=file) for file in files]
    codes = [process.wait(30) for process in processes]
    errors = []
    for file in files:
        file.seek(0)
        errors.append(file.read())
        file.close()
    assert sorted(codes) == [0, 75, 75, 75, 75], (codes, errors)
    winner = codes.index(0)
    assert errors.pop(winner) == ""
    return processes[winner], errors
