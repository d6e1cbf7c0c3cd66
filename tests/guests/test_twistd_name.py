"""Called twistd, plaitd has the files and habits of twistd, so that programs that start twistd can start it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from plait.runner.command_line import parse
from tests.guests.tac import IDLE, PYTHON, write
from tests.system.daemon import PLAITD, Ended, Place

#: An application that stops itself as soon as it runs.
SHORT = """
add(first)
reactor.callWhenRunning(reactor.callLater, 0, reactor.stop)
"""


@pytest.fixture
def place(place: Place) -> Place:
    """One with a ``twistd`` aside."""
    os.symlink(PLAITD, place.aside / "twistd")
    return place


def twistd(place: Place, *arguments: str, **options: object) -> Ended:
    """Run plaitd by the name of twistd."""
    return place.run(*arguments, program=(str(place.aside / "twistd"),), **options)


def stop(place: Place, pidfile: Path) -> None:
    os.kill(int(pidfile.read_text()), 15)
    assert place._wait_for_relatives(20)
    assert not pidfile.exists()


def test_a_daemon_has_the_files_of_twistd(place: Place) -> None:
    """Where it is started, whatever it is told about the folder; options may stand behind the file."""
    (place.folder / "run").mkdir()
    write(place, IDLE)
    ended = twistd(place, "-oy", "shop.tac", "--rundir", "run")
    assert (ended.code, ended.output, ended.errors) == (0, "", "")
    assert place.heard() == "runs"
    assert "runs shop" in (place.folder / "twistd.log").read_text()
    stop(place, place.folder / "twistd.pid")
    place.allow("twistd.log")
    shutil.rmtree(place.folder / "run")


def test_the_foreground_has_a_pidfile_too(place: Place) -> None:
    """Of the same name; an empty one is none."""
    write(place, "reactor.callWhenRunning(lambda: print('pidfile', os.path.exists('twistd.pid')))" + SHORT)
    assert "pidfile True" in twistd(place, "-noy", "shop.tac").output
    assert "pidfile False" in twistd(place, "-noy", "shop.tac", "--pidfile=").output


def test_a_program_finds_it_on_the_path(place: Place) -> None:
    """As those do that put themselves in its place."""
    write(place, SHORT)
    path = f"{place.aside}{os.pathsep}{os.environ['PATH']}"
    code = "import os; os.execvp('twistd', ['twistd', '--umask=0022', '--pidfile', 'shop.pid', '-n', '-y', 'shop.tac'])"
    ended = place.run("-c", code, program=(PYTHON,), environment={"PATH": path})
    assert (ended.code, ended.errors) == (0, "")
    assert "first begins" in ended.output


def test_names_are_twisteds_first(place: Place) -> None:
    """And plait's where Twisted has none."""
    ended = twistd(place, "procmon", "--help")
    assert ended.output.startswith("Usage: plaitd [options] procmon [procmon options] commandline")
    ended = twistd(place, "zzz")
    assert ended.errors.startswith("plaitd: zzz: no such plugin")


def test_a_file_is_twisteds(place: Place) -> None:
    """Even one that does not speak of Twisted."""
    write(place, SHORT, "made.py")
    (place.folder / "shop.py").write_text("from made import application\nassert __name__ == 'builtins'\n")
    place.allow("shop.py", "__pycache__")
    assert twistd(place, "-ny", "shop.py", environment={"PYTHONPATH": "."}).code == 0


@pytest.mark.parametrize("words", [[], ["--help"]])
def test_without_arguments_it_helps(place: Place, words: list[str]) -> None:
    """With the plugins of Twisted."""
    ended = twistd(place, *words)
    assert (ended.code, ended.errors) == (0, "")
    assert "\n  xmpp-router " in ended.output


def test_the_default_of_the_file(place: Place) -> None:
    """Is twistd.tap, if it is here."""
    assert "nothing to run" in twistd(place, "-n").errors
    (place.folder / "twistd.tap").write_bytes(b"")
    place.allow("twistd.tap")
    assert twistd(place, "-n").errors.startswith("plaitd: twistd.tap: cannot be loaded (EOFError")


@pytest.mark.parametrize("flag", ["-e", "--encrypted", "--spew"])
def test_what_plaitd_does_not_have_is_left_out(place: Place, flag: str) -> None:
    """And said."""
    write(place, SHORT)
    ended = twistd(place, "-n", flag, "-y", "shop.tac")
    assert ended.code == 0
    assert ended.errors.startswith(f"plaitd: {flag}: left out: ")
    assert ended.errors.count("\n") == 1


def test_without_a_syslog_daemon(place: Place) -> None:
    """It says so, and goes on with its log."""
    write(place, SHORT)
    words = ("-n", "-y", "shop.tac", "--syslog", "--syslog-address", "nowhere", "--prefix=shop")
    ended = twistd(place, *words)
    assert (ended.code, ended.errors) == (0, "plaitd: --syslog: left out: there is no syslog daemon at nowhere\n")
    assert "first begins" in ended.output
    assert place.run(*words).code != 0  # by its own name it does not


def test_by_its_own_name_it_is_plaitd(place: Place) -> None:
    """Whatever it runs."""
    write(place, "reactor.callWhenRunning(lambda: print('pidfile', os.path.exists('twistd.pid')))" + SHORT)
    assert "pidfile False" in place.run("-noy", "shop.tac").output


def test_the_prefix_in_syslog() -> None:
    """Is that of twistd, unless one is given."""
    settings = parse("plaitd", ["-n"], as_twistd=True)
    assert settings.log(is_daemon=False).prefix == "twisted"
    settings = parse("plaitd", ["-n", "--prefix=plaitd"], as_twistd=True)
    assert settings.log(is_daemon=False).prefix == "plaitd"
