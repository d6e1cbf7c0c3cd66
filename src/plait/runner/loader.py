"""
A name to an Application.
"""

from __future__ import annotations

import os
import sys
import types
from typing import TYPE_CHECKING, Any

from plait.errors import ConfigurationError, UsageError
from plait.runner.names import failed, find, misspelt, nearest, show_type
from plait.tree.application import Application
from plait.tree.service import Service

if TYPE_CHECKING:
    from plait.runner.settings import Settings

#: The variable that a straight Python file defines.
VARIABLE = "application"


def load(settings: Settings) -> Application:
    """Return the application that *settings* name."""
    given = [
        text
        for flag, text in (("", settings.target), ("-y ", settings.python), ("-f ", settings.file))
        if text
        for text in [f"{flag}{text}"]
    ]
    if len(given) > 1:
        raise UsageError(f"{given[0]}: is given beside {given[1]}: give one of them")
    if settings.python:
        return load_file(settings.python)
    if settings.asks_for_plugin:
        from plait.runner.plugins import load_plugin

        return load_plugin(settings.target, settings.arguments, settings.assignments)
    if settings.target:
        return load_name(settings.target)
    raise UsageError("nothing to run: give -y FILE, -f FILE, module:attribute or a plugin: see plaitd --help")


def load_file(path: str) -> Application:
    """
    Run the straight Python file at *path* and return the `Application` that it calls ``application``.

    The file runs as a module of its own name, so that what it defines can be pickled.  An error in it is told by the
    line of the file.
    """
    name = _module_name(path)
    try:
        with open(path, "rb") as file:
            source = file.read()
        code = compile(source, path, "exec", dont_inherit=True)
    except SyntaxError as error:
        raise misspelt(path, error) from error
    except OSError as error:
        raise ConfigurationError(
            f"{path}: cannot be read ({error.strerror}): give the path of a Python file"
        ) from error
    except ValueError as error:
        raise ConfigurationError(f"{path}: is no Python source ({error}): give the path of a Python file") from error
    module = types.ModuleType(name)
    module.__file__ = os.path.abspath(path)
    sys.modules[name] = module
    try:
        exec(code, module.__dict__)  # noqa: S102 - running that file is what was asked for
    except (Exception, SystemExit) as error:
        raise failed(path, error) from error
    if VARIABLE not in module.__dict__:
        near = nearest(VARIABLE, module.__dict__)
        raise ConfigurationError(f"{path}: defines no variable `{VARIABLE}`{near}: write {VARIABLE} = Application(...)")
    return to_application(module.__dict__[VARIABLE], f"{path}: {VARIABLE}", name)


def load_name(target: str) -> Application:
    """Import *target*, written ``module:attribute``, and return the `Application` found there."""
    return to_application(find(target), target, target.rpartition(":")[2])


def to_application(found: Any, where: str, name: str) -> Application:
    """Return *found* as an `Application`: one already, a service to wrap, or a function that makes either."""
    if callable(found) and not isinstance(found, Service | type):
        try:
            found = found()
        except (Exception, SystemExit) as error:
            raise failed(where, error) from error
    if isinstance(found, Application):
        return found
    if isinstance(found, Service):
        return Application(found.name, [found])
    if isinstance(found, types.CoroutineType):
        found.close()  # it would be complained about, once more and in other words
    raise ConfigurationError(f"{where}: is {show_type(found)}, not an Application: make it a plait.Application")


def _module_name(path: str) -> str:
    stem = os.path.splitext(os.path.basename(path))[0].replace("-", "_").replace(".", "_")
    if not stem.isidentifier() or stem in sys.modules or stem in sys.stdlib_module_names:
        return f"application_{stem}"
    return stem
