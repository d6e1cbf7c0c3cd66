"""What is woken by a signal while a loop runs, and afterwards."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Iterator

import pytest

from plait.runner.signals import Signals

#: What is wrapped while a loop runs.
set_wakeup_fd = signal.set_wakeup_fd


@pytest.fixture
def woken() -> Iterator[socket.socket]:
    """Return a socket that signals wake."""
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    with reader, writer:
        signal.set_wakeup_fd(writer.fileno())
        try:
            yield writer
        finally:
            signal.set_wakeup_fd(-1)


def present() -> int:
    """Return the descriptor that signals wake."""
    found = set_wakeup_fd(-1)
    if found != -1:
        set_wakeup_fd(found)
    return found


def test_what_was_woken_before_is_woken_afterwards(woken: socket.socket) -> None:
    """The descriptor of before is there again."""
    with asyncio.Runner() as runner, Signals(restores=True) as signals:
        signal.set_wakeup_fd(woken.fileno())
        with signals.waking(runner.get_loop()):
            assert present() != woken.fileno()
        assert present() == woken.fileno()


def test_what_was_woken_before_may_be_closed_meanwhile(woken: socket.socket) -> None:
    """A loop that sys.exit() left, and that began anew, has closed the one it had."""
    with asyncio.Runner() as runner, Signals(restores=True) as signals:
        signal.set_wakeup_fd(woken.fileno())
        with signals.waking(runner.get_loop()):
            woken.close()
        assert present() == -1


def test_what_a_loop_has_set_by_itself_stays(woken: socket.socket) -> None:
    """A loop that began anew is woken by the descriptor that it has now."""
    set_wakeup_fd(-1)
    with asyncio.Runner() as runner, Signals(restores=True) as signals:
        with signals.waking(runner.get_loop()):
            set_wakeup_fd(woken.fileno())  # as uvloop does, whom the wrapper does not meet
        assert present() == woken.fileno()
