"""
The parameters of a function as options and arguments.

Its annotation says how a parameter is read; the texts in ``Annotated[type, ...]`` say how it is shown: one that begins
with ``-`` has further spellings, and at its end what stands for the value; a single word in capitals is that alone; any
other is its help.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Annotated, Any, get_args, get_origin

from plait.errors import ConfigurationError, UsageError
from plait.runner.kinds import choices_of, describe_kind, is_path, kinds_of, main_kind, members_of, peel
from plait.runner.options import Option
from plait.runner.typed import gather, read_text, repeats
from plait.values import Value, value

#: What stands for a list of choices is no longer than this; a longer one is in the help.
_WIDE = 24
_NOTHING = inspect.Parameter.empty


@value
class Parameter(Value):
    """One parameter: its *name*, its *kind* (its annotation), and the *option* that sets it."""

    name: str
    kind: Any
    option: Option
    is_required: bool = False
    takes_rest: bool = False

    @property
    def is_word(self) -> bool:
        """Whether it is given by its position."""
        return not self.option.flags

    @property
    def is_switch(self) -> bool:
        """Whether it is on or off."""
        return not self.is_word and self.option.is_flag

    def read(self, given: Sequence[tuple[str, str]]) -> Any:
        """Return the value of what was given on a command line: flags, and the texts behind them."""
        flag = given[-1][0]
        if self.is_switch:
            return flag != _off(self.name)
        try:
            if self.takes_rest:
                return tuple(read_text(self.kind, each) for _, each in given)
            return gather(self.kind, [each for _, each in given])
        except ConfigurationError as error:
            raise UsageError(f"{flag or self.option.metavar}: {error}") from None


def read_parameters(function: Any, plugin: str) -> tuple[Parameter, ...]:
    """Return the parameters of *function*; raises `ConfigurationError` about what cannot be one of *plugin*."""
    kinds = kinds_of(function)
    found = tuple(_read_parameter(each, kinds, plugin) for each in inspect.signature(function).parameters.values())
    _check_flags(found, plugin)
    return found


def _on(name: str) -> str:
    return "--" + name.strip("_").replace("_", "-")


def _off(name: str) -> str:
    return f"--no-{_on(name)[2:]}"


def _read_parameter(parameter: inspect.Parameter, kinds: dict[str, Any], plugin: str) -> Parameter:
    name, default = parameter.name, parameter.default
    if parameter.kind is parameter.VAR_KEYWORD:
        raise ConfigurationError(f"plugin {plugin}: **{name}: options have names: write each as a parameter of its own")
    guess = type(default) if isinstance(default, bool | int | float | str) else str
    kind = kinds.get(name, guess)
    takes_rest = parameter.kind is parameter.VAR_POSITIONAL
    is_word = (
        takes_rest
        or parameter.kind is parameter.POSITIONAL_ONLY
        or (parameter.kind is parameter.POSITIONAL_OR_KEYWORD and default is _NOTHING)
    )
    flags, metavar, help_text = _read_texts(kind, f"plugin {plugin}: {name}")
    is_switch = not is_word and peel(main_kind(kind)) is bool
    if is_switch:
        flags = (_on(name), *flags, _off(name))
    elif not is_word:
        flags = (_on(name), *flags)
    elif flags:
        raise ConfigurationError(
            f"plugin {plugin}: {name}: is given by its position, and has no {flags[0]}: put it behind *"
        )
    choices = choices_of(kind)
    shown = metavar or "|".join(choices)
    if choices and not metavar and len(shown) > _WIDE:
        shown, help_text = name.upper(), f"{help_text}: {', '.join(choices)}".removeprefix(": ")
    is_required = default is _NOTHING and not takes_rest and not is_switch
    option = Option(
        name,
        default=None if default is _NOTHING else default,
        flags=_short_first(flags),
        help=_with_default(help_text, default, is_switch, is_required and not is_word),
        metavar="" if is_switch else shown or (name.upper() if is_word else describe_kind(kind)),
        group="arguments" if is_word else "options",
        choices=choices,
        completes="file" if is_path(main_kind(kind)) else "",
        repeats=takes_rest or repeats(kind),
        places=("toml",),
    )
    return Parameter(name, kind, option, is_required, takes_rest)


def _read_texts(kind: Any, where: str) -> tuple[tuple[str, ...], str, str]:
    """Return the spellings, what stands for the value, and the help in the texts of ``Annotated``."""
    flags: list[str] = []
    metavar = help_text = ""
    for text in _texts_in(kind):
        if text.startswith("-"):
            for word in text.replace(",", " ").split():
                if not word.startswith("-"):
                    metavar = word
                elif _is_flag(word):
                    flags.append(word)
                else:
                    raise ConfigurationError(f'{where}: "{word}": wanted a spelling such as -p or --port')
        elif text.isupper() and " " not in text:
            metavar = text
        else:
            help_text = text
    return tuple(flags), metavar, help_text


def _texts_in(kind: Any) -> list[str]:
    if get_origin(kind) is Annotated:
        return [*_texts_in(get_args(kind)[0]), *(text for text in kind.__metadata__ if isinstance(text, str))]
    members = members_of(kind)
    return [text for member in members if member is not kind for text in _texts_in(member)]


def _is_flag(word: str) -> bool:
    body = word.lstrip("-")
    dashes = len(word) - len(body)
    plain = body.replace("-", "").replace("_", "").isalnum() and word.isascii()
    return plain and (dashes == 2 or (dashes == 1 and len(body) == 1))


def _short_first(flags: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(dict.fromkeys(flags), key=lambda flag: flag.startswith("--")))


def _with_default(help_text: str, default: Any, is_switch: bool, is_required: bool) -> str:
    """Return the help with what holds where nothing is given, unless it says that itself."""
    if is_required:
        return f"{help_text} (required)".strip()
    if default is _NOTHING or "(default" in help_text or (not default and type(default) not in (int, float)):
        return help_text
    shown = "yes" if is_switch else default
    if isinstance(default, float):
        shown = f"{default:g}"
    elif isinstance(default, Enum):
        shown = default.name
    return f"{help_text} (default: {shown})".strip()


def _check_flags(parameters: Iterable[Parameter], plugin: str) -> None:
    owners = {"--help": "what shows this help"}
    for each in parameters:
        for flag in each.option.flags:
            other = owners.setdefault(flag, each.name)
            if other != each.name:
                raise ConfigurationError(
                    f"plugin {plugin}: {each.name}: {flag} is taken by {other}: give another spelling"
                )
