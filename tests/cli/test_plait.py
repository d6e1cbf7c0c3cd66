"""plait, as people type it: run for who writes an application, check for who is about to start one."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import Any

import pytest

from plait import __version__
from plait.cli.plait import main
from tests.system.daemon import IDLE, PATIENCE, Foreground, Place

PLAIT = os.path.join(sysconfig.get_path("scripts"), "plait")

SHOP = """\
from plait import Application, Group, Listener, Task

async def echo(reader, writer):
    pass

async def work():
    pass

application = Application("shop", [
    Task(work),
    Group("web", [Listener("unix:echo.sock", echo)], strategy="rest_for_one"),
])
"""

#: A file that takes its time.  It tells so with one call, behind which a signal finds nothing but the sleep.
LOADING = "word = os.open(os.environ['TOLD'], os.O_WRONLY); os.write(word, b'loading' + bytes([10])); time.sleep(30)"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to be in; that a check loaded something in this process is undone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    monkeypatch.setitem(sys.modules, "shop", None)
    monkeypatch.delitem(sys.modules, "shop")
    for name in ("NOTIFY_SOCKET", "PLAIT_NOTIFY_FD", "LISTEN_FDS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


# Commands -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "no command"),
        (["chekc"], "chekc: no such command, did you mean check?"),
        (["zzz"], "zzz: no such command"),
        (["-y", "shop.py"], "-y: no such option"),
        (["--verbose"], "--verbose: no such option"),
    ],
)
def test_a_slip_in_the_command_is_said(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With the nearest that there is, on standard error, with exit code 2."""
    assert main(arguments) == 2
    assert capsys.readouterr() == ("", f"plait: {sentence}: see plait --help\n")


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_says_what_there_is(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In 80 columns, on standard output, with exit code 0."""
    assert main([flag]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("usage: plait COMMAND ...\n")
    assert re.findall(r"^  plait (\w+)  ", shown.out, re.MULTILINE) == ["run", "check", "export", "completion"]
    assert all(len(line) <= 80 for line in shown.out.splitlines())
    assert shown.err == ""


@pytest.mark.parametrize("command", ["run", "check", "export"])
def test_help_of_a_command(command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What it does and its options, in 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    assert re.match(rf"usage: plait {command} (FORMAT )?\[options", shown)
    assert ("--pidfile" in shown) == (command == "check")
    assert all(len(line) <= 80 for line in shown.splitlines())


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    """Of plait and of Python."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith(f"plait {__version__} (Python 3.")


# Export ---------------------------------------------------------------------------------------------------------------


def test_export_writes_what_can_be_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As TOML, to standard output; what it prints is looked at by check like what it was made of."""
    Path("shop.py").write_text(SHOP)
    assert main(["export", "toml", "-y", "shop.py"]) == 0
    written = capsys.readouterr()
    assert written.err == ""
    assert written.out.startswith('name = "shop"\n\n[[services]]\ntype = "Task"\nname = "work"\n')
    Path("shop.toml").write_text(written.out)

    trees = []
    for given in (["-y", "shop.py"], ["-f", "shop.toml"], ["shop.toml"]):
        assert main(["check", *given]) == 0
        trees.append(capsys.readouterr().out.partition("\n\n")[0])

    assert trees[0] == trees[1] == trees[2]


def test_export_says_what_it_cannot_write(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And writes nothing."""
    lambdas = SHOP.replace("Task(work)", "Periodic(5, lambda: None, name='a')").replace("Task", "Periodic")
    Path("shop.py").write_text(lambdas)
    assert main(["export", "toml", "-y", "shop.py"]) == 78
    assert capsys.readouterr() == (
        "",
        "plait export: shop/a: function: a lambda has no name: make it a function of its module\n",
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "no format: give one of toml, then the application"),
        (
            ["tmol", "shop:application"],
            "tmol: no such format, did you mean toml?: give one of toml, then the application",
        ),
        (["toml"], "nothing to run: give -y FILE, -f FILE, module:attribute or a plugin: see plaitd --help"),
        (["toml", "-q"], "-q: no such option: see plait export --help"),
    ],
)
def test_a_slip_in_an_export_is_said(
    arguments: list[str], sentence: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the formats that there are."""
    assert main(["export", *arguments]) == 2
    assert capsys.readouterr() == ("", f"plait export: {sentence}\n")


# Check ----------------------------------------------------------------------------------------------------------------


def test_check_prints_what_would_run_and_how(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The tree, where it listens, each setting with its value and where that came from; then that nothing is wrong."""
    Path("shop.py").write_text(SHOP)
    assert main(["check", "-y", "shop.py", "--umask=27", "-l", "run.log", "--stop-timeout", "2.5"]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    tree, daemon, settings, verdict = shown.out.split("\n\n")
    assert [line.split("  ")[0] for line in tree.splitlines()] == [
        "shop",
        "├── work",
        "└── web",
        "",
    ]
    assert "└── echo  Listener(" in tree
    assert daemon == "listens on unix:echo.sock\nbecomes a daemon"
    assert settings.splitlines() == [
        "python          shop.py     the command line",
        "nodaemon        no          default",
        "daemon          no          default",
        "pidfile         plaitd.pid  default",
        "rundir          .           default",
        "umask           027         the command line",
        "stop_timeout    2.5 s       the command line",
        "title           unchanged   default",
        "originalname    no          default",
        "logfile         run.log     the command line",
        "log_level       info        default",
        "log_format      text        default",
        "log_rotate      none        default",
        "journal         no          default",
        "syslog          no          default",
        "syslog_address  /dev/log    default",
        "prefix          plaitd      default",
        "logger          none        default",
        "uid             unchanged   default",
        "gid             unchanged   default",
        "euid            no          default",
        "chroot          none        default",
        "sandbox         no          default",
        "allow           none        default",
        "reactor         auto        default",
        "debug           no          default",
        "profile         none        default",
        "profiler        cprofile    default",
        "savestats       no          default",
    ]
    assert verdict == "nothing would keep it from starting\n"
    assert os.listdir(folder) == ["shop.py"]


def test_check_of_a_start_in_the_foreground(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The values are those that this start would have."""
    Path("shop.py").write_text(
        "from plait import Application\napplication = Application('shop', [], stop_timeout=None)"
    )
    assert main(["check", "-ny", "shop.py", "--pidfile="]) == 0
    shown = capsys.readouterr().out
    assert (
        "\nlistens on nothing that is declared: what its services open themselves is known when they run\nstays"
        in shown
    )
    values = dict(re.findall(r"^(\w+) +(.+?)  +(?:default|the command line)$", shown, re.MULTILINE))
    assert values["nodaemon"] == "yes"
    assert values["pidfile"] == "none"
    assert values["logfile"] == "- (standard output)"
    assert values["umask"] == values["uid"] == values["gid"] == "unchanged"
    assert values["stop_timeout"] == "no limit"


def test_check_shows_what_the_application_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each value of [app] and --set, the last for each name, with where it was said."""
    Path("shop.py").write_text(
        "from dataclasses import dataclass\nfrom plait import Application\n\n@dataclass\nclass Told:\n"
        "    port: int = 1\n    title: str = ''\n\ndef application(told: Told):\n    return Application('shop', [])\n"
    )
    Path("plait.toml").write_text("[app]\nport = 80\ntitle = 'a shop'\n")
    assert main(["check", "-ny", "shop.py", "--set", "app.port=8080"]) == 0
    shown = capsys.readouterr().out
    assert re.findall(r"^(app\S+) +(.+?)  +(.+)$", shown, re.MULTILINE) == [
        ("app.port", "8080", "--set app.port"),
        ("app.title", "a shop", "plait.toml"),
    ]


def test_check_says_all_problems_and_ends_with_the_code_of_the_first(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On standard error, each with the name of the program; what would run is shown all the same."""
    Path("shop.py").write_text(SHOP)
    assert main(["check", "-y", "shop.py", "--pidfile=no/p", "-d", "no"]) == 73
    shown = capsys.readouterr()
    assert shown.out.startswith("shop\n")
    assert "nothing would keep it" not in shown.out
    assert shown.err == (
        f"plait check: no/p: cannot be written (there is no directory {folder}/no): make it, "
        "or give another place with --pidfile=FILE, or none with --pidfile=\n"
        "plait check: no: cannot be entered (No such file or directory): make it, or give another --rundir\n"
    )


def test_check_of_what_cannot_be_loaded(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """There is nothing to show; what is wrong with the settings is said first, as a start would."""
    Path("shop.py").write_text("x = = 1")
    assert main(["check", "-y", "shop.py"]) == 78
    assert capsys.readouterr() == ("", "plait check: shop.py:1: invalid syntax: correct the file\n")
    assert main(["check", "-y", "shop.py", "-l", "-"]) == 2
    assert capsys.readouterr() == (
        "",
        "plait check: --logfile=-: a daemon has no standard output: name a file, or stay in front with -n\n"
        "plait check: shop.py:1: invalid syntax: correct the file\n",
    )
    assert main(["check"]) == 2
    assert capsys.readouterr().err == (
        "plait check: nothing to run: give -y FILE, -f FILE, module:attribute or a plugin: see plaitd --help\n"
    )


def test_check_of_a_slip_in_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    """As plaitd says it, with its own name."""
    assert main(["check", "--pidfle=x"]) == 2
    assert capsys.readouterr() == (
        "",
        "plait check: --pidfle: no such option, did you mean --pidfile?: see plait check --help\n",
    )


def test_check_ends_although_the_file_began_a_thread(place: Place) -> None:
    """One that would go on for ever, and keep Python from ending; what was printed is not lost."""
    place.write("import threading\nthreading.Thread(target=threading.Event().wait).start()\n" + SHOP)
    ended = place.run("check", "-ny", "shop.py", program=(PLAIT,))
    assert (ended.code, ended.errors) == (0, "")
    assert ended.output.endswith("nothing would keep it from starting\n")
    ended = place.run("check", "-y", "shop.py", program=(PLAIT,))
    assert ended.code == 78


def test_a_signal_ends_a_check_whose_file_takes_its_time(place: Place) -> None:
    """By SIGINT, for a shell that runs it in a loop, and without a traceback."""
    place.write(LOADING)
    process = place.popen("check", "-y", "shop.py", program=(PLAIT,), stderr=subprocess.PIPE)
    assert place.heard() == "loading"
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    with process.stderr:
        assert process.stderr.read() == b"plait check: stopped by SIGINT before anything was started\n"
    assert process.wait(PATIENCE) == -signal.SIGINT


# Run ------------------------------------------------------------------------------------------------------------------


def run(place: Place, *options: str, **how: Any) -> Foreground:
    """Start plait run, with its log in a pipe."""
    with open(place.root / "errors", "wb") as errors:
        how = {"stdout": subprocess.PIPE, "stderr": errors} | how
        process = place.popen("run", *options, "-y", "shop.py", program=(PLAIT,), **how)
    return Foreground(place, process)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, -signal.SIGINT)])
def test_run_logs_json_where_nobody_looks_and_has_no_pidfile(place: Place, number: int, code: int) -> None:
    """One object a line; SIGTERM ends it with 0, and after SIGINT it ends by that, so that a shell notices."""
    place.write(IDLE)
    running = run(place)
    running.log_until("is ready")
    assert not place.pidfile.exists()
    ended = running.stop(number)
    assert (ended.code, ended.errors) == (code, "")
    messages = [json.loads(line)["message"] for line in ended.output.splitlines()]
    how = "by SIGINT" if code < 0 else "exit status 0"
    assert messages[-2:] == ["put away", f"ended: received {signal.Signals(number).name}: {how}"]


def test_run_logs_in_colours_on_a_terminal(place: Place) -> None:
    """Text for people; and plain where they asked for that with NO_COLOR."""
    place.write(IDLE)
    assert "\x1b[" in on_terminal(place, {"TERM": "xterm", "NO_COLOR": ""})
    plain = on_terminal(place, {"TERM": "xterm", "NO_COLOR": "1"})
    assert "\x1b[" not in plain
    assert not plain.startswith("{")


def on_terminal(place: Place, environment: dict[str, str]) -> str:
    """Return what plait run writes to a terminal until it is ready, and stop it as a person does, with Ctrl-C."""
    master, slave = pty.openpty()
    try:
        process = place.popen(
            "run",
            "-y",
            "shop.py",
            program=(PLAIT,),
            environment=environment,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        text = b""
        deadline = time.monotonic() + PATIENCE
        while b"is ready" not in text:
            assert select.select([master], [], [], max(0.0, deadline - time.monotonic()))[0], text
            text += os.read(master, 4096)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == -signal.SIGINT
        return text.decode()
    finally:
        os.close(master)


def test_run_says_its_own_name_in_front_of_what_is_wrong(place: Place) -> None:
    """As plaitd -n would say it, and with its code."""
    place.write(SHOP.replace("unix:echo.sock", "unix:no/echo.sock"))
    ended = place.run("run", "-y", "shop.py", program=(PLAIT,))
    assert (ended.code, ended.output) == (69, "")
    assert ended.errors == (
        "plait run: unix:no/echo.sock: cannot be opened (No such file or directory): "
        f"make the directory {place.folder}/no, or choose another path\n"
    )
    ended = place.run("run", "--pidfile=x", program=(PLAIT,))
    assert (ended.code, ended.output) == (2, "")
    assert ended.errors.startswith("plait run: --pidfile: no such option")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, -signal.SIGINT)])
def test_a_signal_ends_a_run_whose_file_takes_its_time(place: Place, number: int, code: int) -> None:
    """Nothing was started: that is said, and nothing else."""
    place.write(LOADING)
    running = run(place)
    assert place.heard() == "loading"
    ended = running.stop(number)
    name = signal.Signals(number).name
    assert (ended.code, ended.output) == (code, "")
    assert ended.errors == f"plait run: stopped by {name} before anything was started\n"


def test_what_an_application_prints_is_not_lost_when_it_ends_by_a_signal(place: Place) -> None:
    """What is still in Python's own buffer is written before the end by SIGINT."""
    place.write("print('loaded')\n" + IDLE)
    running = run(place)
    running.log_until("is ready")
    assert "loaded\n" in running.stop(signal.SIGINT).output


def test_a_reader_that_has_enough_ends_it_quietly(place: Place) -> None:
    """As with ``plait check ... | head -1``: no traceback, and the status that a shell knows for it."""
    place.write(SHOP)
    reader, writer = os.pipe()
    os.close(reader)
    process = place.popen("check", "-y", "shop.py", program=(PLAIT,), stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert process.communicate(timeout=PATIENCE)[1] == b""
    assert process.returncode == 128 + signal.SIGPIPE


@pytest.mark.parametrize("command", [("check", "-y", "shop.py"), ("--help",), ("completion", "bash")])
def test_output_that_finds_no_room_is_one_sentence(place: Place, command: tuple[str, ...]) -> None:
    """As on a full disk; the status is that of what cannot be created."""
    place.write(SHOP)
    with open("/dev/full", "wb") as full:
        ended = place.run(*command, program=(PLAIT,), stdout=full)
    name = f"plait {command[0]}" if command[0].isalpha() else "plait"
    assert ended.errors == (
        f"{name}: standard output: cannot be written (No space left on device): send it elsewhere\n"
    )
    assert ended.code == 73
