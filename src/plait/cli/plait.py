"""
plait: look after applications: run one while writing it, check one before it is started.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from plait.errors import PlaitError, UsageError, sentence
from plait.runner.command_line import COMMANDS, EXPORTS, HELP, parse, settings_of, version
from plait.runner.help import print_out
from plait.runner.options import nearest, split
from plait.runner.settings import CONFIGURATION, WHAT, Settings
from plait.runner.signals import Interrupted, Signals, leave, name_of

if TYPE_CHECKING:
    from plait.tree.application import Application

USAGE = "plait COMMAND ..."
DESCRIPTION = "Look after applications."
END = "plait COMMAND --help says more; plaitd runs an application as a daemon."
RUN = "plait run [options] (-y FILE | -f FILE | APPLICATION)"
RUN_DOES = """\
Run an application in the foreground, while you write it: without a pidfile, and with logs for people, which are
coloured on a terminal and JSON anywhere else."""
CHECK = "plait check [options of plaitd] (-y FILE | -f FILE | APPLICATION)"
CHECK_DOES = """\
Load an application and say what would keep "plaitd", given the same options, from starting it here and now.  Nothing is
started, bound or written.  Prints the tree, where it listens, and each setting; what is wrong goes to standard error,
and the exit code is the one that plaitd would end with."""
EXPORT = "plait export FORMAT [options] (-y FILE | -f FILE | APPLICATION)"
EXPORT_DOES = """\
Load an application and write it to standard output in another form.  FORMAT is "toml", which "plaitd -f" runs, or what
an installed package offers.  Nothing is started; what cannot be written is named, with the reason."""
COMPLETION = "plait completion SHELL"
COMPLETION_DOES = """\
Print what teaches SHELL to complete plaitd and plait, with the options of all plugins that are installed here.  For
bash: eval "$(plait completion bash)"; for zsh: eval "$(plait completion zsh)"; for fish: plait completion fish |
source.  Put the line into ~/.bashrc, ~/.zshrc (behind compinit), or ~/.config/fish/config.fish."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``plait``; return its exit code."""
    command, *rest = (sys.argv[1:] if arguments is None else arguments) or [""]
    commands: dict[str, Callable[[Sequence[str]], int]] = {
        "run": run,
        "check": check,
        "export": export,
        "completion": complete,
    }
    name = f"plait {command}" if command in commands else "plait"
    try:
        if command in ("-h", "--help", "--version"):
            print_out(f"{version('plait')}\n" if command == "--version" else make_help())
            return 0
        if command not in commands:
            kind = "option" if command.startswith("-") else "command"
            what = f"{command}: no such {kind}{nearest(command, list(commands))}" if command else "no command"
            raise UsageError(f"{what}: see plait --help")
        return leave(commands[command](rest))
    except PlaitError as error:
        print(f"{name}: {sentence(error)}", file=sys.stderr)
        return leave(error.exit_code)
    except KeyboardInterrupt as stop:
        number = stop.number if isinstance(stop, Interrupted) else signal.SIGINT
        print(f"{name}: stopped by {name_of(number)} before anything was started", file=sys.stderr)
        return leave(0, number)


def make_help() -> str:
    """Return what ``plait --help`` prints."""
    from plait.runner.help import row, screen_width

    width = screen_width()
    rows = [line for name, summary in COMMANDS.items() for line in row(f"plait {name}", summary, width)]
    return "\n".join([f"usage: {USAGE}", "", DESCRIPTION, "", *rows, "", f"  {END}", ""])


def run(arguments: Sequence[str]) -> int:
    """Run an application in the foreground: for the developer."""
    from plait.cli import plaitd

    settings = parse("plait run", arguments, usage=RUN, description=RUN_DOES)
    with Signals() as signals:
        code = plaitd.run(replace(settings, pidfile="", nodaemon=True), signals, daemonize=False, for_people=True)
        return leave(code, signals.ends_by)


def check(arguments: Sequence[str]) -> int:
    """Load an application and say what would keep it from starting."""
    from plait.runner.check import inspect, inspect_settings, will_daemonize
    from plait.runner.guests import settle
    from plait.runner.loader import load

    sys.dont_write_bytecode = True  # what the application imports is only looked at
    settings = parse("plait check", arguments, usage=CHECK, description=CHECK_DOES)
    try:
        application = load(settings)
    except PlaitError as error:
        problems = [*inspect_settings(settings, os.environ), error]
    else:
        hosting = application.hosting()
        if hosting is not None:
            settings = settle(settings, hosting)
        problems = inspect(settings, application, os.environ)
        print_out(
            "".join(f"{line}\n" for line in describe(settings, application, will_daemonize(settings, os.environ)))
        )
    for problem in problems:
        print(f"plait check: {sentence(problem)}", file=sys.stderr)
    if not problems:
        print_out("nothing would keep it from starting\n")
    return problems[0].exit_code if problems else 0


def export(arguments: Sequence[str]) -> int:
    """Load an application and write it in another form."""
    # Found by entry points: nobody imports the ring, and other packages may add to it.
    from plait.runner.entry_points import scan
    from plait.runner.loader import load
    from plait.runner.names import find

    form, *rest = arguments or [""]
    if form in ("-h", "--help"):
        form, rest = "", [form]
    settings = parse("plait export", rest, usage=EXPORT, description=EXPORT_DOES)
    writers = {offered.name: offered.target for offered in scan(EXPORTS)}
    if form not in writers:
        what = f"{form}: no such format{nearest(form, list(writers))}" if form else "no format"
        raise UsageError(f"{what}: give one of {', '.join(sorted(writers))}, then the application")
    application = load(settings)
    print_out(find(writers[form])(application))
    return 0


def complete(arguments: Sequence[str]) -> int:
    """Print what teaches a shell to complete what is typed."""
    from plait.runner.completion import SHELLS, make_script
    from plait.runner.help import make_help

    found = split("plait completion", HELP, arguments)
    words = found.words
    if found.given:
        print_out(make_help(HELP, COMPLETION, COMPLETION_DOES))
        return 0
    wanted = f"give {', '.join(SHELLS)}: see plait completion --help"
    if len(words) != 1:
        raise UsageError(f"{words[1]}: no such argument: {wanted}" if words else f"no shell: {wanted}")
    if words[0] not in SHELLS:
        raise UsageError(f"{words[0]}: no such shell{nearest(words[0], list(SHELLS))}: {wanted}")
    print_out(make_script(words[0]))
    return 0


def describe(settings: Settings, application: Application, is_daemon: bool) -> Iterator[str]:
    """Yield the lines that say what would be run, and how."""
    yield f"{application}\n"
    endpoints = dict.fromkeys(application.endpoints())
    yield from (f"listens on {endpoint}" for endpoint in endpoints)
    if not endpoints:
        yield "listens on nothing that is declared: what its services open themselves is known when they run"
    yield f"{'becomes a daemon' if is_daemon else 'stays in the foreground'}\n"
    rows = [
        (item.name, sentence(show(item.name, settings, application, is_daemon)), origins.get(item.name, "default"))
        for origins in [dict(settings.origins)]
        for item in settings_of("plaitd")
        if item.group not in (WHAT, CONFIGURATION) or item.name in origins
    ]
    # What was said last counts.
    said = {".".join(given.path): given for given in settings.assignments if given.path[0] == "app"}
    rows += [(name, sentence(given.value), given.origin) for name, given in said.items()]
    if settings.asks_for_plugin and application.hosting() is None:  # Twisted's have options of another kind
        from plait.runner.plugins import explain_plugin

        rows += explain_plugin(settings.target, settings.arguments, settings.assignments)
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    yield from (f"{name:<{widths[0]}}  {value:<{widths[1]}}  {origin}" for name, value, origin in rows)
    yield ""


def show(name: str, settings: Settings, application: Application, is_daemon: bool) -> str:
    """Return what the setting *name* comes to, as a person would write it."""
    value = getattr(settings, name)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return " ".join(value) or ("info" if name == "log_level" else "none")
    if name == "pidfile" and value is None:
        return "plaitd.pid" if is_daemon else "none"
    if name == "logfile":
        return value or ("plaitd.log" if is_daemon else "- (standard output)")
    if name == "log_format":
        return "text" if value == "auto" else value
    if name == "umask":
        return "unchanged" if value is None and not is_daemon else f"{0o077 if value is None else value:03o}"
    if name == "stop_timeout":
        seconds = application.stop_timeout if value is None else value
        return "no limit" if seconds is None else f"{seconds:g} s"
    if name in ("uid", "gid", "title"):
        return value or "unchanged"
    return value or "none"
