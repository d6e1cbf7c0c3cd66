"""
What --help says: the options by purpose, in the width of the screen.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from plait.errors import CannotCreate

if TYPE_CHECKING:
    from plait.runner.options import Option

#: Where the second column begins, and how wide a page may be for a person to read it easily.
COLUMN = 30
WIDEST = 100
NARROWEST = 50


def print_out(text: str) -> None:
    """
    Print *text* as it is, at once.

    Raises `CannotCreate` where it finds no room, and ends the program as SIGPIPE would where nobody reads it: ``head``
    perhaps, which has enough.
    """
    try:
        print(text, end="", flush=True)
    except ValueError as error:  # people's code has closed it
        raise CannotCreate(f"standard output: cannot be written ({error}): leave it open") from None
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # nothing more is to be said about what is left in the buffer
        if isinstance(error, BrokenPipeError):
            raise SystemExit(128 + signal.SIGPIPE) from None
        raise CannotCreate(f"standard output: cannot be written ({error.strerror}): send it elsewhere") from None


def show(
    name: str, program: str, options: Sequence[Option], usage: str, description: str, *, of_twisted: bool = False
) -> str:
    """
    Return what the option *name*, one that ends the program at once, prints.

    The plugins that are listed are plait's, with *of_twisted* Twisted's.
    """
    if name == "version":
        from plait.runner.command_line import version

        return f"{version(program)}\n"
    if name == "help_reactors":
        from plait.runner.reactors import describe_reactors

        return describe_reactors()
    plugins: list[tuple[str, str]] = []
    if of_twisted:
        from plait.runner.guests import list_plugins

        plugins = list_plugins()
    elif program in ("plaitd", "plait run"):
        from plait.runner.plugins import find_plugins

        plugins = find_plugins()
    end = f"man {program.partition(' ')[0]} says more: signals, files, exit status, examples."
    return make_help(options, usage, description, plugins, end)


def make_help(
    options: Iterable[Option], usage: str, description: str = "", plugins: Sequence[tuple[str, str]] = (), end: str = ""
) -> str:
    """Return the help of a program with these *options*, by their groups; *end* is a last paragraph."""
    width = screen_width()
    lines = [f"usage: {usage}", ""]
    if description:
        lines += [*wrap(" ".join(description.split()), width), ""]
    groups: dict[str, list[Option]] = {}
    for option in options:
        if not option.dropped:
            groups.setdefault(option.group, []).append(option)
    for group in sorted(groups, key=lambda name: not name):
        lines += [f"{group or 'help'}:"]
        for option in groups[group]:
            lines += row(spell(option), option.help, width)
        lines.append("")
    if plugins:
        lines += ["plugins:"]
        for name, summary in plugins:
            lines += row(name, summary, width)
        lines.append("")
    if end:
        lines += [*wrap(" ".join(end.split()), width), ""]
    return "\n".join(lines[:-1]) + "\n"


def spell(option: Option) -> str:
    """Return all spellings of *option*, with what it takes: ``-l, --logfile FILE``."""
    return f"{', '.join(option.flags)} {option.metavar}".strip()


def row(term: str, text: str, width: int) -> Iterator[str]:
    """Yield the lines of one row of two columns."""
    left = f"  {term}"
    if len(left) > COLUMN - 2:
        yield left
        left = ""
    for line in wrap(text, width - COLUMN) or [""]:
        yield f"{left:<{COLUMN}}{line}".rstrip()
        left = ""


def wrap(text: str, width: int) -> list[str]:
    """Return *text* in lines of at most *width*, where its words are no longer than that."""
    # As textwrap does for plain words; that one loads regular expressions, which is half of what --help may cost.
    lines: list[str] = []
    line = ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return [*lines, line] if line else lines


def screen_width() -> int:
    """Return how wide the screen is, as ``COLUMNS`` or the terminal say, within reason."""
    try:
        width = int(os.environ.get("COLUMNS", ""))
    except ValueError:
        try:
            width = os.get_terminal_size(sys.__stdout__.fileno()).columns if sys.__stdout__ else 80
        except (OSError, ValueError):
            width = 80
    return min(max(width or 80, NARROWEST), WIDEST)
