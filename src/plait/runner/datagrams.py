"""
Sending log records to a daemon of this machine, through its socket; the daemon may be started again meanwhile
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence

_PATIENCE = 1.0  # seconds for which a daemon that takes nothing is waited for, once


class SocketTaker:
    """
    A connection to the unix socket at *address*; the first record connects it again when the daemon has gone.

    A daemon that takes nothing is waited for once; until it takes something each record has one try.
    """

    kinds: Sequence[socket.SocketKind] = (socket.SOCK_DGRAM,)

    def __init__(self, address: str) -> None:
        self._address = address
        self._socket: socket.socket | None = self._connect()

    @property
    def descriptor(self) -> int:
        """The number of the socket; -1 between two connections."""
        return -1 if self._socket is None else self._socket.fileno()

    def write(self, data: bytes, notice: bytes = b"") -> None:
        """Send one record, behind a *notice*; raises OSError when that fails."""
        if notice:
            self.write(notice)
        if self._socket is not None:
            try:
                self._send_patiently(self._socket, data)
                return
            except OSError as error:
                if error.errno in (errno.EAGAIN, errno.EMSGSIZE):
                    raise
                self._socket.close()
                self._socket = None
        self._socket = self._connect()
        self._send_patiently(self._socket, data)

    def write_many(self, lines: Sequence[bytes]) -> int:
        """Nothing is sent with one call."""
        return 0

    def reopen(self) -> int:
        """Connect again."""
        old, self._socket = self._socket, self._connect()
        if old is not None:
            old.close()
        return 0

    def close(self) -> int:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        return 0

    def send(self, connection: socket.socket, data: bytes) -> None:
        """Send one record through *connection*."""
        connection.send(data)

    def _send_patiently(self, connection: socket.socket, data: bytes) -> None:
        try:
            self.send(connection, data)
        except TimeoutError:
            connection.settimeout(0.0)
            raise OSError(errno.EAGAIN, "nobody reads it") from None
        except BlockingIOError:
            raise OSError(errno.EAGAIN, "nobody reads it") from None
        if connection.gettimeout() == 0.0:
            connection.settimeout(_PATIENCE)

    def _connect(self) -> socket.socket:
        for number, kind in enumerate(self.kinds, 1):
            connection = socket.socket(socket.AF_UNIX, kind)
            try:
                connection.settimeout(_PATIENCE)
                connection.connect(self._address)
                return connection
            except OSError as error:
                connection.close()
                if error.errno != errno.EPROTOTYPE or number == len(self.kinds):
                    raise
        raise AssertionError("there is no kind of socket to connect")
