"""
plaitd: run an application, as a daemon or in the foreground.

`main` is the map: load settings, load the application, prepare the process with the application's endpoints, run.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from plait.errors import PlaitError, UsageError
from plait.process.notify import should_daemonize
from plait.process.prepare import Prepared, prepare
from plait.runner.loader import load_file, load_name
from plait.runner.logs import Logs, LogSettings, open_logs
from plait.runner.runner import Runner, end_by, loop_factory
from plait.runner.settings import Settings, parse, version
from plait.runner.signals import Interrupted, Signals, name_of
from plait.tree.application import Application
from plait.tree.service import current_path

if TYPE_CHECKING:
    from plait.process.prepare import ProcessSettings

USAGE = "plaitd [options] (-y FILE | module:attribute)"
DESCRIPTION = "Run an application as a daemon: returns when it is ready, or says why it is not."

log = logging.getLogger("plait")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``plaitd``; return its exit code."""
    with Signals() as signals:
        try:
            settings = parse(
                "plaitd", sys.argv[1:] if arguments is None else arguments, usage=USAGE, description=DESCRIPTION
            )
            daemonize = should_daemonize(settings.asked_to_daemonize(), os.environ, os.getpid())
            logs = settings.log(is_daemon=daemonize)
            process = settings.process(daemonize=daemonize)
            loop_factory(settings.reactor)
            signals.interruptible = True
            application = load(settings)
            signals.interruptible = False
            code = run(application, settings, process, logs, signals)
        except Interrupted as interrupted:
            print(f"plaitd: stopped by {name_of(interrupted.number)} while loading", file=sys.stderr)
            code = 0
        except PlaitError as error:
            print(f"plaitd: {error}", file=sys.stderr)
            code = error.exit_code
    if signals.ends_by:
        end_by(signals.ends_by)
        code = 128 + signals.ends_by
    return code


def load(settings: Settings) -> Application:
    """Return the application that *settings* name."""
    if settings.python and settings.target:
        raise UsageError(f"{settings.target}: is given beside -y {settings.python}: give one of them")
    if settings.python:
        return load_file(settings.python)
    if settings.target:
        return load_name(settings.target)
    raise UsageError("nothing to run: give -y FILE or module:attribute: see plaitd --help")


def run(
    application: Application, settings: Settings, process: ProcessSettings, log_settings: LogSettings, signals: Signals
) -> int:
    """Prepare the process, run the application in it, and put everything away."""
    with prepare(process, application.endpoints(), log_name=log_settings.file) as prepared:
        try:
            logs = open_logs(log_settings, path_of=current_path)
        except PlaitError as error:
            if prepared.is_daemon:
                prepared.failed(f"plaitd: {error}", error.exit_code)
                return error.exit_code
            raise
        if prepared.is_daemon:
            logs.capture_streams()

        def leave() -> None:
            prepared.close()
            logs.close()

        runner = Runner(
            application,
            signals=signals,
            sockets=prepared.sockets,
            starter=prepared,
            reactor=settings.reactor,
            stop_timeout=settings.stop_timeout,
            reopen=logs.reopen,
            leave=leave,
        )
        log.info("%s runs %s", version("plaitd"), application.name, extra={"pid": os.getpid()})
        code = runner.run()
        end(runner, prepared, logs, code, signals)
    return code


def end(runner: Runner, prepared: Prepared, logs: Logs, code: int, signals: Signals) -> None:
    """Put everything away, say so as the last line of the log, and leave."""
    by_force = runner.must_end_now()
    problem = prepared.close()
    if problem:
        log.warning("%s", problem)
    log.log(
        logging.INFO if code == 0 else logging.CRITICAL,
        "ended: %s: exit status %d",
        runner.why(),
        code,
    )
    logs.close()
    if by_force:
        if signals.ends_by and code == 0:
            end_by(signals.ends_by)
        os._exit(code)
