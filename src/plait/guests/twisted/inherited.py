"""
What Twisted takes from the process that it starts in: sockets that systemd passed, and /dev/null.

It looks for them when it first needs them.  By then plait may have taken the variables, and be in another root folder.
"""

from __future__ import annotations

import fcntl
import os

from twisted.internet import tcp
from twisted.python.systemd import ListenFDs

#: The first descriptor that systemd passes.
_FIRST = 3


def take() -> None:
    """Let Twisted have its share of what this process was started with, and plait the same."""
    # For its ports Twisted keeps a descriptor to spare, of /dev/null, which a root folder need not have.
    tcp._reservedFD.reserve()
    if os.environ.get("LISTEN_PID") == str(os.getpid()):
        _take_passed()


def _take_passed() -> None:
    variables = {name: value for name, value in os.environ.items() if name.startswith("LISTEN_")}
    from plait.guests.twisted import passed  # what it imports takes the variables where it finds them

    os.environ.update(variables)
    count = variables.get("LISTEN_FDS", "")
    if not (count.isascii() and count.isdigit()):
        return  # plait says what is wrong
    names = variables.get("LISTEN_FDNAMES", "")
    labels = tuple(names.split(":") if names else ["unknown"] * int(count))
    try:
        # Plait closes what it does not need.
        copies = [fcntl.fcntl(_FIRST + index, fcntl.F_DUPFD_CLOEXEC, _FIRST) for index in range(int(count))]
    except OSError:
        return
    if len(labels) == len(copies):
        passed.pass_on(ListenFDs(copies, labels))
