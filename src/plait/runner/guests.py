"""
Guests: frameworks whose applications plaitd runs, found by entry points and loaded when one is met
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any

from plait.errors import ConfigurationError
from plait.values import replace

if TYPE_CHECKING:
    from plait.runner.settings import Settings
    from plait.tree.application import Application
    from plait.tree.hosting import Hosting

#: The entry points that name a guest: the name of the framework's package, and an object as `find_guest` says.
GROUP = "plait.guests"


def find_guest(name: str, who: str) -> Any:
    """
    Return the guest called *name*, for *who* (a file, a plugin) needs it; raises `ConfigurationError` without it.

    It has these methods.  ``install()`` prepares this process before the framework is used.  ``load_file(path, given)``
    and ``load_saved(path, kind, given)`` return the `Application` of a file of the framework, ``load_plugin(name,
    arguments, given)`` that of one of its plugins, or None; ``adopt(found, where, given)`` that which something found
    elsewhere stands for, or None.  ``make_handler(made, path_of)`` returns a ``logging.Handler`` for one of its log
    observers, or None.  *given* are the settings that a person gave, by the names of their fields.
    """
    from plait.runner.entry_points import find

    offered = find(GROUP, name)
    if not offered:
        raise ConfigurationError(f"{who}: is for {name}, which this plaitd cannot host: pip install plait[{name}]")
    module, _, attribute = offered[0].target.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "plait":
            raise
        raise ConfigurationError(
            f"{who}: is for {name}, and the module {error.name!r} is not installed here: pip install plait[{name}]"
        ) from error


def given_of(settings: Settings) -> dict[str, Any]:
    """Return what a person gave of *settings*, by name."""
    return {name: getattr(settings, name) for name, _ in settings.origins}


def adopt(found: Any, where: str, settings: Settings | None) -> Application | None:
    """Return the application that *found* is in another framework, or None."""
    if type(found).__module__.partition(".")[0] in ("builtins", "plait") or "twisted" not in sys.modules:
        return None
    guest = find_guest("twisted", where)
    application: Application | None = guest.adopt(found, where, given_of(settings) if settings is not None else {})
    return application


def settle(settings: Settings, hosting: Hosting) -> Settings:
    """Return *settings* with what an application asks for and insists on."""
    said = {name for name, _ in settings.origins}
    asked = {name: value for name, value in hosting.asks if name not in said}
    return replace(settings, **asked | dict(hosting.insists))


class ReactorLoader:
    """Loads the module ``twisted.internet.reactor``: as the guest's reactor, for which it must come before others."""

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave it to Python."""

    def exec_module(self, module: ModuleType) -> None:
        """Put the reactor in the place of *module*."""
        sys.modules.pop(module.__name__, None)
        find_guest("twisted", module.__name__).install()
