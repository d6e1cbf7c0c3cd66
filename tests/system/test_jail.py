"""plaitd --chroot, in real daemons: what was outside still works, what is inside is the application's."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.daemon import IDLE, PLAITD, Place
from tests.system.test_drop import place as place
from tests.system.test_log_place import stop, wait_for, wait_for_file

pytestmark = pytest.mark.root

#: An application that needs, once inside, what a program may need: all of it was looked up before.
NEEDS = """
import json, socket, subprocess, threading
from plait import Cron, Listener, Periodic, Task, Thread

def attempt(function):
    try:
        return function()
    except BaseException as error:
        return f"{type(error).__name__}: {error}"

def directories():
    found = []
    for number in range(3, 64):
        try:
            status = os.fstat(number)
        except OSError:
            continue
        if status.st_mode & 0o170000 == 0o040000 and not os.path.samestat(status, os.stat("/")):
            found.append(number)
    return found

async def look(context):
    loop = asyncio.get_running_loop()
    facts = {
        "root": sorted(os.listdir("/")),
        "here": os.getcwd(),
        "looks": time.tzset(),  # as libraries do
        "zone": time.strftime("%Z"),
        "hour": time.localtime(0).tm_hour,
        "codec": attempt(lambda: "x".encode("ascii").decode("latin-1") + "b\\u00fccher.de".encode("idna").decode()),
        "thread": await asyncio.to_thread(lambda: "worked"),
        "directories": directories(),
        "null": attempt(lambda: os.path.exists("/dev/null")),
        "parsed": attempt(lambda: time.strptime("2026", "%Y").tm_year),
    }
    context.log.info("facts: %s", json.dumps(facts))
    context.ready()
    await asyncio.Event().wait()

async def echo(reader, writer):
    async for line in reader:
        writer.write(line)

def wait(stop):
    stop.wait()

application = Application("shop", [
    Listener("tcp:0:interface=127.0.0.1", echo, name="tcp"),
    Listener("unix:/run/sock:mode=660", echo, name="unix"),
    service(look),
    Cron("0 3 * * *", lambda: None, name="night", timezone="Europe/Berlin"),
    Thread(wait),
])
"""


@pytest.fixture
def jail(place: Place) -> Iterator[Path]:
    """A folder to be the root: with a folder that belongs to the service's user, and nothing else."""
    folder = place.folder / "jail"
    (folder / "run").mkdir(parents=True)
    os.chown(folder / "run", 65534, 65534)
    place.allow("jail", "plaitd.pid")
    place.write(IDLE)
    return folder


def facts_of(text: str) -> dict[str, object]:
    """Return what the application found out."""
    (line,) = [line for line in text.splitlines() if "facts: " in line]
    facts: dict[str, object] = json.loads(line.partition("facts: ")[2])
    return facts


def test_a_daemon_lives_in_an_empty_folder(place: Place, jail: Path) -> None:
    """The default pidfile and log, which lie outside: no /dev, no /proc, no /etc, no Python are needed inside."""
    place.write(NEEDS)
    daemon = place.daemonize("-u", "nobody", "--chroot", "jail", environment={"TZ": "Asia/Tokyo"})
    assert os.readlink(f"/proc/{daemon.pid}/root") == str(jail)
    assert os.readlink(f"/proc/{daemon.pid}/cwd") == str(jail)
    for descriptor in os.listdir(f"/proc/{daemon.pid}/fd"):
        target = Path(f"/proc/{daemon.pid}/fd/{descriptor}")
        assert not stat.S_ISDIR(target.stat().st_mode) or os.readlink(target) == str(jail), "a way out"
        if int(descriptor) < 3:
            assert os.readlink(target) == "/dev/null"
    assert stat.S_IMODE((jail / "run" / "sock").stat().st_mode) == 0o660
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(jail / "run" / "sock"))
        client.sendall(b"hello\n")
        assert client.recv(100) == b"hello\n"
    ended = daemon.stop()
    assert ended.code == 0
    assert "warning" not in ended.output
    facts = facts_of(ended.output)
    assert facts["directories"] == []
    assert (facts["root"], facts["here"], facts["null"]) == (["run"], "/", False)
    assert (facts["hour"], facts["zone"]) == (9, "JST")
    assert (facts["codec"], facts["thread"], facts["parsed"]) == ("xxn--bcher-kva.de", "worked", 2026)
    # Outside, and so out of reach at the end: emptied.
    assert place.pidfile.read_bytes() == b""
    assert list((jail / "run").iterdir()) == []


def test_the_time_zone_of_the_system_stays(place: Place, jail: Path) -> None:
    """Without TZ it is that of /etc/localtime, also inside, where there is none."""
    place.write(NEEDS)
    tokyo = "/usr/share/zoneinfo/Asia/Tokyo"
    elsewhere = ("unshare", "-m", "sh", "-c", f'mount --bind {tokyo} /etc/localtime && exec "$@"', "sh")
    if subprocess.run([*elsewhere, "true"], capture_output=True, check=False).returncode:
        pytest.skip("NOT RUN: another time zone is shown to it by unshare and mount, which are not allowed here")
    environment = {name: value for name, value in place.environment.items() if name != "TZ"}
    plaitd = place.foreground(*("-u", "nobody", "--chroot", "jail"), program=(*elsewhere, PLAITD), env=environment)
    plaitd.log_until("facts: ")
    facts = facts_of(plaitd.stop().output)
    assert (facts["hour"], facts["zone"]) == (9, "JST")


def test_what_lies_in_the_jail_is_called_by_its_inner_name(place: Place, jail: Path) -> None:
    """A pidfile and a log below it: the one is removed at the end, the other can be opened again."""
    log = jail / "run" / "shop.log"
    options = ("-u", "nobody", "--chroot", "jail", "--pidfile", "jail/run/shop.pid", "-l", "jail/run/shop.log")
    ended = place.run(*options, "-d", "run", "-y", "shop.py")
    assert (ended.code, ended.errors) == (0, "")
    pid = int((jail / "run" / "shop.pid").read_text())
    assert os.readlink(f"/proc/{pid}/cwd") == str(jail / "run")
    log.rename(jail / "run" / "old")
    os.kill(pid, signal.SIGUSR1)
    wait_for_file(log)
    assert stop(pid) == 0
    assert {path.name for path in (jail / "run").iterdir()} == {"shop.log", "old"}
    assert log.stat().st_uid == 65534
    assert "cannot" not in log.read_text()


def test_a_log_outside_cannot_be_opened_again(place: Place, jail: Path) -> None:
    """It is written to the end, and the log says so when it is asked to be opened again."""
    place.allow("shop.log")
    ended = place.run("-u", "nobody", "--chroot", "jail", "-l", "shop.log", "-y", "shop.py")
    assert (ended.code, ended.errors) == (0, "")
    log = place.folder / "shop.log"
    assert log.stat().st_uid == 65534
    pid = place.read_pid()
    wait_for(log, "is ready")
    os.kill(pid, signal.SIGUSR1)
    wait_for(log, f"{log}: cannot be opened again (it lies outside of --chroot): writing goes on in the old file")
    assert stop(pid) == 0
    assert "ended: received SIGTERM" in log.read_text()


def test_a_log_outside_that_somebody_planted_is_refused(place: Place, jail: Path) -> None:
    """It is opened before the jail is entered, as the user that will write there."""
    (place.root / "victim").write_text("precious")
    (place.folder / "shop.log").symlink_to(place.root / "victim")
    place.allow("shop.log")
    ended = place.run("-n", "-u", "nobody", "--chroot", "jail", "-l", "shop.log", "-y", "shop.py")
    assert (ended.code, ended.errors) == (
        73,
        f"plaitd: {place.folder}/shop.log: cannot be written (it is a symbolic link): "
        "give another place with --logfile\n",
    )
    assert (place.root / "victim").read_text() == "precious"


def test_root_in_a_jail_is_told_that_it_is_none(place: Place, jail: Path) -> None:
    """Who stays root can leave it: the log says so, as a warning."""
    plaitd = place.foreground("--chroot", "jail").ready()
    ended = plaitd.stop()
    assert ended.code == 0
    assert "#warning] --chroot jail: root can leave it: give --uid too\n" in ended.output


def test_a_second_start_hears_who_runs(place: Place, jail: Path) -> None:
    """The lock is on the file outside, by its descriptor."""
    daemon = place.daemonize("-u", "nobody", "--chroot", "jail")
    ended = place.run("--chroot", "jail", "-y", "shop.py")
    assert ended.code == 75
    assert f"held by plaitd with pid {daemon.pid}" in ended.errors
    assert daemon.stop().code == 0


def test_an_inherited_directory_is_closed(place: Place, jail: Path) -> None:
    """Whoever starts it may have one open: it would lead out."""
    place.write(NEEDS)
    outside = os.open("/", os.O_RDONLY)
    try:
        plaitd = place.foreground("-u", "nobody", "--chroot", "jail", pass_fds=(outside,))
        plaitd.log_until("facts: ")
        assert facts_of(plaitd.stop().output)["directories"] == []
    finally:
        os.close(outside)


def test_systemd_hears_that_it_is_ready(place: Place, jail: Path) -> None:
    """Its socket lies outside: it was connected before."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(place.root / "notify"))
        (place.root / "notify").chmod(0o666)
        manager.settimeout(20)
        environment = {"NOTIFY_SOCKET": str(place.root / "notify")}
        plaitd = place.foreground("-u", "nobody", "--chroot", "jail", environment=environment)
        while (heard := manager.recv(1000)) != b"READY=1":
            assert heard.startswith(b"STATUS="), heard
        assert plaitd.stop().code == 0
        while (heard := manager.recv(1000)) != b"STOPPING=1":
            assert heard.startswith(b"STATUS="), heard


def test_only_root_may(place: Place, jail: Path) -> None:
    """Exit code 77 and a sentence."""
    bounded = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", PLAITD)
    ended = place.run("-n", "--chroot", "jail", "-y", "shop.py", program=bounded)
    assert (ended.code, ended.errors) == (
        77,
        "plaitd: --chroot jail: uid 0 may not (Operation not permitted): start it as root, or leave that out\n",
    )
