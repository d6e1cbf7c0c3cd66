"""
The process that ends the programs of a plaitd that was killed

It is run from this file without the rest of plait, and does nothing but wait for the end of the process that started
it; then it kills every program that was to die with it, and what came of those.  `keeper.py` is its owner's side.

Why a process and not ``PR_SET_PDEATHSIG``: that can only be set between fork and exec.  Measured here (Python 3.11),
starting and ending ``/bin/true`` takes 0.8 ms as it is, 1.8 ms with a ``preexec_fn`` (5.6 ms when plaitd holds 320 MB,
since it must fork where it otherwise can vfork; and it is unsafe as soon as there is a thread) and 1.7 ms through
``setpriv``.  The signal also reaches the program alone and not its children, and is lost when plaitd dies between the
two calls.  A keeper costs a start nothing, 4 MB once, and finds descendants.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from resource import RLIMIT_RSS, prlimit

TYPE_CHECKING = False  # the keeper has no need of the typing module
if TYPE_CHECKING:
    from collections.abc import Collection

#: The environment variable that marks a program and what it starts.
VARIABLE = b"PLAIT_PROGRAM"
#: The lowest bits of a mark number the programs of one plaitd, the others are that plaitd's own.
NUMBER_BITS = 24
#: How long a keeper looks for programs that were only just starting when its owner died, in seconds.
PATIENCE = 2.0


# Who carries a mark (used by both processes) ---------------------------------------------------------------------


def carries(pid: int, marks: range, text: bytes, sessions: Collection[int]) -> bool:
    """
    Say whether process *pid* belongs to a program; raise `ProcessLookupError` if there is no such process.

    Three signs: the resource limit, which is inherited whatever a program does to its environment; the session that
    the program began; and *text* in the environment (to read it takes five times as long as the others).  The latter
    two are not looked at when they are empty.
    """
    try:
        if prlimit(pid, RLIMIT_RSS)[0] in marks:
            return True
    except PermissionError:
        pass
    if sessions and os.getsid(pid) in sessions:
        return True
    return bool(text) and text in read_environment(pid)


def read_environment(pid: int) -> bytes:
    """Return the environment that process *pid* began with, as far as it did not write over it; empty if unreadable."""
    try:
        descriptor = os.open(f"/proc/{pid}/environ", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    read = b""
    try:
        while chunk := os.read(descriptor, 1 << 20):
            read += chunk
    except OSError:
        pass
    finally:
        os.close(descriptor)
    return read


def carriers(marks: range, text: bytes, sessions: Collection[int]) -> tuple[list[int], bool]:
    """Return the processes that `carries` is true for, and whether another one vanished while looking."""
    found = []
    vanished = False
    only_limit = not text and not sessions
    for pid in processes():
        try:
            # The quick way is spelt out: a program that died waits for the answer before it starts again.
            if prlimit(pid, RLIMIT_RSS)[0] in marks if only_limit else carries(pid, marks, text, sessions):
                found.append(pid)
        except PermissionError:
            pass
        except OSError:
            vanished = True
    return found, vanished


def processes() -> list[int]:
    """Return the numbers of all processes."""
    return [int(entry) for entry in os.listdir("/proc") if entry[0] in "123456789"]


def is_over(pidfd: int) -> bool:
    """Say whether the process behind *pidfd* has ended, reaped or not."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


# The keeper itself -----------------------------------------------------------------------------------------------


def keep(channel_number: int, owner: int, prefix: int) -> None:
    """
    Wait for the end of the process behind the pidfd *owner*, then kill its programs.

    Over the socket *channel_number* it sends a pidfd and the pid for each program it starts.
    """
    import _socket

    # A Ctrl-C or a manager that signals everybody is meant for the owner, who stops its programs in peace.
    for ignored in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(ignored, signal.SIG_IGN)
    channel = _socket.socket(fileno=channel_number)
    poll = select.poll()
    poll.register(owner, select.POLLIN)
    poll.register(channel_number, select.POLLIN)
    programs: dict[int, int] = {}  # pidfd: pid
    is_open = True
    while True:
        for number, _ in poll.poll():
            if number == owner:
                end_all(channel, programs, prefix)
                return
            data, extra, _, _ = channel.recvmsg(64, _socket.CMSG_SPACE(4))
            # The ends of programs are not waited for: to wake up then would only take time from the next one's start.
            for pidfd in [pidfd for pidfd in programs if is_over(pidfd)]:
                os.close(pidfd)
                del programs[pidfd]
            for _, _, passed in extra:
                programs[int.from_bytes(passed[:4], sys.byteorder)] = int(data)
            if not data:
                # The channel closes just before its process ends; or somebody there closes what is not his.
                poll.unregister(channel_number)
                is_open = False
        if not is_open and is_over(owner):
            end_all(channel, programs, prefix)
            return


def end_all(channel: object, programs: dict[int, int], prefix: int) -> None:
    """Kill all *programs* and every process that carries a mark of *prefix*, until there are none."""
    marks = range(prefix << NUMBER_BITS, (prefix + 1) << NUMBER_BITS)
    text = b"=%x" % prefix
    deadline = time.monotonic() + PATIENCE
    quiet = 0
    while time.monotonic() < deadline:
        poll = select.poll()
        killed = []
        for pidfd, pid in programs.items():
            if not is_over(pidfd):
                try:
                    os.killpg(pid, signal.SIGKILL)
                except OSError:
                    pass
        for pid in carriers(marks, text, programs.values())[0]:
            try:
                pidfd = os.pidfd_open(pid)
            except OSError:
                continue
            killed.append(pidfd)
            try:
                if not is_over(pidfd) and carries(pid, marks, text, programs.values()):
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                    poll.register(pidfd, select.POLLIN)
                    quiet = 0
            except OSError:
                pass
        # A program that was between fork and exec carries no mark yet, but holds the owner's end of the channel.
        ended = is_over_there(channel)
        quiet += ended
        if quiet == 3:
            return
        poll.poll(10)
        for pidfd in killed:
            os.close(pidfd)


def is_over_there(channel: object) -> bool:
    """Say whether nobody holds the other end of *channel* any more."""
    import _socket

    try:
        return not channel.recv(64, _socket.MSG_DONTWAIT)  # type: ignore[attr-defined]
    except BlockingIOError:
        return False
    except OSError:
        return True


if __name__ == "__main__":
    keep(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
