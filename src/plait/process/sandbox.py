"""
What a process in the sandbox may still reach, and holding it to that.

Most of the list is known without asking: where Python and its modules are, what every program reads, the folder that
the process works in, the ports and files of its endpoints.  ``--allow`` adds to it.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable
from typing import TYPE_CHECKING

from plait.errors import ConfigurationError, PrivilegeError, UsageError
from plait.process import landlock
from plait.process.capabilities import forbid_new_privileges
from plait.values import Value, value

if TYPE_CHECKING:
    from plait.endpoints import Endpoint

#: What each word of ``--allow`` gives, to a place or to a port.
PLACES = {"read": landlock.READING, "write": landlock.WRITING, "exec": landlock.RUNNING}
PORTS = {"connect": landlock.CONNECT_TCP, "bind": landlock.BIND_TCP}

#: Where programs and what they share are installed.
PROGRAMS = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/nix/store", "/gnu/store")
#: What many programs read: settings, the system's view of itself, and where /etc/resolv.conf may lead.
READ = ("/etc", "/proc", "/sys", "/run/systemd/resolve", "/run/NetworkManager/resolv.conf", "/run/resolvconf")
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/shm")
#: Names are asked for by TCP when the answer is long.
DNS = 53


@value
class Permission(Value):
    """One ``--allow``: a *place*, absolute, or a *port*, and the *rights* there; *text* is as it was typed."""

    text: str
    rights: int
    place: str = ""
    port: int = -1


def read_permission(text: str) -> Permission:
    """Return the `Permission` that *text* spells, its path resolved from here; raises `UsageError`."""
    word, mark, rest = text.partition(":")
    if mark and rest and word in PLACES:
        return Permission(text, PLACES[word], place=os.path.abspath(rest))
    if mark and word in PORTS and rest.isascii() and rest.isdigit() and int(rest) < 65536:
        return Permission(text, PORTS[word], port=int(rest))
    wanted = (
        "a port from 0 to 65535" if word in PORTS else "read:PATH, write:PATH, exec:PATH, connect:PORT or bind:PORT"
    )
    raise UsageError(f"--allow {text}: wanted {wanted}")


class Sandbox:
    """
    The list of what may be reached, while it is put together; `close_around` makes it hold.

    Places are held open from the moment at which they are named: what a path means may change, in a jail for example.
    Whoever makes it calls `close`.
    """

    def __init__(self, allow: Iterable[str]) -> None:
        self._permissions = [read_permission(text) for text in allow]
        self._places: list[tuple[int, int]] = []
        self._ports: dict[int, int] = {DNS: landlock.CONNECT_TCP}

    def open_allowed(self) -> None:
        """Open what a person typed, before any change of the root folder; raises `ConfigurationError`."""
        for permission in self._permissions:
            if not permission.place:
                self._add_port(permission.port, permission.rights)
                continue
            try:
                self._open(permission.place, permission.rights)
            except OSError as error:
                raise ConfigurationError(
                    f"--allow {permission.text}: cannot be opened ({error.strerror}): make it, or leave that out"
                ) from error

    def open_known(self, endpoints: Iterable[Endpoint], log: str = "", pidfile: str = "") -> None:
        """
        Open what is known to be needed, as paths are called now.

        That is what every program reads, Python, the folders of the *log* and of *endpoints*, of which the second is
        for their ports too, the present one unless it is the root, and one for temporary files.  From the folder of
        the *pidfile* files may be removed.  What does not exist, or is out of this user's reach, is left out.
        """
        for place in dict.fromkeys((*PROGRAMS, sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix)):
            self._try(place, landlock.RUNNING)
        for place in dict.fromkeys((*READ, *find_modules(), os.path.realpath("/etc/resolv.conf"))):
            self._try(place, landlock.READING)
        for place in DEVICES:
            self._try(place, landlock.WRITING)
        for place in dict.fromkeys((os.getcwd(), temporary_folder(), os.path.dirname(log))):
            if place:
                self._try(place, landlock.READING if place == os.sep else landlock.WRITING)
        if pidfile:
            self._try(os.path.dirname(pidfile), landlock.REMOVE_FILE)
        for endpoint in endpoints:
            self._open_endpoint(endpoint)

    def close_around(self) -> list[str]:
        """
        Hold this process to the list, for good, and return a sentence about each thing that is not closed by it here.

        Raises `PrivilegeError`.
        """
        try:
            forbid_new_privileges()
            abi = landlock.read_abi()
            if abi:
                landlock.restrict(abi, self._places, self._ports)
        except OSError as error:
            raise PrivilegeError(
                f"--sandbox: cannot be closed ({error.strerror}): leave it out, or start it where that is allowed"
            ) from error
        return [*explain_lack(abi), *explain_threads(count_threads())]

    def close(self) -> None:
        """Close what is held open; what holds the process does not need it."""
        for descriptor, _ in self._places:
            os.close(descriptor)
        self._places.clear()

    def _open_endpoint(self, endpoint: Endpoint) -> None:
        if endpoint.kind in ("tcp", "tcp6"):
            self._add_port(endpoint.port, landlock.CONNECT_TCP if endpoint.connects else landlock.BIND_TCP)
        if endpoint.path and not endpoint.path.startswith("@") and not endpoint.connects:
            self._try(os.path.dirname(os.path.abspath(endpoint.path)), landlock.WRITING)
        if endpoint.tls is not None:
            tls = endpoint.tls
            for path in (tls.certificate, tls.private_key, tls.chain, tls.dh_parameters, tls.authorities):
                # The folder: a file that is replaced is another one.  A link leads to where the new ones will be.
                for place in (os.path.abspath(path), os.path.realpath(path)) if path else ():
                    self._try(os.path.dirname(place), landlock.READING)
            if tls.directory:
                self._try(os.path.abspath(tls.directory), landlock.READING)

    def _add_port(self, port: int, rights: int) -> None:
        self._ports[port] = self._ports.get(port, 0) | rights

    def _try(self, place: str, rights: int) -> None:
        try:
            self._open(place, rights)
        except OSError:
            pass  # not there, or out of reach: then there is nothing to allow

    def _open(self, place: str, rights: int) -> None:
        self._places.append((os.open(place, os.O_PATH | os.O_CLOEXEC), rights))


def explain_lack(abi: int) -> list[str]:
    """Return what Landlock of version *abi* leaves open: a sentence, or none."""
    if abi >= 4:
        return []
    if not abi:
        return [
            "--sandbox: this system has no Landlock, so nothing is closed but setuid programs: "
            "use Linux 6.7 or later, with lsm=landlock"
        ]
    open_ones = " and ".join(text for since, text in ((3, "truncating files"), (4, "TCP ports")) if abi < since)
    return [
        f"--sandbox: this system has version {abi} of Landlock, which does not close {open_ones}: "
        "use Linux 6.7 or later"
    ]


def explain_threads(count: int) -> list[str]:
    """Return what to say of *count* threads: only the one that closes the sandbox is in it."""
    if count == 1:
        return []
    return [
        f"--sandbox: {count - 1} other threads ran already and are not in it: "
        "start threads in a service, not while the application loads"
    ]


def count_threads() -> int:
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return 1  # a jail without /proc


def find_modules() -> list[str]:
    """Return the folders from which modules were or may be imported."""
    from plait.process.modules import find_folders

    files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    return [*find_folders(), *dict.fromkeys(os.path.dirname(os.path.abspath(file)) for file in files if file)]


def temporary_folder() -> str:
    try:
        return tempfile.gettempdir()
    except OSError:
        return os.getcwd()  # there is none where this user may write
