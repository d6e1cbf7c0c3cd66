"""
Every setting, once, and where its value came from.

A setting is a field of `Settings`, with its spellings and its help beside it.  The command line, the environment,
``plait.toml``, ``--help``, ``plait check``, the manual pages, completion and the reference are derived from the fields.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from plait.errors import ConfigurationError, UsageError
from plait.runner.options import one_of, read_seconds, read_umask
from plait.values import Value, field, value

if TYPE_CHECKING:
    from plait.process.prepare import ProcessSettings
    from plait.runner.logs import LogSettings

#: The event loops that need no search; `plait.runner.reactors` says what they are.
REACTORS = ("auto", "asyncio", "uvloop", "epoll", "poll", "select", "rloop")
LEVELS = ("debug", "info", "warning", "error", "critical")
FORMATS = ("auto", "text", "text-ms", "json")
PROFILERS = ("cprofile",)

#: Whose options these are: a developer's run has no pidfile, no other user, and never leaves the terminal.
DAEMON = ("plaitd", "plait check")

# The headings of --help, in their order.
WHAT, CONFIGURATION, PROCESS, LOG, PRIVILEGES, LOOP, DEBUGGING = (
    "what to run",
    "where settings come from",
    "the process",
    "the log",
    "privileges",
    "the event loop",
    "debugging",
)

#: The file of settings that is read where it lies in the folder of the start.
FILE = "plait.toml"
#: The ends of files that say what they are, each with the setting that would name them.
SAYS_WHAT = {".tac": "python", ".etac": "python", ".tap": "file", ".tas": "source"}
#: The origin of what was typed.
COMMAND_LINE = "the command line"

#: The origin of what the application itself asks for, or insists on.
APPLICATION = "the application"

#: Settings of which one excludes the others: what was said closer to the command line wins, and then the first here.
RIVALS = (("target", "python", "file", "source"), ("nodaemon", "daemon"), ("logger", "syslog", "journal", "logfile"))


def setting(default: Any, *flags: str, **more: Any) -> Any:
    """Declare a setting: its *default*, how it is spelt, and *more* of what `Option` says."""
    return field(default=default, metadata={"flags": flags, **more})


def read_title(text: str) -> str:
    """Read one line of text."""
    if not text.isprintable():
        raise UsageError(f"{text!r}: wanted text that can be printed, on one line")
    return text


def read_profiler(text: str) -> str:
    """Read the name of a profiler; there is one."""
    if text.lower() == "profile":
        raise UsageError(f"{text!r}: costs a server many times what cprofile costs: take that, or leave it out")
    return one_of(*PROFILERS)(text)


def read_level(text: str) -> str:
    """Read ``[NAME=]LEVEL``."""
    name, equals, level = text.rpartition("=")
    return f"{name}{equals}{one_of(*LEVELS)(level)}"


def read_for_log(name: str) -> Callable[[str], str]:
    """Return a reader that takes what `LogSettings` takes for its field *name*."""

    def read(text: str) -> str:
        from plait.runner.log_settings import LogSettings

        try:
            LogSettings(**{name: text})  # type: ignore[arg-type]
        except ConfigurationError as error:
            said = str(error)
            for opening in ("log rotation ", "--prefix ", "--logger: "):
                said = said.removeprefix(opening)
            raise UsageError(said) from None
        return text

    return read


def read_reactor(text: str) -> str:
    """Read the name of an event loop; what packages offer is looked for only when it is none of ours."""
    name = "auto" if text.lower() == "default" else text.lower()  # as twistd calls it
    if name not in REACTORS:
        from plait.runner.reactors import why_unknown

        if problem := why_unknown(name):
            raise UsageError(f"{text!r}: {problem}")
    return name


@value
class Settings(Value):
    """What a run of ``plaitd`` was told."""

    target: str = setting(
        "",
        metavar="APPLICATION",
        group=WHAT,
        help="module:attribute, a file like shop.toml or shop.tac, or the name of a plugin with its options behind it",
    )
    python: str = setting(
        "",
        *("-y", "--python"),
        metavar="FILE",
        completes="file",
        patterns=("*.py", "*.tac"),
        group=WHAT,
        help="run a straight Python file that defines the variable `application`",
    )
    file: str = setting(
        "",
        *("-f", "--file"),
        metavar="FILE",
        completes="file",
        patterns=("*.toml", "*.tap"),
        group=WHAT,
        help="run an application that is described as data, in TOML; or one that Twisted saved, FILE.tap",
    )
    source: str = setting(
        "",
        *("-s", "--source"),
        metavar="FILE",
        completes="file",
        patterns=("*.tas",),
        group=WHAT,
        help="run an application that Twisted saved as source, FILE.tas",
    )
    twisted: bool = setting(
        False,
        "--twisted",
        group=WHAT,
        help="the plugin, or the file of -y, is Twisted's; with --help, list its plugins",
    )
    import_folder: bool = setting(
        False, "--import-folder", group=WHAT, help="let the file of -y or -f import what lies beside it"
    )
    no_save: bool = setting(
        False,
        *("-o", "--no-save", "--no_save"),
        group=WHAT,
        help="do not save NAME-shutdown.tap at the end of an application that Twisted saved",
    )
    config: str = setting(
        "",
        "--config",
        metavar="FILE",
        completes="file",
        patterns=("*.toml",),
        group=CONFIGURATION,
        places=("env",),
        help="read settings from FILE (default: plait.toml, if it is here)",
    )
    set: tuple[str, ...] = setting(
        (),
        "--set",
        metavar="NAME.KEY=VALUE",
        repeats=True,
        group=CONFIGURATION,
        places=("env",),
        help="set one value as in plait.toml: app.port=80 is for the application",
    )
    env_file: str = setting(
        "",
        "--env-file",
        metavar="FILE",
        completes="file",
        group=CONFIGURATION,
        help="add variables to the environment, where it has none of that name",
    )
    nodaemon: bool = setting(
        False,
        *("-n", "--nodaemon", "--no-daemon"),
        group=PROCESS,
        only=DAEMON,
        help="stay in the foreground, log to standard output",
    )
    daemon: bool = setting(
        False, "--daemon", group=PROCESS, only=DAEMON, help="daemonize even under systemd, s6, or as process 1"
    )
    pidfile: str | None = setting(
        None,
        "--pidfile",
        metavar="FILE",
        completes="file",
        group=PROCESS,
        only=DAEMON,
        help="lock FILE and write the process id; empty is none (default: plaitd.pid for a daemon, else none)",
    )
    rundir: str = setting(
        ".",
        *("-d", "--rundir"),
        metavar="DIR",
        completes="folder",
        group=PROCESS,
        help="change to DIR before running",
    )
    umask: int | None = setting(
        None,
        "--umask",
        metavar="MASK",
        read=read_umask,
        group=PROCESS,
        only=DAEMON,
        help="octal (default: 077 for a daemon, else unchanged)",
    )
    stop_timeout: float | None = setting(
        None,
        "--stop-timeout",
        metavar="SECONDS",
        read=read_seconds,
        group=PROCESS,
        help="bound the stop (default: the application's)",
    )
    title: str = setting(
        "",
        "--title",
        metavar="TEXT",
        read=read_title,
        group=PROCESS,
        help="what ps shows (default: the command line as it was typed)",
    )
    originalname: bool = setting(
        False,
        "--originalname",
        group=PROCESS,
        only=DAEMON,
        help="keep the name of the process, whatever a Twisted application calls it",
    )
    logfile: str = setting(
        "",
        *("-l", "--logfile"),
        metavar="FILE",
        completes="file",
        group=LOG,
        help="log to FILE; - is standard output (default: plaitd.log for a daemon, else standard output)",
    )
    log_level: tuple[str, ...] = setting(
        (),
        "--log-level",
        metavar="[NAME=]LEVEL",
        read=read_level,
        repeats=True,
        choices=LEVELS,
        group=LOG,
        help="debug, info, warning, error or critical: of everything, or of the logger NAME (default: info)",
    )
    log_format: str = setting(
        "auto",
        "--log-format",
        metavar="FORMAT",
        read=one_of(*FORMATS),
        choices=FORMATS,
        group=LOG,
        help="text, text-ms, json, or auto: text, but for plait run json where nobody looks (default: auto)",
    )
    log_rotate: str = setting(
        "",
        "--log-rotate",
        read=read_for_log("rotate"),
        metavar="WHEN[:KEEP]",
        group=LOG,
        help="begin a new file at a size such as 10MB, or daily; keep so many of the old ones",
    )
    journal: bool = setting(
        False, "--journal", group=LOG, help="log to systemd's journal (by itself where standard output is the journal)"
    )
    syslog: bool = setting(False, "--syslog", group=LOG, help="log to syslog")
    syslog_address: str = setting(
        "/dev/log",
        "--syslog-address",
        metavar="PATH",
        completes="file",
        group=LOG,
        help="the socket of the syslog daemon (default: /dev/log)",
    )
    prefix: str = setting(
        "plaitd",
        "--prefix",
        metavar="NAME",
        read=read_for_log("prefix"),
        group=LOG,
        help="the name in syslog and the journal",
    )
    logger: str = setting(
        "",
        "--logger",
        metavar="MODULE:NAME",
        read=read_for_log("logger"),
        group=LOG,
        help="log through the handler that this function returns",
    )
    uid: str = setting(
        "",
        *("-u", "--uid"),
        metavar="USER",
        completes="user",
        group=PRIVILEGES,
        only=DAEMON,
        help="become this user, by name or number",
    )
    gid: str = setting(
        "",
        *("-g", "--gid"),
        metavar="GROUP",
        completes="group",
        group=PRIVILEGES,
        only=DAEMON,
        help="become this group, by name or number",
    )
    euid: bool = setting(
        False,
        "--euid",
        group=PRIVILEGES,
        only=DAEMON,
        help="change only the effective user and group; there is a way back",
    )
    chroot: str = setting(
        "",
        "--chroot",
        metavar="DIR",
        completes="folder",
        group=PRIVILEGES,
        only=DAEMON,
        help="make DIR the root of all paths",
    )
    sandbox: bool = setting(
        False,
        "--sandbox",
        group=PRIVILEGES,
        only=DAEMON,
        help="allow only the files and ports that are needed (Landlock)",
    )
    allow: tuple[str, ...] = setting(
        (),
        "--allow",
        metavar="WHAT:WHERE",
        repeats=True,
        group=PRIVILEGES,
        only=DAEMON,
        help="in the sandbox, allow read:PATH, write:PATH, exec:PATH, connect:PORT or bind:PORT too",
    )
    reactor: str = setting(
        "auto",
        *("-r", "--reactor"),
        metavar="NAME",
        read=read_reactor,
        group=LOOP,
        help="the event loop: asyncio, uvloop, auto (uvloop where it is installed), or what --help-reactors lists",
    )
    debug: bool = setting(
        False, *("-b", "--debug"), group=DEBUGGING, help="run under pdb, in the foreground, with asyncio's debug mode"
    )
    profile: str = setting(
        "",
        *("-p", "--profile"),
        metavar="FILE",
        completes="file",
        group=DEBUGGING,
        help="write where the time went to FILE, at the end",
    )
    profiler: str = setting(
        "cprofile",
        "--profiler",
        metavar="NAME",
        read=read_profiler,
        choices=PROFILERS,
        group=DEBUGGING,
        help="how it is found out: cprofile",
    )
    savestats: bool = setting(
        False, "--savestats", group=DEBUGGING, help="write the statistics themselves rather than a text"
    )
    #: The name that it was called by: as ``twistd``, it has the files and the habits of that.
    called: str = "plaitd"
    #: What stood behind the name of a plugin: for it to read.
    arguments: tuple[str, ...] = ()
    #: What ``plait.toml`` and ``--set`` say to the application and to plugins.
    assignments: tuple[Assignment, ...] = ()
    #: Where the value of each setting that is not at its default came from.
    origins: tuple[tuple[str, str], ...] = ()

    @property
    def is_for_twisted(self) -> bool:
        """Whether what is named is looked for among what is Twisted's first."""
        return self.twisted or self.called == "twistd"

    @property
    def asks_for_plugin(self) -> bool:
        """Whether the target is the name of a plugin."""
        return bool(self.target) and names_plugin(self.target)

    def wants_daemon(self, daemonize: bool) -> bool:
        """Return whether to become a daemon, where that was *daemonize* until the application had a say."""
        origins = dict(self.origins)
        insists = APPLICATION in (origins.get("nodaemon"), origins.get("daemon"))
        return bool(self.asked_to_daemonize()) if insists else daemonize

    def process(self, *, daemonize: bool, pidfile: str | None = None) -> ProcessSettings:
        """Return what the process layer must know; *pidfile* is instead of the one that was given."""
        from plait.process.prepare import ProcessSettings

        default = "twistd.pid" if self.called == "twistd" else "plaitd.pid" if daemonize else ""
        return ProcessSettings(
            daemonize=daemonize,
            pidfile=next((each for each in (pidfile, self.pidfile) if each is not None), default),
            rundir=self.rundir,
            umask=self.umask,
            uid=self.uid,
            gid=self.gid,
            euid=self.euid,
            chroot=self.chroot,
            sandbox=self.sandbox,
            allow=self.allow,
        )

    def log(self, *, is_daemon: bool) -> LogSettings:
        """Return what the logs must know."""
        from plait.runner.logs import LogSettings

        if self.journal and self.syslog:
            raise UsageError("--journal, --syslog: one excludes the other: give one of them")
        file = self.logfile or (f"{self.called}.log" if is_daemon else "-")
        spare = file
        if self.logger or self.syslog or self.journal:
            file = "-"  # there is no file
        elif is_daemon and file in ("-", "/dev/stdout", "/dev/stderr"):
            raise UsageError(
                f"--logfile={file}: a daemon has no standard output: name a file, or stay in front with -n"
            )
        try:
            os.getcwd()  # paths are relative to it
        except FileNotFoundError:
            raise ConfigurationError("the present directory was removed: change to one that exists") from None
        # Resolved where it was typed: the process may go elsewhere before the log is opened.
        path, spare = (each if each == "-" else os.path.abspath(each) for each in (file, spare))
        return LogSettings(
            file=path,
            level=self.log_level,
            format=self.log_format,
            rotate=self.log_rotate,
            logger=self.logger,
            syslog=self.syslog,
            syslog_address=os.path.abspath(self.syslog_address),
            journal=self.journal,
            spare=spare,
            prefix="twisted" if self.called == "twistd" and "prefix" not in dict(self.origins) else self.prefix,
        )

    def asked_to_profile(self) -> bool:
        """Return whether the run is to be profiled."""
        if self.savestats and not self.profile:
            raise UsageError("--savestats: there is no file to save them in: give --profile FILE too")
        return bool(self.profile)

    def asked_to_daemonize(self) -> bool | None:
        """Return what was asked for: True, False, or None when nothing was."""
        if self.nodaemon and self.daemon:
            raise UsageError("--nodaemon, --daemon: one excludes the other: give one of them")
        if self.debug and self.daemon:
            raise UsageError("--debug, --daemon: a daemon has no terminal to debug it from: give one of them")
        return True if self.daemon else False if self.nodaemon or self.debug else None


@value
class Assignment(Value):
    """One value of ``plait.toml`` or ``--set`` that is no setting: its *path*, table and keys, and its *origin*."""

    path: tuple[str, ...]
    value: Any
    origin: str


def names_plugin(word: str) -> bool:
    """Say whether *word* is the name of a plugin, rather than of a module and an attribute, or of a file."""
    return ":" not in word and "/" not in word and not word.endswith((".toml", ".py", *SAYS_WHAT))
