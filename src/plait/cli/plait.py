"""
plait: look after applications: run one while writing it, check one before it is started.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace

from plait.errors import PlaitError, UsageError
from plait.runner.settings import nearest, parse, version

HELP = """\
usage: plait COMMAND ...

Look after applications.

  plait run     run an application in the foreground, with logs for people
  plait check   load an application, print its tree and its settings, start nothing

  plait COMMAND --help says more; plaitd runs an application as a daemon.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``plait``; return its exit code."""
    command, *rest = sys.argv[1:] if arguments is None else arguments or [""]
    if command in ("-h", "--help"):
        print(HELP, end="")
        return 0
    if command == "--version":
        print(version("plait"))
        return 0
    commands: dict[str, Callable[[Sequence[str]], int]] = {"run": run, "check": check}
    try:
        if command not in commands:
            what = f"{command}: no such command{nearest(command, list(commands))}" if command else "no command"
            raise UsageError(f"{what}: see plait --help")
        return commands[command](rest)
    except PlaitError as error:
        print(f"plait {command}: {error}" if command in commands else f"plait: {error}", file=sys.stderr)
        return error.exit_code


def run(arguments: Sequence[str]) -> int:
    """Run an application in the foreground: for the developer."""
    from plait.cli import plaitd
    from plait.runner.runner import end_by
    from plait.runner.signals import Interrupted, Signals

    settings = parse(
        "plait run",
        arguments,
        usage="plait run [options] (-y FILE | module:attribute)",
        description="Run an application in the foreground, with logs for people: coloured on a terminal, else JSON.",
    )
    with Signals() as signals:
        try:
            code = plaitd.run(replace(settings, pidfile=""), signals, daemonize=False, for_people=True)
        except Interrupted:
            code = 0
        if signals.ends_by and code == 0:
            end_by(signals.ends_by)
            code = 128 + signals.ends_by
    return code


def check(arguments: Sequence[str]) -> int:
    """Load an application and say what would keep it from starting."""
    from plait.runner.check import inspect
    from plait.runner.loader import load

    settings = parse(
        "plait check",
        arguments,
        usage="plait check [options of plaitd] (-y FILE | module:attribute)",
        description="Load an application, print its tree and its settings, start nothing, and bind and write nothing.",
    )
    application = load(settings)
    print(application)
    for endpoint in application.endpoints():
        print(f"listens on {endpoint}")
    for name, origin in settings.origins:
        print(f"{name} = {getattr(settings, name)!r}  ({origin})")
    problems = inspect(settings, application, os.environ)
    for problem in problems:
        print(f"plait check: {problem}", file=sys.stderr)
    return problems[0].exit_code if problems else 0
