"""The pidfile within one process: what it holds, and the words about what it cannot be."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from plait.errors import AlreadyRunning, CannotCreate
from plait.process.pidfile import Pidfile, refuse_held

ELSEWHERE = "give another place with --pidfile=FILE, or none with --pidfile="


@contextmanager
def as_ordinary_user() -> Iterator[None]:
    """Lose root's power over files for a while."""
    was = os.geteuid()
    if was == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(was)


def lock(folder: Path) -> Pidfile:
    return Pidfile.lock(str(folder / "plaitd.pid"), "plaitd.pid")


def test_it_holds_the_number_and_a_newline_while_it_is_locked(tmp_path: Path) -> None:
    """The file has this process's number from the moment it is locked, can be read by all, and goes at the end."""
    pidfile = lock(tmp_path)
    path = tmp_path / "plaitd.pid"
    assert path.read_text() == f"{os.getpid()}\n"
    assert path.stat().st_mode & 0o777 == 0o644 & ~0o022
    assert not os.get_inheritable(pidfile.fileno())
    assert pidfile.remove() == ""
    assert not path.exists()
    assert pidfile.remove() == ""


def test_a_longer_number_that_was_left_is_overwritten(tmp_path: Path) -> None:
    """Nothing of the old content remains."""
    (tmp_path / "plaitd.pid").write_text("99999999999\nand more\n")
    pidfile = lock(tmp_path)
    assert (tmp_path / "plaitd.pid").read_text() == f"{os.getpid()}\n"
    pidfile.remove()


def test_the_loser_names_the_holder(tmp_path: Path) -> None:
    """Who comes second hears whose it is and what to do, and the file is unchanged."""
    pidfile = lock(tmp_path)
    pid = os.getpid()
    with pytest.raises(AlreadyRunning) as caught:
        lock(tmp_path)
    assert str(caught.value) == (
        f'plaitd.pid: held by plaitd with pid {pid}: stop it with "kill {pid}", or give another --pidfile'
    )
    assert caught.value.pid == pid
    assert caught.value.exit_code == 75
    assert (tmp_path / "plaitd.pid").read_text() == f"{pid}\n"
    pidfile.remove()
    lock(tmp_path).remove()


def test_whether_it_is_held_can_be_seen_without_touching_it(tmp_path: Path) -> None:
    """It says what locking would say of a holder, takes nothing from anybody, and minds nothing else."""
    path = tmp_path / "plaitd.pid"
    refuse_held(str(path))
    path.write_text("4711\n")
    refuse_held(str(path))
    assert path.read_text() == "4711\n"
    pidfile = lock(tmp_path)
    with pytest.raises(AlreadyRunning) as caught:
        refuse_held(str(path), "plaitd.pid")
    assert caught.value.pid == os.getpid()
    with pytest.raises(AlreadyRunning, match=re.escape(str(caught.value))):
        lock(tmp_path)
    pidfile.remove()
    os.mkfifo(path)
    refuse_held(str(path))


def test_reading_the_file_does_not_lose_the_lock(tmp_path: Path) -> None:
    """Opening and closing it in the same process, which ends a lock of fcntl's, changes nothing."""
    pidfile = lock(tmp_path)
    (tmp_path / "plaitd.pid").read_text()
    with pytest.raises(AlreadyRunning, match=f"pid {os.getpid()}"):
        lock(tmp_path)
    pidfile.remove()


def refused(folder: Path) -> str:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(CannotCreate) as caught:
        lock(folder)
    assert caught.value.exit_code == 73
    assert len(os.listdir("/proc/self/fd")) == before
    return str(caught.value)


def test_where_it_cannot_be_written_says_so(tmp_path: Path) -> None:
    """A folder of somebody else's: what is wrong and what to do, in one sentence."""
    tmp_path.chmod(0o555)
    with as_ordinary_user():
        assert refused(tmp_path) == f"plaitd.pid: cannot be written (Permission denied): {ELSEWHERE}"


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    """Directory, FIFO, socket, device: refused in words, and nothing blocks."""
    path = tmp_path / "plaitd.pid"
    path.mkdir()
    assert refused(tmp_path) == f"plaitd.pid: is a directory: {ELSEWHERE}"
    path.rmdir()
    os.mkfifo(path)
    assert refused(tmp_path) == f"plaitd.pid: is not a regular file: {ELSEWHERE}"
    path.unlink()
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))
        assert refused(tmp_path) == f"plaitd.pid: is not a regular file: {ELSEWHERE}"
    with pytest.raises(CannotCreate, match=r"^/dev/null: is not a regular file: give another"):
        Pidfile.lock("/dev/null")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """The folder must be there: it is not made."""
    assert refused(tmp_path / "no") == (
        f"plaitd.pid: cannot be written (there is no directory {tmp_path}/no): make it, or {ELSEWHERE}"
    )


@pytest.mark.parametrize("target", ["victim", "not there"])
def test_a_planted_symbolic_link_is_refused(tmp_path: Path, target: str) -> None:
    """A link to somebody's file is not followed, and neither written nor removed."""
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "plaitd.pid").symlink_to(tmp_path / target)
    assert refused(tmp_path) == (
        f"plaitd.pid: is a symbolic link, and somebody may have planted it: remove it, or {ELSEWHERE}"
    )
    assert (tmp_path / "victim").read_text() == "precious"
    assert (tmp_path / "plaitd.pid").is_symlink()
    assert not (tmp_path / "not there").exists()


def test_a_planted_hard_link_is_refused(tmp_path: Path) -> None:
    """A file that has a second name is not written."""
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "plaitd.pid").hardlink_to(tmp_path / "victim")
    assert refused(tmp_path) == (
        f"plaitd.pid: has 2 names (hard links), and somebody may have planted it: remove it, or {ELSEWHERE}"
    )
    assert (tmp_path / "victim").read_text() == "precious"


@pytest.mark.root
def test_a_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """A file that belongs to neither this user nor root is not written, even by root."""
    (tmp_path / "plaitd.pid").write_text("precious")
    os.chown(tmp_path / "plaitd.pid", 54321, 54321)
    assert refused(tmp_path) == (
        f"plaitd.pid: belongs to another user (uid 54321), and somebody may have planted it: remove it, or {ELSEWHERE}"
    )
    assert (tmp_path / "plaitd.pid").read_text() == "precious"


def test_a_file_that_took_its_place_is_not_removed(tmp_path: Path) -> None:
    """Removing looks at the inode, not at the name."""
    pidfile = lock(tmp_path)
    (tmp_path / "plaitd.pid").rename(tmp_path / "moved")
    (tmp_path / "plaitd.pid").write_text("4711\n")
    assert pidfile.remove() == ""
    assert (tmp_path / "plaitd.pid").read_text() == "4711\n"
    assert (tmp_path / "moved").exists()


def test_a_file_that_is_gone_already_is_no_problem(tmp_path: Path) -> None:
    """Somebody cleaned up before us."""
    pidfile = lock(tmp_path)
    (tmp_path / "plaitd.pid").unlink()
    assert pidfile.remove() == ""


def test_a_file_that_may_not_be_removed_is_emptied(tmp_path: Path) -> None:
    """Without privileges the folder may not be ours: the file is emptied, the log is told, nothing raises."""
    pidfile = lock(tmp_path)
    tmp_path.chmod(0o555)
    with as_ordinary_user():
        uid = os.geteuid()
        problem = pidfile.remove()
    assert problem == (
        "plaitd.pid: cannot be removed (Permission denied), so it was emptied: "
        f"put it in a folder where uid {uid} may write"
    )
    assert (tmp_path / "plaitd.pid").read_bytes() == b""
    tmp_path.chmod(0o755)
    lock(tmp_path).remove()


def test_without_room_for_the_number_it_is_refused(tmp_path: Path) -> None:
    """A full disk is noticed before the fork: the number is written at once."""
    import resource
    import signal

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        with pytest.raises(CannotCreate) as caught:
            lock(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert str(caught.value) == f"plaitd.pid: cannot be written (File too large): {ELSEWHERE}"
    assert not (tmp_path / "plaitd.pid").exists()
