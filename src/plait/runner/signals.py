"""
What signals mean, from the first line of the program to the last.

========= ====================================================================================
TERM QUIT stop in order; the second hurries; the third ends the process at once
INT       the same, and the process then ends by SIGINT, so that shells notice
HUP USR1  open the log file again
USR2      write the stack of every task and every thread to the log
========= ====================================================================================

Handlers are Python's own rather than the loop's, so that a third signal ends a process whose loop is blocked.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
SHOWING = signal.SIGUSR2
OTHERS = (signal.SIGHUP, signal.SIGUSR1, SHOWING)


class Interrupted(KeyboardInterrupt):
    """
    A signal to stop came while people's code was being loaded, or did something that may take its time.

    Code that goes on after any error, but not after Ctrl-C, does not after this.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Signals:
    """
    Hears signals from the moment it is entered; only one module of a program may.

    Until `listen` is called they are kept: a signal to stop is raised as `Interrupted` inside of `raised`, and is
    otherwise found in `stops`; the third ends the process.  Outside of the main thread it hears nothing.

    When it is left, the handlers of before come back where nobody listened yet nor asked for a stop, and with
    *restores*, which is for a script that goes on.  A program that has run, or was told to stop before it did, keeps
    these to its last moment: whatever comes after all has stopped in order is not to change what the program ends with.
    """

    def __init__(self, *, restores: bool = False) -> None:
        self.stops: list[int] = []
        self._restores = restores
        self._raises_at = 0  # the how manieth signal to stop is raised; 0 for none
        self._patience: float | None = None
        self._timer: threading.Timer | None = None
        self._act: Callable[[int, FrameType | None], None] | None = None
        self._before: dict[int, object] = {}

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            for number in (*STOPPING, *OTHERS):
                self._before[number] = signal.signal(number, self._hear)
            # Registered first, called last: Python takes its handlers away some milliseconds before the process ends.
            atexit.register(self._ignore)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if (self._act is not None or self.stops) and not self._restores:
            return
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._before.clear()

    def _ignore(self) -> None:
        for number in self._before:
            signal.signal(number, signal.SIG_IGN)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if number in STOPPING:
            self.stops.append(number)
        if self._act is not None:
            self._act(number, frame)
        elif number in STOPPING:
            if len(self.stops) == 3:
                # People's code lets nothing through, or never comes back from where it is.
                name = os.path.basename(sys.argv[0])
                os.write(2, f"{name}: {name_of(number)} for the third time: ends at once\n".encode())
                os._exit(70)
            # The next too: what is raised in a destructor, or where a weak reference ends, is heard by nobody.
            if self._raises_at and len(self.stops) >= self._raises_at:
                raise Interrupted(self.stops[0])
            if self._patience is not None:
                self._ring_later(number, self._patience)

    @contextmanager
    def raised(self) -> Iterator[None]:
        """Raise a signal to stop as `Interrupted`: around people's code that may take its time."""
        if self.stops:
            raise Interrupted(self.stops[0])
        show = sys.unraisablehook

        def show_others(lost: sys.UnraisableHookArgs) -> None:
            if not isinstance(lost.exc_value, Interrupted):
                show(lost)

        # Each import of Python's own has such a place; the signal is in `stops`, and no error to tell of.
        sys.unraisablehook = show_others
        self._raises_at = 1
        try:
            yield
        finally:
            self._raises_at = 0
            if sys.unraisablehook is show_others:
                sys.unraisablehook = show

    @contextmanager
    def bounding(self, seconds: float | None) -> Iterator[None]:
        """
        Let people's code inside go on when it is told to stop, for so many *seconds* or until it is told a second time.

        Then `Interrupted` is raised in it, and goes no further than to here: what was begun is to be put away in order.
        """
        self._raises_at, self._patience = 2, seconds
        try:
            yield
        except Interrupted:
            pass
        finally:
            self._raises_at, self._patience = 0, None
            if self._timer is not None:
                self._timer.cancel()
                self._timer.join()  # no thread may be there when privileges are dropped

    def _ring_later(self, number: int, seconds: float) -> None:
        """Send this process signal *number* again, in so many *seconds*."""
        # To this thread, which may sleep: another one would hear of it and not wake it.
        self._timer = threading.Timer(seconds, signal.pthread_kill, (threading.get_ident(), number))
        self._timer.daemon = True
        try:
            self._timer.start()
        except RuntimeError:
            self._timer = None  # no more threads: a second signal will do

    @contextmanager
    def waking(self, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
        """
        Let each signal wake *loop*, which runs in this thread.

        The system only notes a signal for Python, which calls the handler between two lines.  One that came after the
        last line before the loop waits for events would wait too, until something else happens: on an idle server for
        ever.  asyncio and rloop see to it only for their own handlers; uvloop does, and hears of none if another
        descriptor is woken instead.  So whoever sets one meanwhile, or asks for none, gets what he asked for besides.
        """
        if not self._before:
            yield
            return
        import socket  # not for who only asks for --help

        set_it = signal.set_wakeup_fd
        reader, writer = socket.socketpair()
        with reader, writer:
            reader.setblocking(False)
            writer.setblocking(False)
            before = set_it(writer.fileno(), warn_on_full_buffer=False)
            # uvloop's is its own for good; what asyncio sets it sets, and takes back, as people's code does.
            is_uvloop = type(loop).__module__.partition(".")[0] == "uvloop"
            others = [before if is_uvloop else -1, -1 if is_uvloop else before]

            def wake() -> None:
                # A function of Python's: before its first line, it is time for the handlers.
                data = reader.recv(4096)
                for other in others:
                    if other != -1:
                        try:
                            os.write(other, data)
                        except OSError:
                            pass  # it is full, and so it wakes; or closed

            def set_other(fd: int, /, *, warn_on_full_buffer: bool = True) -> int:
                set_it(fd, warn_on_full_buffer=warn_on_full_buffer)  # it may be refused
                set_it(writer.fileno(), warn_on_full_buffer=False)
                former, others[1] = others[1], fd
                return former

            loop.add_reader(reader.fileno(), wake)
            signal.set_wakeup_fd = set_other
            try:
                yield
            finally:
                signal.set_wakeup_fd = set_it
                # A loop that was left by sys.exit() and began anew has another one, and may have closed the former.
                present = set_it(-1)
                try:
                    set_it(before if present == writer.fileno() else present, warn_on_full_buffer=False)
                except (OSError, ValueError):
                    pass  # it is closed, and wakes nobody
                loop.remove_reader(reader.fileno())

    def listen(self, act: Callable[[int, FrameType | None], None]) -> None:
        """Call *act* with the number of each signal and the frame it met, in the main thread, between two lines."""
        self._act = act

    @property
    def ends_by(self) -> int:
        """The signal that the process should end by: SIGINT if that was the first to stop it, or 0."""
        return signal.SIGINT if self.stops[:1] == [signal.SIGINT] else 0


def name_of(number: int) -> str:
    """Return the name of a signal, such as SIGTERM."""
    return signal.Signals(number).name


def end_by(number: int) -> None:
    """End this process by signal *number*, so that its parent sees it; returns only as process 1."""
    signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    os.kill(os.getpid(), number)


def leave(code: int, number: int = 0) -> int:
    """
    Return the exit *code*, or end the process here: by SIGINT if that was the signal *number* that stopped it, or with
    the code where a thread that the application's file began would go on for ever.
    """
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:  # by who started us, or by people's code
            stream.flush()
    if number == signal.SIGINT and code == 0:
        end_by(number)
        code = 128 + number
    if any(thread is not threading.main_thread() and not thread.daemon for thread in threading.enumerate()):
        os._exit(code)
    return code
