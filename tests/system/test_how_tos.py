"""The how-tos for containers, systemd and logrotate: what they tell people to write does what they say."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.daemon import PLAITD, Foreground, Place

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"

SHOP = """\
from plait import Application, Listener

async def echo(reader, writer):
    writer.write(await reader.read(100))

application = Application("shop", [Listener("tcp:0:interface=127.0.0.1", echo)])
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter, as those of pytest are not."""
    with tempfile.TemporaryDirectory(prefix="plait-container-") as name:
        os.chmod(name, 0o755)
        yield Path(name)


def entrypoint() -> list[str]:
    """Return the words of the ENTRYPOINT in the how-to."""
    (found,) = re.findall(r"^ENTRYPOINT (\[.*\])$", (HOW_TO / "run-in-a-container.md").read_text(), re.MULTILINE)
    words: list[str] = json.loads(found)
    return words


@pytest.mark.root
@pytest.mark.parametrize("is_first", [True, False], ids=["process 1", "behind an init"])
def test_in_a_container_it_needs_nothing(place: Place, open_folder: Path, is_first: bool) -> None:
    """
    A read-only root, a user who is a mere number, no capability: the command of the how-to serves, logs JSON to
    standard output, and ends with 0 at TERM.
    """
    unshare, setpriv = shutil.which("unshare"), shutil.which("setpriv")
    if unshare is None or setpriv is None:
        pytest.skip("NOT RUN: needs unshare and setpriv (util-linux)")
    (open_folder / "shop.py").write_text(SHOP)
    program, *options = entrypoint()
    assert (program.rpartition("/")[2], options[-1]) == ("plaitd", "shop:application")
    drop = [setpriv, "--reuid=65532", "--regid=65532", "--clear-groups", "--bounding-set=-all", "--no-new-privs"]
    ours = " ".join([*drop, sys.executable, PLAITD, *options])
    started = f"exec {ours}" if is_first else f"{ours}; exit $?"
    script = f"mount -o remount,ro,bind / && cd {open_folder} && {started}"
    namespaces = (unshare, "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", script)

    running = Foreground(place, place.popen(program=namespaces, stdout=-1, stderr=-2))
    running.log_until('"shop is ready"')
    inner = running.pid
    while (children := Path(f"/proc/{inner}/task/{inner}/children").read_text().split()) != []:
        inner = int(children[0])
    os.kill(inner, signal.SIGTERM)
    ended = running.wait()

    assert ended.code == 0, ended
    records = [json.loads(line) for line in ended.output.splitlines()]
    assert records[-1]["message"].endswith("exit status 0")
    (first,) = [record for record in records if "runs shop" in record["message"]]
    assert (first["pid"] == 1) == is_first


@pytest.mark.parametrize("name", ["shop.service", "shop.socket"])
def test_systemd_takes_the_units(tmp_path: Path, name: str) -> None:
    """Every key is one that systemd knows, with a value that it takes."""
    analyze = shutil.which("systemd-analyze") or pytest.skip("NOT RUN: needs systemd-analyze")
    blocks = re.findall(r"^```ini\n(.*?)^```$", (HOW_TO / "run-under-systemd.md").read_text(), re.MULTILINE | re.DOTALL)
    service = blocks[0] + blocks[-1]
    units = {"shop.service": service, "shop.socket": next(block for block in blocks if "[Socket]" in block)}
    for unit, text in units.items():
        text = re.sub(r"^ExecStart=\S+", f"ExecStart={PLAITD}", text, flags=re.MULTILINE)
        (tmp_path / unit).write_text(text.replace("/srv/shop\n", "/\n"))

    ended = subprocess.run([analyze, "verify", str(tmp_path / name)], capture_output=True, text=True, timeout=60)

    mine = [line for line in (ended.stdout + ended.stderr).splitlines() if "shop." in line]
    assert (ended.returncode, mine) == (0, []), ended


@pytest.mark.root
def test_logrotate_rotates_as_it_is_told(place: Place) -> None:
    """With the lines of the how-to the old file is kept as it is, and a new one, made by plaitd, has what comes."""
    logrotate = shutil.which("logrotate") or pytest.skip("NOT RUN: needs logrotate")
    (lines,) = re.findall(r"^```\n(/var/log/.*?)^```$", (HOW_TO / "run-as-a-daemon.md").read_text(), re.M | re.DOTALL)
    place.write(SHOP)
    daemon = place.daemonize()
    log = place.folder / "plaitd.log"
    configuration = place.root / "logrotate.conf"
    configuration.write_text(
        lines.replace("/var/log/shop/shop.log", str(log)).replace("/run/shop/plaitd.pid", str(place.pidfile))
    )
    os.chmod(configuration, 0o644)
    before = log.read_text()

    rotate = [logrotate, "--force", "--state", str(place.root / "state"), str(configuration)]
    ended = subprocess.run(rotate, capture_output=True, text=True, timeout=30)
    stopped = daemon.stop()

    assert (ended.returncode, ended.stdout + ended.stderr) == (0, "")
    assert stopped.code == 0
    old = log.with_name("plaitd.log.1")
    assert old.read_text().startswith(before)
    assert log.read_text().endswith("exit status 0\n")
    assert log.stat().st_mode & 0o777 == 0o600
    place.allow("plaitd.log.1")
