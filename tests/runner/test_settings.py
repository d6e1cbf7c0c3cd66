"""What people type: every option once, where each value came from, and what is said about a slip."""

from __future__ import annotations

import re
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest

from plait import __version__
from plait.errors import ConfigurationError, UsageError
from plait.runner.command_line import options_of, parse
from plait.runner.reactors import KNOWN
from plait.runner.settings import REACTORS, Settings


def given(*arguments: str, program: str = "plaitd") -> dict[str, object]:
    """Return the settings that differ from their defaults."""
    settings = parse(program, arguments)
    return {
        item.name: getattr(settings, item.name)
        for item in fields(Settings)
        if item.name not in ("origins", "assignments") and getattr(settings, item.name) != item.default
    }


def refused(*arguments: str, program: str = "plaitd") -> str:
    with pytest.raises(UsageError) as caught:
        parse(program, arguments)
    assert caught.value.exit_code == 2
    return str(caught.value)


# What is right --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ("", {}),
        ("-y echo.py", {"python": "echo.py"}),
        ("-ny echo.py", {"nodaemon": True, "python": "echo.py"}),
        ("-nyecho.py", {"nodaemon": True, "python": "echo.py"}),
        ("--python=echo.py --no-daemon", {"nodaemon": True, "python": "echo.py"}),
        ("--nod", {"nodaemon": True}),
        ("--no-d --pyt echo.py", {"nodaemon": True, "python": "echo.py"}),
        ("shop:application -n", {"nodaemon": True, "target": "shop:application"}),
        ("-n -- shop:application", {"nodaemon": True, "target": "shop:application"}),
        ("--daemon", {"daemon": True}),
        ("--pidfile run/shop.pid", {"pidfile": "run/shop.pid"}),
        ("--pidfile=", {"pidfile": ""}),
        ("--pidfile=a=b", {"pidfile": "a=b"}),
        ("-l - -d /srv", {"logfile": "-", "rundir": "/srv"}),
        ("--logfile log --rundir run", {"logfile": "log", "rundir": "run"}),
        ("--log-level DEBUG --log-format JSON", {"log_level": ("debug",), "log_format": "json"}),
        ("--log-f=text", {"log_format": "text"}),
        ("--umask 027", {"umask": 0o27}),
        ("--umask 0o27", {"umask": 0o27}),
        ("--umask=0", {"umask": 0}),
        ("-u nobody -g 1000", {"uid": "nobody", "gid": "1000"}),
        ("-r UVLOOP", {"reactor": "uvloop"}),
        ("--stop-timeout 2.5", {"stop_timeout": 2.5}),
        ("--stop-timeout=0", {"stop_timeout": 0.0}),
        ("-l one -l two", {"logfile": "two"}),
    ],
)
def test_options_are_read(arguments: str, wanted: dict[str, object]) -> None:
    """Short, long, abbreviated, combined; a value behind a space, an equals sign or at once; the last one counts."""
    assert given(*arguments.split()) == wanted


def test_where_a_value_came_from_is_kept() -> None:
    """Of those that were given, also when they were given as they are anyway."""
    settings = parse("plaitd", ["--log-level=info", "-y", "echo.py", "--pidfile="])
    assert dict(settings.origins) == dict.fromkeys(["log_level", "python", "pidfile"], "the command line")
    assert parse("plaitd", []).origins == ()


def test_settings_are_a_value() -> None:
    """Equal, hashable, replaced and not changed."""
    settings = parse("plaitd", ["-n"])
    assert settings == parse("plaitd", ["--nodaemon"])
    assert hash(settings) == hash(parse("plaitd", ["--nodaemon"]))
    assert replace(settings, pidfile="").pidfile == ""
    with pytest.raises(AttributeError):
        settings.pidfile = ""  # type: ignore[misc]


def test_every_setting_says_what_it_is_for() -> None:
    """And has a long spelling; no two have the same."""
    options = options_of("plaitd")
    flags = [flag for option in options for flag in option.flags]
    assert len(set(flags)) == len(flags)
    for option in options:
        assert bool(option.help) != bool(option.dropped)
        assert option.name == "target" or option.spelling.startswith("--")
        assert option.group or option.name in ("help", "version") or option.dropped


def test_plait_run_takes_what_a_developer_needs() -> None:
    """No pidfile, no user, no daemon: those are said to be no options of it."""
    assert given("-y", "echo.py", "-r", "asyncio", program="plait run") == {"python": "echo.py", "reactor": "asyncio"}
    for option in ("--pidfile=x", "--uid=x", "--gid=x", "--daemon", "--nodaemon", "--umask=0"):
        name = option.partition("=")[0]
        assert refused(option, program="plait run").startswith(f"{name}: no such option")
    assert refused("-n", program="plait run") == "-n: no such option: see plait run --help"


# What is wrong --------------------------------------------------------------------------------------------------------

LEVELS = "wanted one of debug, info, warning, error, critical"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--nodeamon"], "--nodeamon: no such option, did you mean --nodaemon?"),
        (["--logfle=x"], "--logfle: no such option, did you mean --logfile?"),
        (["--versoin"], "--versoin: no such option, did you mean --version?"),
        (["--zzz"], "--zzz: no such option"),
        (["--z"], "--z: no such option"),
        (["-q"], "-q: no such option"),
        (["-nq"], "-q: no such option"),
        (["--log=x"], "--log: could be one of --logfile, --log-level, --log-format, --log-rotate, --logger"),
        (["--l"], "--l: could be one of --logfile, --log-level, --log-format, --log-rotate, --logger"),
        (["--n"], "--n: could be one of --no-save, --no_save, --nodaemon, --no-daemon"),
        (["-y"], "-y: wants a value"),
        (["-ny"], "-y: wants a value"),
        (["--pidfile"], "--pidfile: wants a value"),
        (["--pidf"], "--pidfile: wants a value"),
        (["--nodaemon=3"], "--nodaemon: takes no value"),
        (["--umask", "999"], "--umask: '999': wanted an octal mask such as 022"),
        (["--umask", "1777"], "--umask: '1777': wanted an octal mask such as 022"),
        (["--umask=-1"], "--umask: '-1': wanted an octal mask such as 022"),
        (["--umask="], "--umask: '': wanted an octal mask such as 022"),
        (["--stop-timeout", "soon"], "--stop-timeout: 'soon': wanted a number of seconds, such as 30"),
        (["--stop-timeout=-1"], "--stop-timeout: '-1': wanted a number of seconds, such as 30"),
        (["--stop-timeout=nan"], "--stop-timeout: 'nan': wanted a number of seconds, such as 30"),
        (["--stop-timeout=inf"], "--stop-timeout: 'inf': wanted a number of seconds, such as 30"),
        (["--log-level", "inof"], f"--log-level: 'inof': {LEVELS}, did you mean info?"),
        (["--log-level", "5"], f"--log-level: '5': {LEVELS}"),
        (["--log-format", "xml"], "--log-format: 'xml': wanted one of auto, text, text-ms, json"),
        (["--log-rotate", "10MB:x"], '--log-rotate: "10MB:x": wanted 1 to 9999 files to keep, such as 10MB:14'),
        (["--prefix", "a b"], "--prefix: 'a b': wanted a name of at most 48 letters, such as shop"),
        (["--logger=x"], "--logger: x: wanted package.module:factory, such as shop.logs:make_handler"),
        (["a:b", "c:d"], "c:d: no such argument: give one application"),
    ],
)
def test_a_slip_is_said_with_what_was_probably_meant(arguments: list[str], sentence: str) -> None:
    """Where, what, what to do; exit code 2."""
    assert refused(*arguments) == f"{sentence}: see plaitd --help"
    assert refused(*arguments, program="plait check") == f"{sentence}: see plait check --help"


def test_a_slip_is_said_with_where_to_look_once() -> None:
    """What knows a better place than --help names that one only."""
    assert refused("-r", "epol") == (
        "-r: 'epol': there is no such event loop, did you mean epoll?: see plaitd --help-reactors"
    )


def test_to_daemonize_and_not_to_exclude_each_other() -> None:
    """Asked is what was said last about it: nothing, or one of them."""
    assert Settings().asked_to_daemonize() is None
    assert Settings(nodaemon=True).asked_to_daemonize() is False
    assert Settings(daemon=True).asked_to_daemonize() is True
    with pytest.raises(UsageError) as caught:
        Settings(nodaemon=True, daemon=True).asked_to_daemonize()
    assert str(caught.value) == "--nodaemon, --daemon: one excludes the other: give one of them"


# What is made of it ---------------------------------------------------------------------------------------------------


def test_the_log_of_a_daemon_is_a_file_and_of_the_foreground_standard_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paths mean what they meant where they were typed, also when the process goes elsewhere."""
    monkeypatch.chdir(tmp_path)
    assert Settings().log(is_daemon=True).file == f"{tmp_path}/plaitd.log"
    assert Settings().log(is_daemon=False).file == "-"
    assert Settings(logfile="-").log(is_daemon=False).file == "-"
    assert Settings(logfile="x/../log").log(is_daemon=False).file == f"{tmp_path}/log"
    assert Settings(logfile="/dev/null").log(is_daemon=True).file == "/dev/null"
    made = Settings(log_level=("debug",), log_format="json").log(is_daemon=False)
    assert (made.level, made.format) == (("debug",), "json")


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/stderr"])
def test_a_daemon_cannot_log_to_its_starters_terminal(name: str) -> None:
    """It has left it: the log would go nowhere, without a word."""
    with pytest.raises(UsageError) as caught:
        Settings(logfile=name).log(is_daemon=True)
    assert str(caught.value) == (
        f"--logfile={name}: a daemon has no standard output: name a file, or stay in front with -n"
    )


def test_the_names_of_event_loops_are_those_that_there_are() -> None:
    """They are read without loading what makes the loops."""
    assert tuple(KNOWN) == REACTORS


def test_a_directory_that_is_gone_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything relative is looked for in it."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(ConfigurationError) as caught:
        Settings().log(is_daemon=False)
    assert str(caught.value) == "the present directory was removed: change to one that exists"
    monkeypatch.chdir(tmp_path)


def test_the_process_layer_gets_its_part() -> None:
    """As it was typed."""
    settings = Settings(pidfile="p", rundir="run", umask=0o27, uid="nobody", gid="5")
    made = settings.process(daemonize=True)
    assert (made.daemonize, made.pidfile, made.rundir, made.umask, made.uid, made.gid) == (
        True,
        "p",
        "run",
        0o27,
        "nobody",
        "5",
    )


# Help -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("program", ["plaitd", "plait run", "plait check"])
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_fits_a_terminal_and_names_every_option(
    program: str, flag: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """80 columns, standard output, exit code 0; whatever else was typed."""
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as caught:
        parse(program, ["-y", "echo.py", flag], usage=f"{program} [options] (-y FILE | module:attribute)")
    assert caught.value.code == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert shown.out.startswith(f"usage: {program} [options] (-y FILE | module:attribute)\n")
    assert all(len(line) <= 80 for line in shown.out.splitlines())
    page = program.partition(" ")[0]
    assert shown.out.endswith(f"\n\nman {page} says more: signals, files, exit status, examples.\n")
    for option in options_of(program):
        for name in option.flags or (option.metavar,):
            named = re.search(rf"^  (-.*, )?{re.escape(name)}(,| |$)", shown.out, re.MULTILINE)
            assert bool(named) != bool(option.dropped), name


def test_the_version_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """With that of Python, which half of all questions begin with."""
    with pytest.raises(SystemExit) as caught:
        parse("plaitd", ["--version"])
    assert caught.value.code == 0
    python = ".".join(map(str, sys.version_info[:3]))
    assert capsys.readouterr().out == f"plaitd {__version__} (Python {python})\n"
