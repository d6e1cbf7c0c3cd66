"""A network of a test's own, in which every port is free."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CLONE_NEWNET = 0x40000000
_LISTEN = "0A"


@contextmanager
def network_of_its_own() -> Iterator[None]:
    """
    Move this thread, and all that it starts, into a new network with nothing but a loopback interface.

    So servers can be tried at the ports that they have by themselves, 22 and 53 among them, and a forgotten one is in
    nobody's way.  Only root can do that.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.unshare(_CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "unshare")
        try:
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
            yield
        finally:
            assert libc.setns(before, _CLONE_NEWNET) == 0
    finally:
        os.close(before)


def listening() -> list[tuple[str, int]]:
    """Return the TCP addresses at which somebody listens in the network of this thread."""
    found = []
    for name, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in Path(f"/proc/thread-self/net/{name}").read_text().splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            if state == _LISTEN:
                host, _, port = local.partition(":")
                # Each group of eight digits is a number in the byte order of the machine.
                groups = [bytes.fromhex(host[at : at + 8])[::-1] for at in range(0, len(host), 8)]
                found.append((socket.inet_ntop(family, b"".join(groups)), int(port, 16)))
    return found


def connect(address: tuple[str, int], seconds: float = 20.0) -> socket.socket:
    """Connect to *address*, or to this machine where that is any of its addresses."""
    host, port = address
    return socket.create_connection(({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port), seconds)
