"""
User, groups, umask, rundir.

Who may become another user is decided by the system; here it is asked in the only right order (groups, group, user:
CERT POS36-C), and then not believed: what the process has become is read back, and the way back is tried.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from plait.errors import ConfigurationError, PrivilegeError

#: The greatest user or group number; the one above it means "leave it" to the system.
GREATEST = 2**32 - 2


class Identity:
    """
    Whom to become: the numbers, or None to stay, and the supplementary groups.  *shown* is the options, for sentences.
    """

    def __init__(self, uid: int | None, gid: int | None, groups: list[int], shown: str) -> None:
        self.uid = uid
        self.gid = gid
        self.groups = groups
        self.shown = shown

    @property
    def is_current(self) -> bool:
        """Whether this process is that already: all of the real, effective and saved numbers."""
        return all(
            wanted is None or set(current) == {wanted}
            for wanted, current in ((self.uid, os.getresuid()), (self.gid, os.getresgid()))
        )


def find_identity(uid: str, gid: str) -> Identity | None:
    """
    Return whom *uid* and *gid* mean, names or numbers, or None if both are empty.

    Without *gid* it is the user's own group.  The supplementary groups are those of the user, none if it has no entry
    in the passwd database or if only *gid* is given.  Raises `ConfigurationError`.
    """
    if not (uid or gid):
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
    return Identity(number, group, groups, shown)


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

    Call it while this process has one thread.  Does nothing when it is that already, since an ordinary user may not
    even set the groups that it has.  Raises `PrivilegeError`; the process must end then, for it may be half changed.
    """
    if identity.is_current:
        return
    before = set(os.getresuid()), set(os.getresgid())
    try:
        os.setgroups(identity.groups)
        if identity.gid is not None:
            os.setresgid(identity.gid, identity.gid, identity.gid)
        if identity.uid is not None:
            os.setresuid(identity.uid, identity.uid, identity.uid)
    except OSError as error:
        raise PrivilegeError(
            f"{identity.shown}: uid {os.geteuid()} may not ({error.strerror}): start it as root, or leave that out"
        ) from error
    _verify(identity, *before)


def _verify(identity: Identity, uids: set[int], gids: set[int]) -> None:
    """Raise `PrivilegeError` unless the process is *identity* now and cannot return to *uids* and *gids*, nor root."""
    if not identity.is_current or set(os.getgroups()) != set(identity.groups):
        raise PrivilegeError(
            f"{identity.shown}: the system said yes and did it not "
            f"(uids {os.getresuid()}, gids {os.getresgid()}, groups {os.getgroups()}): do not trust it"
        )
    if os.geteuid() == 0:
        return  # root stays root: only the group was to change
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
