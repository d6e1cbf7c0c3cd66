"""
Fork, session, and the parent that waits.

::

    first parent       in the shell: waits for ready, or for the error text, which it prints
    └─ in between      leads the new session; says what the daemon died of, which only a parent may know
       └─ daemon       in no way able to get a terminal again

One pipe carries what is said to the first parent, a line each: ``pid N``, ``ready``, ``failed CODE TEXT`` with NUL for
newline, ``died STATUS``.  The process in between ends with the first parent: a second pipe, which nobody writes to,
tells it.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Collection
from typing import NoReturn

from plait.errors import ConfigurationError, PlaitError


class Parent:
    """The first parent, as the daemon sees it.  What is said after the first `ready` or `failed` is not heard."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._write(f"pid {os.getpid()}")

    def ready(self) -> None:
        """Let the parent exit with status 0."""
        self._answer("ready")

    def failed(self, text: str, exit_code: int) -> None:
        """Let the parent print *text*, after ``plaitd:``, and exit with *exit_code* when this process has ended."""
        # No codec that must be loaded: this may be a user who cannot read where Python is installed.
        line = text.replace("\0", "").replace("\n", "\0")
        self._answer(f"failed {exit_code} {line}")

    def _answer(self, line: str) -> None:
        pipe, self._pipe = self._pipe, -1
        if pipe >= 0:
            self._write(line, pipe)
            os.close(pipe)

    def _write(self, line: str, pipe: int = -1) -> None:
        rest = f"{line}\n".encode("utf-8", "backslashreplace")
        try:
            while rest:
                rest = rest[os.write(pipe if pipe >= 0 else self._pipe, rest) :]
        except OSError:
            pass  # the parent was killed: nobody waits, and the daemon may well go on


def other_threads() -> str:
    """Return the names of all threads but this one: a fork loses them, and keeps the locks that they hold."""
    return ", ".join(thread.name for thread in threading.enumerate() if thread is not threading.current_thread())


def refuse_threads() -> None:
    """Raise `ConfigurationError` if other threads run."""
    others = other_threads()
    if others:
        raise ConfigurationError(
            f"threads run already ({others}): start them in a service, not while the application loads, "
            "or stay in the foreground with --nodaemon"
        )


def fork_daemon(log_name: str, on_death: Callable[[], object]) -> Parent:
    """
    Return in the daemon; the process that called ends here, when the daemon is ready or has failed.

    *log_name* is what the parent names when the daemon dies without a word.  *on_death* is called in the parent then:
    it removes what the daemon no longer can.  All signals are blocked in the daemon, until `detach`.

    Other threads are lost: see `refuse_threads`.  Raises `PlaitError` if the system does not fork.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()  # or it would be written by both, or by none
        except (OSError, ValueError):
            pass  # nobody reads there any more
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
        # Inherited from a careless starter: the system would reap children and tell nobody what they died of.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    heard, said = os.pipe()
    watched, waiting = os.pipe()
    # No signal may come between the fork and the first parent's own handlers, nor reach the process in between.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        child = os.fork()
    except OSError as error:
        for descriptor in (heard, said, watched, waiting):
            os.close(descriptor)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        raise PlaitError(f"cannot fork ({error.strerror}): raise the limit of processes, or use --nodaemon") from error
    if child:
        os.close(said)
        os.close(watched)
        _wait(heard, log_name, child, waiting, mask, on_death)
    os.close(heard)
    os.close(waiting)
    os.setsid()
    try:
        daemon = os.fork()
    except OSError as error:
        Parent(said).failed(f"cannot fork twice ({error.strerror}): raise the limit of processes, or use -n", 70)
        os._exit(70)
    if daemon:
        _stand_between(daemon, watched, said)
    os.close(watched)
    return Parent(said)


def open_null() -> int:
    """Return a descriptor of /dev/null; raises `PlaitError` without one."""
    try:
        return os.open(os.devnull, os.O_RDWR)
    except OSError as error:
        raise PlaitError(
            f"{os.devnull}: cannot be opened ({error.strerror}): a daemon needs it: make it, or use --nodaemon"
        ) from error


def detach(keep: Collection[int] = (), null: int = -1) -> None:
    """
    Let go of what belongs to whoever started this process: terminal, descriptors, signal mask.

    /dev/null is put in place of the standard streams.  Of the other descriptors, those that came through ``exec`` are
    closed, but for those in *keep*: whatever was opened since has the close-on-exec flag, as Python always sets it,
    and may be in use.  *null* is /dev/null if it was opened before, and is closed.  Raises `PlaitError` without it.
    """
    null = open_null() if null < 0 else null
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)
    try:
        numbers = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:
        numbers = list(range(3, 1024))  # a sandbox without /proc
    for descriptor in numbers:
        try:
            if descriptor > 2 and descriptor not in keep and os.get_inheritable(descriptor):
                os.close(descriptor)
        except OSError:
            pass  # the listing had a descriptor of its own
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _wait(
    heard: int, log_name: str, child: int, waiting: int, mask: set[signal.Signals | int], on_death: Callable[[], object]
) -> NoReturn:
    """Be the first parent to its end."""
    code = 70
    try:
        # Here, since the daemon needs none of it, and starts meanwhile.
        from plait.process.waiting import Wait

        wait = Wait(heard, log_name)
        code = wait.run(mask)
        if wait.is_over:
            on_death()
        os.close(waiting)
        os.waitpid(child, 0)
        wait.end_by_signal()
    except BaseException as error:
        os.write(2, f"plaitd: {type(error).__name__}: {error}\n".encode("utf-8", "backslashreplace"))
    finally:
        os._exit(code)


def _stand_between(daemon: int, watched: int, said: int) -> NoReturn:
    """Wait for the end of the daemon, to say what it died of, or of the first parent, who then needs not to know."""
    try:
        # Without pidfd (a very old kernel, a sandbox) the parent learns of the daemon's end only, not of the cause.
        end = os.pidfd_open(daemon)
        poller = select.poll()
        poller.register(end, select.POLLIN)
        poller.register(watched, select.POLLIN)
        if end in dict(poller.poll()):
            os.write(said, b"\ndied %d\n" % os.waitpid(daemon, 0)[1])
    finally:
        os._exit(0)
