"""
"ready" and "stopping" to whoever started us.

========== ================== ================================================================================
manager    environment        what it is told
========== ================== ================================================================================
systemd    NOTIFY_SOCKET      datagrams of ``sd_notify(3)``: READY=1, STOPPING=1, STATUS=
s6         PLAIT_NOTIFY_FD    a newline on that descriptor, which is then closed (``notifywhenup``)
========== ================== ================================================================================

s6 passes no variable: the ``run`` script exports the number that the file ``notification-fd`` holds,
``PLAIT_NOTIFY_FD=3``.  Nothing here blocks or raises: a manager that does not listen is no reason to fail.
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping


class Notifier:
    """
    Tells the manager that *environ* names, if any.

    Both variables are removed from *environ*, and the descriptor is not inherited, so that no child speaks for us.
    """

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        self._named = environ.pop("NOTIFY_SOCKET", "")
        self._address = _read_address(self._named)
        number = environ.pop("PLAIT_NOTIFY_FD", "")
        self._descriptor = _read_descriptor(number)
        self._problem = ""
        if number and self._descriptor < 0:
            self._problem = f"PLAIT_NOTIFY_FD={number}: is not an open descriptor beyond 2"
        self._socket: socket.socket | None = None
        self._said: set[str] = set()
        self._unsent: list[str] = []
        if self._address:
            try:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                self._socket.setblocking(False)
            except OSError:
                pass  # out of descriptors: whoever needs one next will say so

    def connect(self) -> None:
        """Hold on to the manager's socket, where its address will mean nothing any more: in a jail, in a sandbox."""
        if self._socket is not None:
            try:
                self._socket.connect(self._address)
                self._address = ""
            except OSError:
                pass  # nobody listens, now

    def ready(self) -> str:
        """
        Tell that the tree is ready: once, and not after `stopping`.

        Returns a sentence for the log when the manager cannot hear it, which will wait in vain, else an empty text.
        """
        problem, self._problem = self._problem, ""
        if not self._said:
            problem = self._say("READY=1") or problem
        self._tell_s6(b"" if "STOPPING=1" in self._said else b"\n")
        return problem and f"{problem}, so nobody hears that this is ready: correct the variable, or unset it"

    def stopping(self) -> None:
        """Tell that the stop began: once."""
        if "STOPPING=1" not in self._said:
            self._say("STOPPING=1")

    def status(self, text: str) -> None:
        """Tell, in one line, what is being done at present; ``systemctl status`` shows it."""
        self._send(f"STATUS={' '.join(text.split())}")

    def close(self) -> None:
        """Have nothing more to tell."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._tell_s6(b"")

    def _tell_s6(self, text: bytes) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            try:
                if text:
                    os.write(descriptor, text)
                os.close(descriptor)
            except OSError:
                pass  # nobody reads there any more

    def _say(self, state: str) -> str:
        self._said.add(state)
        self._unsent.append(state)
        return self._send()

    def _send(self, *lines: str) -> str:
        """Send what is unsent, and *lines*; return what is wrong with the manager, if anything."""
        if self._socket is None:
            return ""
        try:
            text = "\n".join((*self._unsent, *lines))
            data = text.encode("utf-8", "replace")
            if self._address:
                self._socket.sendto(data, socket.MSG_NOSIGNAL, self._address)
            else:
                self._socket.send(data, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            pass  # its queue is full: a state that could not be told goes with the next thing to tell
        except OSError as error:
            self._unsent.clear()
            return f"NOTIFY_SOCKET={self._named}: cannot be written to ({error.strerror or error})"
        else:
            self._unsent.clear()
        return ""


def _read_address(text: str) -> str:
    """Return the address in NOTIFY_SOCKET as `socket` wants it, or nothing: vsock is for whole virtual machines."""
    if text.startswith("@"):
        return "\0" + text[1:]
    return text if text.startswith("/") else ""


def _read_descriptor(text: str) -> int:
    """Return the descriptor in PLAIT_NOTIFY_FD, or -1 if it is none; the standard ones are not for this."""
    if not (text.isascii() and text.isdigit()) or int(text) < 3:
        return -1
    try:
        os.set_inheritable(int(text), False)
        os.set_blocking(int(text), False)
    except (OSError, OverflowError):
        return -1
    return int(text)
