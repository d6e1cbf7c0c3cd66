"""How the documentation is built, and the tables in it that are derived from the code."""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Iterable

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import plait
from plait.events import TRANSITIONS
from plait.grammar import CONNECTING, LISTENING
from plait.runner.command_line import options_of
from plait.runner.kinds import ask_for, kinds_of

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
    """The options of a program, from the fields of `Settings`: a table for each purpose."""

    optional_arguments = 2

    def lines(self) -> Iterable[str]:
        """Yield a row for each option, and for each purpose a heading."""
        group = ""
        for option in options_of(" ".join(self.arguments) or "plaitd"):
            if option.dropped:
                continue
            if option.group != group or not group:
                group = option.group or "help"
                yield from (
                    "",
                    f"**{group.capitalize()}**",
                    "",
                    "| option | elsewhere | meaning |",
                    "| --- | --- | --- |",
                )
            takes = f" {option.metavar}" if option.metavar else ""
            spelt = ", ".join(f"`{flag}{takes}`" for flag in option.flags) or f"`{option.metavar}`"
            elsewhere = [f"`{option.variable}`"] * ("env" in option.places) + [f"`{option.name}`"] * (
                "toml" in option.places
            )
            yield f"| {spelt} | {' '.join(elsewhere)} | {option.help.replace('|', chr(92) + '|')} |"


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


class DataTable(Derived):
    """The fields of a service as data: what each takes in TOML."""

    required_arguments = 1

    def lines(self) -> Iterable[str]:
        """Yield a row for each field."""
        cls = getattr(plait, self.arguments[0])
        kinds = kinds_of(cls)
        shared = {item.name for item in dataclasses.fields(plait.Service)} if cls is not plait.Service else set()
        yield "| key | value |"
        yield "| --- | --- |"
        for item in dataclasses.fields(cls):
            if item.name == "children":
                yield "| `services` | a list of services |"
            elif item.name not in shared:
                needed = ", must be given" if item.default is dataclasses.MISSING else ""
                yield f"| `{item.name}` | {ask_for(kinds[item.name])}{needed} |"


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
    app.add_directive("data-table", DataTable)
    app.add_directive("forms-table", FormsTable)
    app.add_directive("transitions-table", TransitionsTable)
