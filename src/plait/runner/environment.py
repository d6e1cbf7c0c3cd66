"""
Settings in the environment, and in files of variables.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from typing import Any

from plait.errors import ConfigurationError, UsageError
from plait.runner.options import Option, read_flag
from plait.runner.settings import COMMAND_LINE

#: What each setting was given, and by whom.
Found = dict[str, tuple[Any, str]]


def read_environment(options: Iterable[Option], environ: Mapping[str, str], where: str = "") -> Found:
    """Return what variables say; raises `ConfigurationError`, also for what is nearly a name of one of ours."""
    mine = [name for name in environ if name.startswith("PLAIT_")]
    if not mine:
        return {}
    known = {option.variable: option for option in options if "env" in option.places and not option.dropped}
    found: Found = {}
    for name in mine:
        if name not in known:
            _refuse_near_miss(name, list(known), where)
            continue
        option, text = known[name], environ[name]
        try:
            value = (
                _read_words(option, text) if option.repeats else (read_flag if option.is_flag else option.read)(text)
            )
        except UsageError as error:
            raise ConfigurationError(f"{name}{where}: {error}: correct the variable, or unset it") from None
        found[option.name] = (value, f"{name}{where}")
    return found


def _read_words(option: Option, text: str) -> tuple[Any, ...]:
    """Read a list, as a shell would: words with spaces between them, and quotes around those that hold some."""
    import shlex

    try:
        return tuple(option.read(word) for word in shlex.split(text))
    except ValueError as error:
        raise UsageError(f"{text!r}: {str(error).lower()}") from None


def _refuse_near_miss(name: str, known: Sequence[str], where: str) -> None:
    # Not every stranger: Kubernetes names PLAIT_PORT and the like for a service called "plait", and NOTIFY_FD is ours.
    import difflib

    near = difflib.get_close_matches(name, known, n=1, cutoff=0.87)
    if near:
        raise ConfigurationError(
            f"{name}{where}: no such setting, did you mean {near[0]}?: correct the variable, or unset it"
        )


def add_variables(path: str, origin: str, environ: MutableMapping[str, str]) -> dict[str, str]:
    """
    Add the variables in the file at *path* to *environ*, where it has none of that name; return those that were added.

    The file has a line ``NAME=value`` for each, as python-dotenv reads it.  Raises `ConfigurationError`.
    """
    place = path if origin == COMMAND_LINE else f"{path} ({origin})"
    try:
        from dotenv.parser import parse_stream
    except ImportError:
        raise ConfigurationError(
            f"--env-file {place}: python-dotenv is not installed here: pip install plait[env], or leave it out"
        ) from None
    try:
        with open(path, encoding="utf-8") as file:
            lines = list(parse_stream(file))
    except OSError as error:
        raise ConfigurationError(
            f"--env-file {place}: cannot be read ({error.strerror}): give the path of a file with lines NAME=value"
        ) from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"--env-file {place}: is not UTF-8 text: correct the file") from None
    added: dict[str, str] = {}
    for line in lines:
        if line.error or (line.key is not None and (line.value is None or "\0" in line.key + line.value)):
            text = line.original.string
            number = line.original.line + text[: len(text) - len(text.lstrip())].count("\n")
            raise ConfigurationError(f"{path}:{number}: wanted NAME=value: correct the file")
        if line.key and line.value is not None and line.key not in environ:
            added[line.key] = line.value
    environ.update(added)
    return added
