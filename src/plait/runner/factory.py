"""
A function that makes an application, and the configuration that it wants: a dataclass, filled from ``[app]``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any

from plait.errors import ConfigurationError
from plait.runner.names import failed
from plait.values import Value, value


@value
class AppTable(Value):
    """
    The table ``[app]``: the application's own configuration.

    *source* is the file that it stands in, *origins* has the words for those values that came from elsewhere:
    ``{"app.port": "--set app.port"}``.
    """

    data: Mapping[str, Any] = field(default_factory=dict, hash=False)
    source: str = "plait.toml"
    origins: Mapping[str, str] = field(default_factory=dict, hash=False)


def call(factory: Callable[..., Any], where: str, app: AppTable) -> Any:
    """
    Return what *factory* makes: of nothing, or of the dataclass that its one parameter is annotated with.

    What is wrong with a value is told by where it stands, what is wrong with the function by its name, *where*.
    """
    parameter = find_parameter(factory, where)
    given: dict[str, Any] = {}
    if parameter is None:
        refuse_unused(where, app)
    else:
        from plait.runner.typed import Place, make

        kind = find_dataclass(factory, parameter, where)
        given = {parameter.name: make(kind, app.data, Place(app.source, "app", app.origins))}
    try:
        if parameter is not None and parameter.kind is parameter.POSITIONAL_ONLY:
            return factory(*given.values())
        return factory(**given)
    except (Exception, SystemExit) as error:
        raise failed(where, error) from error


def find_parameter(factory: Callable[..., Any], where: str) -> inspect.Parameter | None:
    """Return the parameter of *factory* that wants the configuration: the only one that must be given, or the first."""
    try:
        parameters = [
            item
            for item in inspect.signature(factory).parameters.values()
            if item.kind not in (item.VAR_POSITIONAL, item.VAR_KEYWORD)
        ]
    except (TypeError, ValueError):
        return None  # written in C: taken at its word
    needed = [item for item in parameters if item.default is item.empty]
    if len(needed) > 1:
        names = ", ".join(item.name for item in needed)
        raise ConfigurationError(f"{where}: wants {len(needed)} arguments ({names}): make them one, a dataclass")
    if needed:
        return needed[0]
    first = parameters[0] if parameters else None
    if first is not None and isinstance(_kind_of(factory, first), type) and _is_dataclass(_kind_of(factory, first)):
        return first
    return None


def find_dataclass(factory: Callable[..., Any], parameter: inspect.Parameter, where: str) -> Any:
    """Return the dataclass that *parameter* is annotated with, or refuse what it has instead."""
    if parameter.annotation is parameter.empty:
        raise ConfigurationError(
            f"{where}: its parameter {parameter.name} has no annotation: give it that of a dataclass, which [app] fills"
        )
    kind = _kind_of(factory, parameter)
    if not _is_dataclass(kind):
        told = getattr(kind, "__name__", None) or getattr(kind, "text", None) or str(kind)
        raise ConfigurationError(f"{where}: its parameter {parameter.name} is annotated {told}: make it a dataclass")
    return kind


def refuse_unused(where: str, app: AppTable) -> None:
    """Raise `ConfigurationError` if there is a configuration, and *where* nobody wants it."""
    if app.data:
        from plait.runner.places import Place, wrong

        place = Place(app.source, "app", app.origins).at(next(iter(app.data)))
        raise wrong(place, f"{where} takes no configuration: take it out, or make a function of one dataclass")


def _kind_of(factory: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    from plait.runner.kinds import kinds_of, main_kind

    function = inspect.unwrap(factory)
    while hasattr(function, "func"):  # functools.partial
        function = function.func
    if not inspect.isroutine(function):
        function = type(function).__call__
    return main_kind(kinds_of(function).get(parameter.name))


def _is_dataclass(kind: Any) -> bool:
    from plait.runner.kinds import is_record

    return is_record(kind)
