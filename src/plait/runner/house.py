"""
A prepared process with open logs: it runs an application, then puts everything away.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from plait.errors import PlaitError, sentence

if TYPE_CHECKING:
    import asyncio
    from contextlib import AbstractContextManager

    from plait.endpoints import Endpoint
    from plait.process.prepare import Prepared
    from plait.runner.logs import Logs, LogSettings
    from plait.runner.runner import Runner
    from plait.runner.settings import Settings
    from plait.runner.signals import Signals
    from plait.tree.application import Application
    from plait.tree.hosting import Hosting

    Observer = Callable[[Runner], AbstractContextManager[object]]

log = logging.getLogger("plait")


def find_observers(settings: Settings) -> Sequence[Observer]:
    """Return what is to be around the loop while it runs."""
    observers: list[Observer] = []
    if settings.debug:
        from plait.runner.debugging import debugging

        observers.append(debugging)
    if settings.asked_to_profile():
        from plait.runner.profiling import Profiling

        profiling = Profiling(settings.profile, settings.savestats)
        profiling.preload()
        observers.append(lambda runner: profiling.run())
    return observers


def open_log(path: str) -> int:
    """Open the log at *path*, where that cannot wait until the process is prepared."""
    from plait.runner.sinks import open_log_file

    return open_log_file(path)


def connects_of(application: Application) -> list[Endpoint]:
    """Return where the services of *application* say, in any of their fields, that they connect to."""
    from plait.endpoints import Endpoint
    from plait.values import fields

    found = (getattr(service, item.name, None) for _, service in application.walk() for item in fields(service))
    return [endpoint for endpoint in found if isinstance(endpoint, Endpoint) and endpoint.connects]


def open_house(
    prepared: Prepared,
    settings: LogSettings,
    *,
    for_people: bool = False,
    capture: bool = True,
    hosting: Hosting | None = None,
) -> House:
    """Open the logs of a prepared process, as the user that it has become; what is printed is logged with *capture*."""
    from plait.runner.logs import open_logs
    from plait.tree.service import current_path
    from plait.values import replace

    if prepared.log_path:
        settings = replace(settings, file=prepared.log_path)
    try:
        logs = open_logs(
            settings,
            for_people=for_people,
            path_of=current_path,
            descriptor=prepared.take_log(),
            make_handler=hosting.make_handler if hosting is not None else None,
        )
    except PlaitError as error:
        prepared.failed(sentence(error), error.exit_code)
        raise
    if capture:  # who debugs wants to see, where he types, what is printed
        logs.capture_streams()
    if hosting is not None:
        hosting.begin()
    for level, text in prepared.notes:
        log.log(logging.WARNING if level == "warning" else logging.INFO, "%s", text)
    return House(prepared, logs, behind=capture, finish=hosting.finish if hosting is not None else None)


class House:
    """A prepared process with open logs: runs an application, then puts everything away."""

    def __init__(
        self, prepared: Prepared, logs: Logs, *, behind: bool = True, finish: Callable[[], None] | None = None
    ) -> None:
        self._prepared = prepared
        self._finish = finish
        self._logs = logs
        self._behind = behind

    def show_title(self, title: str, *, asked: bool = True) -> None:
        """Show *title* as that of the process; what cannot be shown of it is a warning for who *asked* for it."""
        from plait.runner.title import set_title

        problem = set_title(title)
        if problem:
            log.log(logging.WARNING if asked else logging.DEBUG, "%s", problem)

    def run(
        self,
        application: Application,
        signals: Signals,
        make_loop: Callable[[], asyncio.AbstractEventLoop],
        *,
        stop_timeout: float | None = None,
        around: Sequence[Observer] = (),
    ) -> int:
        """Run *application* to its end; return the exit code, or end the process if something still runs."""
        from plait.runner.command_line import version
        from plait.runner.runner import Runner
        from plait.runner.signals import end_by, name_of

        runner = Runner(
            application,
            signals=signals,
            make_loop=make_loop,
            sockets=self._prepared.sockets,
            starter=self._prepared,
            stop_timeout=stop_timeout,
            reopen=self._logs.reopen_soon if self._logs.can_reopen else None,
            flush=self._logs.flush,
            leave=self.close,
            around=around,
        )
        log.info("%s runs %s", version("plaitd"), application.name, extra={"pid": os.getpid()})
        # From here on others are served, whom a disk that stalls must not delay.
        if self._behind:  # and not between the lines of a debugger
            self._logs.write_behind()
        # All that was loaded stays for good: out of the garbage collector's sight, it costs nothing any more, neither
        # now nor at the end.
        gc.freeze()
        gc.enable()
        code = runner.run()
        heard = runner.was_ready or (self._logs.is_stream and runner.has_begun)
        if code and not (heard or self._prepared.is_daemon):
            # The log is in a file, or it is about the command line: whoever waits at the terminal is to hear it.
            print(f"plaitd: {sentence(runner.why())}", file=sys.__stderr__)
        if self._finish is not None:
            runner.ending.watch()  # it may have to stop what there was no tree for
            try:
                self._finish()
            except PlaitError as error:
                log.error("%s", error, exc_info=error.__cause__)
                code = code or error.exit_code
        by_force = runner.ending.must_be_now(runner.left)
        problem = self._prepared.close()
        if problem:
            log.warning("%s", problem)
        level = logging.INFO if code == 0 else logging.CRITICAL
        by_signal = signals.ends_by if code == 0 else 0
        how = f"by {name_of(by_signal)}" if by_signal else f"exit status {code}"
        log.log(level, "ended: %s: %s", runner.why(), how)
        if by_force:
            self._logs.close()
            if by_signal:
                end_by(by_signal)
            os._exit(code)
        return code

    def close(self) -> None:
        """Put everything away at once."""
        self._prepared.close()
        self._logs.close()

    def __enter__(self) -> House:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            log.critical("ended: a fault of plaitd itself", exc_info=error)
        self._logs.close()
