"""
The options of Twisted's plugins, parsed by Twisted itself below a parent that is twistd's.

The parent is part of what a plugin may use: it reads there how it is run, and writes there how it wants to be.
"""

from __future__ import annotations

import operator
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.application.service import Application
from twisted.python import usage
from twisted.python.util import gidFromString, uidFromString
from twisted.scripts._twistd_unix import ServerOptions  # as twisted.scripts.twistd has it

from plait import ConfigurationError, UsageError

#: What a plugin may change, as settings of plaitd.
_WRITTEN = ("pidfile", "umask", "uid", "gid", "rundir", "chroot", "logfile", "prefix", "nodaemon", "syslog", "euid")
#: Those that are yes or no.
_FLAGS = ("nodaemon", "syslog", "euid")


class Parent(ServerOptions):
    """twistd's options, with one command: the plugin that was chosen."""

    subCommands: Any = ()  # noqa: N815 - Twisted's name
    synopsis = "Usage: plaitd [options]"

    def __init__(self, maker: Any, given: Mapping[str, Any]) -> None:
        super().__init__()
        self.subCommands = [(maker.tapname, None, lambda: maker.options(), maker.description)]
        self.loadedPlugins = {maker.tapname: maker}
        self.update(_as_twistd_has(given))


def make(maker: Any, arguments: Sequence[str], given: Mapping[str, Any]) -> tuple[Any, tuple[tuple[str, Any], ...]]:
    """
    Return the Twisted application that *maker* makes of its *arguments*, and the settings that it insists on.

    Raises `UsageError` for what the plugin says about its command line; what else it raises passes, as does the end of
    the program that it asks for, be it for ``--help``.
    """
    parent = Parent(maker, given)
    before = dict(parent)
    try:
        try:
            parent.parseOptions([maker.tapname, *arguments])
        except BrokenPipeError:
            # Nobody reads its help any more: ``head`` perhaps, which has enough.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            raise SystemExit(128 + signal.SIGPIPE) from None
        application = Application(maker.tapname)
        made = maker.makeService(parent.subOptions)
        if isinstance(made, type) or not hasattr(made, "setServiceParent"):
            kind = made.__qualname__ if isinstance(made, type) else type(made).__qualname__
            raise ConfigurationError(f"its makeService() returned {kind}, which is no service: correct the plugin")
        made.setServiceParent(application)
    except usage.UsageError as error:
        text = " ".join(str(error).split()) or "is not used so"
        command = f"plaitd {'--twisted ' if given.get('twisted') else ''}{maker.tapname}"
        raise UsageError(f"{maker.tapname}: {text}: see {command} --help") from error
    return application, tuple(_insisted(before, parent))


def _as_twistd_has(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that were *given*, as twistd would have them in its options."""
    found: dict[str, Any] = {}
    same = (
        "pidfile",
        "rundir",
        "chroot",
        "prefix",
        "logfile",
        "umask",
        "file",
        "python",
        "source",
        "profile",
        "profiler",
    )
    for name in (*same, "reactor"):
        if name in given and given[name] is not None:
            found[name] = given[name]
    for name in (*_FLAGS, "originalname", "savestats", "no_save"):
        if name in given:
            found[name] = int(given[name])
    if given.get("debug"):
        found["debug"] = True
    if given.get("logger"):
        found["logger"] = given["logger"].replace(":", ".")
    readers: tuple[tuple[str, Callable[[str], int]], ...] = (("uid", uidFromString), ("gid", gidFromString))
    for name, read in readers:
        if given.get(name):
            try:
                found[name] = read(given[name])
            except (KeyError, ValueError):
                pass  # plaitd will say so
    return found


def _insisted(before: Mapping[str, Any], parent: Mapping[str, Any]) -> Any:
    """Yield the settings of plaitd that stand for what is not in *parent* as it was *before*."""
    for name in _WRITTEN:
        value = parent.get(name)
        if value == before.get(name) or (name == "pidfile" and value == _absolute(before.get(name))):
            continue
        if name in _FLAGS:
            yield name, bool(value)
            if name == "nodaemon":
                yield "daemon", not value
        else:
            yield name, _read(name, value)


def _read(name: str, value: Any) -> Any:
    """Return as a setting of plaitd what a plugin has set; raises `ConfigurationError`."""
    try:
        if name == "umask":
            return value if value is None else int(value, 8) if isinstance(value, str) else operator.index(value)
        if value is None or isinstance(value, str | int | os.PathLike | bytes):
            return "" if value is None else os.fsdecode(str(value) if isinstance(value, int) else value)
    except (ValueError, TypeError):
        pass  # it is said below
    raise ConfigurationError(f"it sets {name} to {value!r}, which cannot be used: correct the plugin")


def _absolute(path: Any) -> Any:
    return os.path.abspath(path) if path else path
