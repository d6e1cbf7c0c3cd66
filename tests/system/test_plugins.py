"""A plugin of another package, installed by pip into a fresh environment; and those that come with plait."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.daemon import Daemon, Ended, Foreground, Place

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "tests" / "plugin_package"


def plaitd(fresh: Path) -> tuple[str, ...]:
    return (str(fresh / "bin" / "plaitd"),)


def run(place: Place, fresh: Path, *arguments: str, **how: Any) -> Ended:
    """Run the plaitd of the fresh environment to its end."""
    return place.run(*arguments, program=plaitd(fresh), **how)


def foreground(place: Place, fresh: Path, *arguments: str) -> Foreground:
    """Start the plaitd of the fresh environment in the foreground."""
    with open(place.root / "errors", "wb") as errors:
        process = place.popen("-n", *arguments, program=plaitd(fresh), stdout=subprocess.PIPE, stderr=errors)
    return Foreground(place, process)


def hear(path: Path) -> str:
    """Connect to the socket at *path*, and return all that is said there."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        with client.makefile() as file:
            return file.read()


# The plugin of another package ----------------------------------------------------------------------------------------


@pytest.mark.time_limit(120)
def test_it_shows_in_help_and_nothing_is_imported_for_that(place: Place, fresh: Path) -> None:
    """``plaitd --help`` lists it with the first line of its docstring, in front of those that come with plait."""
    seen = place.root / "imported"
    ended = run(place, fresh, "--help", environment={"GREETER_IMPORTED": str(seen), "COLUMNS": "80"})

    assert (ended.code, ended.errors) == (0, "")
    assert ended.output.partition("\nplugins:\n")[2].startswith(
        "  greet                       Greet whoever connects\n"
        "  portforward                 Pass each connection on to another endpoint\n"
        "  procmon                     Keep one program running\n"
    )
    assert not seen.exists()


HELP = """\
usage: plaitd [options] greet [options] --listen ENDPOINT NAME

Greet whoever connects.

arguments:
  NAME                        whom to greet

options:
  -l, --listen ENDPOINT       where to listen (required)
  -t, --tone plain|warm       how (default: plain)
  -n, --times NUMBER          how often (default: 1)
  -a, --add WORD              a word to add
  --shout, --no-shout         in capitals
  --newline, --no-newline     end with a new line (default: yes)

help:
  -h, --help                  show this, and exit

It says the same to everybody, and closes.

There is no more to it.
"""


def test_its_signature_is_its_help(place: Place, fresh: Path) -> None:
    """``plaitd greet --help`` is made of its parameters and its docstring."""
    ended = run(place, fresh, "greet", "--help", environment={"COLUMNS": "80"})

    assert (ended.code, ended.output, ended.errors) == (0, HELP, "")


def test_it_runs_as_its_options_say(place: Place, fresh: Path) -> None:
    """Every kind of option arrives."""
    words = ["-l", "unix:here", "--times=2", "-twarm", "-a", "and", "--add", "all", "--shout", "--no-newline", "world"]
    running = foreground(place, fresh, "greet", *words).ready()

    assert hear(place.folder / "here") == "HELLO DEAR WORLD AND ALLHELLO DEAR WORLD AND ALL"
    assert running.stop().code == 0


def test_it_is_a_daemon_with_options_of_plaitd_in_front(place: Place, fresh: Path) -> None:
    """What stands in front of the name is plaitd's; it returns when the plugin is ready."""
    ended = run(place, fresh, "--log-level", "debug", "greet", "-l", "unix:here", "--", "-x")
    daemon = Daemon(place, place.read_pid())

    assert (ended.code, ended.output, ended.errors) == (0, "", "")
    assert hear(place.folder / "here") == "hello -x\n"
    assert daemon.stop().code == 0


def test_its_options_may_come_from_the_file_and_from_set(place: Place, fresh: Path) -> None:
    """What the command line says wins over --set, and that over the table of its name."""
    (place.folder / "plait.toml").write_text('[greet]\nname = "file"\nlisten = "unix:here"\ntone = "warm"\ntimes = 3\n')
    place.allow("plait.toml")
    running = foreground(place, fresh, "--set", "greet.name=set", "--set", "greet.tone=plain", "greet", "-n", "1")
    running.ready()

    assert hear(place.folder / "here") == "hello set\n"
    assert running.stop().code == 0


def test_a_check_says_where_each_option_comes_from(place: Place, fresh: Path) -> None:
    """``plait check`` shows the plugin's options below the settings, and refuses what the start would refuse."""
    (place.folder / "plait.toml").write_text('[greet]\nlisten = "unix:here"\nadd = ["x", "y"]\n')
    place.allow("plait.toml")
    check = ("check", "--set", "greet.tone=warm", "greet")
    program = (str(fresh / "bin" / "plait"),)
    ended = place.run(*check, "-n2", "world", program=program)

    rows = [line.split(None, 1) for line in ended.output.splitlines() if line.startswith("greet.")]
    assert {name: " ".join(rest.split()) for name, rest in rows} == {
        "greet.name": "world the command line",
        "greet.listen": "unix:here plait.toml",
        "greet.tone": "warm --set greet.tone",
        "greet.times": "2 the command line",
        "greet.add": "x y plait.toml",
        "greet.shout": "no default",
        "greet.newline": "yes default",
    }
    assert (ended.code, ended.errors) == (0, "")
    refused = place.run(*check, "--time", "0", "world", program=program)
    assert (refused.code, refused.errors) == (2, "plait check: greet: --times 0: wanted a whole number from 1\n")


SLIPS = {
    "greet -l unix:here": "NAME: is missing: give NAME: see plaitd greet --help",
    "greet world": "--listen: is missing: give --listen ENDPOINT: see plaitd greet --help",
    "greet -l unix:here a b": "b: no such argument: see plaitd greet --help",
    "greet -l unix:here --tune warm a": ("--tune: no such option, did you mean --tone?: see plaitd greet --help"),
    "greet -l unix:here --tone worm a": (
        '--tone: "worm": wanted one of plain, warm, did you mean warm?: see plaitd greet --help'
    ),
    "greet -l unix:here --times often a": ('--times: "often": wanted a whole number: see plaitd greet --help'),
    "greet -l tcp:http a": (
        '-l: endpoint "tcp:http": port "http" is not a number: write one from 0 to 65535: see plaitd greet --help'
    ),
    "greet -l unix:here --times": "--times: wants a value: see plaitd greet --help",
    "greet -l unix:here --shout=yes a": "--shout: takes no value: see plaitd greet --help",
    "greet -l unix:here --t warm a": "--t: could be one of --tone, --times: see plaitd greet --help",
    "greet -l unix:here -x a": "-x: no such option: see plaitd greet --help",
    "greet -l unix:here --times 0 a": "greet: --times 0: wanted a whole number from 1",
    "great": "great: no such plugin, did you mean greet?: see plaitd --help",
    "greet@plait a": "greet@plait: plait has no plugin of this name: give greet@plait-greeter",
    "shop": (
        "shop: no such plugin: see plaitd --help, or give an application such as shop:application, "
        "or, for a plugin of Twisted, pip install plait[twisted]"
    ),
}


@pytest.mark.parametrize(("line", "words"), SLIPS.items(), ids=SLIPS)
def test_what_is_wrong_is_explained(place: Place, fresh: Path, line: str, words: str) -> None:
    """One sentence on standard error, exit code 2, and nothing begins."""
    ended = run(place, fresh, *line.split())

    assert (ended.code, ended.output, ended.errors) == (2, "", f"plaitd: {words}\n")


TABLES = {
    "lisen = 1": "plait.toml: greet.lisen: no such option, did you mean listen?: see plaitd greet --help",
    'times = "often"': 'plait.toml: greet.times: "often" is a text: wanted a whole number',
    "add = [1]": "plait.toml: greet.add[0]: 1 is a whole number: wanted a text",
}


@pytest.mark.parametrize(("table", "words"), TABLES.items(), ids=TABLES)
def test_what_is_wrong_in_the_file_is_explained(place: Place, fresh: Path, table: str, words: str) -> None:
    """One sentence with the place in the file, and exit code 78."""
    (place.folder / "plait.toml").write_text(f"[greet]\n{table}\n")
    place.allow("plait.toml")
    ended = run(place, fresh, "greet", "-l", "unix:here", "world")

    assert (ended.code, ended.output, ended.errors) == (78, "", f"plaitd: {words}\n")


# Packages that are broken, or in each other's way ---------------------------------------------------------------------


@pytest.fixture
def packages(fresh: Path) -> Iterator[Path]:
    """Give the folder where packages are installed; what a test puts there is removed."""
    (folder,) = fresh.glob("lib/python*/site-packages")
    before = set(folder.iterdir())
    yield folder
    for path in set(folder.iterdir()) - before:
        for inner in sorted(path.rglob("*"), reverse=True) if path.is_dir() else []:
            inner.rmdir() if inner.is_dir() else inner.unlink()
        path.rmdir() if path.is_dir() else path.unlink()


def install(folder: Path, package: str, entry: str, source: str = "") -> Path:
    """Put a package of one module into *folder*; return its module."""
    name = package.replace("-", "_")
    metadata = folder / f"{name}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[console_scripts]\nx = y:z\n\n[plait.plugins]\n{entry}\n")
    module = folder / f"{name}.py"
    module.write_text(source)
    return module


BROKEN = {
    "its own mistake": (
        "count = 1 / 0\n",
        "plugin broken of broken-shop: {module}:1: ZeroDivisionError: division by zero: correct it, then start again",
    ),
    "its syntax": (
        "def serve(:\n",
        "plugin broken of broken-shop: {module}:1: invalid syntax: correct the file",
    ),
    "what it wants": (
        "import not_installed_here\n",
        "plugin broken of broken-shop: wants the module 'not_installed_here', which is not installed here:"
        " install what broken-shop wants",
    ),
    "no function": (
        "def server(): ...\n",
        "plugin broken of broken-shop: broken_shop has no 'serve' (but `server`): correct its entry point",
    ),
    "no application": (
        "def serve():\n    return 3\n",
        "plugin broken of broken-shop: is an int, not an Application: make it a plait.Application",
    ),
    "its function fails": (
        "def serve():\n    return {}['x']\n",
        "{module}:2: KeyError: 'x': correct it, then start again",
    ),
    "its signature": (
        "def serve(**options): ...\n",
        "plugin broken: **options: options have names: write each as a parameter of its own",
    ),
}


@pytest.mark.parametrize(("source", "words"), BROKEN.values(), ids=BROKEN)
def test_a_broken_package_is_told_when_its_plugin_is_chosen_and_only_then(
    place: Place, fresh: Path, packages: Path, source: str, words: str
) -> None:
    """``--help`` and other plugins do not know of it; who chooses it gets one sentence."""
    module = install(packages, "broken-shop", "broken = broken_shop:serve", source)

    shown = run(place, fresh, "--help")
    assert (shown.code, shown.errors) == (0, "")
    assert re.search(r"^  broken$", shown.output, re.MULTILINE)
    assert run(place, fresh, "greet", "--help").code == 0
    ended = run(place, fresh, "broken")
    assert (ended.code, ended.output, ended.errors) == (78, "", f"plaitd: {words.format(module=module)}\n")


def test_an_entry_point_without_its_module(place: Place, fresh: Path, packages: Path) -> None:
    """A package that is half removed."""
    install(packages, "gone-shop", "gone = gone_shop:serve").unlink()

    ended = run(place, fresh, "gone")
    assert (ended.code, ended.errors) == (
        78,
        "plaitd: plugin gone of gone-shop: there is no module 'gone_shop' here: install gone-shop again\n",
    )


def test_two_packages_with_the_same_name(place: Place, fresh: Path, packages: Path) -> None:
    """Who chooses it is told how to say which; --help lists both."""
    install(packages, "other-greeter", "greet = other_greeter:serve", 'def serve():\n    """Greet otherwise."""\n')

    shown = run(place, fresh, "--help", environment={"COLUMNS": "80"}).output
    assert (
        "  greet@other-greeter         Greet otherwise\n  greet@plait-greeter         Greet whoever connects\n" in shown
    )
    ended = run(place, fresh, "greet", "world")
    assert (ended.code, ended.errors) == (
        2,
        "plaitd: greet: 2 packages have a plugin of this name: give greet@other-greeter or greet@plait-greeter\n",
    )
    running = foreground(place, fresh, "greet@plait_greeter", "-l", "unix:here", "world").ready()
    assert hear(place.folder / "here") == "hello world\n"
    assert running.stop().code == 0


# Those that come with plait -------------------------------------------------------------------------------------------


def test_portforward_runs(place: Place, fresh: Path) -> None:
    """From one unix socket to another, and through a stop with nothing left."""
    server = foreground(place, fresh, "--pidfile=", "greet", "-l", "unix:there", "world").ready()
    running = foreground(place, fresh, "portforward", "--listen", "unix:here", "--to", "unix:there").ready()

    assert hear(place.folder / "here") == "hello world\n"
    assert running.stop().code == 0
    assert server.stop().code == 0


def test_procmon_starts_a_program_again_and_ends_all_of_it(place: Place, fresh: Path) -> None:
    """An exit status is logged, the environment is passed on, and a stop ends the whole process group."""
    script = 'echo "$GREETING $1"; sleep 1000 & test -e again || { touch again; exit 3; }; echo waits; wait'
    place.allow("again")
    environment = {"GREETING": "hello"}
    with open(place.root / "errors", "wb") as errors:
        words = ["-n", "procmon", "-k", "2", "--", "sh", "-c", script, "sh", "-n"]
        process = place.popen(
            *words, program=plaitd(fresh), environment=environment, stdout=subprocess.PIPE, stderr=errors
        )
    running = Foreground(place, process)
    running.log_until(r"\[procmon/sh#info\] hello -n")
    running.log_until(r"starts again at once \(ProgramFailed: sh \(pid \d+\) exited with status 3\)")
    running.log_until(r"waits")
    ended = running.stop(signal.SIGTERM)

    assert ended.code == 0
    place.assert_nothing_left()


def test_procmon_kills_who_does_not_listen(place: Place, fresh: Path) -> None:
    """A program that ignores the signal is killed after --killtime, also at the end of plaitd."""
    running = foreground(place, fresh, "procmon", "-k", "0.3", "sh", "-c", "trap '' TERM; echo deaf; sleep 1000")
    running.log_until("deaf")
    ended = running.stop()

    assert "did not end within 0.3 s of SIGTERM: killed" in ended.output
    assert ended.code == 0
    assert os.path.isdir(place.folder)
