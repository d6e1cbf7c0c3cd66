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
    if isinstance(value, functools.partial):
        raise Unnameable("a partial has no name: write a function that does what it does")
    owner = getattr(value, "__self__", None)
    if owner is not None and not isinstance(owner, type | ModuleType):
        raise Unnameable(f"{show(value)} belongs to an object, and that has no name: write a function")
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not (isinstance(module, str) and isinstance(name, str)):
        raise Unnameable(f"{show(value)} is neither data nor a function: it has no form in TOML")
    if "<lambda>" in name:
        raise Unnameable("a lambda has no name: make it a function of its module")
    if "<locals>" in name:
        raise Unnameable(f"{name.rpartition('.')[2]} is made inside of a function, where it has no name: move it out")
    target = f"{module}:{name}"
    check_module(module, name)
    try:
        found = find(target)
    except (ImportError, AttributeError):
        raise Unnameable(f"{target} is not there to be imported: give it that name in its module") from None
    if found != value and not _is_of_the_same(found, instead, value):
        raise Unnameable(f"{target} is something else: give it a name of its own in its module")
    return target


def _is_of_the_same(found: Any, instead: Any, value: Any) -> bool:
    return instead is not None and type(found) is type(instead) and found.function is value


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
        if os.path.abspath(path) != os.path.join(os.getcwd(), f"{module}.py"):
            raise Unnameable(f"{name} is in {path}, which cannot be imported from here: change to its folder")


def show(value: object) -> str:
    """Return *value* on one line, cut short."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
