"""
plaitd: run an application, as a daemon or in the foreground.

`main` is the map: load the settings, load the application, prepare the process with the application's endpoints, run.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plait.process.prepare import ProcessSettings
    from plait.runner.log_settings import LogSettings
    from plait.runner.settings import Settings
    from plait.runner.signals import Signals
    from plait.tree.application import Application

USAGE = "plaitd [options] (-y FILE | -f FILE | -s FILE | APPLICATION)"
DESCRIPTION = "Run an application as a daemon: returns when it is ready, or says why it is not."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``plaitd``; return its exit code."""
    # What a program imports stays for good: looking for garbage among it would cost a tenth of the start.  `House.run`
    # puts it out of the collector's sight, and turns the collector on again.
    gc.disable()
    try:
        return _main(sys.argv[1:] if arguments is None else arguments)
    finally:
        gc.enable()


def _main(arguments: Sequence[str]) -> int:
    # Signals first: until they are heard Python dies of them.
    from signal import SIGINT

    from plait.runner.signals import Interrupted, Signals, leave, name_of

    daemonize = False
    with Signals() as signals:
        # What --help and a slip in the command line need; the rest is loaded behind them.
        from plait.errors import PlaitError, sentence
        from plait.runner.command_line import parse

        as_twistd = os.path.basename(sys.argv[0]) == "twistd"
        try:
            settings = parse("plaitd", arguments, usage=USAGE, description=DESCRIPTION, as_twistd=as_twistd)
            from plait.process.prepare import should_daemonize

            daemonize = should_daemonize(settings.asked_to_daemonize(), os.environ, os.getpid())
            code = run(settings, signals, daemonize=daemonize)
        except PlaitError as error:
            print(f"plaitd: {sentence(error)}", file=sys.stderr)
            code = error.exit_code
        except KeyboardInterrupt as stop:
            # One without a number was raised by people's code: it means the same.
            number = stop.number if isinstance(stop, Interrupted) else SIGINT
            print(f"plaitd: stopped by {name_of(number)} before anything was started", file=sys.stderr)
            if number == SIGINT:
                return leave(0, number)
            # Who asked for a daemon must not believe that there is one.
            code = 128 + number if daemonize else 0
        return leave(code, signals.ends_by)


def run(settings: Settings, signals: Signals, *, daemonize: bool, for_people: bool = False) -> int:
    """Run what *settings* name; the steps are those of the design, in its order."""
    from plait.process.prepare import prepare
    from plait.runner.house import connects_of, find_observers, open_house, open_log
    from plait.runner.reactors import loop_factory
    from plait.runner.settings import APPLICATION

    log_settings = settings.log(is_daemon=daemonize)
    process_settings = settings.process(daemonize=daemonize)
    # What a debugger can see of the loop is asyncio's, and its clock can stand still.
    make_loop = loop_factory("asyncio" if settings.debug and settings.reactor == "auto" else settings.reactor)
    around = find_observers(settings)
    if process_settings.pidfile:
        from plait.process.pidfile import refuse_held

        # Loading may open a log that is in use, or worse.
        refuse_held(os.path.abspath(process_settings.pidfile), process_settings.pidfile)
    with signals.raised():
        application = load(settings, process_settings, log_settings)
    hosting = application.hosting()
    before_leaving = undo = None
    whole: AbstractContextManager[None] = nullcontext()
    if hosting is not None:
        from plait.runner.early_loop import kept, or_early
        from plait.runner.guests import Begun, settle, settle_log

        settings = settle(settings, hosting)
        begun = Begun(
            hosting, signals, application.stop_timeout if settings.stop_timeout is None else settings.stop_timeout
        )
        whole, undo = begun.undone(), begun.undo
        daemonize = daemonize if for_people else settings.wants_daemon(daemonize)
        make_loop = or_early(make_loop, settings.reactor)
        before_leaving = kept(begun.start_privileged)
        log_settings = settle_log(settings.log(is_daemon=daemonize), hosting)
        process_settings = settings.process(daemonize=daemonize, pidfile="" if for_people else None)
        preload(process_settings)
    with (
        whole,
        prepare(
            process_settings,
            application.endpoints(),
            log_name="" if log_settings.file == "-" else log_settings.file,
            open_log=open_log,
            connects=connects_of(application) if process_settings.sandbox else (),
            before_leaving=before_leaving,
            undo=undo,
            loses_threads=hosting is not None,  # as twistd does, and says nothing
        ) as prepared,
        open_house(prepared, log_settings, for_people=for_people, capture=not settings.debug, hosting=hosting) as house,
    ):
        if settings.title:
            # Who asked for it with an option is to hear what is missing; an application that knows nothing of us, not.
            house.show_title(settings.title, asked=dict(settings.origins).get("title") != APPLICATION)
        return house.run(application, signals, make_loop, stop_timeout=settings.stop_timeout, around=around)


def load(settings: Settings, process_settings: ProcessSettings, log_settings: LogSettings) -> Application:
    """Load the application, and all that people's code must be there for, while this is still who started it."""
    from plait.errors import PlaitError
    from plait.runner import loader

    if process_settings.gives_up:
        from plait.process.capabilities import forbid_new_privileges

        forbid_new_privileges()  # threads that begin while the application loads are to have it as well
    if log_settings.logger:
        from plait.runner.custom_logger import find_factory

        find_factory(log_settings.logger)  # what is wrong with it is said on the terminal, and before the fork
    try:
        application = loader.load(settings)
    except PlaitError as error:
        if settings.debug:
            from plait.runner.debugging import post_mortem

            post_mortem(error)
        raise
    preload(process_settings)
    return application


def preload(process_settings: ProcessSettings) -> None:
    """Load all that may be out of reach afterwards, if there is an afterwards."""
    if process_settings.leaves:
        from plait.runner import preload

        preload.preload()
