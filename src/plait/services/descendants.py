"""
Who forked away from a program, and their end

A program is marked so that what came of it can be found, also when it forked twice, began a session of its own and
lost its parent: by a variable in the environment, and by a resource limit, because programs do overwrite their
environment (nginx and PostgreSQL write their titles there).  The limit is the soft ``RLIMIT_RSS``, without any effect
since Linux 2.4.30, set to a number that no memory will ever have.

plaitd does not become a "child subreaper" for this.  All orphans of its programs would become its own children, and
it would have to reap them without being able to tell the dead ones from children that other code in this process
started and still waits for.
"""

from __future__ import annotations

import asyncio
import os
import signal
from resource import RLIM_INFINITY, RLIMIT_RSS, prlimit

from plait.services.keeper import keeper
from plait.services.keeper_process import VARIABLE, carriers, carries, is_over, processes, read_environment

#: A process and the pidfd that means it.
Found = tuple[int, int]

#: What `carries` looks for.
Signs = tuple[range, bytes, tuple[int, ...]]

#: How many are ended at once: each costs a descriptor meanwhile.
ROUND = 200
#: How often we look once more when something moved while we looked.
LOOKS = 10


class Mark:
    """The mark of one life of a program, and of what comes of it."""

    __slots__ = ("_is_limited", "_text", "beyond", "number", "path", "program")

    def __init__(self, path: str, dies_with_us: bool) -> None:
        self.number = keeper.next_mark(dies_with_us)
        self.path = path
        self._text = b"=%x" % self.number
        self._is_limited = False
        self.program = 0  # its pid, once it runs
        self.beyond: set[int] = set()  # those that we have no right to signal

    def environment(self, outer: bytes) -> bytes:
        """Return the value of the variable; *outer* is what we carry ourselves, as a program of another plaitd."""
        own = b"%s=%x" % (os.fsencode(self.path), self.number)
        return b"%s %s" % (outer, own) if outer else own

    def put(self, pid: int) -> None:
        """Mark the program that just began as *pid*: what it starts from now on inherits the mark."""
        self.program = pid
        self._is_limited = self._limit(pid)

    def put_again(self) -> None:
        """
        Mark what the program had started before it was marked.

        Normally nothing, since it needs longer for its own beginning; but on a busy machine we may be late.
        """
        # A process is marked before its children are read.
        unread = [child for child in children(self.program) if self._limit(child)]
        while unread or (unread := [pid for pid in self._orphans() if self._limit(pid)]):
            unread += [child for child in children(unread.pop()) if self._limit(child)]

    def _orphans(self) -> list[int]:
        """Return those who have forked away already: they have a new session, and our variable in their environment."""
        newer = processes()
        if last_process() > self.program:
            newer = [pid for pid in newer if pid > self.program]
        found = []
        for pid in newer:
            try:
                # To read the environment of a process that just begins takes as long as its beginning.
                if os.getsid(pid) > self.program and self._text in read_environment(pid):
                    found.append(pid)
            except ProcessLookupError:
                pass
        return found

    def _limit(self, pid: int) -> bool:
        """Set the limit of *pid*; return whether that was new."""
        try:
            now, most = prlimit(pid, RLIMIT_RSS)
            if now == self.number or (most != RLIM_INFINITY and most < self.number):
                return False
            prlimit(pid, RLIMIT_RSS, (self.number, most))
        except OSError:
            return False  # gone; or forbidden, as in some sandboxes: the environment is marked too
        return True

    def find(self, thoroughly: bool = True) -> list[Found]:
        """
        Return (pid, pidfd) of all who came of the program and are alive; the caller closes them.

        Not *thoroughly*, only the limit is looked at, if it could be set: that takes a quarter of the time.
        """
        if thoroughly or not self._is_limited:
            signs: Signs = range(self.number, self.number + 1), self._text, (self.program,)
        else:
            signs = range(self.number, self.number + 1), b"", ()
        dead: set[int] = set()
        for _ in range(LOOKS):
            pids, moved = carriers(*signs)
            found: list[Found] = []
            for pid in pids:
                if pid == self.program or pid in self.beyond or len(found) == ROUND:
                    continue
                try:
                    pidfd = os.pidfd_open(pid)
                except ProcessLookupError:
                    moved = True
                    continue
                # Only now is it sure which process the number means.
                if not is_over(pidfd) and _still(pid, signs):
                    found.append((pid, pidfd))
                    continue
                os.close(pidfd)
                moved = moved or pid not in dead
                dead.add(pid)
            if found or not moved:
                return found
            # One that ended while we looked may have forked just before.
        return []


def _still(pid: int, signs: Signs) -> bool:
    try:
        return carries(pid, *signs)
    except OSError:
        return False


def children(pid: int) -> list[int]:
    """Return the children of process *pid*; none where the kernel keeps no such list."""
    found: list[int] = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", "rb") as file:
                found += map(int, file.read().split())
    except OSError:
        pass
    return found


def last_process() -> int:
    """Return the number that the system gave to a process last."""
    with open("/proc/loadavg", "rb") as file:
        return int(file.read().split()[-1])


async def leave(mark: Mark, number: int) -> None:
    """Ask all who came of the program to end, with the signal *number*, and wait until they have."""
    asked: set[int] = set()
    while found := mark.find():
        for pid, pidfd in found:
            # Those in its group had the signal together with the program.
            if pid not in asked and _group(pid) != mark.program:
                _send(mark, pid, pidfd, number)
                _send(mark, pid, pidfd, signal.SIGCONT)
            asked.add(pid)
        await _all_over(mark, found)


def kill(mark: Mark, thoroughly: bool = True) -> list[Found]:
    """Kill all who came of the program; return what `Mark.find` found."""
    found = mark.find(thoroughly)
    for pid, pidfd in found:
        _send(mark, pid, pidfd, signal.SIGKILL)
    return found


async def end(mark: Mark, thoroughly: bool = True) -> None:
    """Kill all who came of the program, until a look finds none."""
    while found := kill(mark, thoroughly):
        await _all_over(mark, found)


def close(found: list[Found]) -> None:
    """Close the pidfds, and reap those that have become our children (as PID 1 we inherit every orphan)."""
    for _, pidfd in found:
        try:
            os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)
        except OSError:
            pass
        os.close(pidfd)


async def over(pidfd: int) -> None:
    """Wait until the process behind *pidfd* has ended."""
    if is_over(pidfd):
        return
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(pidfd, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(pidfd)


async def _all_over(mark: Mark, found: list[Found]) -> None:
    try:
        for pid, pidfd in found:
            if pid not in mark.beyond:
                await over(pidfd)
    finally:
        close(found)


def _send(mark: Mark, pid: int, pidfd: int, number: int) -> None:
    try:
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        pass
    except PermissionError:
        mark.beyond.add(pid)


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0


__all__ = ["VARIABLE", "Mark", "close", "end", "kill", "leave", "over"]
