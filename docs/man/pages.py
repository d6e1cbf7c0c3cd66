"""
The manual pages: prose from the files beside this one, and lists from where each fact is written.

A line ``@name`` in a file stands for such a list.  Options come from the options themselves, plugins from their
docstrings, and signals, variables, files and exit statuses from the tables of docs/reference/plaitd.md.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
# While a wheel is built plait is not installed yet.
sys.path.insert(0, str(ROOT / "src"))

from plait.runner.command_line import COMMANDS, HELP, VERSION, options_of  # noqa: E402
from plait.runner.options import Option  # noqa: E402

PAGES = ("plaitd", "plait")
#: The plugins that come with plait.
PLUGINS = ("portforward", "procmon")


def make_page(name: str) -> str:
    """Return the page *name*."""
    lines = _fill((HERE / f"{name}.1.in").read_text(encoding="utf-8").splitlines())
    return "\n".join(line for long in lines for line in _wrap(long)) + "\n"


def _fill(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        if line.startswith("@"):
            name, _, argument = line[1:].partition(" ")
            yield from LISTS[name](*([argument] if argument else []))
        else:
            yield line


def _wrap(line: str) -> list[str]:
    if line.startswith("."):
        return [line]
    # A line that began with a dot would be a macro.
    return [f"\\&{part}" if part[0] in ".'" else part for part in textwrap.wrap(line, 79, break_on_hyphens=False)]


# Options --------------------------------------------------------------------------------------------------------------


def list_options(program: str) -> Iterator[str]:
    """Yield the options of *program*; those of plaitd by their purposes."""
    options = [option for option in options_of(program) if not option.dropped]
    groups = dict.fromkeys(option.group for option in options if option.group) if program == "plaitd" else {}
    for group in [*groups, ""]:
        if groups:
            heading = group or "help"
            yield f".Ss {heading[0].upper()}{heading[1:]}"
        yield ".Bl -tag -width Ds"
        for option in options:
            if option.group == group or not groups:
                yield from list_option(option)
        yield ".El"


def list_option(option: Option) -> Iterator[str]:
    """Yield one option: its spellings, its meaning, and what it is called elsewhere."""
    yield f".It {_spell(option)}"
    yield from say(_sentence(option.help))
    names = [f"Ev {option.variable}"] * ("env" in option.places) + [f"Li {option.name}"] * ("toml" in option.places)
    if names:
        yield f".Pq {' , '.join(names)}"


def _spell(option: Option) -> str:
    takes = [f"Ar {option.metavar}"] if option.metavar else []
    flags = [f"Fl Fl {flag[2:]}" if flag.startswith("--") else f"Fl {flag[1:]}" for flag in option.flags]
    return " , ".join(" ".join([flag, *takes]) for flag in flags) or takes[0]


def list_dropped() -> Iterator[str]:
    """Yield what twistd's other options are answered with."""
    for option in options_of("plaitd"):
        if option.dropped:
            yield from (".It", f".{_spell(option)} :", *say(f"{option.dropped}."))


def list_bare() -> Iterator[str]:
    """Yield the options of plait without a command."""
    for option in (*HELP, *VERSION):
        yield from list_option(option)


# Commands and plugins -------------------------------------------------------------------------------------------------


def list_synopsis() -> Iterator[str]:
    """Yield how each command of plait is used."""
    for name in COMMANDS:
        usage = _constant(name.upper()).split(" ", 2)[2]
        yield from (".Nm", f".Cm {name}", *(say(usage)))


def list_commands() -> Iterator[str]:
    """Yield what each command of plait does."""
    yield ".Bl -tag -width completion"
    for name in COMMANDS:
        yield from (f".It Cm {name}", *say(_constant(f"{name.upper()}_DOES")))
    yield ".El"


def _constant(name: str) -> str:
    text: str = getattr(import_module("plait.cli.plait"), name)
    return text


def list_plugins() -> Iterator[str]:
    """Yield the plugins that come with plait."""
    yield ".Bl -tag -width portforward"
    for name in PLUGINS:
        function = getattr(import_module(f"plait.batteries.{name}"), name)
        yield from (f".It Cm {name}", *say(function.__doc__.strip().partition("\n")[0]))
    yield ".El"


# Tables of the reference ----------------------------------------------------------------------------------------------


def list_table(title: str, term: Callable[[str], str]) -> Callable[[], Iterator[str]]:
    """Return what yields the table in the section *title* of the reference: a *term* and what it means."""

    def listed() -> Iterator[str]:
        yield ".Bl -tag -width Ds"
        for left, right in read_table(title):
            yield from (f".It {term(left)}", *say(_sentence(right)))
        yield ".El"

    return listed


def read_table(title: str) -> list[tuple[str, str]]:
    """Return the rows of the table in the section *title* of the reference of plaitd."""
    page = (ROOT / "docs" / "reference" / "plaitd.md").read_text(encoding="utf-8")
    section = page.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \| (.+) \|$", section, re.MULTILINE)
    return [(left, right) for left, right in rows[1:] if left.strip("- ")]


def _signals(cell: str) -> str:
    return ", ".join(f"SIG{name}" for name in cell.split(", "))


def _names(macro: str) -> Callable[[str], str]:
    return lambda cell: " , ".join(f"{macro} {name}" for name in re.findall(r"`(.+?)`", cell))


LISTS: dict[str, Callable[..., Iterable[str]]] = {
    "options": list_options,
    "dropped": list_dropped,
    "bare": list_bare,
    "synopsis": list_synopsis,
    "commands": list_commands,
    "plugins": list_plugins,
    "signals": list_table("Signals", _signals),
    "statuses": list_table("Exit status", str),
    "environment": list_table("Environment", _names("Ev")),
    "files": list_table("Files", _names("Pa")),
}


# Text -----------------------------------------------------------------------------------------------------------------


def _sentence(text: str) -> str:
    first = text.split()[0]
    if first.isalpha() and first.islower():
        text = f"{text[0].upper()}{text[1:]}"
    return text if text.endswith(".") else f"{text}."


def say(text: str) -> Iterator[str]:
    """Yield *text*, with the marks of Markdown and of our help in it, as lines of mdoc: one for each sentence."""
    text = re.sub(r"\[(.*?)\]\(\S+?\)", r"\1", " ".join(text.split()))
    for sentence in re.split(r"(?<=[.:]) (?=[A-Z`-])", text):
        line = sentence.replace("\\", "\\e").replace("-", "\\-")
        yield re.sub(r"`(.+?)`", r"\\fB\1\\fP", re.sub(r"\*(\w+)\*", r"\\fI\1\\fP", line))
