"""
The debugger: pdb at the terminal, around the loop.

It is what ``--debug`` gives: a prompt before anything starts, one at SIGINT, wherever the loop is then, and one at each
``breakpoint()``.  While somebody is at the prompt the loop's clock stands still, where the loop is one of asyncio's
own, so no time limit passes meanwhile.  To leave the debugger is to stop the application, in order.

This module is loaded only for that: pdb brings much with it.
"""

from __future__ import annotations

import asyncio
import os
import pdb  # noqa: T100 - to offer it is the purpose
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

from plait.errors import sentence

if TYPE_CHECKING:
    from plait.runner.runner import Runner
    from plait.tree.application import Application

GREETING = """\
{name} is loaded, and nothing runs yet.
  c         run it; before that, b FILE:LINE sets a breakpoint
  Ctrl-C    come back here, wherever it is
  q, stop   stop it, in order"""


@contextmanager
def debugging(runner: Runner) -> Iterator[None]:
    """
    Debug the loop of *runner*, which exists and does not run yet, while the body runs it.

    Takes over SIGINT and ``pdb.set_trace()``, which ``breakpoint()`` calls unless PYTHONBREAKPOINT names another; both
    are given back at the end.  asyncio's debug mode is on.
    """
    session = Session(runner)
    debugger = Debugger(session)
    before = pdb.set_trace, signal.getsignal(signal.SIGINT)
    pdb.set_trace = session.hook
    session.main = debugger
    signal.signal(signal.SIGINT, debugger.interrupted)
    runner.loop.set_debug(True)
    runner.ending.forces = False
    try:
        debugger.message(GREETING.format(name=runner.application.name))
        _not_started_yet(debugger, runner.application)
        yield
    finally:
        sys.settrace(None)
        pdb.set_trace = before[0]
        signal.signal(signal.SIGINT, before[1])


def _not_started_yet(debugger: Debugger, application: Application) -> None:
    # A frame of its own, in which the application can be looked at.
    debugger.stop_in(sys._getframe())


def post_mortem(error: BaseException) -> None:
    """Offer a prompt at the line of people's code that made loading fail with *error*, if there is one."""
    cause = error.__cause__
    if cause is None or cause.__traceback__ is None or isinstance(cause, SyntaxError):
        return  # there is no line that ran
    debugger = Debugger(Session(None))
    debugger.message(f"{sentence(error)}\n  q         leave it")
    debugger.reset()
    debugger.interaction(None, cause.__traceback__)


class Session:
    """What the debuggers of one run share: its terminal, its clock and its end."""

    def __init__(self, runner: Runner | None) -> None:
        self.main: Debugger | None = None
        self.terminal = threading.RLock()
        self._runner = runner
        self._paused = 0.0
        loop = runner.loop if runner is not None else None
        self._time = loop.time if isinstance(loop, asyncio.BaseEventLoop) else None
        if loop is not None and self._time is not None:
            loop.time = self._now  # type: ignore[method-assign]

    def _now(self) -> float:
        assert self._time is not None
        return self._time() - self._paused

    def stop(self) -> None:
        """Stop the application, in order."""
        if self._runner is not None:
            self._runner.stop("the debugger was left")

    @contextmanager
    def at_the_prompt(self) -> Iterator[None]:
        """Have the terminal, whatever was put in place of the standard streams, and let no time pass in the loop."""
        is_main = threading.current_thread() is threading.main_thread()
        with self.terminal:
            streams = sys.stdin, sys.stdout
            sys.stdin, sys.stdout = sys.__stdin__ or sys.stdin, sys.__stdout__ or sys.stdout
            began = self._time() if self._time is not None else 0.0
            try:
                yield
            finally:
                sys.stdin, sys.stdout = streams
                if self._time is not None and is_main:
                    self._paused += self._time() - began

    def hook(self, *, header: str | None = None, **options: Any) -> None:
        """Stop in the caller: what ``pdb.set_trace()`` does while this lasts; *options* are those of newer Pythons."""
        is_main = threading.current_thread() is threading.main_thread()
        debugger = self.main if is_main and self.main is not None else Debugger(self)
        if header is not None:
            debugger.message(header)
        debugger.stop_in(sys._getframe(1))


class Debugger(pdb.Pdb):
    """pdb that can stop anywhere at once, and whose end is not an exception in the middle of somebody's code."""

    allow_kbdint: bool  # pdb's own: whether it is at its prompt

    def __init__(self, session: Session) -> None:
        super().__init__(nosigint=True)
        self.stdout = sys.__stdout__ or sys.stdout
        self._session = session

    def interrupted(self, number: int, frame: FrameType | None) -> None:
        """Handle SIGINT: stop here, at once, even where a call of the system waits."""
        if self.allow_kbdint:
            raise KeyboardInterrupt  # at the prompt: pdb gives up the command
        if frame is None or not self._session.terminal.acquire(blocking=False):
            return  # another thread is at the prompt, and this is meant for it
        try:
            self.message("")
            self.stop_in(frame)
        finally:
            self._session.terminal.release()

    def stop_in(self, frame: FrameType) -> None:
        """Offer the prompt in *frame*; then trace as the command that left the prompt demands."""
        sys.settrace(None)
        self.reset()
        outermost = frame
        while outermost.f_back is not None:
            outermost = outermost.f_back
        self.botframe = outermost
        self.interaction(frame, None)
        if self.stoplineno == -1 and not self.breaks:
            return  # to run on, and nothing to stop at: then nothing is to be traced, which costs much
        each: FrameType | None = frame
        while each is not None:
            each.f_trace = self.trace_dispatch
            each = each.f_back
        sys.settrace(self.trace_dispatch)

    def interaction(self, frame: FrameType | None, traceback: TracebackType | None) -> None:
        """Let the person at the terminal give commands."""
        with self._session.at_the_prompt():
            super().interaction(frame, traceback)

    def set_quit(self) -> None:
        """Stop the application rather than the debugger; what comes now is not interrupted any more."""
        self._session.stop()
        self.clear_all_breaks()
        self.set_continue()

    def lookupmodule(self, filename: str) -> str | None:
        """Return the path of the file that a person names: seen from where the process runs, or as pdb finds it."""
        return os.path.abspath(filename) if os.path.isfile(filename) else super().lookupmodule(filename)

    def do_stop(self, arg: str) -> bool | None:
        """stop

        Stop the application in order, and leave the debugger, as quit does.
        """
        return self.do_quit(arg)

    def do_run(self, arg: str) -> None:
        """run

        Not here: quit, and start plaitd anew.
        """
        self.message("plaitd cannot begin anew from here: quit, and start it again")

    do_restart = do_run
