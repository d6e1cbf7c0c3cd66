"""
Secrets that a manager hands over as files, and a value that does not show them.

systemd calls them credentials: ``LoadCredential=`` puts a file for each into a folder that only the unit's user may
read, and tells the folder in ``$CREDENTIALS_DIRECTORY``.  A folder of your own, or a secret that a container mounts,
serves as well.
"""

from __future__ import annotations

import os
import stat
from typing import Final, NoReturn

from plait.errors import ConfigurationError

#: Where a manager tells that its credentials are.
VARIABLE: Final = "CREDENTIALS_DIRECTORY"
#: How many bytes a credential may have: as many as systemd passes.
LIMIT: Final = 1024 * 1024


class Secret:
    """
    What `credential` returns: it is shown by its *name* only, in logs, tracebacks, and wherever else it is printed.

    Equal to another with the same content; hashable; copied as it is; not pickled.
    """

    __slots__ = ("_content", "name")

    name: str

    def __init__(self, name: str, content: bytes) -> None:
        self.name = name
        self._content = content

    def reveal(self) -> str:
        """
        Return the content as text, without the newline at its end that editors and ``echo`` write.

        Pass it on at once, as in ``connect(password=secret.reveal())``: a variable that holds it can be shown by a
        debugger.  Raises `ConfigurationError` if the content is not UTF-8.
        """
        try:
            return self._content.decode().removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError:
            pass
        # Out here, or the error of the decoder would come along, and it has all that was to be decoded.
        raise ConfigurationError(f"credential {self.name!r}: is not UTF-8: take reveal_bytes(), or write it as text")

    def reveal_bytes(self) -> bytes:
        """Return the content as it is in the file, to the last byte."""
        return self._content

    def __repr__(self) -> str:
        return f"<Secret {self.name!r}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        from hmac import compare_digest

        return compare_digest(self._content, other._content)

    def __hash__(self) -> int:
        return hash(self._content)

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{self!r}: is not pickled: pass its name, and call credential({self.name!r}) there")


def credential(name: str) -> Secret:
    """
    Return the content of the file *name* in ``$CREDENTIALS_DIRECTORY``, read now, at most 1 MiB.

    Call it while the application is loaded: with ``--uid`` or ``--chroot`` services may not reach the folder any more.
    Raises `ConfigurationError` when there is no such folder or file, or it cannot be read; the words of that have the
    name and the path, and nothing of the content.
    """
    shown = f"credential {name!r}"
    if name in ("", ".", "..") or len(name) > 255 or not name.isprintable() or {"/", ":"} & set(name):
        raise ConfigurationError(
            f"{shown}: is no plain file name: give what stands in LoadCredential= before the colon"
        )
    folder = os.environ.get(VARIABLE, "")
    if not folder:
        raise ConfigurationError(
            f"{shown}: ${VARIABLE} is not set: write LoadCredential={name}:FILE in the unit, "
            "or set it to a folder that has that file"
        )
    if not os.path.isabs(folder):
        raise ConfigurationError(f"{shown}: ${VARIABLE} is {folder!r}: write an absolute path")
    return Secret(name, _read(os.path.join(folder, name), shown))


def _read(path: str, shown: str) -> bytes:
    """Return the content of the file at *path*, which no variable here ever holds: a traceback may show variables."""
    try:
        # Links are followed: that is how Kubernetes mounts what may change.
        with open(path, "rb", opener=_open) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ConfigurationError(f"{shown}: {path} is not a file: put a file there")
            if status.st_size > LIMIT:
                raise ConfigurationError(
                    f"{shown}: {path} has {status.st_size} bytes: write at most {LIMIT}, or read it yourself"
                )
            return file.read(LIMIT)
    except FileNotFoundError:
        folder, name = os.path.split(path)
        raise ConfigurationError(f"{shown}: {_explain_missing(folder, name)}") from None
    except PermissionError:
        raise ConfigurationError(
            f"{shown}: {path} cannot be read by uid {os.geteuid()}: "
            "read it while the application is loaded, or let the unit say User= instead of --uid"
        ) from None
    except OSError as error:
        raise ConfigurationError(f"{shown}: {path} cannot be read ({error.strerror}): put a file there") from None


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)  # a FIFO must not hold us


def _explain_missing(folder: str, name: str) -> str:
    """Say that *folder* is not there, or that it has no file *name* but perhaps one of a name like it."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return f"${VARIABLE} is {folder!r}, and there is no such folder: make it, or correct the variable"
    except OSError:
        names = []
    import difflib

    near = difflib.get_close_matches(name, names, n=1)
    guess = f", did you mean {near[0]!r}?" if near else ""
    return f"is not in {folder}{guess}: write LoadCredential={name}:FILE in the unit, or put the file there"
