"""
An application as TOML, which ``plaitd -f`` runs.

Nothing is written that would not be read back as an equal value: what was written is read, and compared.
"""

from __future__ import annotations

import dataclasses
import datetime
import tomllib
from collections.abc import Mapping
from enum import Enum
from os import PathLike, fspath
from typing import Any

import plait
from plait import Application, ConfigurationError, Endpoint, Group, Service, service
from plait.export.naming import Unnameable, find, name_of


async def _any(context: Any) -> None: ...


#: The kind of service that a decorated function is.
FUNCTION = type(service(_any))
#: What every service has.
SHARED = {item.name for item in dataclasses.fields(Service)}
#: Keys of a service's table that are not its fields.
KEYS = ("type", "use", "services")


class Unwritable(ConfigurationError):
    """A part of an application has no form in TOML; the message says which part, why, and what to do."""


def write(application: Application) -> str:
    """
    Return the text of a TOML file that describes *application*: to read it gives an equal value.

    Raises `ConfigurationError` for what cannot be written: a function without a name, an object that is no data.
    Needs the extra ``plait[toml]``.
    """
    try:
        import tomlkit
    except ModuleNotFoundError:
        raise ConfigurationError("export toml: needs the package tomlkit: pip install plait[toml]") from None

    def lay_out(table: Mapping[str, Any], out: Any) -> Any:
        for key, item in table.items():
            if key == "services":
                out[key] = tomlkit.aot()
                for inner in item:
                    out[key].append(lay_out(inner, tomlkit.table()))
            elif isinstance(item, dict):
                # A policy is read best beside the fields, on one line.
                out[key] = tomlkit.inline_table()
                out[key].update(item)
            else:
                out[key] = item
        return out

    text = tomlkit.dumps(lay_out(to_data(application), tomlkit.document()))
    # tomlkit is not sure about the empty lines; a line never begins inside of a text, whose line ends are escaped.
    text = "\n\n[[".join(part.rstrip("\n") for part in text.split("\n[[")) + "\n"
    check(application, text)
    return text


def to_data(application: Application) -> dict[str, Any]:
    """Return *application* as tables, lists, texts and numbers: what `plait.from_data` reads."""
    table = write_service(application, application.name)
    if type(application) is Application:
        del table["type"]
    return table


def write_service(value: Service[Any], path: str) -> dict[str, Any]:
    """Return the table of one service: what it is, its name, and the fields that are not at their defaults."""
    if type(value) is FUNCTION:
        return write_function(value, path)
    cls = type(value)
    table: dict[str, Any] = {"type": cls.__name__}
    if getattr(plait, cls.__name__, None) is not cls:
        table["type"] = write_name(cls, f"{path}: its class")
    table["name"] = value.name
    table |= write_fields(value, path, {"name", "children"} if isinstance(value, Group) else {"name"})
    if isinstance(value, Group) and len(value):
        table["services"] = [write_service(child, f"{path}/{child.name}") for child in value]
    return table


def write_function(value: Service[Any], path: str) -> dict[str, Any]:
    """Return the table of a decorated function: its name, and what differs from what stands under that name."""
    function: Any = value.function  # type: ignore[attr-defined]
    table = {"use": write_name(function, f"{path}: function", value), "name": value.name}
    known = find(table["use"])
    known = known if isinstance(known, Service) else service(known)
    for item in dataclasses.fields(value):
        given = getattr(value, item.name)
        if item.name not in ("name", "function") and given != getattr(known, item.name):
            table[item.name] = write_value(given, f"{path}: {item.name}")
    return table


def write_fields(value: Any, path: str, without: set[str]) -> dict[str, Any]:
    """Return those fields of a dataclass that are not at their defaults."""
    table: dict[str, Any] = {}
    items = [item for item in dataclasses.fields(value) if item.init and item.name not in without]
    # As a person writes them: what a service is about, then what it may have, then what every service may have.
    for item in sorted(items, key=lambda item: (item.kw_only is True, item.name in SHARED)):
        given = getattr(value, item.name)
        if _is_default(item, given):
            continue
        if isinstance(value, Service) and item.name in KEYS:
            raise Unwritable(f"{path}: {item.name}: a table has another use for this key: rename the field")
        table[item.name] = write_value(given, f"{path}: {item.name}")
    return table


def _is_default(item: dataclasses.Field[Any], given: Any) -> bool:
    default = item.default
    if item.default_factory is not dataclasses.MISSING:
        default = item.default_factory()
    return bool(given == default)


def write_value(value: Any, where: str) -> Any:
    """Return *value* as TOML has it; *where* is the path of the service and its field, for the sentence."""
    if value is None:
        return "none"
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, Service):
        return write_service(value, where)
    if isinstance(value, Endpoint):
        return str(value)
    if isinstance(value, str | PathLike):
        return write_text(fspath(value), where)
    if isinstance(value, bool | int | float | datetime.date | datetime.time):
        return value
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, Mapping):
        return {write_text(key, where): write_value(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [write_value(item, f"{where}[{number}]") for number, item in enumerate(value)]
    if isinstance(value, set | frozenset):
        return [write_value(item, where) for item in sorted(value, key=repr)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return write_fields(value, where, set())
    return write_name(value, where)


def write_text(text: Any, where: str) -> str:
    """Return *text*, which must be one that a file in UTF-8 can hold."""
    try:
        return str(text) if text.encode() else ""
    except (AttributeError, UnicodeEncodeError):
        raise Unwritable(f"{where}: {text!r} is no text that TOML can hold: give another") from None


def write_name(value: Any, where: str, decorated: Service[Any] | None = None) -> str:
    """Return the name of a function or a class; *decorated* is the service that may have taken its place."""
    try:
        return name_of(value, decorated)
    except Unnameable as error:
        raise Unwritable(f"{where}: {error}") from None


def check(application: Application, text: str) -> None:
    """Raise `Unwritable` unless *text* is read as *application*."""
    try:
        read = plait.from_data(tomllib.loads(text))
    except ConfigurationError as error:
        raise Unwritable(f"{application.name}: would not be read again: {error}") from error
    for (path, value), (_, other) in zip(application.walk(), read.walk(), strict=False):
        for item in dataclasses.fields(value):
            given = getattr(value, item.name)
            found = getattr(other, item.name, None)
            if item.name != "children" and item.compare and given != found:
                raise Unwritable(f"{path}: {item.name}: {given!r} would be read as {found!r}: give what TOML has")
    if read != application:
        raise Unwritable(f"{application.name}: would be read as another value: write it in Python")
