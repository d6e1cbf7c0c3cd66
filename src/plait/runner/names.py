"""
"module:attribute" to what has that name, and whose line it is when it cannot be had.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from plait.errors import ConfigurationError
from plait.events import describe

#: How much of an error's text is told, in characters.
LONGEST = 300


def find(target: str, example: str = "shop:application") -> Any:
    """
    Import *target*, written ``module:attribute``, and return what is found there.

    What lies in the present folder can be named.  Raises `ConfigurationError`; *example* is what it shows.
    """
    module_name, _, attribute = target.partition(":")
    target = printable(target)
    if module_name.endswith(".py") or "/" in module_name:
        raise ConfigurationError(f"{target}: wanted module:attribute: for a file give -y {printable(module_name)}")
    if not all(part.isidentifier() for part in f"{module_name}.{attribute}".split(".")):
        raise ConfigurationError(f"{target}: wanted module:attribute, such as {example}")
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
        raise failed(module_name, error) from error
    except BaseException as error:
        raise failed(module_name, error) from error
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            near = nearest(part, vars(found)) if hasattr(found, "__dict__") else ""
            raise ConfigurationError(
                f"{target}: {module_name} has no attribute {part!r}{near}: look at the name"
            ) from None
    return found


def failed(where: str, error: BaseException, advice: str = "correct it, then start again") -> ConfigurationError:
    """
    Tell an error of people's code by the innermost line that is theirs, or by *where* it was met; and what to do.

    What is no error, but means that all is to end, is raised again: a signal.
    """
    if isinstance(error, KeyboardInterrupt):
        raise error
    if isinstance(error, SyntaxError) and error.filename and os.path.isfile(error.filename):
        return misspelt(error.filename, error)
    place = find_line(error) or where
    if isinstance(error, ConfigurationError):
        return type(error)(f"{place}: {error}")  # plait's own words about a value there
    if isinstance(error, SystemExit):
        return ConfigurationError(f"{place}: ends by sys.exit({error.code!r}): take that out, plaitd does the rest")
    return ConfigurationError(f"{place}: {_shorten(describe(error))}: {advice}")


def _shorten(text: str) -> str:
    """Return *text*, without its middle if it is too long for a sentence."""
    if len(text) <= LONGEST:
        return text
    half = LONGEST // 2
    return f"{text[:half]} ... {text[-half:]} ({len(text)} characters)"


def misspelt(path: str, error: SyntaxError) -> ConfigurationError:
    """Tell an error that the compiler found in the file at *path*."""
    line = f"{path}:{error.lineno}" if error.lineno else path
    return ConfigurationError(f"{line}: {error.msg}: correct the file")


def find_line(error: BaseException) -> str:
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


def nearest(name: str, names: Any) -> str:
    """Return `` (but `...`)`` with the nearest of *names*, or nothing."""
    import difflib

    found = difflib.get_close_matches(name, [other for other in names if not other.startswith("_")], n=1, cutoff=0.6)
    return f" (but `{found[0]}`)" if found else ""


def show_type(found: object) -> str:
    """Return ``a str``, ``an int``: what *found* is."""
    name = type(found).__name__
    return f"an {name}" if name[:1].lower() in "aeiou" else f"a {name}"


def printable(text: str) -> str:
    """Return *text* on one line, whatever is in it: a sentence goes to terminals and to logs."""
    return text if text.isprintable() else "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)
