"""
What a program says about itself: ready, and its status (systemd's NOTIFY_SOCKET)

The protocol is sd_notify(3): datagrams of ``NAME=value`` lines.  Every server that can tell systemd can tell plait.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable

_CREDENTIALS = struct.Struct("3i")


class Notices:
    """A socket on which a program tells; *ready* and *status* are called with what it says."""

    __slots__ = ("_loop", "_ready", "_socket", "_status", "address")

    def __init__(self, ready: Callable[[], object], status: Callable[[str], object]) -> None:
        self._loop = asyncio.get_running_loop()
        self._ready = ready
        self._status = status
        # An abstract name: there is no file to protect, nor to remove.
        name = f"plait/{os.getpid()}/{os.urandom(8).hex()}"
        self.address = f"@{name}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind(f"\0{name}")
        self._loop.add_reader(self._socket.fileno(), self._read)

    def _read(self) -> None:
        try:
            data, extra, _, _ = self._socket.recvmsg(4096, socket.CMSG_SPACE(_CREDENTIALS.size))
        except OSError:
            return
        # Anybody on the machine may write to an abstract name; only our own user and root are believed.
        for level, kind, content in extra:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS) and len(content) == _CREDENTIALS.size:
                _, user, _ = _CREDENTIALS.unpack(content)
                if user in (0, os.geteuid()):
                    self._hear(data.decode("utf-8", "backslashreplace"))

    def _hear(self, text: str) -> None:
        for line in text.splitlines():
            name, _, value = line.partition("=")
            if (name, value) == ("READY", "1"):
                self._ready()
            elif name == "STATUS":
                self._status(value)

    def close(self) -> None:
        """Listen no more."""
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
