"""What is said about writing a file, without opening it, is what opening it then says."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from plait import access
from plait.access import look

#: How the pidfile and the log are opened.
FLAGS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of everybody's: those that pytest makes are hidden from ordinary users."""
    made = Path(tempfile.mkdtemp(prefix="plait-"))
    made.chmod(0o777)
    yield made
    for path in made.iterdir():
        if path.is_dir():
            path.chmod(0o755)
    shutil.rmtree(made)


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


def said(path: str, wanted: int, *, makes: bool) -> int:
    """Return the number of the error that `look` raises, or 0."""
    try:
        look(path, wanted, makes=makes)
    except OSError as error:
        return error.errno or -1
    return 0


def found(path: str, mode: int, *, makes: bool) -> int:
    """Return the number of the error that opening *path* raises, or 0; what it makes is removed again."""
    before = os.path.lexists(path)
    try:
        os.close(os.open(path, FLAGS | mode | (os.O_CREAT if makes or not before else 0)))
    except OSError as error:
        return error.errno or -1
    if not before:
        os.unlink(path)
    return 0


def bind(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))


def lock_folder(path: Path) -> None:
    path.parent.chmod(0o555)


def lock_folder_around_a_file(path: Path) -> None:
    path.touch(0o666)
    path.parent.chmod(0o555)


def hide(path: Path) -> None:
    path.touch()
    path.parent.chmod(0o600)


PLACES: dict[str, Callable[[Path], object]] = {
    "nothing": lambda path: None,
    "a file": Path.touch,
    "a file for reading": lambda path: (path.touch(), path.chmod(0o444)),
    "a file for writing": lambda path: (path.touch(), path.chmod(0o222)),
    "a directory": Path.mkdir,
    "a link": lambda path: path.symlink_to("elsewhere"),
    "a link to itself": lambda path: path.symlink_to(path),
    "a socket": bind,
    "a folder for reading": lock_folder,
    "a file in a folder for reading": lock_folder_around_a_file,
    "a folder that hides": hide,
}


@pytest.mark.parametrize("makes", [False, True], ids=["there", "made"])
@pytest.mark.parametrize("who", ["ordinary", "as we are"])
@pytest.mark.parametrize("place", PLACES)
def test_it_says_what_opening_says(folder: Path, place: str, who: str, makes: bool) -> None:
    """For each kind of place, for root and for others, with and without O_CREAT, for writing and for both."""
    path = folder / "folder" / "file"
    path.parent.mkdir()
    PLACES[place](path)
    if os.geteuid() == 0:
        os.chown(path.parent, 65534, -1)
        if path.exists():
            os.chown(path, 65534, -1)
    for mode, wanted in ((os.O_WRONLY, os.W_OK), (os.O_RDWR, os.R_OK | os.W_OK)):
        if who == "ordinary":
            with as_ordinary_user():
                result = said(str(path), wanted, makes=makes), found(str(path), mode, makes=makes)
        else:
            result = said(str(path), wanted, makes=makes), found(str(path), mode, makes=makes)
        assert result[0] == result[1]


@pytest.mark.parametrize("name", ["no/file", "file/below", "x" * 300, "loop/file"])
def test_paths_that_lead_nowhere_say_so(tmp_path: Path, name: str) -> None:
    """A folder that is missing or is none, a name that is too long, links in a circle."""
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    path = f"{tmp_path}/{name}"
    assert said(path, os.W_OK, makes=True) == found(path, os.O_WRONLY, makes=True) != 0


@pytest.mark.parametrize("path", ["/proc/plait", "/proc/self/plait", "/sys/plait"])
def test_where_nothing_can_be_made_it_says_so_to_root_too(path: str) -> None:
    """The rights of /proc and /sys let root write, and yet there is nothing to be made."""
    assert said(path, os.W_OK, makes=True) == found(path, os.O_WRONLY, makes=True) != 0


def test_a_file_system_for_reading_only_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For what is there and for what would be made, before rights are looked at."""
    monkeypatch.setattr(access, "is_read_only", lambda path: True)
    (tmp_path / "file").touch()
    assert said(f"{tmp_path}/file", os.W_OK, makes=False) == errno.EROFS
    assert said(f"{tmp_path}/new", os.W_OK, makes=True) == errno.EROFS
    assert said("/dev/null", os.W_OK, makes=False) == 0


@pytest.mark.root
@pytest.mark.parametrize("mode", [0o1777, 0o1775, 0o1755, 0o777])
def test_what_others_put_into_a_folder_like_tmp_is_known(tmp_path: Path, mode: int) -> None:
    """Linux keeps root from opening it with O_CREAT, as ``fs.protected_regular`` says, and only then."""
    path = tmp_path / "file"
    path.touch(0o666)
    os.chown(path, 54321, 54321)
    tmp_path.chmod(mode)
    for makes in (True, False):
        assert said(str(path), os.W_OK, makes=makes) == found(str(path), os.O_WRONLY, makes=makes)
    os.chown(path, 0, 0)
    assert said(str(path), os.W_OK, makes=True) == 0


@pytest.mark.root
@pytest.mark.parametrize(
    ("mode", "level", "is_refused"),
    [
        (0o1777, 0, False),
        (0o1777, 1, True),
        (0o1777, 2, True),
        (0o1775, 1, False),
        (0o1775, 2, True),
        (0o1755, 2, False),
        (0o0777, 2, False),
    ],
)
@pytest.mark.parametrize("make", [Path.touch, os.mkfifo], ids=["file", "pipe"])
def test_the_rule_for_such_folders_is_that_of_the_manual(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mode: int,
    level: int,
    is_refused: bool,
    make: Callable[[Path], object],
) -> None:
    """``fs.protected_regular`` and ``fs.protected_fifos`` in proc_sys_fs(5), whatever this machine has them at."""
    asked = []
    monkeypatch.setattr(access, "read_protection", lambda name: asked.append(name) or level)
    path = tmp_path / "file"
    make(path)
    os.chown(path, 54321, 54321)
    tmp_path.chmod(mode)
    assert said(str(path), os.W_OK, makes=True) == (errno.EACCES if is_refused else 0)
    assert said(str(path), os.W_OK, makes=False) == 0
    os.chown(tmp_path, 54321, 0)
    assert said(str(path), os.W_OK, makes=True) == 0  # what the folder's owner put there is right
    assert set(asked) <= {"regular" if make is Path.touch else "fifos"}


def test_nothing_is_left_and_nothing_is_touched(tmp_path: Path) -> None:
    """Neither a file that is made nor a time that is changed."""
    (tmp_path / "file").write_text("precious")
    before = (tmp_path / "file").stat()
    look(f"{tmp_path}/file", os.R_OK | os.W_OK, makes=True)
    look(f"{tmp_path}/new", os.W_OK, makes=True)
    assert os.listdir(tmp_path) == ["file"]
    assert (tmp_path / "file").stat() == before
