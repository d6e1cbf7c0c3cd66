"""
The order of preparation, on one page.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn

from plait.errors import ConfigurationError, PlaitError, sentence
from plait.process.pidfile import Pidfile
from plait.sockets import Sockets
from plait.values import Value, value

if TYPE_CHECKING:
    from plait.endpoints import Endpoint
    from plait.process.daemon import Parent
    from plait.process.leaving import Leaving
    from plait.process.notify import Notifier


#: The variables by which a manager says that it wants to hear of us: systemd, s6.
MANAGERS = ("NOTIFY_SOCKET", "PLAIT_NOTIFY_FD")


def should_daemonize(asked: bool | None, environ: Mapping[str, str], pid: int) -> bool:
    """
    Say whether to become a daemon: what was *asked* for, and if nothing was, yes, as twistd does.

    Not so under systemd with ``Type=notify``, under s6, or as process 1 of a container: they watch the process that
    they started, and a fork would look like its end.
    """
    if asked is not None:
        return asked
    return pid != 1 and not any(environ.get(name) for name in MANAGERS)


@value
class ProcessSettings(Value):
    """
    What a person wants the process to be.

    *pidfile* and *rundir* are relative to where the program is started; an empty *pidfile* is none.  *umask* None
    means 077 for a daemon and no change in the foreground, as in twistd.  *uid* and *gid* are names or numbers, empty
    to stay; with *euid* the way back stays open.  *chroot* is the folder to make the root: *rundir* and what the
    application names are inside it, *pidfile* is not.  *sandbox* holds the process to what it needs and to *allow*, of
    which `plait.process.sandbox.read_permission` knows the form.
    """

    daemonize: bool = False
    pidfile: str = "plaitd.pid"
    rundir: str = "."
    umask: int | None = None
    uid: str = ""
    gid: str = ""
    euid: bool = False
    chroot: str = ""
    sandbox: bool = False
    allow: tuple[str, ...] = ()

    @property
    def gives_up(self) -> bool:
        """Whether root is given up for good, or the process put into the sandbox."""
        return self.sandbox or (bool(self.uid) and self.uid not in ("0", "root") and not self.euid)

    @property
    def leaves(self) -> bool:
        """Whether modules may be out of reach afterwards."""
        return bool(self.uid or self.gid or self.chroot)


class Prepared:
    """
    A prepared process: what ``main`` holds while the program runs.

    *log_path* is how the log is called now, which in another root folder may be different; empty when it is out of
    reach, and then `take_log` gives the log, opened before.  *notes* are sentences for the log, each with its level,
    ``info`` or ``warning``.

    Leaving it as a context manager closes it, and tells a parent that still waits of the exception that it is left by.
    """

    def __init__(self, notifier: Notifier | None, sockets: Sockets) -> None:
        self.sockets = sockets
        self.pidfile: Pidfile | None = None
        self.log_path = ""
        self.notes: list[tuple[str, str]] = []
        self._log = -1
        self._leaving: Leaving | None = None
        self._notifier = notifier
        self._parent: Parent | None = None

    @property
    def is_daemon(self) -> bool:
        """Whether this process was forked away from the one that a person started."""
        return self._parent is not None

    def take_log(self) -> int:
        """Return the descriptor of the log if it had to be opened before, else -1; the caller closes it from now on."""
        descriptor, self._log = self._log, -1
        return descriptor

    def hold_log(self, descriptor: int, path: str) -> None:
        """Keep the log for `take_log`, and how it is called now."""
        self._log, self.log_path = descriptor, path

    def note(self, level: str, sentence: str) -> None:
        """Keep *sentence* for the log."""
        self.notes.append((level, sentence))

    def ready(self) -> str:
        """
        Tell whoever started us, once: the waiting parent (which exits 0), systemd, s6.

        Returns a sentence for the log when a manager cannot hear it, else an empty text.
        """
        problem = self._notifier.ready() if self._notifier is not None else ""
        if self._parent is not None:
            self._parent.ready()
        return problem

    def failed(self, text: str, exit_code: int) -> None:
        """
        Let the waiting parent print *text* (after ``plaitd:``) and exit with *exit_code*, when this process has ended.

        Nobody waits in the foreground or after `ready`.
        """
        if self._parent is not None:
            self._parent.failed(text, exit_code)

    def stopping(self) -> None:
        """Tell systemd, once, that the stop began."""
        if self._notifier is not None:
            self._notifier.stopping()

    def status(self, text: str) -> None:
        """Tell systemd in one line what is being done."""
        if self._notifier is not None:
            self._notifier.status(text)

    def close(self) -> str:
        """
        Close the sockets, tell nobody anything any more, and remove the pidfile if it is still ours; once.

        Returns a sentence for the log when the pidfile could not be removed, and an empty text otherwise.
        """
        self.sockets.close_all()
        if self._leaving is not None:
            self._leaving.close()
        descriptor = self.take_log()
        if descriptor >= 0:
            os.close(descriptor)
        if self._notifier is not None:
            self._notifier.close()
        return self.pidfile.remove() if self.pidfile is not None else ""

    def __enter__(self) -> Prepared:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None and self._parent is not None:
            self._parent.failed(*_explain(error))  # unless it was told something before
        self.close()


def prepare(
    settings: ProcessSettings,
    endpoints: Iterable[Endpoint],
    environ: MutableMapping[str, str] = os.environ,
    log_name: str = "",
    *,
    open_log: Callable[[str], int] | None = None,
    connects: Iterable[Endpoint] = (),
    before_leaving: Callable[[], None] | None = None,
    undo: Callable[[], None] | None = None,
    loses_threads: bool = False,
) -> Prepared:
    """
    Prepare this process to serve *endpoints*, and return what is needed to run it and to put it away.

    A daemon returns from here in another process; the one that called waits for `Prepared.ready` or `Prepared.failed`
    and ends in here.  What fails before the fork is raised; what fails after it is told by the parent, with the same
    words and the same exit code, and the daemon ends in here.  Nothing is left behind then.

    Logs are opened by the caller afterwards, as the user who will rotate them, and then the loop is made: no selector
    ever crosses a fork.  What is imported after a change of user or root folder may not be found any more: load it
    before.  *log_name* is the absolute path of the log, or the name of a stream: the parent names it when the daemon
    dies without a word.  *open_log* opens it, where that cannot be done later.  *connects* are where the application
    will connect to: the sandbox lets it.  *before_leaving* is called in the process that will run, while it is still
    who started it, and *undo* in a daemon that ends in here, before its parent says why.  A daemon is refused when
    threads run already, which it would lose; with *loses_threads* it loses them, and that is noted.
    """
    # Standard streams first: a socket that got the number of a closed one would be replaced by /dev/null below.
    fill_standard_streams()
    # What systemd and s6 passed is taken before there can be a child to inherit it.
    systemd = _take_systemd(environ)
    notifier = _find_manager(environ)
    if notifier is not None and (settings.chroot or settings.sandbox):
        notifier.connect()  # its path will be out of reach
    prepared = Prepared(notifier, Sockets(systemd=systemd))
    prepared.log_path = log_name
    try:
        # What can be found out is found out before anything is touched.
        leaving = prepared._leaving = _find_leaving(settings)
        null = -1
        if settings.daemonize:
            from plait.process.daemon import detach, fork_daemon, open_null, other_threads, refuse_threads

            if not loses_threads:
                refuse_threads()
            elif others := other_threads():
                prepared.note("warning", f"threads that began before the daemon was there are not in it: {others}")
            null = open_null() if settings.chroot else -1  # a jail may have none
        # 1. Paths mean what they meant where they were typed: resolved before the directory changes.
        path = os.path.abspath(settings.pidfile) if settings.pidfile else ""
        if settings.umask is not None or settings.daemonize:
            os.umask(0o077 if settings.umask is None else settings.umask)
        # 2. The pidfile before the sockets, so that the second of two starts hears "held by pid 4711" and not "address
        #    in use"; before the fork, so that it hears it on the terminal.  The lock goes with us through the forks.
        if path:
            prepared.pidfile = Pidfile.lock(path, settings.pidfile)
        # 3. The log where only root can make it, for who will write there.  Then the root folder, if there is to be
        #    another one: what a person typed was outside, what comes now is inside.
        if leaving is not None:
            leaving.change_place(prepared, open_log)
        enter(settings.rundir, None)
        # 4. Sockets while this process still may bind low ports, and can still say on the terminal what is wrong.
        #    Private keys too: later this process may not be allowed to read them.
        endpoints = tuple(endpoints)
        for endpoint in endpoints:
            if endpoint.tls is not None:
                from plait.certificates import certificates_of

                certificates_of(endpoint.tls)
            prepared.sockets.open(endpoint)
        # 5. Away from the terminal.  From here on everything is said through the parent.
        if settings.daemonize:
            prepared._parent = fork_daemon(log_name, prepared.close)
            detach(keep=prepared.sockets.descriptors(), null=null)
            # 6. The number of the daemon, now that it is known, through the locked descriptor.
            if prepared.pidfile is not None:
                prepared.pidfile.write()
        if before_leaving is not None:
            before_leaving()
        # 7. The last thing that needs the old user has been done; and then the last one that needs more than the
        #    application does, so that the sandbox closes.
        if leaving is not None:
            leaving.change_user(prepared)
            leaving.close_sandbox(prepared, (*endpoints, *connects))
    except BaseException as error:
        if prepared.is_daemon:
            _end(prepared, error, undo)
        prepared.close()
        raise
    return prepared


def _find_manager(environ: MutableMapping[str, str]) -> Notifier | None:
    if not any(environ.get(name) for name in MANAGERS):
        return None
    from plait.process.notify import Notifier

    return Notifier(environ)


def _find_leaving(settings: ProcessSettings) -> Leaving | None:
    """Return what is to be left, None for most: they load nothing for it."""
    if not (settings.leaves or settings.euid or settings.sandbox or settings.allow):
        return None
    from plait.process.leaving import Leaving

    return Leaving(settings)


def _take_systemd(environ: MutableMapping[str, str]) -> list[tuple[str, int]]:
    """Return the sockets that systemd passed; nothing is imported for those who were passed none."""
    if "LISTEN_FDS" not in environ:
        return []
    from plait.passed_sockets import take_systemd

    return take_systemd(environ)


def _end(prepared: Prepared, error: BaseException, undo: Callable[[], None] | None) -> NoReturn:
    """End a daemon that could not be prepared, and let its parent say why."""
    code = 70
    try:
        text, code = _explain(error)
        try:
            if undo is not None:
                undo()
        finally:
            prepared.close()
            prepared.failed(text, code)
    finally:
        os._exit(code)


def _explain(error: BaseException) -> tuple[str, int]:
    """Return what to say about *error*, and the exit code: a sentence if it is ours, else all that is known."""
    if isinstance(error, PlaitError):
        return sentence(error), error.exit_code
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        given = "" if error.code is None else repr(error.code)
        return f"sys.exit({given})", code or 70  # whatever it meant, who waits for a daemon has none
    try:
        import traceback

        return "".join(traceback.format_exception(error)).rstrip(), 70
    except Exception:  # the new user cannot read where Python is installed
        return f"{type(error).__name__}: {error}", 70


def fill_standard_streams() -> None:
    """Put /dev/null where a standard stream is closed: the next file opened would else become standard output."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest number that is free


def enter(rundir: str, umask: int | None) -> None:
    """Change to *rundir* and set *umask*, unless it is None; raises `ConfigurationError`."""
    try:
        os.chdir(rundir)
    except OSError as error:
        raise ConfigurationError(
            f"{rundir}: cannot be entered ({error.strerror}): make it, or give another --rundir"
        ) from error
    if umask is not None:
        os.umask(umask)
