"""
The name of a function or a class, by which others can import it; or why there is none.
"""

from __future__ import annotations

import functools
import os
import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class Unnameable(ValueError):
    """Why something cannot be named, and what to do."""


def name_of(value: Any, instead: Any = None) -> str:
    """
    Return *value* as ``module:name``, under which it is found again.

    *instead* is what may stand there in its place and means the same: a service, where its function was decorated.
    """
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if isinstance(module, str) and isinstance(name, str) and all(part.isidentifier() for part in name.split(".")):
        target = f"{module}:{name}"
        try:
            found = find(target)
        except (ImportError, AttributeError):
            found = None
        if found == value or (instead is not None and type(found) is type(instead) and found.function is value):
            check_module(module, name)
            return target
    other = _search(value)
    if other:
        check_module(*other)
        return ":".join(other)
    raise Unnameable(_explain(value, module, name))


def _search(value: Any) -> tuple[str, str] | None:
    """Return the module and the name under which *value* stands there, though it does not know; None if nowhere."""
    owner = getattr(value, "__self__", None)
    if owner is not None and not isinstance(owner, ModuleType):
        above = _search(owner)  # the method of an object that has a name
        return (above[0], f"{above[1]}.{value.__name__}") if above and hasattr(value, "__name__") else None
    inner = value.func if isinstance(value, functools.partial) else value
    for module in dict.fromkeys((getattr(inner, "__module__", None), type(inner).__module__)):
        for name, item in vars(sys.modules.get(str(module), ModuleType("none"))).items():
            if item is value and name.isidentifier():
                return str(module), name
    return None


def _explain(value: Any, module: Any, name: Any) -> str:
    """Return why *value* has no name, and what to do."""
    if isinstance(value, functools.partial):
        return "a partial has no name: give it one in its module, or write a function"
    owner = getattr(value, "__self__", None)
    if owner is not None and not isinstance(owner, type | ModuleType):
        return f"{name} belongs to an object that has no name: give it one in its module, or write a function"
    if not (isinstance(module, str) and isinstance(name, str)):
        return f"{show(value)} is neither data nor a function: it has no form in TOML"
    if "<lambda>" in name:
        return "a lambda has no name: make it a function of its module"
    if "<locals>" in name:
        return f"{name.rpartition('.')[2]} is made inside of a function, where it has no name: move it out"
    return f"{module}:{name} is not it, or cannot be imported: give it a name of its own in its module"


def find(target: str) -> Any:
    """Return what ``module:name`` names."""
    module, _, name = target.partition(":")
    found: Any = import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


def check_module(module: str, name: str) -> None:
    """Refuse a module that nobody else can import by its name: the program itself, a file from elsewhere."""
    if module == "__main__":
        raise Unnameable(f"{name} is in the program that was started: move it to a module that can be imported")
    loaded = sys.modules.get(module)
    if loaded is not None and loaded.__spec__ is None:  # a file that was run, as -y does
        path = getattr(loaded, "__file__", None) or module
        folder, file = os.path.split(os.path.abspath(path))
        if file != f"{module}.py":
            raise Unnameable(f"{name} is in {path}, which has the name of another module: call the file otherwise")
        if folder != os.getcwd():
            raise Unnameable(f"{name} is in {path}, which cannot be imported from here: change to its folder")


def show(value: object) -> str:
    """Return *value* on one line, cut short."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
