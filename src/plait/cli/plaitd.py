"""
plaitd: run an application, as a daemon or in the foreground.

`main` is the map: load the settings, load the application, prepare the process with the application's endpoints, run.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from plait.errors import PlaitError
from plait.process.notify import should_daemonize
from plait.process.prepare import prepare
from plait.runner.house import open_house
from plait.runner.loader import load
from plait.runner.runner import end_by, loop_factory
from plait.runner.settings import Settings, parse
from plait.runner.signals import Interrupted, Signals, name_of

USAGE = "plaitd [options] (-y FILE | module:attribute)"
DESCRIPTION = "Run an application as a daemon: returns when it is ready, or says why it is not."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``plaitd``; return its exit code."""
    with Signals() as signals:
        try:
            given = sys.argv[1:] if arguments is None else arguments
            settings = parse("plaitd", given, usage=USAGE, description=DESCRIPTION)
            code = run(
                settings, signals, daemonize=should_daemonize(settings.asked_to_daemonize(), os.environ, os.getpid())
            )
        except PlaitError as error:
            print(f"plaitd: {error}", file=sys.stderr)
            code = error.exit_code
        except Interrupted as interrupted:
            print(f"plaitd: stopped by {name_of(interrupted.number)} before anything was started", file=sys.stderr)
            code = 0
        if signals.ends_by and code == 0:
            end_by(signals.ends_by)
            code = 128 + signals.ends_by
    return code


def run(settings: Settings, signals: Signals, *, daemonize: bool, for_people: bool = False) -> int:
    """Run what *settings* name; the steps are those of the design, in its order."""
    log_settings = settings.log(is_daemon=daemonize)
    make_loop = loop_factory(settings.reactor)
    with signals.raised():
        application = load(settings)
        if settings.uid or settings.gid:
            from plait.runner.preload import preload

            preload()
    with (
        prepare(settings.process(daemonize=daemonize), application.endpoints(), log_name=log_settings.file) as prepared,
        open_house(prepared, log_settings, for_people=for_people) as house,
    ):
        return house.run(application, signals, make_loop, stop_timeout=settings.stop_timeout)
