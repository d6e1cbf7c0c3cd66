"""
The command lines of the two programs: what they take, and what is made of it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

from plait.errors import UsageError
from plait.runner.options import Option, option_fields, read_given, split
from plait.runner.settings import COMMAND_LINE, FILE, LOOP, SAYS_WHAT, Settings, names_plugin

#: What every command line takes, and what each of the two programs does.
HELP = (Option("help", flags=("-h", "--help"), help="show this, and exit", places=()),)
VERSION = (Option("version", flags=("--version",), help="show the version, and exit", places=()),)

#: Options that end it at once, and those of twistd that are not here any more, with what to do instead.
EXTRAS = (
    Option("help_reactors", flags=("--help-reactors",), group=LOOP, help="list the event loops, and exit", places=()),
    *HELP,
    *VERSION,
    Option(
        "encrypted",
        flags=("-e", "--encrypted"),
        dropped="there are no encrypted applications any more: keep secrets in systemd's credentials, and leave it out",
    ),
    Option(
        "spew",
        flags=("--spew",),
        dropped="does not trace every call: take --debug, --profile FILE, or kill -USR2 for where every task is",
    ),
)

#: What plait does, each by its name.
COMMANDS = {
    "run": "run an application in the foreground, with logs for people",
    "check": "say what would keep an application from starting; start nothing",
    "export": "write an application in another form, such as TOML",
    "completion": "print what teaches a shell to complete these, with the plugins that are installed here",
}

#: The entry points of what writes an application in another form.
EXPORTS = "plait.exports"

#: What twistd calls its options: a prefix that meant one of them there, still does.
TWISTD = (
    *("--chroot", "--debug", "--encrypted", "--euid", "--file", "--gid", "--help", "--help-reactors", "--logfile"),
    *("--logger", "--no_save", "--nodaemon", "--originalname", "--pidfile", "--prefix", "--profile", "--profiler"),
    *("--python", "--reactor", "--rundir", "--savestats", "--source", "--spew", "--syslog", "--uid", "--umask"),
    "--version",
)


def settings_of(program: str) -> list[Option]:
    """Return the settings that *program* takes."""
    return [option for option in option_fields(Settings) if not option.only or program in option.only]


def options_of(program: str) -> list[Option]:
    """Return all options of *program*: its settings, and what ends it at once."""
    return [*settings_of(program), *EXTRAS]


def version(program: str) -> str:
    """Return the line that ``--version`` prints."""
    from plait import __version__

    return f"{program.partition(' ')[0]} {__version__} (Python {sys.version.partition(' ')[0]})"


def parse(
    program: str, arguments: Sequence[str], *, usage: str = "", description: str = "", as_twistd: bool = False
) -> Settings:
    """
    Return the settings that *arguments*, the environment and ``plait.toml`` give, in this order of precedence.

    Raises `UsageError` for the command line and `ConfigurationError` for the others; ``--help``, ``--version`` and
    ``--help-reactors`` end it here.  With *as_twistd* they are read as twistd would.
    """
    options = options_of(program)
    if as_twistd and not arguments:
        arguments = ["--help"]
    found = split(program, options, arguments, ends=names_plugin, preferred=TWISTD)
    given, words, rest = found.given, found.words, found.rest
    for option, _, _ in given:
        if option.name in ("help", "version", "help_reactors"):
            from plait.runner.help import print_out, show

            of_twisted = as_twistd or any(each.name == "twisted" for each, _, _ in given)
            print_out(show(option.name, program, options, usage, description, of_twisted=of_twisted))
            raise SystemExit(0)
    if as_twistd:
        from plait.runner.as_twistd import adapt, without_dropped

        return adapt(_settings(program, options, without_dropped(given), words, rest))
    return _settings(program, options, given, words, rest)


def _settings(
    program: str, options: list[Option], given: list[tuple[Option, str, str]], words: list[str], rest: list[str]
) -> Settings:
    """Return the settings that a command line, taken apart, gives beside the other sources."""
    values = read_given(program, given)
    if len(words) > 1:
        raise UsageError(f"{words[1]}: no such argument: give one application: see {program} --help")
    if words:
        name = SAYS_WHAT.get(os.path.splitext(words[0])[1], "target") if ":" not in words[0] else "target"
        if name in values:
            raise UsageError(f"{words[0]}: is given beside {values[name]}: give one of them")
        values[name] = words[0]
    if rest:
        values["arguments"] = tuple(rest)
    # Most starts have nothing but a command line, and load nothing else.
    if any(name in values for name in ("set", "config", "env_file")) or has_sources(os.environ):
        from plait.runner.sources import gather

        return gather(program, options, values, os.environ)
    return Settings(**values, origins=tuple((name, COMMAND_LINE) for name in values if name != "arguments"))


def has_sources(environ: Mapping[str, str]) -> bool:
    """Say whether there may be settings elsewhere: in *environ*, or in a file that lies here."""
    return any(name.startswith("PLAIT_") for name in environ) or os.path.lexists(FILE)
