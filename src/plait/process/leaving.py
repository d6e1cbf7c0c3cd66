"""
What is left on the way: the root folder, the user, and all that the sandbox closes.

The steps of `plait.process.prepare` that most starts do not need, and do not load.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from plait.errors import CannotCreate, UsageError

# All of it now: the new user may not be able to read where it lies, and in a jail it is not there.
from plait.process import capabilities as capabilities
from plait.process.jail import enter_jail, inner_path
from plait.process.log_place import give_log
from plait.process.modules import explain_unreadable, find_folders
from plait.process.privileges import acting_as, become, find_identity

if TYPE_CHECKING:
    from plait.endpoints import Endpoint
    from plait.process.prepare import Prepared, ProcessSettings
    from plait.process.sandbox import Sandbox


class Leaving:
    """
    What *settings* say to leave; each step once, in the order of the methods.

    What can be found out is found out here: raises `PlaitError` for a user that there is not, or a permission that is
    none.  Whoever makes it calls `close`.
    """

    def __init__(self, settings: ProcessSettings) -> None:
        self._settings = settings
        self._identity = find_identity(settings.uid, settings.gid, effective=settings.euid)
        self._sandbox = make_sandbox(settings)

    def change_place(self, prepared: Prepared, open_log: Callable[[str], int] | None) -> None:
        """
        Make the log for who will write there, and enter the jail.

        The pidfile and the log have other names then.  A log outside is opened before, by *open_log*, as the user who
        will write there.  Raises `PlaitError`.
        """
        log = prepared.log_path if prepared.log_path.startswith(os.sep) else ""
        if log and self._identity is not None:
            try:
                give_log(log, self._identity)
            except OSError:
                pass  # opening it will meet the same, and say so
        if not self._settings.chroot:
            return
        folder = os.path.abspath(self._settings.chroot)
        if log:
            inner = inner_path(log, folder)
            prepared.hold_log(-1 if inner or open_log is None else self._open_log(log, open_log), inner)
        pidfile = prepared.pidfile
        inner_pidfile = inner_path(pidfile.path, folder) if pidfile is not None else ""
        enter_jail(folder, self._settings.chroot)
        if pidfile is not None:
            pidfile.path = inner_pidfile
        if self._identity is None or not self._identity.is_final:
            prepared.note("warning", f"--chroot {self._settings.chroot}: root can leave it: give --uid too")

    def change_user(self, prepared: Prepared) -> None:
        """
        Become who is wanted, with no way back, and note what is out of reach for them: the present folder, modules.

        Raises `PrivilegeError`.
        """
        identity = self._identity
        if identity is None:
            return
        folders = [] if self._settings.chroot else find_folders()
        become(identity)
        if not os.access(".", os.X_OK, effective_ids=True):
            prepared.note(
                "warning",
                f"{identity.shown}: may not enter {os.getcwd()}, where relative paths begin: give another --rundir",
            )
        for sentence in explain_unreadable(folders, identity.shown):
            prepared.note("warning", sentence)
        if identity.effective:
            prepared.note(
                "info", f"{identity.shown}: any code can become uid {os.getuid()} again: prefer it without --euid"
            )

    def close_sandbox(self, prepared: Prepared, endpoints: Iterable[Endpoint]) -> None:
        """Hold the process to what it needs, and note what cannot be closed here; raises `PrivilegeError`."""
        if self._sandbox is None:
            return
        pidfile = prepared.pidfile.path if prepared.pidfile is not None else ""
        log = prepared.log_path if prepared.log_path.startswith(os.sep) else ""
        self._sandbox.open_known(endpoints, log, pidfile)
        for sentence in self._sandbox.close_around():
            prepared.note("warning", sentence)
        self._sandbox.close()

    def close(self) -> None:
        """Close what is held open for the sandbox."""
        if self._sandbox is not None:
            self._sandbox.close()

    def _open_log(self, path: str, open_log: Callable[[str], int]) -> int:
        try:
            with acting_as(self._identity):
                return open_log(path)
        except OSError as error:
            raise CannotCreate(
                f"{path}: cannot be written ({error.strerror}): give another place with --logfile"
            ) from error


def make_sandbox(settings: ProcessSettings) -> Sandbox | None:
    """Return the sandbox that *settings* ask for, with what they allow in it, to be closed; raises `PlaitError`."""
    if not settings.sandbox:
        if settings.allow:
            raise UsageError(f"--allow {settings.allow[0]}: means nothing without --sandbox: give that too")
        return None
    from plait.process.sandbox import Sandbox

    sandbox = Sandbox(settings.allow)
    try:
        sandbox.open_allowed()
    except BaseException:
        sandbox.close()
        raise
    return sandbox
