"""
An application as data: what a TOML file describes, as an Application.

A service is a table: its *type* and its fields, which are those of the dataclass, by their names.  A group has its
*services*.  What exists in Python already is named: *use* is a service, and every function is its ``module:name``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from plait.errors import ConfigurationError
from plait.runner.data import build, call, check_missing, read_data, read_fields
from plait.runner.kinds import origin_of
from plait.runner.loader import read_whole
from plait.runner.names import find, show_type
from plait.runner.places import Place, did_you_mean, refuse, show, tell, wrong
from plait.tree.application import Application, Group
from plait.tree.service import Service, service

#: Files that Twisted wrote, which hold a program and not a description.
PICKLES = (".tap", ".tas", ".tax", ".etap", ".pickle")
A_SERVICE = 'a table such as {type = "Listener", ...} or the module:name of a service'


def read_file(path: str) -> Application:
    """Return the application that the TOML file at *path* describes; every mistake is told with its place in it."""
    try:
        content = read_whole(path)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"{path}: cannot be read ({why}): give the path of a TOML file") from None
    if path.endswith(PICKLES) or content.startswith(b"\x80"):
        raise ConfigurationError(
            f"{path}: is an application that Twisted saved, and those are not run: describe it in Python, and give that"
            " with -y, or in TOML"
        )
    if path.endswith((".py", ".tac")):
        raise ConfigurationError(f"{path}: is Python: give it with -y {path}")
    data = read_toml(content, path)
    if "services" not in data and any(isinstance(data.get(name), dict) for name in ("plaitd", "app")):
        raise ConfigurationError(f"{path}: has settings and no services: give it with --config {path}")
    return from_data(data, path)


def read_toml(content: bytes, path: str) -> dict[str, Any]:
    """Return the tables in *content*; raises `ConfigurationError` with the line."""
    import re
    import tomllib

    try:
        return tomllib.loads(content.decode())
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(f"{path}:{line}: is not UTF-8: save the file as UTF-8") from None
    except RecursionError:
        raise ConfigurationError(f"{path}: is nested too deep: correct the file") from None
    except ValueError as error:
        place = path
        words = str(error)
        if found := re.search(r" \(at line (\d+), column \d+\)$", words):
            words, place = words[: found.start()], f"{path}:{found[1]}"
        raise wrong(place, f"{words}: correct the file") from None


def from_data(data: Mapping[str, Any], where: str = "") -> Application:
    """
    Return the application that *data* describes, as TOML or JSON gives it: tables, lists, texts and numbers.

    ``plait.export.toml`` writes such data.  Raises `ConfigurationError`; its sentence begins with *where* the data came
    from, and the place in it.
    """
    place = Place(where)
    if not isinstance(data, Mapping):
        raise refuse(where, tell(data), "a table with a name and services")
    cls: type[Service[Any]] = Application
    if "type" in data:
        cls = find_type(data["type"], place.at("type"))
        if not issubclass(cls, Application):
            raise refuse(place.at("type"), show(data["type"]), "an Application, or nothing")
    made = make_service(cls, {key: item for key, item in data.items() if key != "type"}, place)
    assert isinstance(made, Application)
    return made


def read_service(data: Any, place: Place) -> Service[Any]:
    """Return the service that *data* describes or names."""
    if isinstance(data, str):
        return use(data, {}, place)
    if not isinstance(data, Mapping):
        raise refuse(place, tell(data), A_SERVICE)
    rest = {key: item for key, item in data.items() if key not in ("type", "use")}
    if "use" in data and "type" in data:
        raise wrong(place, "has a type, and use as well: leave one of them out")
    if "use" in data:
        return use(read_data(str, data["use"], place.at("use")), rest, place)
    if "type" not in data:
        near = next((f": {key} is nearly one" for key in rest if did_you_mean(key, ("type", "use"))), "")
        raise wrong(place, f'has no type{near}: give type = "Listener" or such, or use = "module:name"')
    return make_service(find_type(data["type"], place.at("type")), rest, place)


def make_service(cls: type[Service[Any]], table: Mapping[str, Any], place: Place) -> Service[Any]:
    """Return the service of *cls* whose fields *table* gives."""
    given = read_service_fields(cls, table, place)
    check_missing(cls, given, place)
    return build(cls, given, place)  # type: ignore[no-any-return]


def read_service_fields(cls: type[Service[Any]], table: Mapping[str, Any], place: Place) -> dict[str, Any]:
    """Return the values of those fields of *cls* that *table* gives."""
    if not issubclass(cls, Group):
        return read_fields(cls, table, place, read_inner, ("type",))
    if "children" in table:
        raise wrong(place.at("children"), "the children of a group are its services: write services")
    rest = {key: item for key, item in table.items() if key != "services"}
    given = read_fields(cls, rest, place, read_inner, ("services", "type"), ("children",))
    if "services" in table:
        given["children"] = read_services(table["services"], place.at("services"))
    return given


def read_services(data: Any, place: Place) -> tuple[Service[Any], ...]:
    """Return the services in a list; each is called by its name, or where it has none by its number, from 0."""
    if not isinstance(data, list | tuple):
        raise refuse(place, tell(data), f"a list of services, each {A_SERVICE}")
    found = []
    for number, item in enumerate(data):
        name = item.get("name") if isinstance(item, Mapping) else None
        found.append(read_service(item, place.at(name if isinstance(name, str) and name else number)))
    return tuple(found)


def read_inner(kind: Any) -> Callable[[Any, Place], Any] | None:
    """Return what reads a field that holds a service; None if *kind* is not one."""
    wanted = origin_of(kind)
    if not (isinstance(wanted, type) and issubclass(wanted, Service)):
        return None

    def read(data: Any, place: Place) -> Service[Any]:
        found = read_service(data, place)
        if not isinstance(found, wanted):
            raise refuse(place, f"is {show_type(found)}", f"a {wanted.__name__}")
        return found

    return read


def find_type(text: Any, place: Place) -> type[Service[Any]]:
    """Return the class that *text* names: a kind of service that plait has, or ``module:Class``."""
    import plait

    if not isinstance(text, str):
        raise refuse(place, tell(text), 'the kind of a service, such as "Listener"')
    if ":" in text:
        found = call(lambda target: find(target, "shop.web:Site"), text, place)
    elif text in plait.__all__:
        found = getattr(plait, text)
    else:
        near = did_you_mean(text, kinds_of_services())
        raise wrong(place, f"there is no service {show(text)}{near or ': there are ' + ', '.join(kinds_of_services())}")
    if not (isinstance(found, type) and issubclass(found, Service) and found is not Service):
        raise refuse(place, f"{show(text)} is no kind of service", f"one of {', '.join(kinds_of_services())}")
    if "__dataclass_fields__" not in vars(found) and inspect.get_annotations(found):
        raise wrong(place, f"{text} is no dataclass: decorate it with @dataclass(frozen=True)")
    return found


def kinds_of_services() -> list[str]:
    """Return the names of the kinds of service that plait has."""
    import plait

    found = [(name, getattr(plait, name)) for name in plait.__all__]
    return [
        name
        for name, item in found
        if isinstance(item, type) and issubclass(item, Service) and item not in (Service, Application)
    ]


def use(target: str, changes: Mapping[str, Any], place: Place) -> Service[Any]:
    """Return the service that *target* names, with *changes* to its fields; an async function becomes one."""
    found = call(lambda text: find(text, "shop.web:site"), target, place)
    if inspect.iscoroutinefunction(found):
        found = service(found)
    if not isinstance(found, Service):
        raise refuse(place, f"{target} is {show_type(found)}", "a service, such as @service makes of a function")
    given = read_service_fields(type(found), changes, place)
    return build(lambda **fields: replace(found, **fields), given, place) if given else found
