"""
Plugins: the names that packages add to plaitd, what --help says of them, and loading one.

A plugin is a function that returns a `Service` or an `Application`, named by a package under the entry points of
``plait.plugins``.  Nothing of a package is imported before its plugin is chosen, so a broken one disturbs nobody else.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from plait.errors import ConfigurationError, UsageError
from plait.runner.entry_points import EntryPoint, find, normalize, scan

if TYPE_CHECKING:
    from plait.runner.command import Command
    from plait.runner.settings import Assignment
    from plait.tree.application import Application

GROUP = "plait.plugins"


def find_plugins() -> list[tuple[str, str]]:
    """
    Return the name of each plugin that is installed, and the first line of its docstring where that is found.

    A name that two packages offer is there with each of them: ``name@package``.
    """
    found = scan(GROUP)
    names = [each.name for each in found]
    return [
        (each.name if names.count(each.name) == 1 else f"{each.name}@{each.package}", read_summary(each))
        for each in found
    ]


def load_plugin(name: str, arguments: Sequence[str], assignments: Sequence[Assignment] = ()) -> Application:
    """
    Return the application that the plugin *name* makes of its *arguments*, and of what *assignments* say to it.

    *name* is that of the entry point, or ``name@package`` where several packages offer it.  What the command line says
    counts more than the assignments.  Raises `UsageError` for the command line, and `ConfigurationError` for the
    assignments and for what is wrong with the package.  ``--help`` ends it here.
    """
    from plait.runner.loader import to_application
    from plait.runner.names import failed

    found = choose(name)
    command = read_command(found)
    call = command.read(arguments, assignments)
    try:
        made = call()
    except (UsageError, ConfigurationError) as error:
        # Its own words about what it was given.  EndpointError and the like keep their kind.
        raise type(error)(f"{found.name}: {error}") from error
    except (Exception, SystemExit) as error:
        raise failed(f"plugin {found.name} of {found.package}", error) from error
    return to_application(made, f"plugin {found.name} of {found.package}")


def describe_plugin(name: str) -> Command:
    """Return the command line of the plugin *name*, for what shows it; imports its package, and raises as loading."""
    return read_command(choose(name))


def explain_plugin(
    name: str, arguments: Sequence[str], assignments: Sequence[Assignment] = ()
) -> list[tuple[str, str, str]]:
    """Return what each option of the plugin *name* comes to, and where that was said; raises as loading."""
    return describe_plugin(name).explain(arguments, assignments)


def choose(name: str) -> EntryPoint:
    """Return the one plugin called *name*; raises `UsageError` when there is none, or more than one."""
    plain, _, package = name.partition("@")
    found = find(GROUP, plain)
    if package:
        offered = found
        found = [each for each in found if normalize(each.package) == normalize(package)]
        if offered and not found:
            others = ", ".join(f"{plain}@{each.package}" for each in offered)
            raise UsageError(f"{name}: {package} has no plugin of this name: give {others}")
    if not found:
        raise unknown(plain)
    if len(found) > 1:
        choices = " or ".join(f"{plain}@{each.package}" for each in found)
        raise UsageError(f"{plain}: {len(found)} packages have a plugin of this name: give {choices}")
    return found[0]


def is_known(name: str) -> bool:
    """Say whether a package offers the plugin *name*."""
    return bool(find(GROUP, name.partition("@")[0]))


def unknown(name: str, *, is_of_twisted: bool = False) -> UsageError:
    """Say that there is no plugin called *name*, or none of Twisted's, and which is meant perhaps."""
    from importlib.util import find_spec

    from plait.runner.options import nearest

    known = [] if is_of_twisted else [each.name for each in scan(GROUP)]
    if "twisted.plugins" in sys.modules:  # else nobody has looked there
        from plait.runner.guests import list_plugins

        known += [each for each, _ in list_plugins()]
    near = nearest(name, known)
    if is_of_twisted:
        return UsageError(f"{name}: no such plugin of Twisted{near}: see plaitd --twisted --help")
    if near:
        return UsageError(f"{name}: no such plugin{near}: see plaitd --help")
    word = name if name.isidentifier() else "shop"
    advice = f"see plaitd --help, or give an application such as {word}:application"
    if find_spec("twisted") is None:
        advice += ", or, for a plugin of Twisted, pip install plait[twisted]"
    return UsageError(f"{name}: no such plugin: {advice}")


def read_command(found: EntryPoint) -> Command:
    """Import what *found* names, and return it as a command line."""
    from plait.runner.command import Command

    return Command.of(load_target(found), found.name)


def load_target(found: EntryPoint) -> Any:
    """Import what *found* names; raises `ConfigurationError` with the line of its package where it failed."""
    import importlib

    from plait.runner.names import failed, nearest

    where = f"plugin {found.name} of {found.package}"
    module, _, attribute = found.target.partition(":")
    try:
        target: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if module == missing or module.startswith(f"{missing}."):
            raise ConfigurationError(
                f"{where}: there is no module {missing!r} here: install {found.package} again"
            ) from error
        raise ConfigurationError(
            f"{where}: wants the module {missing!r}, which is not installed here: install what {found.package} wants"
        ) from error
    except (Exception, SystemExit) as error:
        told = failed(module, error)
        raise type(told)(f"{where}: {told}") from error
    for part in filter(None, attribute.split(".")):
        if not hasattr(target, part):
            near = nearest(part, vars(target)) if hasattr(target, "__dict__") else ""
            raise ConfigurationError(f"{where}: {module} has no {part!r}{near}: correct its entry point")
        target = getattr(target, part)
    return target


# What --help says ---------------------------------------------------------------------------------------------------


def read_summary(found: EntryPoint) -> str:
    """Return the first line of the docstring of what *found* names, read from its source, or nothing."""
    module, _, attribute = found.target.partition(":")
    for path in _find_sources(module, found.folder):
        try:
            with open(path, "rb") as file:
                return _read_docstring(file.read(), attribute)
        except OSError:
            continue
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            break  # it says so when it is chosen
    return ""


def _find_sources(module: str, folder: str) -> list[str]:
    stems = [os.path.join(place or os.curdir, *module.split(".")) for place in dict.fromkeys([folder, *sys.path])]
    return [path for stem in stems for path in (f"{stem}.py", os.path.join(stem, "__init__.py"))]


def _read_docstring(source: bytes, name: str) -> str:
    import _ast  # the module ``ast`` is an eighth of what --help may cost
    import warnings

    def parse(text: bytes) -> list[Any]:
        tree: Any = compile(text, "plugin", "exec", _ast.PyCF_ONLY_AST, dont_inherit=True)
        return list(tree.body)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about what is written there
        try:
            nodes = parse(_find_definition(source, name))
        except SyntaxError:
            nodes = parse(source)
    for node in nodes:
        if isinstance(node, _ast.FunctionDef | _ast.AsyncFunctionDef | _ast.ClassDef) and node.name == name:
            first: Any = node.body[0]
            text = getattr(getattr(first, "value", None), "value", None)
            return first_line(text) if isinstance(text, str) else ""
    return ""


def _find_definition(source: bytes, name: str) -> bytes:
    """Return the lines of *source* that seem to define *name*: to parse a whole module takes its time."""
    source = b"\n" + source
    words = (b"\ndef ", b"\nasync def ", b"\nclass ")
    for begin in [source.find(word + name.encode() + sign) for word in words for sign in (b"(", b":")]:
        if begin >= 0:
            ends = [end for word in (*words, b"\n@") if (end := source.find(word, begin + 1)) > 0]
            return source[begin : min(ends, default=len(source))]
    return source


def first_line(docstring: str) -> str:
    """Return the first paragraph of *docstring* on one line, without its full stop."""
    return " ".join(docstring.strip().partition("\n\n")[0].split()).removesuffix(".")
