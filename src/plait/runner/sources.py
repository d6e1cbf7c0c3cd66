"""
Where settings come from: the command line, the environment, a file; and which of them wins.

What is nearer to the person who starts it wins: the command line, ``--set``, the environment, the file of
``--env-file``, ``plait.toml``, the default.  Each place is read by the same options, so each knows all settings.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from typing import Any

from plait.errors import ConfigurationError, UsageError
from plait.runner.environment import Found, add_variables, read_environment
from plait.runner.options import Option, nearest, option_fields, read_flag
from plait.runner.settings import COMMAND_LINE, FILE, RIVALS, Assignment, Settings

#: The table in it that holds settings.
TABLE = "plaitd"


def gather(
    program: str, options: Sequence[Option], given: Mapping[str, Any], environ: MutableMapping[str, str]
) -> Settings:
    """
    Return the settings for *program*, of whose *options* some were *given* on its command line.

    What ``--env-file`` names is added to *environ*.  Raises `ConfigurationError` for what cannot be used, and
    `UsageError` for ``--set``.
    """
    known = {option.name: option for option in option_fields(Settings)}
    command_line: Found = {name: (value, COMMAND_LINE) for name, value in given.items()}
    environment = read_environment(known.values(), environ)
    above = environment | command_line
    texts, origin = above.get("set", ((), ""))
    try:
        typed, assignments = read_assignments(known, texts, program)
    except UsageError as error:
        if origin == COMMAND_LINE:
            raise
        raise ConfigurationError(f"{origin}: {str(error).removeprefix('--set ')}") from None
    file, tables = read_file(known, above.get("config"))
    name = (file | above | typed).get("env_file")
    added = read_environment(known.values(), add_variables(*name, environ), f" in {name[0]}") if name else {}
    # From the weakest to the strongest, each taking away what it makes meaningless in those before.
    found: Found = {}
    for source in (file, added, environment, typed, command_line):
        for rivals in RIVALS:
            if any(rival in source for rival in rivals):
                for rival in rivals:
                    found.pop(rival, None)
        found |= source
    # What the others say to the daemon is no mistake of a program that takes less.
    taken = {option.name for option in options}
    found = {name: value for name, value in found.items() if name in taken or name in given}
    return Settings(
        **{name: value for name, (value, _) in found.items()},
        assignments=(*tables, *assignments),
        origins=tuple((name, origin) for name, (_, origin) in found.items() if name in known),
    )


# plait.toml and --set -----------------------------------------------------------------------------------------------


def read_file(known: Mapping[str, Option], config: tuple[str, str] | None) -> tuple[Found, list[Assignment]]:
    """Return the settings in the file that *config* names, or in ``plait.toml`` if it is here, and its other values."""
    path = config[0] if config else FILE
    if not path or not (config or os.path.lexists(path)):
        return {}, []
    import tomllib

    try:
        with open(path, "rb") if config else open(path, "rb", opener=_open_at_once) as file:
            if not config:
                _refuse_planted(path, os.fstat(file.fileno()))
            tables = tomllib.load(file)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror}): give the path of a TOML file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigurationError(f"{path}: is not TOML ({error}): correct the file") from None
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise ConfigurationError(f"{path}: {name}: stands outside of a table: put it under [{TABLE}] or [app]")
        if near := _near_miss(name):
            raise ConfigurationError(
                f"{path}: [{name}]: nobody reads this table, did you mean [{near}]?: correct the file"
            )
    found = _read_table(known, tables.pop(TABLE, {}), path)
    return found, list(_flatten(tables, (), path))


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # not a pipe that nobody writes to


def _refuse_planted(path: str, status: os.stat_result) -> None:
    # It can name code to run, and nobody asked for it: in /tmp it could be anybody's.
    problem = ""
    if not stat.S_ISREG(status.st_mode):
        problem = "is not a file"
    elif status.st_uid not in (0, os.geteuid()):
        problem = f"belongs to another user (uid {status.st_uid})"
    elif status.st_mode & stat.S_IWOTH:
        problem = "can be written by everybody"
    if problem:
        raise ConfigurationError(
            f"{path}: {problem}, and somebody may have planted it: "
            f"give --config {path} if it is yours, or --config= to leave it out"
        )


def _near_miss(name: str) -> str:
    """Return the table that was meant by *name*, if it is none of ours, nearly one, and no plugin has it."""
    if name in (TABLE, "app"):
        return ""
    import difflib

    near = difflib.get_close_matches(name, (TABLE, "app"), n=1, cutoff=0.8)
    if not near:
        return ""  # a plugin's, which may be installed elsewhere
    from plait.runner.entry_points import scan
    from plait.runner.plugins import GROUP

    return "" if any(name == each.name for each in scan(GROUP)) else near[0]


def _read_table(known: Mapping[str, Option], table: Mapping[str, Any], path: str) -> Found:
    names = {name: option for name, option in known.items() if "toml" in option.places and not option.dropped}
    found: Found = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        if name not in names:
            raise ConfigurationError(
                f"{path}: {TABLE}.{key}: no such setting{nearest(name, list(names))}: see plaitd --help"
            )
        option = names[name]
        try:
            found[name] = (_read_data(option, value, os.path.dirname(path)), path)
        except UsageError as error:
            raise ConfigurationError(f"{path}: {TABLE}.{key}: {error}: correct the file") from None
    return found


def _read_data(option: Option, value: Any, folder: str) -> Any:
    """Return what a value of TOML means to *option*."""
    if option.is_flag:
        if not isinstance(value, bool):
            raise UsageError(f"{value!r}: wanted true or false")
        return value
    if option.repeats:
        items = value if isinstance(value, list) else [value]
        return tuple(option.read(_as_text(option, item)) for item in items)
    text = _as_text(option, value)
    if option.completes in ("file", "folder") and text not in ("", "-"):
        text = os.path.join(folder, text)  # a path means what it means where it was written
    return option.read(text)


def _as_text(option: Option, value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and option.name != "umask":
        return str(value)
    # A mask without quotes would be a decimal number that looks like another one.
    wanted = "an octal mask in quotes, such as '022'" if option.name == "umask" else "a text in quotes"
    raise UsageError(f"{value!r}: wanted {wanted}")


def _flatten(table: Mapping[str, Any], path: tuple[str, ...], origin: str) -> Iterable[Assignment]:
    for key, value in table.items():
        if isinstance(value, dict) and value:
            yield from _flatten(value, (*path, key), origin)
        else:
            yield Assignment((*path, key), value, origin)


def read_assignments(known: Mapping[str, Option], texts: Iterable[str], program: str) -> tuple[Found, list[Assignment]]:
    """Return the settings, and the other values, in *texts* such as ``app.port=80``; raises `UsageError`."""
    from plait.runner.places import Text

    found: Found = {}
    rest: list[Assignment] = []
    for text in texts:
        name, equals, value = text.partition("=")
        path = tuple(name.split("."))
        if not equals or len(path) < 2 or not all(path):
            raise UsageError(f"--set {text}: wanted NAME.KEY=VALUE, such as app.port=80: see {program} --help")
        if path[0] != TABLE:
            if near := _near_miss(path[0]):
                raise UsageError(f"--set {text}: nobody reads {path[0]}, did you mean {near}?: see {program} --help")
            table = read_value(value) if value.startswith("{") else None
            if isinstance(table, dict) and table:
                rest += _flatten(table, path, f"--set {name}")
            else:
                rest.append(Assignment(path, Text(value), f"--set {name}"))  # read by who knows the type
            continue
        try:
            found |= {
                key: (given[0], f"--set {name}")
                for key, given in _read_table(known, {".".join(path[1:]): _typed(known, path, value)}, "").items()
            }
        except ConfigurationError as error:
            said = str(error).partition(": ")[2].removesuffix(": correct the file").removesuffix(": see plaitd --help")
            raise UsageError(f"--set {text}: {said}: see {program} --help") from None
    return found, rest


def _typed(known: Mapping[str, Option], path: tuple[str, ...], text: str) -> Any:
    """Return *text* as a table would have it: settings are read from texts, but for flags and lists."""
    option = known.get(path[1].replace("-", "_"))
    if option is None or not (option.is_flag or option.repeats):
        return text
    if option.is_flag and text.lower() in ("yes", "on", "1", "no", "off", "0"):
        return read_flag(text)
    return read_value(text)


def read_value(text: str) -> Any:
    """Return *text* as the value that TOML makes of it, or as it is where it makes none."""
    import tomllib

    try:
        return tomllib.loads(f"value = {text}")["value"] if "\n" not in text else text
    except (tomllib.TOMLDecodeError, RecursionError):
        return text


def table_of(assignments: Iterable[Assignment], name: str) -> tuple[dict[str, Any], dict[str, str]]:
    """
    Return the table *name* that *assignments* make, the later ones over the earlier.

    The second mapping has the words for each value that came from elsewhere than a file, by its path:
    ``{"app.port": "--set app.port"}``.
    """
    table: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for assignment in assignments:
        if assignment.path[0] != name:
            continue
        inner = table
        for key in assignment.path[1:-1]:
            if not isinstance(inner.get(key), dict):
                inner[key] = {}
            inner = inner[key]
        if len(assignment.path) > 1:
            inner[assignment.path[-1]] = assignment.value
        if assignment.origin.startswith("--set "):
            origins[".".join(assignment.path)] = assignment.origin
    return table, origins
