"""
What would keep an application from starting.

The steps of a start are gone through in their order, by a child that goes where the start would go and becomes whom it
would become; those that bind, write or fork only look.  So each problem has the words and the exit code of the start.
"""

from __future__ import annotations

import errno
import fcntl
import os
import pickle
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NoReturn

from plait.access import look
from plait.errors import CannotCreate, PlaitError
from plait.events import describe
from plait.inspection import inspect_binding, inspect_certificates
from plait.process.daemon import refuse_threads
from plait.process.leaving import make_sandbox
from plait.process.pidfile import inspect_pidfile
from plait.process.prepare import enter, should_daemonize
from plait.process.privileges import Identity, acting_as, become, find_identity
from plait.runner.guests import settle_log
from plait.runner.preload import preload
from plait.runner.reactors import loop_factory
from plait.runner.sinks import STREAMS, _problem_of

if TYPE_CHECKING:
    from plait.endpoints import Endpoint
    from plait.process.prepare import ProcessSettings
    from plait.runner.log_settings import LogSettings
    from plait.runner.settings import Settings
    from plait.tree.application import Application

#: The child keeps its pipe above: descriptors below have the numbers that a starter passes, and that endpoints name.
PASSED = 100


def inspect(settings: Settings, application: Application, environ: Mapping[str, str]) -> list[PlaitError]:
    """
    Return an error for each thing that would keep *application* from starting, from here, as *settings* say.

    They are what a start would raise, in its order; the first is what it would end with.  Nothing is bound or written,
    and this process stays where and who it is.  It cannot be known what only binding tells, whether another program has
    a port or answers at a unix socket, nor what the services do in their lives.  That a plaitd runs and holds the
    pidfile is not a problem: it may be the one that is to be stopped first.
    """
    problems = inspect_settings(settings, environ)
    daemonizes = will_daemonize(settings, environ)
    try:
        logs = settings.log(is_daemon=daemonizes)
    except PlaitError:
        return problems  # it is among them; what was meant, or where we are, is not known
    hosting = application.hosting()
    if hosting is not None:
        logs = settle_log(logs, hosting)
    passed: list[tuple[str, int]] = []
    if "LISTEN_FDS" in environ:
        from plait.passed_sockets import take_systemd

        with noting(problems):
            passed = take_systemd(dict(environ))
    identity: Identity | None = None
    known = len(problems)
    with noting(problems):
        identity = find_identity(settings.uid, settings.gid, effective=settings.euid)
    is_known = len(problems) == known
    process = settings.process(daemonize=daemonizes)
    with noting(problems):
        sandbox = make_sandbox(process)
        if sandbox is not None:
            sandbox.close()
    if daemonizes and application.hosting() is None:
        with noting(problems):
            refuse_threads()
    if process.leaves:
        preload()

    def rehearse() -> Iterator[PlaitError]:
        place = Place(logs.file, identity)
        yield from rehearse_as_we_are(process, application.endpoints(), passed, place)
        if is_known and not place.is_lost:
            yield from rehearse_as(identity, place)
            said = {str(problem) for problem in problems}  # by `inspect_settings`: a factory that is not there
            yield from (problem for problem in rehearse_logs(logs) if str(problem) not in said)
            yield from rehearse_profiling(settings)

    return problems + run_in_child(rehearse)


def inspect_settings(settings: Settings, environ: Mapping[str, str]) -> list[PlaitError]:
    """Return what would keep anything from starting with *settings*, before an application is loaded."""
    problems: list[PlaitError] = []
    with noting(problems):
        settings.asked_to_daemonize()
    with noting(problems):
        settings.log(is_daemon=will_daemonize(settings, environ))
    with noting(problems):
        loop_factory(settings.reactor)
    with noting(problems):
        settings.asked_to_profile()
    if settings.logger:
        from plait.runner.custom_logger import find_factory

        with noting(problems):
            find_factory(settings.logger)
    return problems


def will_daemonize(settings: Settings, environ: Mapping[str, str]) -> bool:
    """Say whether a start from here would become a daemon; no if the settings contradict each other."""
    try:
        return should_daemonize(settings.asked_to_daemonize(), environ, os.getpid())
    except PlaitError:
        return False


@contextmanager
def noting(problems: list[PlaitError]) -> Iterator[None]:
    """Add what is raised inside to *problems*, and go on behind it."""
    try:
        yield
    except PlaitError as error:
        problems.append(error)


# In the child -------------------------------------------------------------------------------------------------------


class Place:
    """
    Where the log is, for *identity* to open, while the root folder changes.

    *log* is its path at present, empty when there is nothing more to find out about it.  *is_lost* says that the jail
    could not be entered: what comes then would be about another place.
    """

    def __init__(self, log: str, identity: Identity | None) -> None:
        self.log = "" if log in STREAMS else log
        self.identity = identity
        self.is_lost = False

    def note_given(self) -> None:
        """Find out whether root makes the log for who will write there."""
        if self.log and self.identity is not None:
            from plait.process.log_place import give_log

            with suppress(OSError):
                if give_log(self.log, self.identity, only_look=True):
                    self.log = ""

    def enter_jail(self, folder: str) -> None:
        """Go into the jail; raises the `PlaitError` that a start would raise."""
        from plait.process.jail import enter_jail, inner_path

        inner = inner_path(self.log, os.path.abspath(folder)) if self.log else ""
        self.is_lost = True
        if self.log and not inner:
            with acting_as(self.identity):
                refuse_log(self.log)
        enter_jail(os.path.abspath(folder), folder)
        self.is_lost = False
        self.log = inner


def rehearse_as_we_are(
    settings: ProcessSettings, endpoints: Iterable[Endpoint], passed: list[tuple[str, int]], place: Place
) -> Iterator[PlaitError]:
    """Yield what would be raised before the fork."""
    problems: list[PlaitError] = []
    if settings.pidfile:
        with noting(problems):
            inspect_pidfile(os.path.abspath(settings.pidfile), settings.pidfile)
    place.note_given()
    known = len(problems)
    with noting(problems):
        if settings.chroot:
            place.enter_jail(settings.chroot)
        enter(settings.rundir, None)
    is_there = len(problems) == known
    yield from problems
    opened: list[Endpoint] = []
    # In another folder, what is relative to it would say nothing.
    for endpoint in dict.fromkeys(endpoints) if is_there else ():
        yield from inspect_certificates(endpoint)
        refused = inspect_binding(endpoint, opened, passed)
        yield from refused
        opened += [] if refused else [endpoint]


def rehearse_as(identity: Identity | None, place: Place) -> Iterator[PlaitError]:
    """Yield what would be raised from the change of the user on, which this process goes through."""
    problems: list[PlaitError] = []
    with noting(problems):
        if identity is not None:
            become(identity)
        if place.log:  # it would be about somebody else's rights
            refuse_log(place.log)
    yield from problems


def rehearse_logs(logs: LogSettings) -> Iterator[PlaitError]:
    """Yield what would be raised about a log that is no file."""
    try:
        if logs.logger:
            from plait.runner.custom_logger import make_handler

            make_handler(logs.logger, str).close()
        elif logs.syslog or logs.journal:
            from plait.runner.log_places import open_place

            open_place(logs).taker.close()
    except PlaitError as error:
        yield error


def refuse_log(path: str) -> None:
    """Raise the `CannotCreate` with which the log at *path* could not be opened."""
    problem = find_log_problem(path)
    if problem:
        raise CannotCreate(f"{path}: cannot be written ({problem}): give another place with --logfile")


def rehearse_profiling(settings: Settings) -> Iterator[PlaitError]:
    """Yield what would be raised when the loop is about to run."""
    if settings.profile:
        from plait.runner.profiling import Profiling

        problems: list[PlaitError] = []
        with noting(problems):
            Profiling(settings.profile).refuse()
        yield from problems


def find_log_problem(path: str) -> str:
    """Return why the log at *path* could not be opened, as `plait.runner.sinks.open_log_file` says it, or nothing."""
    try:
        status = look(path, os.W_OK, makes=True)
    except OSError as error:
        if error.errno == errno.ELOOP and os.path.islink(path):
            return "it is a symbolic link"
        return "it is not a file" if error.errno == errno.ENXIO else str(error.strerror)
    return "" if status is None else _problem_of(status)


def run_in_child(steps: Callable[[], Iterable[PlaitError]]) -> list[PlaitError]:
    """Return the errors that *steps* yields in a child of this process, which may do to itself what it likes."""
    heard, said = os.pipe()
    with warnings.catch_warnings():
        # Other threads are lost in the child, and with them the locks that they hold; it takes none of theirs.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        os.close(heard)
        _be_child(steps, said)
    os.close(said)
    with open(heard, "rb") as file:
        told = file.read()
    with suppress(ChildProcessError):  # whoever started us may have told the system to forget children
        os.waitpid(child, 0)
    if not told:
        return [PlaitError("the check could not be finished (its process ended): report it as a bug")]
    problems: list[PlaitError] = pickle.loads(told)
    return problems


def _be_child(steps: Callable[[], Iterable[PlaitError]], said: int) -> NoReturn:
    problems: list[PlaitError] = []
    try:
        pipe = fcntl.fcntl(said, fcntl.F_DUPFD_CLOEXEC, PASSED)
        os.close(said)
        try:
            problems.extend(steps())
        except Exception as error:
            problems.append(PlaitError(f"the check could not be finished ({describe(error)}): report it as a bug"))
        with open(pipe, "wb") as file:
            file.write(pickle.dumps(problems))
    finally:
        os._exit(0)
