"""
A name to an Application.
"""

from __future__ import annotations

import os
import stat
import sys
import types
from typing import TYPE_CHECKING, Any

from plait.errors import ConfigurationError, PlaitError, UsageError
from plait.tree.application import Application
from plait.tree.service import Service

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

    from plait.runner.factory import AppTable
    from plait.runner.settings import Settings

#: The variable that a straight Python file defines.
VARIABLE = "application"


def load(settings: Settings) -> Application:
    """Return the application that *settings* name."""
    given = [
        text
        for flag, text in (
            *(("", settings.target), ("-y ", settings.python)),
            *(("-f ", settings.file), ("-s ", settings.source)),
        )
        if text
        for text in [f"{flag}{text}"]
    ]
    if len(given) > 1:
        raise UsageError(f"{given[0]}: is given beside {given[1]}: give one of them")
    app = _app_of(settings)
    watch_imports()
    if settings.python:
        return load_file(settings.python, settings.import_folder, app, settings)
    if settings.asks_for_plugin:
        return _load_plugin(settings)
    if settings.source or is_pickled(settings.file):
        from plait.runner.guests import load_saved

        return to_application(load_saved(settings), settings.source or settings.file, app)
    if settings.file or settings.target.endswith(".toml"):
        return load_toml(settings.file or settings.target, settings.import_folder, app)
    if settings.target:
        return load_name(settings.target, app)
    raise UsageError("nothing to run: give -y FILE, -f FILE, module:attribute or a plugin: see plaitd --help")


def _load_plugin(settings: Settings) -> Application:
    """Return the application of the plugin that *settings* name: one of plait's, or else one of Twisted's."""
    from plait.runner import plugins

    if settings.is_for_twisted or not plugins.is_known(settings.target):
        from plait.runner import guests

        application = guests.load_plugin(settings)
        if application is not None:
            return application
        if settings.twisted:
            raise plugins.unknown(settings.target, is_of_twisted=True)
    return plugins.load_plugin(settings.target, settings.arguments, settings.assignments)


def _app_of(settings: Settings) -> AppTable | None:
    """Return the table ``[app]`` of ``plait.toml`` and ``--set``, or None if there is none."""
    given = [item for item in settings.assignments if item.path[0] == "app" and len(item.path) > 1]
    if not given:
        return None
    from plait.runner.factory import AppTable
    from plait.runner.sources import table_of

    table, origins = table_of(given, "app")
    files = [item.origin for item in given if not item.origin.startswith("--set ")]
    return AppTable(table, files[0] if files else "plait.toml", origins)


def load_file(
    path: str, import_folder: bool = False, app: AppTable | None = None, settings: Settings | None = None
) -> Application:
    """
    Run the straight Python file at *path* and return the `Application` that it calls ``application``.

    The file runs as a module of its own name, so that what it defines can be pickled.  With *import_folder* it can
    import what lies beside it.  An error in it is told by the line of the file.  *app* is for a function that wants it.

    A file of Twisted's is run as Twisted runs it, for which *settings* are.
    """
    name = _module_name(path)
    try:
        source = read_whole(path)
        is_guest = (settings is not None and settings.is_for_twisted) or is_of_twisted(path, source)
        code = None if is_guest else compile(source, path, "exec", dont_inherit=True)
    except (SyntaxError, OSError, ValueError) as error:
        raise _unusable(path, error) from error
    if import_folder:
        sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    if code is None:
        return _load_twisted(path, source, import_folder, app, settings)
    module = types.ModuleType(name)
    module.__file__ = os.path.abspath(path)
    sys.modules[name] = module
    try:
        exec(code, module.__dict__)  # noqa: S102 - running that file is what was asked for
    except BaseException as error:
        raise _failed(path, error, import_folder) from error
    if VARIABLE not in module.__dict__:
        from plait.runner.names import nearest

        near = nearest(VARIABLE, module.__dict__)
        raise ConfigurationError(f"{path}: defines no variable `{VARIABLE}`{near}: write {VARIABLE} = Application(...)")
    return to_application(module.__dict__[VARIABLE], f"{path}: {VARIABLE}", app)


def read_whole(path: str) -> bytes:
    """
    Return what is in the file at *path*; raises `OSError`, also for a pipe that nobody writes to, or wrote nothing to.

    One that a shell makes, as for ``-y <(make-it)``, is read to its end; it can be read once.
    """
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        os.set_blocking(file.fileno(), True)
        content = file.read()
        if not content and stat.S_ISFIFO(os.fstat(file.fileno()).st_mode):
            raise OSError(0, "it is a pipe, and nobody writes to it")
        return content


class GuestFinder:
    """For ``sys.meta_path``: whoever imports the module of a guest's reactor gets the one that runs on plait's loop."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Return how that one module is loaded."""
        if name != "twisted.internet.reactor":
            return None
        from importlib.machinery import ModuleSpec

        from plait.runner.guests import ReactorLoader

        return ModuleSpec(name, ReactorLoader())  # type: ignore[arg-type]  # a loader in all but its base


def watch_imports() -> None:
    """See to it that a guest's reactor is there when somebody first imports it, whatever imports it."""
    if GuestFinder not in sys.meta_path:
        sys.meta_path.insert(0, GuestFinder)


def is_of_twisted(path: str, source: bytes) -> bool:
    """Say whether the file at *path* is one of Twisted's: by its name, or because it speaks of Twisted, not of us."""
    return path.endswith((".tac", ".etac")) or (b"twisted" in source and b"plait" not in source)


def _load_twisted(
    path: str, source: bytes, import_folder: bool, app: AppTable | None, settings: Settings | None
) -> Application:
    from plait.runner.guests import find_guest, given_of
    from plait.runner.names import find_line

    guest = find_guest("twisted", path)
    try:
        found = guest.load_file(path, source, given_of(settings) if settings is not None else {})
    except SystemExit:
        raise  # it is the file's right
    except BaseException as error:
        if isinstance(error, PlaitError) and not find_line(error):
            raise  # about the file, and not from within
        raise _failed(path, error, import_folder) from error
    return to_application(found, f"{path}: {VARIABLE}", app)


def _failed(path: str, error: BaseException, import_folder: bool) -> ConfigurationError:
    """Tell what went wrong in the file at *path*; a signal passes."""
    from plait.runner.names import failed

    if isinstance(error, ModuleNotFoundError) and not import_folder and _lies_beside(path, error.name):
        return failed(path, error, "it lies beside the file: give --import-folder")
    if isinstance(error, ModuleNotFoundError):
        return failed(path, error, "install what has it, or correct the name")
    return failed(path, error)


def is_pickled(path: str) -> bool:
    """Say whether the file at *path* is an application that was pickled: by its name, or by its first byte."""
    if path.endswith((".tap", ".etap")):
        return True
    if path.endswith(".toml") or not os.path.isfile(path):  # what is read of a pipe is gone
        return False
    try:
        with open(path, "rb") as file:
            return file.read(1) == b"\x80"
    except OSError:
        return False  # whoever reads it says so


def _lies_beside(path: str, module: str | None) -> bool:
    place = os.path.join(os.path.dirname(os.path.abspath(path)), *(module or ".").split("."))
    return os.path.isdir(place) or os.path.isfile(f"{place}.py")


def load_name(target: str, app: AppTable | None = None) -> Application:
    """
    Import *target*, written ``module:attribute``, and return the `Application` found there.

    A function is called: without arguments, or with the dataclass that it wants, made of *app*.
    """
    from plait.runner.names import find

    return to_application(find(target), target, app)


def load_toml(path: str, import_folder: bool = False, app: AppTable | None = None) -> Application:
    """
    Return the `Application` that the TOML file at *path* describes.

    What it names is found from the present folder, and with *import_folder* from its own.
    """
    from plait.runner.description import read_file

    if import_folder:
        sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    application = read_file(path)
    return to_application(application, path, app)


def to_application(found: Any, where: str, app: AppTable | None = None) -> Application:
    """Return *found* as an `Application`: one already, a service to wrap, or a function that makes either."""
    if callable(found) and not isinstance(found, Service | type):
        from plait.runner.factory import AppTable, call

        found = call(found, where, app or AppTable())
    elif app is not None:
        from plait.runner.factory import refuse_unused

        refuse_unused(where, app)
    if isinstance(found, Application):
        return found
    if isinstance(found, Service):
        return Application(found.name, [found])
    from plait.runner.guests import adopt

    adopted = adopt(found, where, None)
    if adopted is not None:
        return adopted
    if isinstance(found, types.CoroutineType):
        found.close()  # it would be complained about, once more and in other words
    from plait.runner.names import show_type

    raise ConfigurationError(f"{where}: is {show_type(found)}, not an Application: make it a plait.Application")


def _unusable(path: str, error: SyntaxError | OSError | ValueError) -> ConfigurationError:
    """Tell why the file at *path* could not be read, or is no Python."""
    if isinstance(error, SyntaxError):
        from plait.runner.names import misspelt

        return misspelt(path, error)
    if isinstance(error, OSError):
        return ConfigurationError(f"{path}: cannot be read ({error.strerror}): give the path of a Python file")
    return ConfigurationError(f"{path}: is no Python source ({error}): give the path of a Python file")


def _module_name(path: str) -> str:
    stem = os.path.splitext(os.path.basename(path))[0].replace("-", "_").replace(".", "_")
    if not stem.isidentifier() or stem in sys.modules or stem in sys.stdlib_module_names:
        return f"application_{stem}"
    return stem
