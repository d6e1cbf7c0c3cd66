"""
What a shell may offer behind plaitd and plait: the command lines there are, from the options of each.

The scripts are made of these in `complete_bash`, `complete_zsh` and `complete_fish`.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import replace
from importlib import import_module

from plait.errors import PlaitError
from plait.runner.command_line import COMMANDS, EXPORTS, HELP, VERSION, options_of
from plait.runner.entry_points import scan
from plait.runner.options import Option
from plait.runner.reactors import GROUP, KNOWN
from plait.runner.settings import LOOP
from plait.values import Value, value

#: The shells, each with its module.
SHELLS = {
    "bash": "plait.runner.complete_bash",
    "zsh": "plait.runner.complete_zsh",
    "fish": "plait.runner.complete_fish",
}

#: What may stand behind the options of plaitd, where it is no plugin.
APPLICATION = Option("target", metavar="APPLICATION", completes="file", patterns=("*.toml", "*.tac"))


@value
class CommandLine(Value):
    """
    What may be typed behind *name*, which is one word or several: ``plait run``.

    *options* all have flags.  *words* are the commands, or plugins, of which one may follow, each with its summary.
    *argument* is what else may follow, or None.
    """

    name: str
    options: tuple[Option, ...] = ()
    words: tuple[tuple[str, str], ...] = ()
    argument: Option | None = None

    @property
    def program(self) -> str:
        """Return its first word."""
        return self.name.partition(" ")[0]


def make_script(shell: str) -> str:
    """Return the script that teaches *shell*, one of `SHELLS`, what can be typed here, plugins included."""
    make: Callable[[Iterable[CommandLine]], str] = import_module(SHELLS[shell]).make_script
    return make(command_lines(find_plugins()))


def command_lines(plugins: Iterable[tuple[str, str, Iterable[Option]]]) -> list[CommandLine]:
    """Return all command lines, with *plugins*: the name, the summary and the options of each."""
    plugins = list(plugins)
    names = tuple((name, summary) for name, summary, _ in plugins)
    formats = tuple((each.name, f"as {each.name}") for each in scan(EXPORTS))
    shells = tuple((shell, f"for {shell}") for shell in SHELLS)
    lines = [
        CommandLine("plait", (*HELP, *VERSION), tuple(COMMANDS.items())),
        CommandLine("plait export", HELP, formats),
        CommandLine("plait completion", HELP, shells),
    ]
    # What takes an application, and whose options these are.
    takers = {program: program for program in ("plaitd", "plait run", "plait check")}
    takers |= {f"plait export {name}": "plait export" for name, _ in formats}
    for taker, program in takers.items():
        lines.append(CommandLine(taker, _offered(options_of(program)), names, APPLICATION))
        for name, _, options in plugins:
            argument = next((option for option in options if not option.flags), None)
            if argument and not (argument.choices or argument.completes):
                argument = replace(argument, completes="file")  # as shells do with what they know nothing of
            lines.append(CommandLine(f"{taker} {name}", _offered(options), argument=argument))
    return lines


def _offered(options: Iterable[Option]) -> tuple[Option, ...]:
    """Return what of *options* a shell offers, and with what there is to choose from here."""
    return tuple(
        replace(option, choices=(*KNOWN, *(each.name for each in scan(GROUP))))
        if option.group == LOOP and option.metavar
        else option
        for option in options
        if option.flags and not option.dropped
    )


def find_plugins() -> list[tuple[str, str, list[Option]]]:
    """
    Return the plugins that are installed here: the name, the summary and the options of each.

    Their packages are imported, since nothing else has the options.  One that cannot be has no options here: what is
    wrong with it is said when it is chosen.
    """
    from plait.runner import plugins

    found = []
    for name, summary in plugins.find_plugins():
        options: list[Option] = []
        # What a package prints is no part of the script, and nobody wants to read it who opens a terminal.
        nowhere = io.StringIO()
        with suppress(PlaitError), redirect_stdout(nowhere), redirect_stderr(nowhere):
            options = plugins.describe_plugin(name).options
        found.append((name, summary, options))
    return found


def value_of(option: Option) -> tuple[str, tuple[str, ...]]:
    """Return the kind of the value of *option*, and for words and files which: empty where it takes none."""
    if option.is_flag and option.flags:
        return "", ()
    if option.choices:
        return "words", option.choices
    return option.completes or "any", option.patterns
