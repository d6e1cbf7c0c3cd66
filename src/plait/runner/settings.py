"""
Every setting, once, and where its value came from.

A setting is a field of `Settings`, with its spellings and its help beside it.  The command line is derived from the
fields; so is whatever else will ask for settings.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import Field, field, fields
from typing import TYPE_CHECKING, Any

from plait.errors import ConfigurationError, UsageError
from plait.values import Value, value

if TYPE_CHECKING:
    from plait.process.prepare import ProcessSettings
    from plait.runner.logs import LogSettings

LEVELS = ("debug", "info", "warning", "error", "critical")
FORMATS = ("auto", "text", "json")
REACTORS = ("auto", "asyncio", "uvloop")


def setting(
    default: Any, *flags: str, help: str, metavar: str = "", read: Callable[[str], Any] | None = None, only: str = ""
) -> Any:
    """Declare a setting: its *default*, how it is spelt, its help, how its text is *read*, and whose *only* it is."""
    meta = {"flags": flags, "help": help, "metavar": metavar, "read": read, "only": only}
    return field(default=default, metadata=meta)


def one_of(*choices: str) -> Callable[[str], str]:
    """Return a reader that takes one of *choices*, in any case."""

    def read(text: str) -> str:
        if text.lower() not in choices:
            raise UsageError(f"{text!r}: wanted one of {', '.join(choices)}{nearest(text.lower(), choices)}")
        return text.lower()

    return read


def read_umask(text: str) -> int:
    """Read an octal mask, with or without a leading ``0o``."""
    try:
        mask = int(text, 8)
    except ValueError:
        mask = -1
    if not 0 <= mask <= 0o777:
        raise UsageError(f"{text!r}: wanted an octal mask such as 022")
    return mask


def read_seconds(text: str) -> float:
    """Read a number of seconds from 0."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e9:
        raise UsageError(f"{text!r}: wanted a number of seconds, such as 30")
    return seconds


@value
class Settings(Value):
    """What a run of ``plaitd`` was told."""

    target: str = setting("", help="the application, as module:attribute", metavar="module:attribute")
    python: str = setting(
        "", "-y", "--python", metavar="FILE", help="run a straight Python file that defines the variable `application`"
    )
    nodaemon: bool = setting(
        False, "-n", "--nodaemon", "--no-daemon", only="plaitd", help="stay in the foreground, log to standard output"
    )
    daemon: bool = setting(False, "--daemon", only="plaitd", help="daemonize even under systemd, s6, or as process 1")
    pidfile: str = setting(
        "plaitd.pid",
        "--pidfile",
        metavar="FILE",
        only="plaitd",
        help="lock FILE and write the process id (empty: none)",
    )
    logfile: str = setting(
        "",
        "-l",
        "--logfile",
        metavar="FILE",
        help="log to FILE; - is standard output (default: plaitd.log for a daemon, else standard output)",
    )
    log_level: str = setting(
        "info", "--log-level", metavar="LEVEL", read=one_of(*LEVELS), help="debug, info, warning, error or critical"
    )
    log_format: str = setting("auto", "--log-format", metavar="FORMAT", read=one_of(*FORMATS), help="text or json")
    rundir: str = setting(".", "-d", "--rundir", metavar="DIR", help="change to DIR before running")
    umask: int | None = setting(
        None,
        "--umask",
        metavar="MASK",
        read=read_umask,
        only="plaitd",
        help="octal (default: 077 for a daemon, else unchanged)",
    )
    uid: str = setting("", "-u", "--uid", metavar="USER", only="plaitd", help="become this user, by name or number")
    gid: str = setting("", "-g", "--gid", metavar="GROUP", only="plaitd", help="become this group, by name or number")
    reactor: str = setting(
        "auto",
        "-r",
        "--reactor",
        metavar="NAME",
        read=one_of(*REACTORS),
        help="the event loop: asyncio, uvloop, or auto (uvloop where it is installed)",
    )
    stop_timeout: float | None = setting(
        None, "--stop-timeout", metavar="SECONDS", read=read_seconds, help="bound the stop (default: the application's)"
    )
    #: Where the value of each setting that is not at its default came from.
    origins: tuple[tuple[str, str], ...] = ()

    def process(self, *, daemonize: bool) -> ProcessSettings:
        """Return what the process layer must know."""
        from plait.process.prepare import ProcessSettings

        return ProcessSettings(
            daemonize=daemonize,
            pidfile=self.pidfile,
            rundir=self.rundir,
            umask=self.umask,
            uid=self.uid,
            gid=self.gid,
        )

    def log(self, *, is_daemon: bool) -> LogSettings:
        """Return what the logs must know."""
        from plait.runner.logs import LogSettings

        file = self.logfile or ("plaitd.log" if is_daemon else "-")
        if is_daemon and file in ("-", "/dev/stdout", "/dev/stderr"):
            raise UsageError(
                f"--logfile={file}: a daemon has no standard output: name a file, or stay in front with -n"
            )
        try:
            os.getcwd()  # paths are relative to it
        except FileNotFoundError:
            raise ConfigurationError("the present directory was removed: change to one that exists") from None
        # Resolved where it was typed: the process may go elsewhere before the log is opened.
        path = file if file == "-" else os.path.abspath(file)
        return LogSettings(file=path, level=self.log_level, format=self.log_format)  # type: ignore[arg-type]

    def asked_to_daemonize(self) -> bool | None:
        """Return what was asked for: True, False, or None when nothing was."""
        if self.nodaemon and self.daemon:
            raise UsageError("--nodaemon, --daemon: one excludes the other: give one of them")
        return True if self.daemon else False if self.nodaemon else None


def parse(program: str, arguments: Sequence[str], *, description: str = "", usage: str = "") -> Settings:
    """Return the settings that *arguments* give, or raise `UsageError`; ``--help`` and ``--version`` end it here."""
    # getopt rather than argparse on the way to serving: it reads the same lines, as twistd's own parser does, and
    # costs a tenth to load.
    getopt = _import_getopt()
    known = {flag: item for item in settings_of(program) for flag in item.metadata["flags"]}
    short = "h" + "".join(flag[1] + _colon(item, ":") for flag, item in known.items() if flag[1] != "-")
    long = ["help", "version", *(flag[2:] + _colon(item, "=") for flag, item in known.items() if flag[1] == "-")]
    try:
        found, rest = getopt.gnu_getopt(list(arguments), short, long)
    except getopt.GetoptError as error:
        raise UsageError(f"{_explain(error.msg, error.opt, known)}: see {program} --help") from None
    given: dict[str, Any] = {}
    for flag, text in found:
        if flag in ("-h", "--help"):
            print(make_help(program, usage, description), end="")
            raise SystemExit(0)
        if flag == "--version":
            print(version(program))
            raise SystemExit(0)
        item = known[flag]
        try:
            given[item.name] = item.metadata["read"](text) if item.metadata["read"] else text or True
        except UsageError as error:
            raise UsageError(f"{flag}: {error}: see {program} --help") from None
        if not text and item.default is not False and not item.metadata["read"]:
            given[item.name] = ""
    if len(rest) > 1:
        raise UsageError(f"{rest[1]}: no such argument: give one application: see {program} --help")
    if rest:
        given["target"] = rest[0]
    return Settings(**given, origins=tuple((name, "the command line") for name in given))


def _import_getopt() -> Any:
    """Import getopt without gettext, which it can do without and which takes longer to load than all of it."""
    missing = object()
    gettext = sys.modules.get("gettext", missing)
    sys.modules["gettext"] = None  # type: ignore[assignment]  # importing it fails now, which getopt expects
    try:
        import getopt
    finally:
        if gettext is missing:
            del sys.modules["gettext"]
        else:
            sys.modules["gettext"] = gettext  # type: ignore[assignment]
    return getopt


def settings_of(program: str) -> list[Field[Any]]:
    """Return the fields that *program* takes."""
    return [
        item for item in fields(Settings) if item.metadata and not (item.metadata["only"] and program == "plait run")
    ]


def _colon(item: Field[Any], mark: str) -> str:
    return "" if item.default is False else mark


def _explain(message: str, given: str, known: Iterable[str]) -> str:
    """Say what getopt found wrong in the words of this program."""
    flag = f"--{given}" if message.startswith("option --") else f"-{given}"
    if "not recognized" in message:
        return f"{flag}: no such option{nearest(flag, [*known, '--help', '--version'])}"
    if "not a unique prefix" in message:
        return f"{flag}: could be one of {', '.join(name for name in known if name.startswith(flag))}"
    if "requires argument" in message:
        return f"{flag}: wants a value"
    return f"{flag}: takes no value"


def make_help(program: str, usage: str, description: str) -> str:
    """Return what ``--help`` prints, made of the fields."""
    import argparse

    parser = argparse.ArgumentParser(prog=program, description=description, usage=usage, add_help=False)
    for item in settings_of(program):
        meta = item.metadata
        text = meta["help"].replace("%", "%%")
        if not meta["flags"]:
            parser.add_argument(item.name, nargs="?", metavar=meta["metavar"], help=text)
        elif item.default is False:
            parser.add_argument(*meta["flags"], action="store_true", help=text)
        else:
            parser.add_argument(*meta["flags"], metavar=meta["metavar"], help=text)
    parser.add_argument("--version", action="store_true", help="show the version and exit")
    parser.add_argument("-h", "--help", action="store_true", help="show this and exit")
    return parser.format_help()


def version(program: str) -> str:
    """Return the line that ``--version`` prints."""
    from plait import __version__

    return f"{program.partition(' ')[0]} {__version__} (Python {sys.version.partition(' ')[0]})"


def nearest(given: str, known: Sequence[str]) -> str:
    """Return ``, did you mean ...?`` for the nearest of *known*, or nothing."""
    import difflib

    found = difflib.get_close_matches(given, known, n=1, cutoff=0.6)
    return f", did you mean {found[0]}?" if found else ""
