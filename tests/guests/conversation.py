"""Talking with a client that runs."""

from __future__ import annotations

import os
import re
import select
import subprocess
import time

from tests.system.daemon import PATIENCE


class Conversation:
    """What is said to a client that runs, and heard from it."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._heard = ""

    def say(self, text: str) -> None:
        """Type *text*."""
        assert self._process.stdin is not None
        self._process.stdin.write(text.encode())
        self._process.stdin.flush()

    def hear(self, pattern: str) -> str:
        """Wait until *pattern* comes, after what was heard before, and return all up to there."""
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        deadline = time.monotonic() + PATIENCE
        while not (found := re.search(pattern, self._heard)):
            left = max(0.0, deadline - time.monotonic())
            data = os.read(pipe, 65536) if select.select([pipe], [], [], left)[0] else b""
            assert data, f"{pattern!r} did not come: {self._heard!r}"
            self._heard += data.decode(errors="replace")
        heard, self._heard = self._heard[: found.end()], self._heard[found.end() :]
        return heard
