"""How a .tac file is loaded: what it sees, who runs it, how it is told what is wrong with it."""

from __future__ import annotations

import os
import signal

import pytest

from tests.guests.tac import IDLE, write
from tests.system.daemon import PLAITD, Place

PLAIT = os.path.join(os.path.dirname(PLAITD), "plait")

#: An application that stops itself as soon as it runs.
SHORT = """
add(first)
reactor.callWhenRunning(reactor.callLater, 0, reactor.stop)
"""


# What it sees ---------------------------------------------------------------------------------------------------------


def test_its_namespace(place: Place) -> None:
    """Its file as it was given, and nothing that says that it is a module."""
    names = "('__name__', '__doc__', '__spec__')"
    write(place, f"print(repr(__file__), __name__, [name for name in globals() if name in {names}])" + SHORT)
    (place.folder / "aside").mkdir()
    place.allow("aside")
    ended = place.run("-n", "-y", "../shop.tac", cwd=place.folder / "aside")
    assert ended.output.splitlines()[0] == "'../shop.tac' builtins []"


def test_it_is_loaded_before_anything_is_done(place: Place) -> None:
    """In the folder of the start, by who starts it, with its umask; there is no pidfile yet."""
    (place.folder / "run").mkdir()
    place.allow("run")
    write(
        place,
        "before = (os.getcwd(), os.path.exists('plaitd.pid'), os.umask(0), os.getpid())\n"
        "os.umask(before[2])\n"
        "reactor.callWhenRunning(lambda: print(*before[:3], before[3] == os.getpid(), os.getcwd()))" + IDLE,
    )
    daemon = place.daemonize("-d", "run", name="shop.tac", umask=0o27)
    assert f"{place.folder} False {0o27} False {place.folder}/run" in daemon.stop().output


@pytest.mark.parametrize("name", ["shop.tac", "shop.etac", "rootscript.py", "shop"])
@pytest.mark.parametrize("flags", [["-ny"], ["-noy"], ["-n", "-o", "-y"]])
def test_any_name_runs(place: Place, name: str, flags: list[str]) -> None:
    """With the flags of people's start scripts."""
    write(place, SHORT, name)
    ended = place.run(*flags, name)
    assert (ended.code, ended.errors) == (0, "")
    assert "first begins" in ended.output


def test_a_file_in_another_encoding_runs(place: Place) -> None:
    """If it says which."""
    write(place, SHORT)
    path = place.folder / "shop.tac"
    path.write_bytes(b"# coding: latin-1\n" + path.read_bytes() + "print('sch\xf6n')\n".encode("latin-1"))
    assert "schön" in place.run("-ny", "shop.tac").output


def test_a_file_that_does_not_speak_of_twisted_can_be_said_to_be_its(place: Place) -> None:
    """It may take its application from elsewhere."""
    write(place, SHORT, "made.py")
    (place.folder / "shop.py").write_text("from made import application\nassert __name__ == 'builtins'\n")
    place.allow("shop.py", "__pycache__")
    path = {"PYTHONPATH": str(place.folder)}
    assert place.run("-n", "-y", "shop.py", environment=path).code == 78
    assert place.run("-n", "--twisted", "-y", "shop.py", environment=path).code == 0


def test_what_is_logged_while_it_loads_is_in_the_log(place: Place) -> None:
    """Though there is no log yet; what is printed is seen by who starts it."""
    write(
        place,
        "from twisted.logger import Logger; from twisted.python import log\n"
        "log.msg('said early'); Logger('shop').warn('warned {when}', when='early'); print('printed')\n" + IDLE,
    )
    ended = place.run("-y", "shop.tac")
    assert (ended.code, ended.output, ended.errors) == (0, "printed\n", "")
    assert place.heard() == "runs"
    os.kill(place.read_pid(), signal.SIGTERM)
    assert place._wait_for_relatives(20)
    place.allow("plaitd.log")
    assert "#info] said early" in place.log
    assert "[shop#warning] warned early" in place.log


# What is wrong --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("a = 1\n\nfor", "shop.tac:3: invalid syntax: correct the file"),
        ("a = 1\n1 / 0\n", "shop.tac:2: ZeroDivisionError: division by zero: correct it, then start again"),
        ("def f():\n    raise KeyError('application')\nf()\n", "shop.tac:2: KeyError: 'application': correct it"),
        ("import aside_of\n", "shop.tac:1: ModuleNotFoundError: No module named 'aside_of': it lies beside the file: "),
        (
            "import lacking\n",
            "shop.tac:1: ModuleNotFoundError: No module named 'lacking': install what has it, or correct the name",
        ),
        ("import twisted\napplicatoin = 1\n", "shop.tac: defines no variable `application` (but `applicatoin`): write"),
        ("a = 1\n", "shop.tac: defines no variable `application`: write application = service.Application(...)"),
        ("application = 1\n", "shop.tac: application: is int, which is no application: make it twisted.application."),
    ],
)
@pytest.mark.parametrize("form", [["-n"], []], ids=["foreground", "daemon"])
def test_what_is_wrong_is_told(place: Place, form: list[str], source: str, sentence: str) -> None:
    """In one sentence with its line, without a traceback, a pidfile or a log."""
    (place.folder / "shop.tac").write_text(source)
    (place.folder / "aside_of.py").write_text("")
    place.allow("shop.tac", "aside_of.py")
    ended = place.run(*form, "-y", "shop.tac")
    assert (ended.code, ended.output) == (78, "")
    assert ended.errors.startswith(f"plaitd: {sentence}")
    assert ended.errors.count("\n") == 1


def test_the_folder_can_be_put_on_the_path(place: Place) -> None:
    """By the option, and by PYTHONPATH as documentation of Twisted's programs says."""
    write(place, "import aside_of\n" + SHORT)
    (place.folder / "aside_of.py").write_text("print('imported')")
    place.allow("aside_of.py", "__pycache__")
    assert place.run("-n", "--import-folder", "-y", "shop.tac").code == 0
    assert place.run("-ny", "shop.tac", environment={"PYTHONPATH": "."}).code == 0


@pytest.mark.parametrize(("text", "code", "errors"), [("3", 3, ""), ("", 0, ""), ("'not today'", 1, "not today\n")])
def test_a_file_may_end_it(place: Place, text: str, code: int, errors: str) -> None:
    """By sys.exit, with its status."""
    write(place, f"sys.exit({text})")
    ended = place.run("-y", "shop.tac")
    assert (ended.code, ended.output, ended.errors) == (code, "", errors)


def test_no_such_file(place: Place) -> None:
    """It is said."""
    ended = place.run("-ny", "nothing.tac")
    assert (ended.code, ended.errors.count("\n")) == (78, 1)
    assert ended.errors.startswith("plaitd: nothing.tac: cannot be read (No such file or directory)")


# What the application asks for ----------------------------------------------------------------------------------------


def test_the_application_says_who_it_is_to_be(place: Place) -> None:
    """Where nobody says otherwise; by check it can be seen."""
    write(place, "application = service.Application('shop', uid=1, gid='2')\nadd(first)\n")
    shown = place.run("-y", "shop.tac", program=(PLAIT, "check")).output
    assert [line.split() for line in shown.splitlines() if line.startswith(("uid", "gid"))] == [
        ["uid", "1", "the", "application"],
        ["gid", "2", "the", "application"],
    ]
    shown = place.run("-u", "0", "-y", "shop.tac", program=(PLAIT, "check")).output
    assert "uid 0 the command line" in [" ".join(line.split()) for line in shown.splitlines()]


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="NOT RUN: needs to be root")
def test_it_becomes_that_user(place: Place) -> None:
    """The group is then that of the user, unless it is said."""
    write(
        place,
        "application = service.Application('shop', uid=1)\n"
        + SHORT
        + "\nfirst.startService = lambda: print(os.getresuid(), os.getgid())",
    )
    ended = place.run("-ny", "shop.tac")
    assert (ended.code, ended.errors) == (0, "")
    assert "(1, 1, 1) 1" in ended.output


TITLE = """
process = service.IProcess(application)
process.processName = "the-shop"
reactor.callWhenRunning(lambda: print("called", open("/proc/self/cmdline").read().strip(chr(0))))
"""


def test_it_has_the_name_that_it_wants(place: Place) -> None:
    """Unless the option says that it keeps its own."""
    write(place, TITLE + SHORT)
    assert "called the-shop" in place.run("-ny", "shop.tac").output
    assert "called the-shop" not in place.run("-n", "--originalname", "-y", "shop.tac").output


# By other ways --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["application", "service.IService(application)", "lambda: application", "lambda: first"]
)
def test_it_is_found_in_a_module(place: Place, name: str) -> None:
    """An application, a service, or a function that makes either."""
    write(place, SHORT + f"\nwhat = {name}\n", "shop_module.py")
    place.allow("__pycache__")
    ended = place.run("-n", "shop_module:what")
    assert (ended.code, ended.errors) == (0, "")
    assert "first begins" in ended.output


@pytest.mark.parametrize("program", [(PLAITD, "-n"), (PLAIT, "run"), (PLAIT, "check")])
def test_its_name_is_enough(place: Place, program: tuple[str, ...]) -> None:
    """The end of it says what it is; options may follow."""
    write(place, SHORT)
    ended = place.run("shop.tac", "--log-level=debug", program=program)
    assert (ended.code, ended.errors) == (0, "")
    assert "first" in ended.output
    ended = place.run("shop.tac", "-y", "other.tac", program=program)
    assert ended.code == 2
    assert ended.errors.endswith(": shop.tac: is given beside other.tac: give one of them\n")


def test_check_starts_nothing(place: Place) -> None:
    """It prints the tree."""
    write(place, SHORT)
    ended = place.run("-y", "shop.tac", program=(PLAIT, "check"))
    assert (ended.code, ended.errors) == (0, "")
    assert ended.output.startswith("shop\n└── first")
    assert "begins" not in ended.output
    assert "nothing would keep it from starting" in ended.output


def test_check_tells_what_is_wrong(place: Place) -> None:
    """As the start would."""
    write(place, "1 / 0")
    ended = place.run("-y", "shop.tac", program=(PLAIT, "check"))
    assert ended.code == 78
    assert "ZeroDivisionError" in ended.errors


def test_plait_run_runs_it(place: Place) -> None:
    """In the foreground, without a pidfile."""
    write(place, "print('here', os.path.exists('plaitd.pid'))" + SHORT)
    ended = place.run("-y", "shop.tac", program=(PLAIT, "run"))
    assert (ended.code, ended.errors) == (0, "")
    assert "first begins" in ended.output
