"""
Guests: frameworks whose applications plaitd runs, found by entry points and loaded when one is met
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any

from plait.errors import ConfigurationError, PlaitError, UsageError
from plait.runner.settings import APPLICATION
from plait.values import replace

if TYPE_CHECKING:
    from plait.runner.log_settings import LogSettings
    from plait.runner.settings import Settings
    from plait.runner.signals import Signals
    from plait.tree.application import Application
    from plait.tree.hosting import Hosting

#: The entry points that name a guest: the name of the framework's package, and an object as `find_guest` says.
GROUP = "plait.guests"


def find_guest(name: str, who: str) -> Any:
    """
    Return the guest called *name*, for *who* (a file, a plugin) needs it; raises `ConfigurationError` without it.

    It has these methods.  ``install()`` prepares this process before the framework is used.  ``load_file(path, source,
    given)`` and ``load_saved(path, kind, given)`` return the `Application` of a file of the framework,
    ``load_plugin(name, arguments, given, failed)`` that of one of its plugins, or None; ``adopt(found, where, given)``
    that which something found elsewhere stands for, or None.  ``list_plugins()`` returns the name and a line about each
    plugin.  ``make_handler(made, path_of)`` returns a ``logging.Handler`` for one of its log observers, or None.
    *given* are the settings that a person gave, by the names of their fields; *failed* is `plait.runner.names.failed`.
    """
    from importlib.util import find_spec

    from plait.runner.entry_points import find

    offered = find(GROUP, name)
    if not offered:
        raise ConfigurationError(f"{who}: is for {name}, which this plaitd cannot host: pip install plait[{name}]")
    module, _, attribute = offered[0].target.partition(":")
    missing, cause = name, None
    if find_spec(name) is not None:
        try:
            return getattr(import_module(module), attribute)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] == "plait":
                raise
            missing, cause = str(error.name), error
    raise ConfigurationError(
        f"{who}: is for {name}, and the module {missing!r} is not installed here: pip install plait[{name}]"
    ) from cause


def given_of(settings: Settings) -> dict[str, Any]:
    """Return what a person gave of *settings*, by name, and whether it stays in the foreground, for whatever reason."""
    from plait.process.prepare import should_daemonize

    given = {name: getattr(settings, name) for name, _ in settings.origins}
    daemonizes = should_daemonize(settings.asked_to_daemonize(), os.environ, os.getpid())
    return given | {"nodaemon": not daemonizes}


def load_saved(settings: Settings) -> Any:
    """Return the application that Twisted saved in the file that *settings* name."""
    kind = "source" if settings.source else "pickle"
    path = settings.source or settings.file
    return find_guest("twisted", path).load_saved(path, kind, given_of(settings))


def load_plugin(settings: Settings) -> Application | None:
    """
    Return the application of the Twisted plugin that *settings* name, or None if there is none of that name.

    Without Twisted there is none, unless it was said that the name is one of its plugins.
    """
    from importlib.util import find_spec

    from plait.runner.names import failed

    name = settings.target
    if not settings.twisted and find_spec("twisted") is None:
        return None
    guest = find_guest("twisted", name)
    with told(f"plugin {name} of Twisted"):
        made: Application | None = guest.load_plugin(name, settings.arguments, given_of(settings), failed)
        return made


def list_plugins() -> list[tuple[str, str]]:
    """Return the name of each plugin of Twisted, and a line about it, read off their sources."""
    found: list[tuple[str, str]] = find_guest("twisted", "--twisted").list_plugins()
    return found


@contextmanager
def told(where: str) -> Iterator[None]:
    """Tell what fails inside, in people's code, in a sentence that begins with *where*."""
    from plait.runner.names import failed

    try:
        yield
    except UsageError:
        raise  # it has the name
    except PlaitError as error:
        raise type(error)(f"{where}: {error}") from error
    except ModuleNotFoundError as error:
        raise _told(where, failed(where, error, f"install what has the module {error.name!r}")) from error
    except SystemExit:
        raise  # plugins end the program so
    except BaseException as error:
        raise _told(where, failed(where, error)) from error


def _told(where: str, error: PlaitError) -> PlaitError:
    text = str(error)
    return error if text.startswith(where) else type(error)(f"{where}: {text}")


def adopt(found: Any, where: str, settings: Settings | None) -> Application | None:
    """Return the application that *found* is in another framework, or None."""
    if type(found).__module__.partition(".")[0] in ("builtins", "plait") or "twisted" not in sys.modules:
        return None
    guest = find_guest("twisted", where)
    application: Application | None = guest.adopt(found, where, given_of(settings) if settings is not None else {})
    return application


def make_handler(made: Any, who: str, path_of: Callable[[], str]) -> logging.Handler | None:
    """Return a handler for *made* if it is a log observer of another framework, or None."""
    if "twisted" not in sys.modules or not callable(made):
        return None
    handler: logging.Handler | None = find_guest("twisted", who).make_handler(made, path_of)
    return handler


def settle(settings: Settings, hosting: Hosting) -> Settings:
    """Return *settings* with what an application asks for and insists on."""
    said = dict(settings.origins)
    asked = {name: value for name, value in hosting.asks if name not in said}
    if settings.originalname:
        asked.pop("title", None)
    asked |= dict(hosting.insists)
    return replace(settings, **asked, origins=tuple((said | dict.fromkeys(asked, APPLICATION)).items()))


def settle_log(settings: LogSettings, hosting: Hosting) -> LogSettings:
    """Return *settings* without a file where the application has a log of its own; ``--logger`` comes before it."""
    return settings if hosting.make_handler is None or settings.logger else replace(settings, file="-")


class Begun:
    """
    What an application with *hosting* begins before there is a tree: while it is loaded, and in its privileged start.

    A stop of that takes *stop_timeout* seconds at the most.
    """

    def __init__(self, hosting: Hosting, signals: Signals, stop_timeout: float | None) -> None:
        self._hosting = hosting
        self._signals = signals
        self._stop_timeout = stop_timeout

    def start_privileged(self) -> None:
        """Do the privileged start, unless a signal to stop has come; one that comes meanwhile bounds it."""
        start = self._hosting.start_privileged
        if start is not None and not self._signals.stops:
            with self._signals.bounding(self._stop_timeout):
                start()

    def undo(self) -> None:
        """Put away what was begun: there will be no tree."""
        from plait.runner.ending import Ending

        Ending(self._stop_timeout).watch()
        try:
            self._hosting.finish()
        except PlaitError:
            pass  # why there is no tree counts more

    @contextmanager
    def undone(self) -> Iterator[None]:
        """Undo it where the process cannot be prepared, whatever the reason."""
        try:
            yield
        except BaseException:
            self.undo()
            raise


class ReactorLoader:
    """Loads the module ``twisted.internet.reactor``: as the guest's reactor, for which it must come before others."""

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave it to Python."""

    def exec_module(self, module: ModuleType) -> None:
        """Put the reactor in the place of *module*."""
        sys.modules.pop(module.__name__, None)
        find_guest("twisted", module.__name__).install()
