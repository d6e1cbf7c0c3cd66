"""
A terminal in which a program runs, and somebody who types and reads.
"""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import time
from types import TracebackType

from tests.system.daemon import PATIENCE, Place


class Terminal:
    """Runs plaitd, or another *program*, with a terminal of its own that it controls, as a shell would."""

    def __init__(self, place: Place, *arguments: str, program: tuple[str, ...] = (), **environment: str) -> None:
        self._master, slave = pty.openpty()
        options = {"program": program} if program else {}
        self.process: subprocess.Popen[bytes] = place.popen(
            *arguments,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            # The terminal becomes that of the session; Ctrl-C then reaches those who are in front.
            start_new_session=True,
            preexec_fn=_take_terminal,
            environment={"TERM": "dumb"} | environment,
            **options,
        )
        os.close(slave)
        self.text = ""
        self._seen = 0

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.close(self._master)

    def type(self, text: str) -> None:
        """Type *text*, and the return key."""
        os.write(self._master, f"{text}\n".encode())

    def press(self, key: bytes) -> None:
        """Press a key."""
        os.write(self._master, key)

    def read_until(self, pattern: str, seconds: float = PATIENCE) -> re.Match[str]:
        """Read until *pattern* is found in what came after that which was found before."""
        deadline = time.monotonic() + seconds
        while (found := re.search(pattern, self.text[self._seen :])) is None:
            assert self._read(deadline - time.monotonic()), f"{pattern!r} did not come:\n{self.text}"
        self._seen += found.end()
        return found

    def wait(self, seconds: float = PATIENCE) -> int:
        """Read on to the end of the program; return its exit code."""
        deadline = time.monotonic() + seconds
        while self._read(deadline - time.monotonic()):
            pass
        return self.process.wait(max(0.0, deadline - time.monotonic()))

    def _read(self, seconds: float) -> bool:
        if seconds < 0 or not select.select([self._master], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:  # nobody has the terminal open any more
            return False
        self.text += data.decode().replace("\r\n", "\n")
        return bool(data)


def _take_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
