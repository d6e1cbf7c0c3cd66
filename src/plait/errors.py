"""
Every error, drawn as a tree at the top.

::

    PlaitError                    exit code 70
    ├── ConfigurationError        78   also a ValueError: what a person wrote cannot be used
    │   └── EndpointError         78   "tcp:http" and the like
    ├── UsageError                 2   the command line
    ├── PrivilegeError            77   the system does not let us
    ├── BindError                 69   an endpoint cannot be opened
    ├── AlreadyRunning            75   somebody holds the pidfile
    ├── CannotCreate              73   a pidfile or log that cannot be written
    ├── NeedError                 70   a service asked for what can never come
    ├── NotFound                  70   also a LookupError: no such path in the tree
    ├── StartFailed               70   a service ended, or was late, before it was ready
    ├── GaveUp                    70   a group restarted more often than its limit allows
    ├── LeftBehind                70   a service that did not stop in its time
    ├── ProgramFailed             70   a child program could not be run, or ended badly
    └── IllegalTransition         70   a bug in plait: a state followed from the wrong one

    StopApplication               not an error: an order to the tree

A message has three parts: where, what, what to do.
"""

from __future__ import annotations


def sentence(error: object) -> str:
    """Return what *error* says, on one line: what people typed is in it, and could end the line or steer a terminal."""
    text = str(error)
    if text.isprintable():
        return text
    signs = (sign if sign.isprintable() else repr(sign)[1:-1] for sign in text.rstrip("\n"))
    return "".join(signs)


class PlaitError(Exception):
    """The root of all errors that plait raises; ``exit_code`` is what ``plaitd`` ends with."""

    exit_code = 70


class ConfigurationError(PlaitError, ValueError):
    """What a person wrote (an option, a file, an application) cannot be used."""

    exit_code = 78


class EndpointError(ConfigurationError):
    """An endpoint string that cannot be understood, or names what cannot be read."""


class UsageError(PlaitError):
    """The command line is wrong."""

    exit_code = 2


class PrivilegeError(PlaitError):
    """The system refuses something that needs a right this process lacks."""

    exit_code = 77


class BindError(PlaitError):
    """An endpoint cannot be opened: in use, not on this machine, not allowed."""

    exit_code = 69


class AlreadyRunning(PlaitError):
    """Another process holds the pidfile; ``pid`` is its number, or None if it did not write it yet."""

    exit_code = 75

    def __init__(self, message: str, pid: int | None = None) -> None:
        super().__init__(message)
        self.pid = pid


class CannotCreate(PlaitError):
    """A pidfile or a log file cannot be written."""

    exit_code = 73


class NeedError(PlaitError):
    """A service needs what can never come."""


class NotFound(PlaitError, LookupError):
    """There is no service at this path."""


class StartFailed(PlaitError):
    """A service failed before it was ready; ``path`` says which, ``__cause__`` why."""

    def __init__(self, message: str, path: str) -> None:
        super().__init__(message)
        self.path = path


class GaveUp(PlaitError):
    """A group needed more restarts than its limit allows; ``path`` is the service that failed last."""

    def __init__(self, message: str, path: str) -> None:
        super().__init__(message)
        self.path = path


class LeftBehind(PlaitError):
    """A service did not stop in its time and was abandoned; ``path`` says which."""

    def __init__(self, message: str, path: str) -> None:
        super().__init__(message)
        self.path = path


class ProgramFailed(PlaitError):
    """A program could not be run, or ended badly; ``returncode`` is as in `RunningProgram`, None if it never ran."""

    def __init__(self, message: str, returncode: int | None = None) -> None:
        super().__init__(message)
        self.returncode = returncode


class IllegalTransition(PlaitError):
    """A child went from one state to another that cannot follow it: a bug in plait."""


class StopApplication(Exception):
    """
    Raise it in any service to stop the whole application, cleanly.

    *reason* is written in the log.  *exit_code* is what ``plaitd`` ends with.
    """

    def __init__(self, reason: str = "", exit_code: int = 0) -> None:
        super().__init__(reason, exit_code)
        self.reason = reason
        self.exit_code = exit_code
