"""
The logs around a run, and the last line in them.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from plait.errors import PlaitError
from plait.runner.logs import Logs, LogSettings, open_logs
from plait.runner.runner import Runner, end_by
from plait.runner.settings import version
from plait.tree.service import current_path

if TYPE_CHECKING:
    from plait.process.prepare import Prepared
    from plait.runner.signals import Signals
    from plait.tree.application import Application

log = logging.getLogger("plait")


class House:
    """A prepared process with open logs: runs an application, then puts everything away."""

    def __init__(self, prepared: Prepared, logs: Logs) -> None:
        self._prepared = prepared
        self._logs = logs

    def run(
        self,
        application: Application,
        signals: Signals,
        make_loop: Callable[[], asyncio.AbstractEventLoop],
        *,
        stop_timeout: float | None = None,
    ) -> int:
        """Run *application* to its end; return the exit code, or end the process if something still runs."""
        runner = Runner(
            application,
            signals=signals,
            make_loop=make_loop,
            sockets=self._prepared.sockets,
            starter=self._prepared,
            stop_timeout=stop_timeout,
            reopen=self._logs.reopen,
            leave=self.close,
        )
        log.info("%s runs %s", version("plaitd"), application.name, extra={"pid": os.getpid()})
        # All that was loaded stays for good: out of the garbage collector's sight, it costs nothing any more, neither
        # now nor at the end.
        gc.freeze()
        gc.enable()
        code = runner.run()
        by_force = runner.must_end_now()
        problem = self._prepared.close()
        if problem:
            log.warning("%s", problem)
        level = logging.INFO if code == 0 else logging.CRITICAL
        log.log(level, "ended: %s: exit status %d", runner.why(), code)
        if by_force:
            self._logs.close()
            if signals.ends_by and code == 0:
                end_by(signals.ends_by)
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


def open_house(prepared: Prepared, settings: LogSettings, *, for_people: bool = False) -> House:
    """Open the logs of a prepared process, as the user that it has become."""
    try:
        logs = open_logs(settings, for_people=for_people, path_of=current_path)
    except PlaitError as error:
        prepared.failed(str(error), error.exit_code)
        raise
    if prepared.is_daemon:
        logs.capture_streams()
    return House(prepared, logs)
