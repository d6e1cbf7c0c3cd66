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
        raise _misspelt(path, error) from error
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
        raise _failed(path, error) from error
    if VARIABLE not in module.__dict__:
        near = _nearest(VARIABLE, module.__dict__)
        raise ConfigurationError(f"{path}: defines no variable `{VARIABLE}`{near}: write {VARIABLE} = Application(...)")
    return to_application(module.__dict__[VARIABLE], f"{path}: {VARIABLE}", name)


def load_name(target: str) -> Application:
    """Import *target*, written ``module:attribute``, and return the `Application` found there."""
    module_name, _, attribute = target.partition(":")
    if module_name.endswith(".py") or "/" in module_name:
        raise ConfigurationError(f"{target}: wanted module:attribute: for a file give -y {module_name}")
    if not all(part.isidentifier() for part in f"{module_name}.{attribute}".split(".")):
        raise ConfigurationError(f"{target}: wanted module:attribute, such as shop:application")
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
        except (Exception, SystemExit) as error:
            raise _failed(where, error) from error
    if isinstance(found, Application):
        return found
    if isinstance(found, Service):
        return Application(found.name, [found])
    if isinstance(found, types.CoroutineType):
        found.close()  # it would be complained about, once more and in other words
    raise ConfigurationError(f"{where}: is {_article(found)}, not an Application: make it a plait.Application")


def _failed(where: str, error: BaseException) -> ConfigurationError:
    """Tell an error of people's code by the innermost line that is theirs, or by *where* it was met."""
    if isinstance(error, SyntaxError) and error.filename and os.path.isfile(error.filename):
        return _misspelt(error.filename, error)
    place = _find_line(error) or where
    if isinstance(error, ConfigurationError):
        return type(error)(f"{place}: {error}")  # plait's own words about a value there
    if isinstance(error, SystemExit):
        return ConfigurationError(f"{place}: ends by sys.exit({error.code!r}): take that out, plaitd does the rest")
    return ConfigurationError(f"{place}: {describe(error)}: correct it, then start again")


def _misspelt(path: str, error: SyntaxError) -> ConfigurationError:
    line = f"{path}:{error.lineno}" if error.lineno else path
    return ConfigurationError(f"{line}: {error.msg}: correct the file")


def _find_line(error: BaseException) -> str:
    """Return the innermost line that *error* went through: in people's own files, or else in a library's."""
    ours = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
    # The packages that are installed lie below the standard library; "<" begins the name of what is generated.
    standard = (os.path.dirname(os.__file__) + os.sep, "<")
    own = library = ""
    trace = error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if "-packages" + os.sep in name and not name.startswith(ours):
            library = f"{name}:{trace.tb_lineno}"
        elif not name.startswith((ours, *standard)):
            own = f"{name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return own or library


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
