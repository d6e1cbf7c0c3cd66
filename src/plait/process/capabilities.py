"""
What a process may do beyond its user: capabilities, and programs that would give it more.

Only what changes user loads this, and with it ``ctypes``: Python has no words for these calls.  All of them act on the
calling thread alone.
"""

from __future__ import annotations

import ctypes
import os

from plait.errors import PrivilegeError

#: To bind ports below 1024: the one capability that is worth keeping.
NET_BIND_SERVICE = 1 << 10

_CAPBSET_READ, _CAPBSET_DROP = 23, 24
_SET_NO_NEW_PRIVS, _GET_NO_NEW_PRIVS = 38, 39
_AMBIENT, _AMBIENT_IS_SET, _AMBIENT_RAISE, _AMBIENT_CLEAR_ALL = 47, 1, 2, 4
_VERSION_3 = 0x20080522
_NUMBERS = range(64)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Half(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


_libc = ctypes.CDLL(None, use_errno=True)


def forbid_new_privileges() -> None:
    """
    Let no program that is run from here on have more rights than this process: no setuid, no file capabilities.

    Cannot be taken back.  Threads and children inherit it; threads that run already do not get it.  Raises
    `PrivilegeError` where the system does not know it.
    """
    try:
        _control(_SET_NO_NEW_PRIVS, 1)
    except OSError as error:
        raise PrivilegeError(
            f"no_new_privs: cannot be set ({error.strerror}): leave --uid and --sandbox out, or use Linux 3.5 or later"
        ) from error


def are_new_privileges_forbidden() -> bool:
    """Whether `forbid_new_privileges` holds for this thread."""
    return _control(_GET_NO_NEW_PRIVS) == 1


def close_bounds() -> None:
    """
    Take from this process, and what it runs, the capabilities that programs could give: call it while it may.

    Without CAP_SETPCAP, as in many containers, it does nothing; `forbid_new_privileges` has the same effect then.
    """
    for number in _NUMBERS:
        try:
            if _control(_CAPBSET_READ, number) == 1:
                _control(_CAPBSET_DROP, number)
        except PermissionError:
            return
        except OSError:
            return  # there are no more than these


def keep_only(kept: int) -> None:
    """Give up all capabilities but those in the mask *kept*, which must be there; raises OSError."""
    ambient = read_ambient() & kept
    try:
        _control(_AMBIENT, _AMBIENT_CLEAR_ALL)
    except OSError:
        pass  # a kernel before 4.3 has none
    halves = (_Half * 2)()
    for place, half in enumerate(halves):
        part = kept >> 32 * place & 0xFFFFFFFF
        # An ambient one must be inheritable.
        half.effective, half.permitted, half.inheritable = part, part, ambient >> 32 * place & 0xFFFFFFFF
    if _libc.capset(ctypes.byref(_Header(_VERSION_3, 0)), halves) != 0:
        raise _error()
    for number in _NUMBERS:
        if ambient >> number & 1:
            _control(_AMBIENT, _AMBIENT_RAISE, number)


def read_capabilities() -> tuple[int, int, int]:
    """Return the masks of those in effect, permitted, and inheritable; raises OSError."""
    halves = (_Half * 2)()
    if _libc.capget(ctypes.byref(_Header(_VERSION_3, 0)), halves) != 0:
        raise _error()
    low, high = halves
    return (
        low.effective | high.effective << 32,
        low.permitted | high.permitted << 32,
        low.inheritable | high.inheritable << 32,
    )


def read_ambient() -> int:
    """Return the mask of those that programs inherit without further ado."""
    mask = 0
    for number in _NUMBERS:
        try:
            mask |= (_control(_AMBIENT, _AMBIENT_IS_SET, number) == 1) << number
        except OSError:
            break  # there are no more than these
    return mask


def _control(option: int, *arguments: int) -> int:
    words = [ctypes.c_ulong(argument) for argument in (*arguments, 0, 0, 0, 0)[:4]]
    result: int = _libc.prctl(option, *words)
    if result < 0:
        raise _error()
    return result


def _error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
