"""
Loop, signals, stop, exit code.

The runner alone owns the process's signals and its end.  It opens the tree, tells whoever started the process when it
is ready, stops it when it is told to, and always ends: what did not stop in its time is named and left behind.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from types import FrameType
from typing import TYPE_CHECKING

from plait.errors import LeftBehind, PlaitError, sentence
from plait.events import Event, State, StateChanged
from plait.runner.ending import AFTERMATH, Ending
from plait.runner.reactors import loop_factory
from plait.runner.signals import SHOWING, STOPPING, Signals, name_of
from plait.runner.telling import people_trace, tell_reopened, tell_unhandled
from plait.tree.application import Application
from plait.tree.service import speaking_of
from plait.tree.tree import Tree

if TYPE_CHECKING:
    from plait.process.prepare import Prepared
    from plait.sockets import Sockets

log = logging.getLogger("plait")

#: How long the log may take to be written up to where everything is ready, in seconds.
FLUSH = 0.25


class Starter:
    """Whoever started this process, and is to hear how it fares; this one is nobody, and hears nothing."""

    def ready(self) -> str:
        """Say nothing; what is returned, if anything, is a warning for the log."""
        return ""

    def failed(self, text: str, exit_code: int) -> None:
        """Say nothing."""

    def stopping(self) -> None:
        """Say nothing."""


class Runner:
    """
    Runs one application to its end, in the main thread or another.

    *leave* is called even when the process ends at once; `ending` does that.

    What is *around* the loop while it runs, a profiler or a debugger, is made of the runner when its ``loop`` is there.
    """

    def __init__(
        self,
        application: Application,
        *,
        signals: Signals,
        sockets: Sockets | None = None,
        starter: Starter | Prepared | None = None,
        make_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
        stop_timeout: float | None = None,
        reopen: Callable[[Callable[[str | None], object]], None] | None = None,
        flush: Callable[[float], object] | None = None,
        leave: Callable[[], None] | None = None,
        around: Sequence[Callable[[Runner], AbstractContextManager[object]]] = (),
    ) -> None:
        if stop_timeout is not None:
            application = replace(application, stop_timeout=stop_timeout)
        self.application = application
        self.error: BaseException | None = None
        self.has_begun = False  # whether there was a loop, and the tree was to be opened in it
        self.was_ready = False
        self.ending = Ending(application.stop_timeout, leave)
        self.loop: asyncio.AbstractEventLoop
        self._around = around
        self._told_to_stop = ""
        self._stops_told = 0
        self._signals = signals
        self._sockets = sockets
        self._starter = starter or Starter()
        self._make_loop = make_loop
        self._reopen = reopen
        self._flush = flush
        self._showing: list[threading.Thread] = []  # those that write where everything is
        self._tree: Tree | None = None
        self._exit_code = 0
        self._variables = contextvars.copy_context()

    # The run ----------------------------------------------------------------------------------------------------

    def run(self) -> int:
        """Run to the end; return the exit code.  Threads or tasks that remain are for `ending` to judge."""
        with ExitStack() as around:
            try:
                self.loop = self._make_loop()
                for each in self._around:
                    around.enter_context(each(self))
            except PlaitError as error:
                self._ended_badly(error)
                self._starter.failed(sentence(error), self._exit_code)
                return self._exit_code
            return self._run(self.loop)

    def _run(self, loop: asyncio.AbstractEventLoop) -> int:
        self.has_begun = True
        loop.set_exception_handler(tell_unhandled)
        try:
            asyncio.set_event_loop(loop)
            main = loop.create_task(self._main(), name="plait")
            while not main.done():
                try:
                    loop.run_until_complete(main)
                except (SystemExit, KeyboardInterrupt) as exit_:
                    # Raised by people's code: asyncio lets these two stop the loop.  They mean: stop in order.
                    self._stop_for(exit_)
            main.result()
            self.ending.tidy(loop, self._tree)
            for thread in self._showing:
                thread.join(AFTERMATH)  # who asked just before the stop is to read it, too
        finally:
            asyncio.set_event_loop(None)
        return self._exit_code

    def _stop_for(self, error: BaseException) -> None:
        code = error.code if isinstance(error, SystemExit) else 1
        if self._tree is not None:
            self._tree.stop_soon(f"sys.exit({code!r})", code if isinstance(code, int) else int(code is not None))

    async def _main(self) -> None:
        with self._signals.waking(self.loop):
            await self._live()

    async def _live(self) -> None:
        self._tree = tree = Tree(self.application, sockets=self._sockets)
        tree.on_end = self.ending.watch
        tree.subscribe(self._tell)
        self._signals.listen(self._heard)
        if self._signals.stops:
            # Perhaps it was this process's starter that was told, before the fork: it ends as it would have ended then.
            number = self._signals.stops[0]
            tree.reason = f"stopped by {name_of(number)} before it was ready"
            self._starter.failed(tree.reason, 128 + number)
            return
        if self._told_to_stop:
            tree.reason = self._told_to_stop
            self._starter.failed(tree.reason, 0)
            return
        try:
            await tree.open()
        except PlaitError as error:
            self._ended_badly(error)
            self._starter.failed(sentence(error), self._exit_code)
            return
        except BaseExceptionGroup as error:
            self._ended_badly(error)
        if tree.has_ended:
            self._judge(tree)
            self._starter.failed(f"{tree.reason or 'it has ended already'}, before it was ready", self._exit_code or 70)
            return
        self.was_ready = True
        log.info("%s is ready", tree.root.path, extra={"pid": os.getpid()})
        if self._flush is not None:
            self._flush(FLUSH)  # who waits for it may look into the log next
        problem = self._starter.ready()
        if problem:
            log.warning("%s", problem)
        try:
            await tree.wait()
        except (PlaitError, BaseExceptionGroup) as error:
            self._ended_badly(error)
        self._judge(tree)

    def _ended_badly(self, error: BaseException) -> None:
        self.error = error
        if isinstance(error, BaseExceptionGroup):
            return  # it was asked to stop, and did; each of them was told when it happened
        cause = error.__cause__
        self._exit_code = cause.exit_code if isinstance(cause, PlaitError) else getattr(error, "exit_code", 70)

    def _judge(self, tree: Tree) -> None:
        """Decide the exit code of a tree that has ended."""
        if self._exit_code == 0:
            self._exit_code = tree.exit_code
        gave_up = any(state is State.FAILED for state in tree.states().values())
        if self._exit_code == 0 and (tree.left or (gave_up and not self._signals.stops)):
            self._exit_code = 70

    def why(self) -> str:
        """Return why the run ended, for the last line of the log."""
        if self.error is not None and not isinstance(self.error, BaseExceptionGroup):
            return str(self.error)
        return (self._tree.reason if self._tree is not None else "") or "it was asked to stop"

    @property
    def left(self) -> Sequence[LeftBehind]:
        """Who was left behind."""
        return self._tree.left if self._tree is not None else ()

    def stop(self, reason: str) -> None:
        """Stop in order, also before anything has begun.  May be called at any point of the main thread, or another."""
        self._told_to_stop = reason
        if self._tree is not None:
            self._soon(self._tree.stop_soon, reason)

    # Signals ----------------------------------------------------------------------------------------------------

    def _heard(self, number: int, frame: FrameType | None) -> None:
        if number == SHOWING:
            self._show_stacks(frame)
            return
        if number not in STOPPING:
            self._soon(self._act_on, number)
            return
        times = len(self._signals.stops)
        self.ending.watch()
        if times == 3:
            # In another thread: whatever this one was about to do, perhaps with the lock of the log, it can finish.
            words = f"{name_of(number)} for the third time: ends at once"
            try:
                threading.Thread(target=self.ending.end_now, args=(70, words), name="plait-end", daemon=True).start()
            except RuntimeError:
                os._exit(70)  # no more threads: all has stopped, and Python itself is at its end
        elif times < 3:
            self._soon(self._stop_for_signal, number)

    def _soon(self, function: Callable[..., object], *arguments: object) -> None:
        try:
            # Not in the context of the service whose code the signal met: it has nothing to do with it.
            self.loop.call_soon_threadsafe(function, *arguments, context=self._variables)
        except RuntimeError:
            pass  # the loop has closed: all has stopped, and there is no log left to open again

    def _stop_for_signal(self, number: int) -> None:
        assert self._tree is not None
        # Counted here: a handler may be interrupted by that of the next signal, and come after it.
        self._stops_told += 1
        if self._stops_told == 1:
            log.info("received %s: stopping", name_of(number))
            self._tree.stop_soon(f"received {name_of(number)}")
        else:
            log.warning("received %s again: stopping in a hurry", name_of(number))
            self._tree.hurry()

    def _act_on(self, number: int) -> None:
        if self._reopen is None:
            log.info("received %s: there is no log file to open again", name_of(number))
        else:
            self._reopen(functools.partial(tell_reopened, number))

    def _show_stacks(self, frame: FrameType | None) -> None:
        """Write where everything is to the log: what is seen now, even if the loop is blocked in *frame*."""
        from plait.runner.stacks import describe_tasks, describe_threads

        stacks = (*describe_tasks(self.loop, frame), *describe_threads(frame))

        def tell() -> None:
            for stack in stacks:
                with speaking_of(stack.path):
                    log.info("%s", stack)

        # In another thread: this one may be interrupted with the lock of the log.
        thread = threading.Thread(target=tell, name="plait-stacks", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            self._soon(tell)  # no more threads
        else:
            self._showing = [*(other for other in self._showing if other.is_alive()), thread]

    # Telling ----------------------------------------------------------------------------------------------------

    def _tell(self, event: Event) -> None:
        """Write *event* to the log."""
        cause = None
        if isinstance(event, StateChanged):
            cause = event.cause
            if event.new is State.STOPPING and event.path == self.application.name:
                self._starter.stopping()
        level = event.level
        if log.isEnabledFor(level):
            trace = people_trace(cause) if level > logging.INFO else None
            with speaking_of(event.path):
                log.log(level, "%s", str(event).removeprefix(f"{event.path}: "), exc_info=trace)


def run(application: Application, *, reactor: str = "auto", stop_timeout: float | None = None) -> None:
    """
    Run *application* until it ends or is told to stop by SIGTERM or SIGINT.

    This is for scripts; it sets up no logging, pidfile or daemon: ``plaitd`` does.  It returns after a clean stop, and
    raises what ended the application otherwise: `StartFailed`, `GaveUp`, an exception group of what went wrong while
    stopping.  After SIGINT it raises `KeyboardInterrupt`, after a `StopApplication` with an exit code `SystemExit`.
    """
    with Signals(restores=True) as signals:
        runner = Runner(application, signals=signals, make_loop=loop_factory(reactor), stop_timeout=stop_timeout)
        code = runner.run()
        if runner.ending.must_be_now(runner.left):
            logging.shutdown()
            runner.ending.end_now(code or 70)
        runner.ending.stand_down()
    if runner.error is not None:
        raise runner.error
    if signals.ends_by:
        raise KeyboardInterrupt
    if code:
        raise SystemExit(code)


__all__ = ["Runner", "Starter", "run"]
