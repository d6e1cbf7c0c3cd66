"""What --help says of plugins, and how a signature becomes a command line."""

from __future__ import annotations

import enum
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from plait import Application, ConfigurationError, Endpoint, Limit, UsageError, service
from plait.runner.command import Command
from plait.runner.entry_points import EntryPoint
from plait.runner.places import Text
from plait.runner.plugins import describe_plugin, find_plugins, load_plugin, read_summary
from plait.runner.settings import Assignment


class Tone(enum.Enum):
    """How to say it."""

    PLAIN = "plain"
    WARM = "warm"


def call(function: Callable[..., Any], *arguments: str, table: dict[str, Any] | None = None) -> Any:
    """Return what *function* returns, called as a plugin."""
    assignments = [Assignment(("greet", name), value, "plait.toml") for name, value in (table or {}).items()]
    return Command.of(function, "greet").read(arguments, assignments)()


def refused(function: Callable[..., Any], *arguments: str) -> str:
    """Return why *arguments* are refused."""
    with pytest.raises(UsageError) as caught:
        call(function, *arguments)
    return str(caught.value).removesuffix(": see plaitd greet --help")


# Signatures -----------------------------------------------------------------------------------------------------------


def test_what_stands_where_in_a_signature() -> None:
    """Before ``/`` or without a default it is given by its position; the rest are options."""

    def greet(a: str, /, b: int, c: int = 3, *rest: float, d: str, e: str = "e") -> object:
        return a, b, c, rest, d, e

    assert call(greet, "--d", "x", "A", "2") == ("A", 2, 3, (), "x", "e")
    assert call(greet, "--d", "x", "A", "2", "3.5") == ("A", 2, 3, (3.5,), "x", "e")
    assert call(greet, "--d", "x", "--c", "4", "--e=", "A", "2", "3", "4.5") == ("A", 2, 4, (3.0, 4.5), "x", "")
    assert Command.of(greet, "greet").usage == "plaitd [options] greet [options] --d TEXT A B [REST ...]"
    assert refused(greet, "--d", "x", "A") == "B: is missing: give B"
    assert refused(greet, "A", "2") == "--d: is missing: give --d TEXT"
    assert refused(greet, "--d", "x", "A", "two") == 'B: "two": wanted a whole number'
    assert refused(greet, "--d", "x", "A", "2", "three") == 'REST: "three": wanted a number'


def test_an_argument_may_have_a_default() -> None:
    """Before ``/``."""

    def greet(a: str = "world", /) -> object:
        return a

    assert (call(greet), call(greet, "moon")) == ("world", "moon")
    assert Command.of(greet, "greet").usage == "plaitd [options] greet [options] [A]"


def test_words_behind_options_may_begin_with_a_dash() -> None:
    """With ``*rest`` the options end at the first word, or at ``--``; without, they stand anywhere."""

    def run(*command: str, times: int = 1) -> object:
        return command, times

    def greet(name: str, *, times: int = 1) -> object:
        return name, times

    assert call(run, "--times", "2", "ls", "-l", "--times", "3") == (("ls", "-l", "--times", "3"), 2)
    assert call(run, "--", "-l", "--", "x") == (("-l", "--", "x"), 1)
    assert call(run, "ls", "--", "x") == (("ls", "--", "x"), 1)
    assert call(greet, "world", "--times", "2") == call(greet, "--times", "2", "--", "world") == ("world", 2)


def test_kinds_of_values() -> None:
    """Each as its annotation says; where there is none, as its default is, or a text."""

    def greet(
        *,
        port: int = 1,
        path: Path = Path("."),
        words: list[str] = [],  # noqa: B006
        pairs: dict[str, int] = {},  # noqa: B006
        tone: Tone = Tone.PLAIN,
        choice: Literal["a", "b"] = "a",
        limit: int | None = 3,
        to: Annotated[Endpoint | None, Endpoint.connecting] = None,
        bare=None,  # type: ignore[no-untyped-def]
        guessed=2.5,  # type: ignore[no-untyped-def]
    ) -> object:
        return port, path, words, pairs, tone, choice, limit, to, bare, guessed

    assert call(greet) == (1, Path("."), [], {}, Tone.PLAIN, "a", 3, None, None, 2.5)
    line = "--port 0x10 --path a/b --words x --words y --pairs a=1 --pairs b=2 --tone WARM --choice b --limit none"
    line += " --to db:5432 --bare 3 --guessed 1e3"
    wanted = (16, Path("a/b"), ["x", "y"], {"a": 1, "b": 2}, Tone.WARM, "b", None)
    assert call(greet, *line.split()) == (*wanted, Endpoint.connecting("tcp:db:5432"), "3", 1000.0)
    table = {"port": 16, "path": "a/b", "words": ["x", "y"], "pairs": {"a": 1, "b": 2}, "tone": "WARM", "choice": "b"}
    table |= {"limit": "none", "to": "db:5432", "bare": "3", "guessed": 1000}
    assert call(greet, table=table) == call(greet, *line.split())


def test_switches() -> None:
    """Each has two spellings, so that a table can be overruled; the last one counts."""

    def greet(*, loud: bool = False, no_end: bool = True, third: Annotated[bool | None, "-t"] = None) -> object:
        return loud, no_end, third

    assert call(greet) == (False, True, None)
    assert call(greet, "--loud", "--no-no-end", "-t") == (True, False, True)
    assert call(greet, "--loud", "--no-loud", "--no-end", "--no-third") == (False, True, False)
    assert call(greet, "--no-loud", table={"loud": True, "no-end": False}) == (False, False, None)
    assert refused(greet, "--loud=1") == "--loud: takes no value"


def test_texts_of_annotations() -> None:
    """Spellings, what stands for the value, and help, in one or in several texts."""

    def greet(
        *,
        one: Annotated[int, "-o, --first NUMBER", "The first."] = 0,
        two: Annotated[str | None, "WORD", "the second"] = None,
        three: Annotated[list[str], "-3"] = [],  # noqa: B006
        four: Annotated[str, "the fourth (default: what is best)"] = "4",
        five: Annotated[Literal["alpha", "beta", "gamma", "delta", "epsilon"], "the fifth"] = "beta",
        six_parts: Tone = Tone.WARM,
        seven: float = 7.0,
    ) -> object:
        return one, two, three

    shown = [(each.flags, each.metavar, each.help) for each in Command.of(greet, "greet").options]
    assert shown == [
        (("-o", "--one", "--first"), "NUMBER", "The first. (default: 0)"),
        (("--two",), "WORD", "the second"),
        (("-3", "--three"), "TEXT", ""),
        (("--four",), "TEXT", "the fourth (default: what is best)"),
        (("--five",), "FIVE", "the fifth: alpha, beta, gamma, delta, epsilon (default: beta)"),
        (("--six-parts",), "PLAIN|WARM", "(default: WARM)"),
        (("--seven",), "NUMBER", "(default: 7)"),
        (("-h", "--help"), "", "show this, and exit"),
    ]
    assert call(greet, "--first", "1", "-3", "x", "-3y") == (1, None, ["x", "y"])


def test_where_values_come_from() -> None:
    """The command line wins over ``--set``, and that over the file; each is told in its words when it is wrong."""

    def greet(name: str, *, tone: Tone = Tone.PLAIN, dest_port: float | None = None, words: list[str] = []) -> object:  # noqa: B006
        return name, tone, dest_port, words

    command = Command.of(greet, "shop-greet")
    file = [Assignment(("shop-greet", "dest-port"), 3, "a/plait.toml"), Assignment(("other", "x"), 1, "a/plait.toml")]
    typed = [Assignment(("shop-greet", "tone"), Text("WARM"), "--set shop-greet.tone")]
    assert command.read(["me"], file + typed)() == ("me", Tone.WARM, 3.0, [])
    assert command.explain(["me", "--words", "a", "--words=b"], file + typed) == [
        ("shop-greet.name", "me", "the command line"),
        ("shop-greet.tone", "WARM", "--set shop-greet.tone"),
        ("shop-greet.dest_port", "3", "a/plait.toml"),
        ("shop-greet.words", "a b", "the command line"),
    ]
    assert command.explain(["me", "--dest-port=4", "--tone=PLAIN"], file + typed)[1:] == [
        ("shop-greet.tone", "PLAIN", "the command line"),
        ("shop-greet.dest_port", "4", "the command line"),
        ("shop-greet.words", "none", "default"),
    ]
    for given, words in (
        (Assignment(("shop-greet", "tune"), 1, "f"), "f: shop-greet.tune: no such option, did you mean tone?"),
        (Assignment(("shop-greet", "tune"), 1, "--set shop-greet.tune"), "--set shop-greet.tune: no such option"),
        (Assignment(("shop-greet", "words"), [1], "f"), "f: shop-greet.words[0]: 1 is a whole number: wanted a text"),
        (Assignment(("shop-greet", "tone"), Text("x"), "--set shop-greet.tone"), '--set shop-greet.tone: "x": wanted'),
    ):
        with pytest.raises(ConfigurationError) as caught:
            command.read(["me"], [given])
        assert str(caught.value).startswith(words)


def test_the_docstring_is_the_description(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first paragraph is the line of help, what follows stands at the end; -h is free for others."""
    monkeypatch.setenv("COLUMNS", "60")

    def greet(*, host: Annotated[str, "-h"] = "") -> None:
        """
        Greet whoever
        connects.

        A second paragraph that is long enough to be broken in two.

        A third.
        """

    for flag in ("--help", "--he"):
        with pytest.raises(SystemExit) as caught:
            call(greet, flag)
        assert caught.value.code == 0
        assert capsys.readouterr().out == (
            "usage: plaitd [options] greet [options]\n\nGreet whoever connects.\n\n"
            "options:\n  -h, --host TEXT\n\nhelp:\n  --help                      show this, and exit\n\n"
            "A second paragraph that is long enough to be broken in two.\n\nA third.\n"
        )


def bad_spelling(*, port: Annotated[int, "-port"] = 1) -> None: ...


def twice(*, port: Annotated[int, "-p"] = 1, path: Annotated[str, "-p"] = "") -> None: ...


def helpful(*, help: str = "") -> None: ...


def by_position(name: Annotated[str, "-n"]) -> None: ...


def by_name(**options: str) -> None: ...


MISTAKES = {
    bad_spelling: 'plugin greet: port: "-port": wanted a spelling such as -p or --port',
    twice: "plugin greet: path: -p is taken by port: give another spelling",
    helpful: "plugin greet: help: --help is taken by what shows this help: give another spelling",
    by_position: "plugin greet: name: is given by its position, and has no -n: put it behind *",
    by_name: "plugin greet: **options: options have names: write each as a parameter of its own",
}


@pytest.mark.parametrize(("function", "words"), MISTAKES.items(), ids=[each.__name__ for each in MISTAKES])
def test_a_signature_that_cannot_be_a_command_line(function: Callable[..., Any], words: str) -> None:
    """Each in its words."""
    with pytest.raises(ConfigurationError) as caught:
        Command.of(function, "greet")
    assert str(caught.value) == words


def test_an_application_alone_takes_nothing() -> None:
    """An entry point may name a value instead of a function."""
    application = Application("shop", [service(name="idle")(None)])  # type: ignore[call-overload]

    assert call(application) is application  # type: ignore[arg-type]
    assert refused(application, "x") == "x: no such argument"  # type: ignore[arg-type]


@pytest.mark.parametrize("flag", ["-n", "--pidfile=x", "--nodaemon", "--set=app.x=1"])
def test_an_option_of_the_daemon_stands_before_the_name(flag: str) -> None:
    """Behind it, it would be the plugin's: who has none of that name says where it belongs."""

    def greet(*, log_level: str = "") -> str:
        return log_level

    shown = flag.partition("=")[0]
    assert refused(greet, flag) == f"{shown}: is an option of plaitd: give it before greet"
    assert call(greet, "--log-level", "x") == "x"
    assert refused(greet, "--nodeamon") == "--nodeamon: no such option"


# What comes with plait ------------------------------------------------------------------------------------------------


def test_those_that_come_with_plait_are_found() -> None:
    """By name, with the first line of the docstring, and their modules are not imported for that."""
    for module in ("plait.batteries.portforward", "plait.batteries.procmon"):
        sys.modules.pop(module, None)
    found = dict(find_plugins())

    assert found["portforward"] == "Pass each connection on to another endpoint"
    assert found["procmon"] == "Keep one program running"
    assert "plait.batteries.portforward" not in sys.modules
    assert describe_plugin("procmon").summary == "Keep one program running."


def test_twistds_command_lines_still_work() -> None:
    """``twistd portforward`` and ``twistd procmon`` had these options."""
    (forward,) = load_plugin("portforward", ["-p", "tcp:8080", "-h", "db", "-d", "5432"])
    assert repr(forward) == "PortForward('tcp:8080', 'tcp:db:5432')"
    assert load_plugin("portforward", ["--port=80", "--host=db", "--dest_port=1"]) == load_plugin(
        "portforward", ["--listen=80", "--to=db:1"]
    )
    (program,) = load_plugin("procmon", ["-t", "2", "-k", "3", "-m", "4", "-M", "5", "sleep", "1"])
    assert program.grace == 3.0  # type: ignore[attr-defined]
    long = ["--threshold=2", "--killtime=3", "--minrestartdelay=4", "--maxrestartdelay=5"]
    assert load_plugin("procmon", [*long, "sleep", "1"]) == Application(
        "procmon", [program], limit=Limit(None), stop_timeout=13.0
    )


def test_what_a_plugin_refuses_keeps_its_kind_and_says_who(tmp_path: Path) -> None:
    """Its own UsageError is one of the command line."""
    with pytest.raises(UsageError) as caught:
        load_plugin("portforward", ["--to", "a:1", "--host", "b"])
    assert str(caught.value) == "portforward: --to, --host, --dest-port: all say where to: give --to alone"
    assert caught.value.exit_code == 2


# First lines ----------------------------------------------------------------------------------------------------------

SOURCES = {
    "plain": ('def serve():\n    "Serve it.  Well."\n', "Serve it. Well"),
    "two lines": ('x = 1\nasync def serve():\n    """\n    Serve\n    it.\n\n    More.\n    """\n', "Serve it"),
    "a class": ('class serve:\n    """Serve it"""\n', "Serve it"),
    "no docstring": ("def serve(): ...\n", ""),
    "among others": ('def serve_all():\n    "All."\n\n@f\ndef serve(\n    a,\n):\n    "Serve"\n\ndef z(:', "Serve"),
    "in a text": ('"""\ndef serve(): what is this?\n"""\ndef serve():\n    "Serve"\n', "Serve"),
    "elsewhere": ("from other import serve\n", ""),
    "broken": ("def serve(:\n", ""),
    "no text": ("\0", ""),
    "a warning": ('def serve():\n    "Serve \\\\d."\nx = "\\d"\n', "Serve \\d"),
}


@pytest.mark.parametrize(("source", "line"), SOURCES.values(), ids=SOURCES)
def test_the_first_line_is_read_without_importing(tmp_path: Path, source: str, line: str) -> None:
    """Of a module, and of a package; where there is none, or the source is broken, there is no line."""
    (tmp_path / "module.py").write_text(source)
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text(source)
    for module in ("module", "package"):
        assert read_summary(EntryPoint("serve", f"{module}:serve", "shop", str(tmp_path))) == line
    assert read_summary(EntryPoint("serve", "gone:serve", "shop", str(tmp_path))) == ""
