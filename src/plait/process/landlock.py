"""
Landlock: how a process asks Linux to hold it to a list of files and ports.

The system calls, which have no names in the C library, and what each version of the interface (ABI) knows; see
``landlock(7)``.  Only the sandbox loads this, and with it ``ctypes``.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
from collections.abc import Iterable, Mapping

# The same numbers on every architecture but Alpha.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_GET_VERSION = 1
_PATH_BENEATH, _NET_PORT = 1, 2

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, REMOVE_DIR, REMOVE_FILE = (1 << number for number in range(6))
MAKE_CHAR, MAKE_DIR, MAKE_REG, MAKE_SOCK, MAKE_FIFO, MAKE_BLOCK, MAKE_SYM = (1 << number for number in range(6, 13))
REFER, TRUNCATE, IOCTL_DEV = (1 << number for number in range(13, 16))
BIND_TCP, CONNECT_TCP = 1, 2
SCOPE_ABSTRACT_UNIX, SCOPE_SIGNAL = 1, 2

READING = READ_FILE | READ_DIR
RUNNING = READING | EXECUTE
#: What a program does in a folder of its own: no devices.
WRITING = READING | WRITE_FILE | TRUNCATE | REMOVE_DIR | REMOVE_FILE | REFER | IOCTL_DEV
WRITING |= MAKE_DIR | MAKE_REG | MAKE_SOCK | MAKE_FIFO | MAKE_SYM
#: What there is to allow about something that is no folder.
ON_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV

_libc = ctypes.CDLL(None, use_errno=True)


def read_abi() -> int:
    """Return the version of Landlock that this kernel has, 0 if it has none or it is turned off."""
    try:
        return _call(_CREATE_RULESET, None, 0, _GET_VERSION)
    except OSError as error:
        # EPERM is what older container runtimes answer to a call that they do not know.
        if error.errno in (errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM):
            return 0
        raise


def handled(abi: int) -> tuple[int, int, int]:
    """Return the rights of files, the rights of TCP ports, and the scopes that version *abi* can hold a process to."""
    files = (1 << 13) - 1
    for since, right in ((2, REFER), (3, TRUNCATE), (5, IOCTL_DEV)):
        files |= right if abi >= since else 0
    return files, BIND_TCP | CONNECT_TCP if abi >= 4 else 0, SCOPE_ABSTRACT_UNIX | SCOPE_SIGNAL if abi >= 6 else 0


def encode_ruleset(files: int, ports: int, scopes: int) -> bytes:
    """Return the argument of ``landlock_create_ruleset``, no longer than a kernel that knows these needs it."""
    words = [files, ports, scopes]
    while len(words) > 1 and not words[-1]:
        words.pop()  # a kernel refuses a longer one than it knows only if what it does not know is not 0
    return struct.pack(f"={len(words)}Q", *words)


def encode_path_rule(rights: int, descriptor: int) -> bytes:
    """Return a rule about what is at and below an open *descriptor*."""
    return struct.pack("=Qi", rights, descriptor)


def encode_port_rule(rights: int, port: int) -> bytes:
    """Return a rule about a TCP *port*."""
    return struct.pack("=QQ", rights, port)


def restrict(abi: int, places: Iterable[tuple[int, int]], ports: Mapping[int, int]) -> None:
    """
    Hold this thread, and the threads and programs that it will start, to these *places* and *ports*, for good.

    *places* are open descriptors (``O_PATH`` is enough) with their rights, *ports* are rights by number; a right that
    version *abi* does not know is left out.  From version 6 on, no signal and no connection by the abstract name of a
    unix socket leaves them.  What is open already stays usable.  ``no_new_privs`` must be set.  Raises OSError.
    """
    files, network, scopes = handled(abi)
    head = encode_ruleset(files, network, scopes)
    ruleset = _call(_CREATE_RULESET, head, len(head), 0)
    try:
        for descriptor, rights in places:
            known = rights & files
            if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
                known &= ON_FILES
            if known:
                _call(_ADD_RULE, ruleset, _PATH_BENEATH, encode_path_rule(known, descriptor), 0)
        for port, rights in ports.items():
            if rights & network:
                _call(_ADD_RULE, ruleset, _NET_PORT, encode_port_rule(rights & network, port), 0)
        _call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _call(number: int, *arguments: int | bytes | None) -> int:
    words = [ctypes.c_long(word) if isinstance(word, int) else word for word in arguments]
    result: int = _libc.syscall(ctypes.c_long(number), *words)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
