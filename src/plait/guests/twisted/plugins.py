"""
Twisted's plugins: the drop-ins in ``twisted/plugins`` folders, found by their sources, and nothing is written.
"""

from __future__ import annotations

import ast
import os
import pkgutil
import warnings
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from twisted.application.service import IServiceMaker
from twisted.plugin import IPlugin

PACKAGE = "twisted.plugins"


@dataclass(frozen=True)
class DropIn:
    """A module that may have plugins: its full *name*, and its *source* or, where there is none, its code."""

    name: str
    source: bytes

    def load(self, tapname: str) -> Any:
        """Import it, and return the plugin that makes the service called *tapname*, or None."""
        return next((each for each in _makers(vars(import_module(self.name))) if _name_of(each) == tapname), None)

    def read(self) -> Iterator[tuple[str, str]]:
        """Yield the name and the description of each plugin that can be read off the source."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about what is written there
                tree = ast.parse(self.source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return
        for node in ast.walk(tree):
            found = _of_call(node) if isinstance(node, ast.Call) else _of_class(node)
            name = found.get("tapname")
            if name:
                yield name, " ".join(found.get("description", "").split()).removesuffix(".")


def find_maker(tapname: str) -> tuple[Any, list[tuple[str, BaseException]]]:
    """
    Return the plugin that makes the service called *tapname*, or None; and the drop-ins that failed, with their errors.

    Those that speak of the name are imported, one after the other, until one has it; if none has, so are the others
    that were installed beside Twisted, whose names may be made up as they run.  What fails of these is none of ours.
    """
    named: list[DropIn] = []
    others: list[DropIn] = []
    is_word = any(sign.isalnum() for sign in tapname)  # a "-" would be in all of them
    own = f"{import_module('twisted').__path__[0]}/plugins"
    for drop_in, folder in find_drop_ins():
        if is_word and os.fsencode(tapname) in drop_in.source:
            named.append(drop_in)
        elif folder != own:
            others.append(drop_in)
    failed: list[tuple[str, BaseException]] = []
    for drop_in in named:
        try:
            maker = drop_in.load(tapname)
        except (Exception, SystemExit) as error:
            failed.append((drop_in.name, error))
            continue
        if maker is not None:
            return maker, failed
    for drop_in in others:
        maker = None
        with suppress(Exception, SystemExit):  # it is told when its own name is asked for
            maker = drop_in.load(tapname)
        if maker is not None:
            return maker, failed
    return None, failed


def find_drop_ins() -> Iterator[tuple[DropIn, str]]:
    """Yield each module of the package `PACKAGE`, which is on many folders, with its folder; imports none of them."""
    package = import_module(PACKAGE)
    for info in pkgutil.iter_modules(package.__path__):
        name = f"{PACKAGE}.{info.name}"
        spec = find_spec(name)
        if spec is None or spec.origin is None:
            continue
        read: Any = getattr(spec.loader, "get_data", None)
        try:
            source = read(spec.origin) if read is not None else b""
        except OSError:
            continue  # it says so when it is imported, which nobody can ask for
        yield DropIn(name, source), getattr(info.module_finder, "path", "")


def list_plugins() -> list[tuple[str, str]]:
    """Return the name and the description of each plugin, in order, as their sources have them; imports none."""
    found: dict[str, str] = {}
    for drop_in, _ in find_drop_ins():
        for name, description in drop_in.read():
            found.setdefault(name, description)
    return sorted(found.items())


def _makers(names: dict[str, Any]) -> Iterable[Any]:
    for each in list(names.values()):
        plugin = IPlugin(each, None)
        maker = IServiceMaker(plugin, None) if plugin is not None else None
        if maker is not None:
            yield maker


def _name_of(maker: Any) -> Any:
    return getattr(maker, "tapname", None)


def _text(node: ast.AST | None) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _of_call(node: ast.Call) -> dict[str, str]:
    """Return what ``ServiceMaker(name, module, description, tapname)`` says."""
    called = node.func
    if (called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")) != "ServiceMaker":
        return {}
    order = ("name", "module", "description", "tapname")
    return {
        **{name: _text(value) for name, value in zip(order, node.args, strict=False)},
        **{keyword.arg: _text(keyword.value) for keyword in node.keywords if keyword.arg},
    }


def _of_class(node: ast.AST) -> dict[str, str]:
    """Return what a class says that has a ``tapname``."""
    if not isinstance(node, ast.ClassDef):
        return {}
    found: dict[str, str] = {}
    for line in node.body:
        targets = (
            line.targets if isinstance(line, ast.Assign) else [line.target] if isinstance(line, ast.AnnAssign) else []
        )
        for target in targets:
            if isinstance(target, ast.Name) and target.id in ("tapname", "description"):
                found[target.id] = _text(getattr(line, "value", None))
    return found
