"""
The command line of a plugin: what it takes, what is made of it, what its --help says.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any

from plait.errors import ConfigurationError, UsageError
from plait.runner.data import read_data
from plait.runner.options import Option, nearest, option_fields, split
from plait.runner.places import Place
from plait.runner.settings import COMMAND_LINE, Settings
from plait.runner.signature import Parameter, read_parameters
from plait.runner.sources import table_of
from plait.values import Value, value

if TYPE_CHECKING:
    from plait.runner.settings import Assignment

_HELP = Option("help", flags=("-h", "--help"), help="show this, and exit", places=())


@value
class Command(Value):
    """What can be said to the plugin *name*: its *function* with its *parameters*, and what its docstring says."""

    name: str
    function: Any
    parameters: tuple[Parameter, ...]
    summary: str
    description: str

    @classmethod
    def of(cls, function: Any, name: str) -> Command:
        """Return the command line of *function*; raises `ConfigurationError` about what is wrong with it."""
        if not callable(function):
            # An application, or a service, as it is: there is nothing to say to it.
            return cls(name, lambda: function, (), "", "")
        parameters = read_parameters(function, name)
        first, _, rest = inspect.cleandoc(function.__doc__ or "").partition("\n\n")
        return cls(name, function, parameters, " ".join(first.split()), rest)

    @property
    def program(self) -> str:
        """How it is called on the command line."""
        return f"plaitd {self.name}"

    @property
    def options(self) -> list[Option]:
        """Its options, its arguments by position among them, and ``--help``."""
        taken = {flag for each in self.parameters for flag in each.option.flags}
        flags = tuple(flag for flag in _HELP.flags if flag not in taken)
        return [*(each.option for each in self.parameters), Option("help", flags=flags, help=_HELP.help, places=())]

    @property
    def usage(self) -> str:
        """The line that shows how it is used."""
        words = [f"plaitd [options] {self.name} [options]"]
        words += [
            f"--{each.name.replace('_', '-')} {each.option.metavar}"
            for each in self.parameters
            if each.is_required and not each.is_word
        ]
        for each in self.parameters:
            if each.takes_rest:
                words.append(f"[{each.option.metavar} ...]")
            elif each.is_word:
                words.append(each.option.metavar if each.is_required else f"[{each.option.metavar}]")
        return " ".join(words)

    def read(self, arguments: Sequence[str], assignments: Iterable[Assignment] = ()) -> Callable[[], Any]:
        """
        Return the call of the function that *arguments* and, where these say nothing, *assignments* ask for.

        Raises `UsageError` for the arguments and `ConfigurationError` for the assignments; ``--help`` ends it here.
        """
        values = {name: value for name, (value, _) in self._gather(arguments, assignments).items()}
        for each in self.parameters:
            if each.is_required and each.name not in values:
                raise self._wrong(f"{each.option.spelling}: is missing: give {_show(each)}")
        signature = inspect.signature(self.function)
        # In their order: those by position may stand before others that have a default.
        ordered = {name: values[name] for name in signature.parameters if name in values}
        bound = inspect.BoundArguments(signature, ordered)
        bound.apply_defaults()
        return partial(self.function, *bound.args, **bound.kwargs)

    def explain(self, arguments: Sequence[str], assignments: Iterable[Assignment] = ()) -> list[tuple[str, str, str]]:
        """Return the name of each parameter in a table, what it comes to, and where that was said; raises as `read`."""
        values = self._gather(arguments, assignments)
        return [
            (f"{self.name}.{each.name}", _tell(value), origin)
            for each in self.parameters
            for value, origin in [values.get(each.name, (each.option.default, "default"))]
        ]

    def _gather(self, arguments: Sequence[str], assignments: Iterable[Assignment]) -> dict[str, tuple[Any, str]]:
        given = self._read_arguments(arguments)
        return self._read_assignments(assignments) | {name: (value, COMMAND_LINE) for name, value in given.items()}

    def _read_arguments(self, arguments: Sequence[str]) -> dict[str, Any]:
        rest = [each for each in self.parameters if each.takes_rest]
        found = split(self.program, self.options, arguments, ends=lambda _: bool(rest), outer=option_fields(Settings))
        given: dict[str, list[tuple[str, str]]] = {}
        for option, flag, text in found.given:
            if option.name == "help" and option.help == _HELP.help:
                from plait.runner.help import print_out

                print_out(self.make_help())
                raise SystemExit(0)
            given.setdefault(option.name, []).append((flag, text))
        words = [*found.words, *found.rest]
        for each in self.parameters:
            if each.is_word and words:
                taken, words = (words, []) if each.takes_rest else (words[:1], words[1:])
                given[each.name] = [("", word) for word in taken]
        if words:
            raise self._wrong(f"{words[0]}: no such argument")
        values = {}
        for each in self.parameters:
            if each.name in given:
                try:
                    values[each.name] = each.read(given[each.name])
                except UsageError as error:
                    raise self._wrong(str(error)) from None
        return values

    def _read_assignments(self, assignments: Iterable[Assignment]) -> dict[str, tuple[Any, str]]:
        """Return the value of each parameter that *assignments* speak of, and where it came from."""
        assignments = list(assignments)
        table, origins = table_of(assignments, self.name)
        files = [
            each.origin for each in assignments if each.path[0] == self.name and not origins.get(".".join(each.path))
        ]
        place = Place(files[0] if files else "", self.name, origins)
        known = {each.name: each for each in self.parameters}
        values: dict[str, tuple[Any, str]] = {}
        for key, data in table.items():
            name = key.replace("-", "_")
            if name not in known:
                near = nearest(name, list(known))
                raise ConfigurationError(f"{place.at(key)}: no such option{near}: see {self.program} --help")
            kind: Any = known[name].kind
            value = read_data(tuple[kind, ...] if known[name].takes_rest else kind, data, place.at(key))
            values[name] = value, origins.get(f"{self.name}.{key}", place.source)
        return values

    def _wrong(self, message: str) -> UsageError:
        return UsageError(f"{message}: see {self.program} --help")

    def make_help(self) -> str:
        """Return what its ``--help`` prints."""
        from plait.runner.help import make_help, screen_width, wrap

        text = make_help(self.options, self.usage, self.summary)
        width = screen_width()
        for paragraph in filter(None, self.description.split("\n\n")):
            text += "\n" + "\n".join(wrap(paragraph, width)) + "\n"
        return text


def _tell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple | set | frozenset):
        return " ".join(str(each) for each in value) or "none"
    return "none" if value in (None, "") else str(getattr(value, "name", value) if isinstance(value, Enum) else value)


def _show(parameter: Parameter) -> str:
    option = parameter.option
    return option.metavar if parameter.is_word else f"{option.spelling} {option.metavar}".strip()
