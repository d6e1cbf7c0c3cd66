"""
What holds for every test: nothing is left behind, nothing unexpected is logged, and it ends in its time.

A test that expects a record at WARNING or above says so: ``@pytest.mark.logs("regex")``, or, at run time, the fixture
``expected_logs``.  One that needs more than a minute says so with ``@pytest.mark.time_limit(seconds)``.
"""

from __future__ import annotations

import faulthandler
import gc
import logging
import os
import re
import signal
import threading
from collections.abc import Callable, Generator, Iterator
from types import FrameType
from typing import Any

import pytest

#: How long one test may take, set-up and tear-down included, in seconds.
TIME_LIMIT = 60.0
#: How much later the whole run ends, with a dump of all threads, when a test cannot be interrupted.
LAST_RESORT = 30.0
#: How long a thread or a child that is about to end may take after its test.
GRACE = 2.0
#: What a test may not leave changed.
SIGNALS = (
    *(signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2),
    *(signal.SIGCHLD, signal.SIGPIPE, signal.SIGWINCH, signal.SIGTSTP, signal.SIGCONT),
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="run the full figure of each promise, not the short form")


def pytest_configure(config: pytest.Config) -> None:
    # A shell that starts this in the background, and nohup, have signals ignored, which every child would inherit.
    for number, handler in (
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGQUIT, signal.SIG_DFL),
        (signal.SIGHUP, signal.SIG_DFL),
    ):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)
    capture = config.pluginmanager.getplugin("capturemanager")
    assert capture is not None
    with capture.global_and_fixture_disabled():
        config.stash[TERMINAL] = os.dup(2)  # the dump of a last resort must not end in pytest's capture
    try:
        import uvloop
    except ImportError:
        pass
    else:
        uvloop.new_event_loop().close()  # the first one opens a pipe that libuv keeps: no test is to be blamed for it
    try:
        from hypothesis import HealthCheck, settings
    except ImportError:
        return
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large]
    settings.register_profile("short", derandomize=True, deadline=None, suppress_health_check=slow)
    settings.register_profile(
        "long", max_examples=2000, deadline=None, database=None, print_blob=True, suppress_health_check=slow
    )
    settings.load_profile("long" if config.getoption("--long") else "short")


def pytest_unconfigure(config: pytest.Config) -> None:
    os.close(config.stash[TERMINAL])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    needs_root = pytest.mark.skip(reason="NOT RUN: needs to be root: run scripts/test as root")
    needs_time = pytest.mark.skip(reason="NOT RUN: the full figure of a promise: give --long")
    for item in items:
        if item.get_closest_marker("root") and os.geteuid() != 0:
            item.add_marker(needs_root)
        if item.get_closest_marker("long") and not config.getoption("--long"):
            item.add_marker(needs_time)


@pytest.fixture(scope="session")
def is_long(request: pytest.FixtureRequest) -> bool:
    """Whether the full figures were asked for with ``--long``."""
    return bool(request.config.getoption("--long"))


# Time -----------------------------------------------------------------------------------------------------------------

TERMINAL = pytest.StashKey[int]()
DEADLINE = pytest.StashKey[float]()


class TimeIsUp(KeyboardInterrupt):
    """A test took too long.  Of this kind, because it is one of the two that stop every event loop."""


def limit_of(item: pytest.Item) -> float:
    """Return the seconds that *item* may take."""
    marker = item.get_closest_marker("time_limit")
    return float(marker.args[0]) if marker else TIME_LIMIT


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """Dump all threads and end the run when a test can be ended by nothing else."""
    faulthandler.dump_traceback_later(limit_of(item) + LAST_RESORT, exit=True, file=item.config.stash[TERMINAL])
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


def limited(item: pytest.Item) -> Generator[None, Any, Any]:
    """Raise `TimeIsUp` in the main thread when a phase of *item* takes too long, again and again until it is heard."""
    limit = limit_of(item)

    def raise_it(number: int, frame: FrameType | None) -> None:
        raise TimeIsUp

    before = signal.signal(signal.SIGALRM, raise_it)
    signal.setitimer(signal.ITIMER_REAL, limit, 2.0)
    try:
        return (yield)
    except TimeIsUp as error:
        text = f"not done after {limit:g} s: make it faster, or give it @pytest.mark.time_limit(seconds)"
        raise TimeoutError(text) from error
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


pytest_runtest_setup = pytest.hookimpl(wrapper=True)(lambda item: (yield from limited(item)))
pytest_runtest_call = pytest.hookimpl(wrapper=True)(lambda item: (yield from limited(item)))
pytest_runtest_teardown = pytest.hookimpl(wrapper=True)(lambda item: (yield from limited(item)))


# Logs -----------------------------------------------------------------------------------------------------------------


class Listening(logging.Handler):
    """Keeps what is logged at WARNING and above."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep *record* as one text, with its error."""
        error = record.exc_info[1] if record.exc_info else None
        cause = f" ({type(error).__name__}: {error})" if error is not None else ""
        self.records.append(f"{record.levelname} {record.name}: {record.getMessage()}{cause}")


@pytest.fixture
def expected_logs(request: pytest.FixtureRequest) -> list[str]:
    """
    The regular expressions of the log records, at WARNING or above, that this test expects.

    They are searched for in ``LEVEL logger: message (Error: its text)``.
    """
    return [text for marker in request.node.iter_markers("logs") for text in marker.args]


# The oracle -----------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def nothing_left_behind(request: pytest.FixtureRequest, expected_logs: list[str]) -> Iterator[None]:
    """Fail a test that leaves a thread, a process, a descriptor or a signal handler, or logs what it did not expect."""
    listening = Listening()
    root = logging.getLogger()
    root.addHandler(listening)
    before = Snapshot()
    yield
    root.removeHandler(listening)
    problems = before.compare()
    for text in listening.records:
        if not any(re.search(expected, text, re.DOTALL) for expected in expected_logs):
            problems.append(f'logged unexpectedly, declare it with @pytest.mark.logs("regex"): {text}')
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)


class Snapshot:
    """What the process has, at one moment, that a test could leave behind."""

    def __init__(self) -> None:
        self.threads = set(threading.enumerate())
        self.children = set(find_children())
        self.descriptors = find_descriptors()
        self.signals = find_handlers()
        self.directory = os.getcwd()

    def compare(self) -> list[str]:
        """Return a sentence about each thing that is there now and was not then; children among them are ended."""
        return [*self._threads(), *self._children(), *self._descriptors(), *self._handlers(), *self._directory()]

    def _threads(self) -> Iterator[str]:
        for thread in set(threading.enumerate()) - self.threads:
            thread.join(GRACE)
            if thread.is_alive():
                yield f"left a thread running: {thread.name!r}{' (daemon)' if thread.daemon else ''}"

    def _children(self) -> Iterator[str]:
        for pid in sorted(set(find_children()) - self.children):
            what = describe_process(pid)
            if what:
                yield f"left a child process: {pid} ({what})"
                end_child(pid)

    def _descriptors(self) -> Iterator[str]:
        # What lies in a cycle of garbage is closed by collecting it; Python then warns, and the warning is an error.
        if find_descriptors() != self.descriptors:
            gc.collect()
        now = find_descriptors()
        for number in sorted(set(now) | set(self.descriptors)):
            was, is_ = self.descriptors.get(number), now.get(number)
            if was == is_:
                continue
            if is_ is None:
                yield f"closed a descriptor that is not its own: {number} ({was})"
            elif was is None:
                yield f"left a descriptor open: {number} ({is_})"
            else:
                yield f"left a descriptor changed: {number} was {was}, is {is_}"

    def _handlers(self) -> Iterator[str]:
        now = find_handlers()
        for number, was in self.signals.items():
            if now[number] is not was:
                yield f"left a signal handler: {signal.Signals(number).name} was {was}, is {now[number]}"
                signal.signal(number, was)

    def _directory(self) -> Iterator[str]:
        now = os.getcwd()
        if now != self.directory:
            yield f"left the working directory changed: it was {self.directory}, is {now}"
            os.chdir(self.directory)


def find_descriptors() -> dict[int, str]:
    """Return what is open in this process, by number."""
    found = {}
    with os.scandir("/proc/self/fd") as entries:
        numbers = [int(entry.name) for entry in entries]
    for number in numbers:
        try:
            found[number] = os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:
            pass  # the one that the directory was read with
    return found


def find_children() -> list[int]:
    """Return the children of this process, those of its threads included."""
    children: list[int] = []
    for task in os.listdir("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{task}/children") as file:
                children += [int(word) for word in file.read().split()]
        except FileNotFoundError:
            pass  # that thread has just ended, or the kernel does not have this file
    return children


def describe_process(pid: int) -> str:
    """Return the state and the command of process *pid*, or an empty text if there is none any more."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            name, _, rest = file.read().partition("(")[2].rpartition(")")
        with open(f"/proc/{pid}/cmdline") as file:
            command = " ".join(file.read().split("\0")).strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    state = rest.split()[0]
    return f"zombie, nobody waited for it: {name}" if state == "Z" else command or name


def end_child(pid: int) -> None:
    """End the child *pid* and take its status, so that no later test is blamed for it."""
    try:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        pass


def find_handlers() -> dict[int, Callable[[int, FrameType | None], Any] | int | None]:
    """Return the handlers of the signals that plait has to do with."""
    return {number: signal.getsignal(number) for number in SIGNALS}
