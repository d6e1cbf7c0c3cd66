"""
User, groups, umask, rundir.

Who may become another user is decided by the system; here it is asked in the only right order (groups, group, user:
CERT POS36-C), and then not believed: what the process has become is read back, and the way back is tried.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from plait.errors import ConfigurationError, PrivilegeError, UsageError

#: The greatest user or group number; the one above it means "leave it" to the system.
GREATEST = 2**32 - 2


class Identity:
    """
    Whom to become: the numbers, or None to stay, and the supplementary groups.  *shown* is the options, for sentences.

    *effective* says that only what counts at present is changed, and that the way back stays open: ``--euid``.
    """

    def __init__(
        self, uid: int | None, gid: int | None, groups: list[int], shown: str, *, effective: bool = False
    ) -> None:
        self.uid = uid
        self.gid = gid
        self.groups = groups
        self.shown = shown
        self.effective = effective

    @property
    def is_current(self) -> bool:
        """Whether this process is that already: all of the real, effective and saved numbers, or only the effective."""
        uids, gids = ((os.geteuid(),), (os.getegid(),)) if self.effective else (os.getresuid(), os.getresgid())
        return all(
            wanted is None or set(current) == {wanted} for wanted, current in ((self.uid, uids), (self.gid, gids))
        )

    @property
    def is_final(self) -> bool:
        """Whether it has no rights of root's, and no way back to them."""
        return not self.effective and (os.geteuid() if self.uid is None else self.uid) != 0


def find_identity(uid: str, gid: str, *, effective: bool = False) -> Identity | None:
    """
    Return whom *uid* and *gid* mean, names or numbers, or None if both are empty.

    Without *gid* it is the user's own group.  The supplementary groups are those of the user, none if it has no entry
    in the passwd database or if only *gid* is given.  Raises `ConfigurationError`, and `UsageError` when there is
    nobody whom *effective* could be about.
    """
    if not (uid or gid):
        if effective:
            raise UsageError("--euid: says how to become somebody else: give --uid or --gid too")
        return None
    number, name, own = _find_user(uid) if uid else (None, "", None)
    group = _find_group(gid) if gid else own
    if group is None:
        # It would otherwise stay in the group of who starts it: root's.
        if number != os.geteuid():
            raise ConfigurationError(f"--uid {uid}: has no passwd entry that says its group: give --gid too")
        group = os.getegid()
    groups = os.getgrouplist(name, group) if name else []
    shown = " ".join(f"--{option} {text}" for option, text in (("uid", uid), ("gid", gid)) if text)
    return Identity(number, group, groups, f"--euid {shown}" if effective else shown, effective=effective)


def _find_user(text: str) -> tuple[int, str, int | None]:
    """Return the number, the name and the group of the user *text*."""
    import pwd

    try:
        if _is_number(text):
            try:
                entry = pwd.getpwuid(int(text))
            except KeyError:
                return int(text), "", None
        else:
            entry = pwd.getpwnam(text)
    except (KeyError, ValueError):
        raise ConfigurationError(
            f"--uid {text}: no such user: give a name of the passwd database, or a number"
        ) from None
    return entry.pw_uid, entry.pw_name, entry.pw_gid


def _find_group(text: str) -> int:
    import grp

    if _is_number(text):
        return int(text)
    try:
        return grp.getgrnam(text).gr_gid
    except (KeyError, ValueError):
        raise ConfigurationError(
            f"--gid {text}: no such group: give a name of the group database, or a number"
        ) from None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) <= GREATEST


def become(identity: Identity) -> None:
    """
    Become *identity*, and make sure that there is no way back.

    With root's rights go all capabilities, and no program that is run later brings any: ``no_new_privs``.  One
    capability stays, to bind low ports, with a user who had it from the start as an ambient one (systemd's
    ``AmbientCapabilities=``).  A process that is *identity* already only loses its capabilities.

    Call it while this process has one thread: `PrivilegeError` is raised when another one is left behind.  Raises
    `PrivilegeError`; the process must end then, for it may be half changed.
    """
    before = set(os.getresuid()), set(os.getresgid())
    is_current = identity.is_current
    kept = 0
    try:
        if identity.is_final:
            from plait.process import capabilities

            kept = capabilities.read_ambient() & capabilities.NET_BIND_SERVICE if is_current else 0
            capabilities.close_bounds()
        if is_current:
            _set_own_groups(identity)
        else:
            _change(identity)
        if identity.is_final:
            capabilities.keep_only(kept)
            capabilities.forbid_new_privileges()
    except OSError as error:
        raise PrivilegeError(
            f"{identity.shown}: uid {os.geteuid()} may not ({error.strerror}): start it as root, or leave that out"
        ) from error
    _verify(identity, *before, is_current=is_current, kept=kept)


@contextmanager
def acting_as(identity: Identity | None) -> Iterator[None]:
    """Do what is inside as *identity*, while still root, and be root again behind it; raises `PrivilegeError`."""
    if identity is None or identity.is_current:
        yield
        return
    before = os.getgroups(), os.getegid(), os.geteuid()
    try:
        os.setgroups(identity.groups)
        if identity.gid is not None:
            os.setegid(identity.gid)
        if identity.uid is not None:
            os.seteuid(identity.uid)
    except OSError as error:
        raise PrivilegeError(
            f"{identity.shown}: uid {os.geteuid()} may not ({error.strerror}): start it as root, or leave that out"
        ) from error
    try:
        yield
    finally:
        os.seteuid(before[2])
        os.setegid(before[1])
        os.setgroups(before[0])


def _change(identity: Identity) -> None:
    os.setgroups(identity.groups)
    gid, uid = identity.gid, identity.uid
    if gid is not None:
        os.setresgid(*((-1, gid, -1) if identity.effective else (gid, gid, gid)))
    if uid is not None:
        os.setresuid(*((-1, uid, -1) if identity.effective else (uid, uid, uid)))


def _set_own_groups(identity: Identity) -> None:
    """Set the groups of who this process is already: root may, an ordinary user has those that it has."""
    try:
        os.setgroups(identity.groups)
    except PermissionError:
        pass


def _verify(identity: Identity, uids: set[int], gids: set[int], *, is_current: bool, kept: int) -> None:
    """Raise `PrivilegeError` unless the process is *identity* now and cannot return to *uids* and *gids*, nor root."""
    has_groups = set(os.getgroups()) == set(identity.groups)
    if not identity.is_current or not (has_groups or is_current):
        raise PrivilegeError(
            f"{identity.shown}: the system said yes and did it not "
            f"(uids {os.getresuid()}, gids {os.getresgid()}, groups {os.getgroups()}): do not trust it"
        )
    if not identity.is_final:
        return  # root stays root, or can be root again: that is what was asked for
    _try_the_way_back(identity, uids, gids)
    _verify_capabilities(identity, kept)
    _verify_threads(identity)


def _try_the_way_back(identity: Identity, uids: set[int], gids: set[int]) -> None:
    attempts: list[tuple[Callable[..., None], tuple[object, ...]]] = [(os.setgroups, ([0, *identity.groups],))]
    for uid in sorted({0, *uids} - {os.getuid()}):
        attempts += [(os.setuid, (uid,)), (os.seteuid, (uid,)), (os.setresuid, (uid, uid, uid))]
    for gid in sorted({0, *gids} - {os.getgid()}):
        attempts += [(os.setgid, (gid,)), (os.setegid, (gid,)), (os.setresgid, (gid, gid, gid))]
    for attempt, arguments in attempts:
        try:
            attempt(*arguments)
        except OSError:
            continue
        name = f"{attempt.__name__}({', '.join(map(str, arguments))})"
        raise PrivilegeError(
            f"{identity.shown}: the way back is open ({name} works): take CAP_SETUID and CAP_SETGID from it"
        )


def _verify_capabilities(identity: Identity, kept: int) -> None:
    from plait.process.capabilities import are_new_privileges_forbidden, read_ambient, read_capabilities

    left = (*read_capabilities(), read_ambient())
    if any(mask & ~kept for mask in left):
        names = ("CapEff", "CapPrm", "CapInh", "CapAmb")
        shown = ", ".join(f"{name} {mask:x}" for name, mask in zip(names, left, strict=True))
        raise PrivilegeError(f"{identity.shown}: capabilities are left ({shown}): do not trust this system")
    if not are_new_privileges_forbidden():
        raise PrivilegeError(
            f"{identity.shown}: setuid programs can still give it rights (no_new_privs is not set): "
            "do not trust this system"
        )


#: What must be the same for each thread; the bounding set is of no effect under no_new_privs.
_ALIKE = ("Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapAmb", "NoNewPrivs")


def _verify_threads(identity: Identity) -> None:
    """Raise `PrivilegeError` if another thread has more rights: capabilities and no_new_privs are each thread's own."""
    try:
        tasks = os.listdir("/proc/self/task")
        if len(tasks) == 1:
            return
        facts = {task: _read_facts(task) for task in tasks}
        own = facts[str(os.getpid())]
    except (OSError, KeyError):
        return  # a jail without /proc
    others = sorted(int(task) for task, found in facts.items() if found != own)
    if others:
        raise PrivilegeError(
            f"{identity.shown}: other threads keep what was given up (thread {', '.join(map(str, others))}): "
            "start threads in a service, not while the application loads"
        )


def _read_facts(task: str) -> list[str]:
    with open(f"/proc/self/task/{task}/status", encoding="ascii", errors="replace") as file:
        return [line for line in file if line.partition(":")[0] in _ALIKE]
