"""
A name to an Application.
"""

from __future__ import annotations

import os
import sys
import types
from typing import TYPE_CHECKING, Any

from plait.errors import ConfigurationError, UsageError
from plait.events import describe
from plait.tree.application import Application
from plait.tree.service import Service

if TYPE_CHECKING:
    from plait.runner.settings import Settings

#: The variable that a straight Python file defines.
VARIABLE = "application"


def load(settings: Settings) -> Application:
    """Return the application that *settings* name."""
    if settings.python and settings.target:
        raise UsageError(f"{settings.target}: is given beside -y {settings.python}: give one of them")
    if settings.python:
        return load_file(settings.python)
    if settings.target:
        return load_name(settings.target)
    raise UsageError("nothing to run: give -y FILE or module:attribute, see --help")


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
        raise ConfigurationError(f"{path}:{error.lineno}: {error.msg}: correct the file") from error
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
    except ConfigurationError as error:
        raise _said_where(error, path) from error
    except (Exception, SystemExit) as error:
        raise _failed(path, error) from error
    if VARIABLE not in module.__dict__:
        near = _nearest(VARIABLE, module.__dict__)
        raise ConfigurationError(f"{path}: defines no variable `{VARIABLE}`{near}: write {VARIABLE} = Application(...)")
    return to_application(module.__dict__[VARIABLE], f"{path}: {VARIABLE}", name)


def load_name(target: str) -> Application:
    """Import *target*, written ``module:attribute``, and return the `Application` found there."""
    module_name, colon, attribute = target.partition(":")
    if not colon or not module_name or not attribute:
        hint = f": did you mean -y {target}?" if target.endswith(".py") else ""
        raise ConfigurationError(f"{target}: wanted module:attribute, such as shop:application{hint}")
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # what lies where it was started can be named
    import importlib

    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(error.name + ".")):
            raise ConfigurationError(
                f"{target}: there is no module {error.name!r} here: look at the name, or change to its folder"
            ) from error
        raise _failed(module_name, error) from error
    except SyntaxError as error:
        raise ConfigurationError(f"{error.filename}:{error.lineno}: {error.msg}: correct the file") from error
    except ConfigurationError as error:
        raise _said_where(error, module_name) from error
    except (Exception, SystemExit) as error:
        raise _failed(module_name, error) from error
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            near = _nearest(part, vars(found)) if hasattr(found, "__dict__") else ""
            raise ConfigurationError(
                f"{target}: {module_name} has no attribute {part!r}{near}: look at the name"
            ) from None
    return to_application(found, target, attribute)


def to_application(found: Any, where: str, name: str) -> Application:
    """Return *found* as an `Application`: one already, a service to wrap, or a function that makes either."""
    if callable(found) and not isinstance(found, Service | type):
        try:
            found = found()
        except ConfigurationError as error:
            raise _said_where(error, where) from error
        except (Exception, SystemExit) as error:
            raise _failed(where, error) from error
    if isinstance(found, Application):
        return found
    if isinstance(found, Service):
        return Application(found.name, [found])
    raise ConfigurationError(f"{where}: is {_article(found)}, not an Application: make it a plait.Application")


def _failed(where: str, error: BaseException) -> ConfigurationError:
    """Tell an error of people's code by the innermost line of it that is theirs."""
    own = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    place = where
    trace = error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if not name.startswith((own, "<frozen", sys.base_prefix)) or "site-packages" in name:
            place = f"{name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return ConfigurationError(f"{place}: {describe(error)}: correct it, then start again")


def _said_where(error: ConfigurationError, where: str) -> ConfigurationError:
    """Put the line of the file before what plait itself said about a value in it."""
    failure = _failed(where, error)
    place = str(failure).partition(f": {type(error).__name__}")[0]
    return type(error)(f"{place}: {error}")


def _module_name(path: str) -> str:
    stem = os.path.splitext(os.path.basename(path))[0].replace("-", "_").replace(".", "_")
    if not stem.isidentifier() or stem in sys.modules or stem in sys.stdlib_module_names:
        return f"application_{stem}"
    return stem


def _nearest(name: str, names: Any) -> str:
    import difflib

    found = difflib.get_close_matches(name, [other for other in names if not other.startswith("_")], n=1, cutoff=0.6)
    return f" (but `{found[0]}`)" if found else ""


def _article(found: object) -> str:
    name = type(found).__name__
    return f"an {name}" if name[:1].lower() in "aeiou" else f"a {name}"
