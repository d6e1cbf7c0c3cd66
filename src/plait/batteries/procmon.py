"""
procmon: keep one program running
"""

from __future__ import annotations

from typing import Annotated

from plait import Application, Backoff, Limit, Program, UsageError

#: What a program may take beyond its kill time, in seconds, and then the application beyond that.
_MARGIN = 5.0


def procmon(
    *command: Annotated[str, "COMMAND", "the program and its arguments"],
    threshold: Annotated[float, "-t SECONDS", "a program that ran for so long is started again at once"] = 1.0,
    killtime: Annotated[float, "-k SECONDS", "how long it may take to end before it is killed"] = 5.0,
    minrestartdelay: Annotated[float, "-m SECONDS", "the first wait before it is started again"] = 1.0,
    maxrestartdelay: Annotated[float, "-M SECONDS", "the longest wait before it is started again"] = 3600.0,
) -> Application:
    """
    Keep one program running.

    Whenever it ends, whatever its exit status, it is started again: at once if it ran long enough (and the first time),
    else after a wait that doubles each time.  What it writes goes to the log, line by line, and so does how it
    ended.  It has the environment of plaitd.  When plaitd is stopped, the program and all that came of it end with it.
    """
    if not command:
        raise UsageError("the command is missing: give the program and its arguments, after --")
    for name, seconds in (("threshold", threshold), ("killtime", killtime), ("minrestartdelay", minrestartdelay)):
        if not seconds >= 0:
            raise UsageError(f"--{name} {seconds:g}: wanted a number of seconds from 0")
    if not maxrestartdelay >= minrestartdelay:
        raise UsageError(
            f"--maxrestartdelay {maxrestartdelay:g}: wanted at least --minrestartdelay {minrestartdelay:g}"
        )
    program = Program(
        command,
        restart="always",
        grace=killtime,
        stop_timeout=killtime + _MARGIN,
        backoff=Backoff(base=minrestartdelay, cap=maxrestartdelay, jitter=0.0, quiet=threshold),
    )
    return Application("procmon", [program], limit=Limit(None), stop_timeout=killtime + 2 * _MARGIN)
