"""How the documentation is built, and the tables in it that are derived from the code."""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Iterable
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import plait
from plait.events import TRANSITIONS
from plait.grammar import CONNECTING, LISTENING
from plait.runner.settings import Settings

project = "plait"
copyright = "2026, plait contributors"
author = "plait contributors"
version = release = plait.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"plait {release}"

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

# In docstrings a single backtick is a name of plait, and what is not found is only set in italics.
default_role = "py:obj"
add_module_names = False
python_use_unqualified_type_names = True
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_preserve_defaults = True
autodoc_class_signature = "mixed"


class Derived(SphinxDirective):
    """A table that the code writes: its lines are MyST."""

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        container = nodes.Element()
        self.state.nested_parse(StringList(list(self.lines()), "derived"), self.content_offset, container)
        return container.children

    def lines(self) -> Iterable[str]:
        """Yield the lines."""
        raise NotImplementedError


class SettingsTable(Derived):
    """The options of a program, from the fields of `Settings`."""

    optional_arguments = 2

    def lines(self) -> Iterable[str]:
        """Yield a row for each option."""
        yield "| option | default | meaning |"
        yield "| --- | --- | --- |"
        for item in dataclasses.fields(Settings):
            meta = item.metadata
            if not meta or (meta["only"] and " ".join(self.arguments) != meta["only"]):
                continue
            takes = f" {meta['metavar']}" if meta["metavar"] else ""
            spelt = ", ".join(f"`{flag}{takes}`" for flag in meta["flags"]) or f"`{meta['metavar']}`"
            default = "" if item.default in ("", None, False) or not can_be_given(item) else f"`{item.default}`"
            yield f"| {spelt} | {default} | {meta['help'].replace('|', chr(92) + '|')} |"


def can_be_given(item: dataclasses.Field[Any]) -> bool:
    """Say whether the default of a setting can be typed, too."""
    try:
        return not item.metadata["read"] or bool(item.metadata["read"](str(item.default)))
    except plait.UsageError:
        return False


class FieldsTable(Derived):
    """The fields of a service that it does not share with every service, and their defaults."""

    required_arguments = 1

    def lines(self) -> Iterable[str]:
        """Yield a row for each field."""
        shared = {item.name for item in dataclasses.fields(plait.Service)}
        cls = getattr(plait, self.arguments[0])
        if cls is plait.Service:
            shared = set()
        yield "| field | default |"
        yield "| --- | --- |"
        for item in dataclasses.fields(cls):
            if item.name in shared:
                continue
            default = "must be given" if item.default is dataclasses.MISSING else f"`{item.default!r}`"
            if isinstance(item.default, signal.Signals):
                default = f"`{item.default.name}`"
            yield f"| `{item.name}`{'' if item.kw_only else ', also by position'} | {default} |"


class FormsTable(Derived):
    """The forms of endpoint strings, from the grammar."""

    required_arguments = 1

    def lines(self) -> Iterable[str]:
        """Yield a row for each form."""
        forms = {"listening": LISTENING, "connecting": CONNECTING}[self.arguments[0]]
        yield "| form | in this order | only with their name |"
        yield "| --- | --- | --- |"
        for word, takes in forms.items():
            ordered, _, named = takes.partition("|")
            shown = " ".join(f"**{name[:-1]}**" if name.endswith("!") else name for name in ordered.split())
            yield f"| `{word}:` | {shown} | {' '.join(named.split())} |"


class TransitionsTable(Derived):
    """The legal transitions of a child, from the table that the tree obeys."""

    def lines(self) -> Iterable[str]:
        """Yield a row for each state."""
        yield "| from | to |"
        yield "| --- | --- |"
        for old, new in TRANSITIONS.items():
            yield f"| {old} | {', '.join(sorted(new))} |"


def setup(app: Sphinx) -> None:
    """Add the tables."""
    app.add_directive("settings-table", SettingsTable)
    app.add_directive("fields-table", FieldsTable)
    app.add_directive("forms-table", FormsTable)
    app.add_directive("transitions-table", TransitionsTable)
