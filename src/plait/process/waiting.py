"""
The parent that waits for its daemon, and what it tells the shell.

It ends with 0 when the daemon is ready; with the text and the exit code of the daemon's failure; or with what the
daemon died of.  A signal to stop is passed on to the daemon, whose answer is then waited for; the third ends the
waiting.
"""

from __future__ import annotations

import os
import select
import signal
import time

#: How long to wait for a daemon that failed to be gone, in seconds: whoever starts it again at once then finds the
#: pidfile and the ports free.
AFTERMATH = 10.0

#: What is passed on to the daemon, as SIGTERM.
STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


class Wait:
    """
    What the first parent has heard so far, and the exit code that follows.

    *heard* is the end of the pipe to read, *log_name* the log to name when the daemon dies without a word.  `is_over`
    says that the daemon is gone, `signals` what this process was told meanwhile.
    """

    def __init__(self, heard: int, log_name: str) -> None:
        self.signals: list[int] = []
        self.is_over = False
        self._heard = heard
        self._advice = f"look into {log_name}, or start it with --nodaemon" if log_name else "start it with --nodaemon"
        self._pid = 0
        self._code: int | None = None
        self._deadline: float | None = None

    def run(self, mask: set[signal.Signals | int]) -> int:
        """Wait for the answer; signals are blocked until the handlers are there, and then as in *mask*."""
        woken, wake = os.pipe()
        os.set_blocking(wake, False)
        # Python writes the numbers of signals there: between looking and waiting none gets lost.
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        for number in STOPPING:
            signal.signal(number, lambda number, frame: None)
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)  # meant for the daemon, or for a terminal that is left anyway
        signal.pthread_sigmask(signal.SIG_SETMASK, mask - set(STOPPING))
        poller = select.poll()
        poller.register(self._heard, select.POLLIN)
        poller.register(woken, select.POLLIN)
        unread = b""
        while not self.is_over:
            left = None if self._deadline is None else max(0.0, self._deadline - time.monotonic()) * 1000
            events = dict(poller.poll(left))
            if woken in events and self._pass_on(os.read(woken, 64)):
                return 128 + self.signals[0]
            if self._heard in events:
                data = os.read(self._heard, 65536)
                *lines, unread = (unread + data).split(b"\n")
                for line in lines:
                    if self._hear(line.decode("utf-8", "replace")):
                        return self._conclude()
                if not data:
                    self._die(None)
            elif left is not None and not events:
                break
        return self._conclude()

    def end_by_signal(self) -> None:
        """End this process by SIGINT if that is what it was told first: the shell then ends its script as well."""
        if self.signals[:1] == [signal.SIGINT]:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            os.kill(os.getpid(), signal.SIGINT)

    def _pass_on(self, numbers: bytes) -> bool:
        """Tell the daemon to stop, once for each of the signals *numbers*; say whether it is time to leave."""
        for number in numbers:
            if number in STOPPING:
                self.signals.append(number)
                if self._pid:
                    self._stop_daemon()
        if len(self.signals) < 3:
            return False
        _print(f"does not wait for the end of its start any longer: pid {self._pid} was told to stop")
        return True

    def _stop_daemon(self) -> None:
        try:
            os.kill(self._pid, signal.SIGTERM)
        except OSError:
            pass  # it has just ended: the pipe will say so

    def _hear(self, line: str) -> bool:
        """Take in one line; say whether there is nothing more to wait for."""
        word, _, rest = line.partition(" ")
        if word == "pid":
            self._pid = int(rest)
            for _ in self.signals:
                self._stop_daemon()
        elif word == "ready":
            self._code = 0
            return True
        elif word == "failed":
            code, _, text = rest.partition(" ")
            self._code = int(code) or 70
            self._deadline = time.monotonic() + AFTERMATH
            _print(text.replace("\0", "\n"))
        elif word == "died":
            self._die(int(rest))
        return False

    def _die(self, status: int | None) -> None:
        """Note that the daemon is gone, with this *status* if it is known, and say so unless it said more itself."""
        self.is_over = True
        if self._code is not None:
            return
        self._code = 70
        how = "ended"
        if status is not None and os.WIFSIGNALED(status):
            how = f"was killed by {_name(os.WTERMSIG(status))}"
        elif status is not None:
            how = f"ended with exit code {os.WEXITSTATUS(status)}"
            self._code = os.WEXITSTATUS(status) or 70
        if self.signals:
            _print(f"stopped by {_name(self.signals[0])} before it was ready")
        else:
            _print(f"{how} before it was ready: {self._advice}")

    def _conclude(self) -> int:
        if not self.signals:
            return 70 if self._code is None else self._code
        if self._code == 0:
            _print(f"was ready when {_name(self.signals[0])} came, and stops: pid {self._pid}")
        return 128 + self.signals[0]


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _print(text: str) -> None:
    """Print a sentence of plaitd's, without the buffers of a process that leaves through ``os._exit``."""
    try:
        os.write(2, f"plaitd: {text}\n".encode("utf-8", "backslashreplace"))
    except OSError:
        pass  # standard error is closed or full: the exit code remains
