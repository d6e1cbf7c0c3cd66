"""Whose the log is after the drop, and that root never acts through a path that the user of the service can change."""

from __future__ import annotations

import os
import re
import signal
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.daemon import IDLE, Place, wait_for_end
from tests.system.test_drop import place as place

pytestmark = pytest.mark.root

NOBODY = 65534


@pytest.fixture
def logs(place: Place) -> Iterator[Path]:
    """A folder for logs that belongs to the service's user, as nginx's did."""
    folder = place.root / "logs"
    folder.mkdir()
    os.chown(folder, NOBODY, NOBODY)
    place.write(IDLE)
    place.allow("plaitd.pid")  # emptied: it lies in a folder of root's
    return folder


def start(place: Place, log: Path, *options: str) -> int:
    """Start a daemon that logs there; return its number."""
    ended = place.run("-u", "nobody", "-l", str(log), *options, "-y", "shop.py")
    assert (ended.code, ended.errors) == (0, "")
    return place.read_pid()


def stop(pid: int) -> int:
    """Stop the daemon; return its exit code."""
    os.kill(pid, signal.SIGTERM)
    assert wait_for_end(pid)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def wait_for(path: Path, text: str) -> None:
    """Wait until the log at *path* has *text*."""
    script = 'tail -n +1 -F "$1" 2>/dev/null | grep -q -m 1 -F "$2"'
    done = subprocess.run(["timeout", "20", "sh", "-c", script, "sh", path, text], check=False)
    assert done.returncode == 0, f"{text!r} did not come:\n{path.read_text()}"


@pytest.mark.promise(85)
def test_a_link_in_place_of_the_log_leads_nowhere(place: Place, logs: Path) -> None:
    """CVE-2016-1247: the user of the service puts a link where its log was, and has it opened again."""
    log, old = logs / "shop.log", logs / "shop.log.1"
    pid = start(place, log)
    wait_for(log, "is ready")
    for target in (place.root / "ld.so.preload", place.folder / "shop.py"):
        before = target.lstat() if target.exists() else None
        log.rename(old)
        log.symlink_to(target)
        os.kill(pid, signal.SIGUSR1)
        wait_for(old, f"{log}: cannot be opened again (it is a symbolic link): writing goes on in the old file")
        assert (target.lstat() if target.exists() else None) == before
        log.unlink()
        os.kill(pid, signal.SIGUSR1)
        wait_for_file(log)
        assert log.stat().st_uid == NOBODY
    assert stop(pid) == 0


def wait_for_file(path: Path) -> None:
    done = subprocess.run(
        ["timeout", "20", "sh", "-c", 'until test -f "$1"; do sleep 0.02; done', "sh", path], check=False
    )
    assert done.returncode == 0


@pytest.mark.promise(85)
@pytest.mark.parametrize("kind", ["symbolic link", "hard link", "file of root's"])
def test_what_lies_in_a_folder_of_the_user_is_not_given_away(place: Place, logs: Path, kind: str) -> None:
    """Whatever root finds there may have been put there: it is refused, and stays as it is."""
    victim = place.root / "shadow"
    victim.write_text("precious")
    victim.chmod(0o640)
    log = logs / "shop.log"
    if kind == "symbolic link":
        log.symlink_to(victim)
    elif kind == "hard link":
        log.hardlink_to(victim)
    else:
        victim.rename(log)
        victim = log
    before = victim.stat()
    ended = place.run("-n", "-u", "nobody", "-l", str(log), "-y", "shop.py")
    words = {"symbolic link": "it is a symbolic link"}.get(kind, "Permission denied")
    assert ended.errors == f"plaitd: {log}: cannot be written ({words}): give another place with --logfile\n"
    assert ended.code == 73
    assert (victim.stat(), victim.read_text()) == (before, "precious")


@pytest.mark.promise(85)
@pytest.mark.parametrize("kind", ["of the user", "sticky", "above", "above, of its group", "above, closed"])
def test_root_makes_nothing_where_the_user_may_lead_it(place: Place, logs: Path, kind: str) -> None:
    """By a link, or by moving folders, the user could have root make a file of its own in, say, /etc/cron.d."""
    cron = place.root / "cron.d"
    cron.mkdir()
    log = logs / "way" / "shop"
    if kind.startswith("above"):
        (logs / "above").mkdir()
        log = logs / "above" / "shop"
        if "group" in kind:
            os.chown(logs, 0, NOBODY)
        logs.chmod(0o555 if "closed" in kind else 0o775)
    else:
        if kind == "sticky":
            os.chown(logs, 0, 0)
            logs.chmod(0o1777)
        (logs / "way").symlink_to(cron)
        os.chown(logs / "way", NOBODY, NOBODY, follow_symlinks=False)
    ended = place.run("-n", "-u", "nobody", "-l", str(log), "-y", "shop.py")
    assert (ended.code, ended.errors) == (
        73,
        f"plaitd: {log}: cannot be written (Permission denied): give another place with --logfile\n",
    )
    assert list(cron.iterdir()) == []
    assert not log.exists()


@pytest.mark.parametrize("is_linked", [False, True])
def test_a_log_in_a_folder_of_roots_is_made_for_the_user(place: Place, logs: Path, is_linked: bool) -> None:
    """Where the user cannot make it, as in /var/log, it is theirs all the same, and can be opened again."""
    folder = place.root / "log"
    folder.mkdir()
    log = folder / "shop.log"
    given = log
    if is_linked:  # as /var/run is one
        (place.root / "way").symlink_to("log")
        given = place.root / "way" / "shop.log"
    pid = start(place, given, "--umask=027")
    assert (log.stat().st_uid, log.stat().st_gid, log.stat().st_mode & 0o777) == (NOBODY, NOBODY, 0o640)
    os.kill(pid, signal.SIGUSR1)
    assert stop(pid) == 0
    assert not re.search("cannot|lost|warning", re.sub(".*(pyenv|plaitd.pid).*", "", log.read_text()))
    # Left behind by a start as root: it is given to the user, but not its group, who may read logs.
    os.chown(log, 0, 4)
    pid = start(place, given)
    assert (log.stat().st_uid, log.stat().st_gid) == (NOBODY, 4)
    assert stop(pid) == 0
    assert log.read_text().count("is ready") == 2


@pytest.mark.promise(85)
@pytest.mark.parametrize("whom", ["a group", "the user, by a list"])
def test_in_a_folder_that_others_change_nothing_old_is_given_away(place: Place, logs: Path, whom: str) -> None:
    """Who writes logs there could have put another log of root's in its place; a new file is made all the same."""
    folder = place.root / "log"
    folder.mkdir()
    if whom == "a group":
        os.chown(folder, 0, 4)
        folder.chmod(0o775)
    else:
        # u::rwx u:nobody:rwx g::r-x m::rwx o::r-x: the mode alone does not show who may write.
        entries = ((1, 7, -1), (2, 7, NOBODY), (4, 5, -1), (16, 7, -1), (32, 5, -1))
        packed = b"".join(struct.pack("<HHI", tag, may, number & 0xFFFFFFFF) for tag, may, number in entries)
        try:
            os.setxattr(folder, "system.posix_acl_access", struct.pack("<I", 2) + packed)
        except OSError:
            pytest.skip("NOT RUN: the file system of temporary files has no access control lists")
    (folder / "auth.log").write_text("root's")
    ended = place.run("-n", "-u", "nobody", "-l", str(folder / "auth.log"), "-y", "shop.py")
    assert ended.code == 73
    assert (folder / "auth.log").stat().st_uid == 0
    assert stop(start(place, folder / "shop.log")) == 0
    assert (folder / "shop.log").stat().st_uid == NOBODY


def test_the_pidfile_stays_roots(place: Place, logs: Path) -> None:
    """systemd believes only root, and so may who stops it by that number: it is emptied at the end."""
    pid = start(place, logs / "shop.log")
    assert (place.pidfile.stat().st_uid, place.pidfile.read_text()) == (0, f"{pid}\n")
    assert stop(pid) == 0
    assert place.pidfile.read_bytes() == b""
