"""
Two hundred configurations and some more, good and bad, for what must agree about each of them.

`KEPT` was written by hand: one for each way in which something can be right or wrong.  `GENERATED` puts those together
by chance, always the same: good options around one fault, around two, around none.
"""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

COUNT = 240

ECHO = """
from plait import Application, Listener

async def echo(reader, writer):
    async for line in reader:
        writer.write(line)

application = Application("echo", [Listener({endpoint}, echo)])
"""


@dataclass(frozen=True)
class Configuration:
    """
    A folder and a command line.

    *kind* is what is right or wrong with it.  *code* is the exit code of a start, 0 if it comes to serve, None if it is
    not known beforehand.  *scene* makes the folder.  *is_powerless* takes root's rights from root.
    """

    name: str
    kind: str
    code: int | None = 0
    source: str = ECHO.format(endpoint='"unix:echo.sock"')
    arguments: tuple[str, ...] = ("-y", "shop.py")
    options: tuple[str, ...] = ()
    scene: Callable[[Path], object] = lambda folder: None
    environment: dict[str, str] = field(default_factory=dict)
    is_powerless: bool = False
    needs_root: bool = False
    daemonizes: bool = False
    passes: int = 0

    def build(self, folder: Path) -> None:
        """Write the files."""
        (folder / "shop.py").write_bytes(self.source.encode("utf-8", "surrogateescape"))
        (folder / "run").mkdir()
        self.scene(folder)


# Scenes ---------------------------------------------------------------------------------------------------------------


def bind(path: Path) -> None:
    """Leave a socket file where nobody answers."""
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


def forbid(path: Path) -> None:
    path.mkdir()
    path.chmod(0o555)


def write_pair(folder: Path) -> None:
    """Write certificates: a pair, a key of another pair, and what is none."""
    import trustme

    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    for name in ("", "other-"):
        made = authority.issue_cert("localhost")
        made.private_key_pem.write_to_path(folder / f"{name}key.pem")
        (folder / f"{name}cert.pem").write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
    (folder / "empty").mkdir()
    (folder / "text.pem").write_text("no certificate\n")
    damaged = (folder / "cert.pem").read_text().splitlines()
    (folder / "damaged.pem").write_text("\n".join([*damaged[:3], *damaged[4:]]))
    (folder / "locked.pem").touch(0o000)
    (folder / "all").mkdir()
    (folder / "all" / "one.pem").write_bytes((folder / "cert.pem").read_bytes() + (folder / "key.pem").read_bytes())


def shadow(folder: Path, module: str) -> None:
    """Make *module* look as though it was not installed."""
    (folder / "shadow").mkdir()
    (folder / "shadow" / f"{module}.py").write_text(
        f"raise ModuleNotFoundError('No module named {module}', name='{module}')"
    )


def write_package(folder: Path) -> None:
    """Write modules to be named."""
    (folder / "shop.py").rename(folder / "shop_file.py")
    (folder / "shop").mkdir()
    (folder / "shop" / "__init__.py").write_text("from shop.web import application, make\nname = 'shop'\n")
    (folder / "shop" / "web.py").write_text(
        ECHO.format(endpoint='"unix:echo.sock"')
        + "def make():\n    return application\n\nclass holder:\n    app = make\n"
    )
    (folder / "shop" / "broken.py").write_text("import shop.nowhere\n")
    (folder / "shop" / "wrong.py").write_text("x = = 1\n")


def write_text(name: str, text: str) -> Callable[[Path], object]:
    """Return a scene with a file of this *name* and *text*."""

    def scene(folder: Path) -> None:
        make_scene(folder)
        (folder / name).write_text(text)

    return scene


# By hand --------------------------------------------------------------------------------------------------------------


def listening(*texts: str) -> str:
    """Return an application that listens at each of these endpoints."""
    listeners = ", ".join(f'Listener({text!r}, echo, name="l{number}")' for number, text in enumerate(texts))
    return ECHO.replace("Listener({endpoint}, echo)", listeners)


def tls(*words: str) -> str:
    """Return an application with TLS whose files lie beside it."""
    text = 'f"tcp:0:interface=127.0.0.1:' + ":".join(words) + '"'
    text = text.replace("=@", "={folder}/")
    return "import os\nfolder = os.path.dirname(os.path.abspath(__file__))\n" + ECHO.format(endpoint=text)


def services(*texts: str) -> str:
    """Return an application of these services."""
    return f"""
import asyncio
from plait import *

async def work():
    await asyncio.Event().wait()

def pause(stop):
    stop.wait()

application = Application("shop", [{", ".join(texts)}])
"""


APPLICATIONS = {
    "echo": ECHO.format(endpoint='"unix:echo.sock"'),
    "port": listening("tcp:0:interface=127.0.0.1"),
    "IPv6": listening("tcp6:0:interface=\\:\\:1"),
    "name": listening("tcp:0:interface=localhost"),
    "many": listening("tcp:0:interface=127.0.0.1", "unix:a.sock", f"unix:@plait-test-{os.getpid()}"),
    "tls": tls("certKey=@cert.pem", "privateKey=@key.pem"),
    "tls with authorities": tls("certKey=@cert.pem", "privateKey=@key.pem", "trustRoots=@ca.pem"),
    "certificates": tls("certDir=@all"),
    "nothing": services(),
    "task": services("Task(work)"),
    "groups": services('Group("web", [Task(work)], strategy="rest_for_one", limit=Limit(None))', "Thread(pause)"),
    "periodic": services("Periodic(60, lambda: None, name='tick')"),
    "cron": services("Cron('0 3 * * *', lambda: None, name='night')"),
    "program": services('Program(["sleep", "60"])'),
    "connection": services('Connection("tcp:127.0.0.1:9", name="broker")'),
    "service": ECHO.format(endpoint='"unix:echo.sock"').replace('Application("echo", [', "(").replace("])", ")"),
    "group": services().replace('Application("shop", [', 'Group("shop", ['),
    "factory": services("Task(work)").replace("application = ", "application = lambda: "),
    "stale socket": listening("unix:stale.sock"),
    "prints": "print('loaded')\n" + services("Task(work)"),
    "shared port": listening("tcp:0:interface=127.0.0.1:reuseport=1", "tcp:0:interface=127.0.0.1"),
}

PORT = APPLICATIONS["port"]
TLS = APPLICATIONS["tls"]

SOURCES = {
    "syntax error": "application = = 1\n",
    "indentation": "  application = 1\n",
    "not UTF-8": "x = '\udcff'\n",
    "no application": "aplication = 1\n",
    "nothing in it": "",
    "wrong type": "application = 3\n",
    "none": "application = None\n",
    "a class": "from plait import Application as application\n",
    "a list": "application = []\n",
    "a coroutine": "async def application(): pass\n",
    "a factory of nothing": "def application(): pass\n",
    "a factory with a parameter": "def application(reactor): pass\n",
    "a factory that fails": "def application():\n    return 1 / 0\n",
    "an exception": "\n1 / 0\n",
    "a missing module": "import no_such_module\n",
    "a misspelt module": "import plait.nothing\n",
    "a misspelt name": "from plait import Aplication\n",
    "a syntax error elsewhere": "import sys; sys.path.insert(0, 'run'); import wrong\n",
    "exit": "import sys\nsys.exit(4)\n",
    "exit with words": "raise SystemExit('enough')\n",
    "the KeyError": "raise KeyError('application')\n",
    "endpoint: port": listening("tcp:http"),
    "endpoint: range": listening("tcp:70000"),
    "endpoint: kind": listening("tpc:80"),
    "endpoint: URL": listening("http://localhost"),
    "endpoint: keyword": listening("tcp:80:interfaze=localhost"),
    "endpoint: path": listening("unix:"),
    "endpoint: long path": listening("unix:" + "x" * 200),
    "endpoint: no certificate": listening("ssl:0:certKey="),
    "endpoint: TLS and datagrams": listening("udp:0:certKey=cert.pem"),
    "endpoint: connecting": services('Connection("tcp:broker")'),
    "handler": ECHO.format(endpoint='"tcp:0"').replace("async def", "def"),
    "restart": services('Task(work, restart="sometimes")'),
    "time-out": services("Task(work, start_timeout=0)"),
    "drain": listening("unix:a.sock").replace(", echo, ", ", echo, drain=60, "),
    "strategy": services('Group("g", [], strategy="one_for_two")'),
    "limit": services("Group('g', [], limit=Limit(-1))"),
    "back-off": services("Task(work, backoff=Backoff(jitter=2))"),
    "names": services("Task(work)", "Task(work)"),
    "one endpoint twice": listening("unix:echo.sock", "unix:echo.sock"),
    "a slash in a name": services("Task(work, name='a/b')"),
    "no service": services("work"),
    "an application inside": services("Application('b', [])"),
    "period": services("Periodic(0, print)"),
    "cron": services("Cron('never', print)"),
    "time zone": services("Cron('0 3 * * *', print, timezone='Mars/Olympus')"),
    "command": services('Program("sleep 60")'),
    "grace": services('Program(["sleep", "60"], grace=100)'),
    "an async thread": services("Thread(work)"),
}

TLS_FAULTS = {
    "certificate missing": tls("certKey=@no.pem"),
    "key missing": tls("certKey=@cert.pem", "privateKey=@no.pem"),
    "key of another": tls("certKey=@cert.pem", "privateKey=@other-key.pem"),
    "no key in it": tls("certKey=@cert.pem"),
    "no certificate in it": tls("certKey=@text.pem"),
    "certificate damaged": tls("certKey=@damaged.pem", "privateKey=@key.pem"),
    "certificate is a directory": tls("certKey=@empty"),
    "no certificates": tls("certDir=@empty"),
    "no directory": tls("certDir=@nowhere"),
    "authorities missing": tls("certKey=@cert.pem", "privateKey=@key.pem", "trustRoots=@no.pem"),
}

BINDS = {
    "address of another machine": listening("tcp:0:interface=203.0.113.7"),
    "IPv6 of another machine": listening("tcp6:0:interface=2001\\:db8\\:\\:7"),
    "no such host": listening("tcp:0:interface=no-such-name.invalid"),
    "socket folder": listening("unix:nowhere/echo.sock"),
    "socket is a file": listening("unix:shop.py"),
    "socket is a directory": listening("unix:run"),
    "socket below a file": listening("unix:shop.py/echo.sock"),
    "one port, two addresses": listening("tcp:48123:interface=127.0.0.1", "tcp:48123"),
    "one path twice": listening("unix:echo.sock", "unix:echo.sock:mode=600"),
    "no descriptor": listening("fd:99"),
    "no systemd": listening("systemd:name=shop"),
}

#: What may be added to a command line that is right, and leaves it so.
OPTIONS: dict[str, tuple[str, ...]] = {
    "no pidfile": ("--pidfile=",),
    "pidfile elsewhere": ("--pidfile", "run/shop.pid"),
    "log elsewhere": ("-l", "run/shop.log"),
    "log to nobody": ("--logfile=/dev/null",),
    "rundir": ("-d", "run"),
    "level": ("--log-level", "DEBUG"),
    "format": ("--log-format=json",),
    "umask": ("--umask", "0o27"),
    "asyncio": ("-r", "asyncio"),
    "poll": ("-r", "POLL"),
    "reactor": ("--reactor=auto",),
    "stop": ("--stop-timeout", "2.5"),
    "sandbox": ("--sandbox",),
    "sandbox with more": ("--sandbox", "--allow=read:run", "--allow", "connect:5432"),
    "abbreviated": ("--log-l", "info", "--rea", "auto"),
}

WRONG_OPTIONS: dict[str, tuple[int, tuple[str, ...]]] = {
    "unknown option": (2, ("--nodeamon",)),
    "unknown letter": (2, ("-q",)),
    "ambiguous": (2, ("--log", "x")),
    "value too many": (2, ("--no-daemon=3",)),
    "umask": (2, ("--umask", "999")),
    "stop-timeout": (2, ("--stop-timeout=-1",)),
    "stop-timeout in words": (2, ("--stop-timeout=soon",)),
    "log level": (2, ("--log-level", "loud")),
    "log format": (2, ("--log-format", "xml")),
    "reactor": (2, ("-r", "epol")),
    "profiler": (2, ("--profiler", "profile", "-p", "x")),
    "savestats": (2, ("--savestats",)),
    "title": (2, ("--title", "a\nb")),
    "profile: folder": (73, ("-p", "nowhere/profile")),
    "profile: a directory": (73, ("-p", "run")),
    "profile: a link": (73, ("-p", "link")),
    "profile: a pipe": (73, ("-p", "pipe")),
    "both": (2, ("--daemon",)),
    "two applications": (2, ("shop:application",)),
    "two arguments": (2, ("a:b", "c:d")),
    "unknown user": (78, ("-u", "no-such-user")),
    "unknown group": (78, ("-g", "no-such-group")),
    "user without a group": (78, ("-u", "54321")),
    "user out of range": (78, ("-u", "99999999999")),
    "euid of nobody": (2, ("--euid",)),
    "allow without a sandbox": (2, ("--allow", "read:/etc")),
    "allow: word": (2, ("--sandbox", "--allow", "reed:/etc")),
    "allow: port": (2, ("--sandbox", "--allow", "connect:http")),
    "allow: missing": (78, ("--sandbox", "--allow", "write:nowhere")),
    "chroot missing": (78, ("--chroot", "nowhere")),
    "chroot is a file": (78, ("--chroot", "shop.py")),
    "rundir missing": (78, ("-d", "nowhere")),
    "rundir is a file": (78, ("-d", "shop.py")),
    "pidfile: folder": (73, ("--pidfile", "nowhere/shop.pid")),
    "pidfile: below a file": (73, ("--pidfile", "shop.py/shop.pid")),
    "pidfile: a directory": (73, ("--pidfile", "run")),
    "pidfile: a link": (73, ("--pidfile", "link")),
    "pidfile: a pipe": (73, ("--pidfile", "pipe")),
    "pidfile: a socket": (73, ("--pidfile", "stale.sock")),
    "pidfile: a device": (73, ("--pidfile", "/dev/null")),
    "pidfile: two names": (73, ("--pidfile", "twin")),
    "pidfile: nothing can be made": (73, ("--pidfile", "/proc/shop.pid")),
    "pidfile: long": (73, ("--pidfile", "x" * 300)),
    "log: folder": (73, ("-l", "nowhere/shop.log")),
    "log: below a file": (73, ("-l", "shop.py/shop.log")),
    "log: a directory": (73, ("-l", "run")),
    "log: a link": (73, ("-l", "link")),
    "log: a pipe": (73, ("-l", "pipe")),
    "log: a socket": (73, ("-l", "stale.sock")),
    "log: two names": (73, ("-l", "twin")),
    "log: nothing can be made": (73, ("-l", "/proc/shop.log")),
}

POWERLESS: dict[str, tuple[int | None, str, tuple[str, ...]]] = {
    "change of user": (77, "echo", ("-u", "nobody")),
    "change of group": (77, "echo", ("-g", "54321")),
    "change of root": (77, "echo", ("--chroot", "run")),
    "change of effective user": (77, "echo", ("--euid", "-u", "nobody")),
    "chroot closed": (78, "echo", ("--chroot", "hidden")),
    "pidfile: closed folder": (73, "echo", ("--pidfile", "closed/shop.pid")),
    "pidfile: closed file": (73, "echo", ("--pidfile", "locked")),
    "log: closed folder": (73, "echo", ("-l", "closed/shop.log")),
    "log: closed file": (73, "echo", ("-l", "locked")),
    "rundir closed": (78, "echo", ("-d", "hidden")),
    "pidfile in a closed rundir": (0, "nothing", ("-d", "closed")),
}


def make_scene(folder: Path) -> None:
    """Make what these configurations find in their folder."""
    (folder / "link").symlink_to("elsewhere")
    os.mkfifo(folder / "pipe")
    bind(folder / "stale.sock")
    (folder / "precious").touch()
    (folder / "twin").hardlink_to(folder / "precious")
    (folder / "run" / "wrong.py").write_text("x = = 1\n")
    forbid(folder / "closed")
    (folder / "locked").touch(0o000)
    (folder / "locked").chmod(0o000)
    (folder / "hidden").mkdir(0o000)


def with_certificates(folder: Path) -> None:
    make_scene(folder)
    write_pair(folder)


def without_uvloop(folder: Path) -> None:
    make_scene(folder)
    shadow(folder, "uvloop")


def without_cronsim(folder: Path) -> None:
    make_scene(folder)
    shadow(folder, "cronsim")


DESCRIBED = """
name = "echo"
[[services]]
type = "Group"
name = "web"
[[services.services]]
type = "Listener"
endpoint = "unix:echo.sock"
handler = "shop:echo"
"""
#: Applications as data, with their exit codes.
DESCRIPTIONS = {
    "right": (0, DESCRIBED),
    "a service that exists": (0, 'services = [{type = "Listener", endpoint = "tcp:0", handler = "shop:echo"}]'),
    "a type misspelt": (78, DESCRIBED.replace("Listener", "Lisener")),
    "a key misspelt": (78, DESCRIBED.replace("endpoint =", "endpont =")),
    "a function that is not there": (78, DESCRIBED.replace("shop:echo", "shop:ecko")),
    "a folder that is not there": (69, DESCRIBED.replace("unix:echo.sock", "unix:no/echo.sock")),
    "no TOML": (78, DESCRIBED.replace("[[services]]", "[[services]")),
    "settings": (78, "[plaitd]\numask = '022'\n"),
}
FACTORY = ECHO.format(endpoint="config.endpoint").replace("application = ", "def application(config: Config): return ")
FACTORY = f"from dataclasses import dataclass\n@dataclass\nclass Config:\n    endpoint: str = 'unix:a.sock'\n{FACTORY}"
#: Configurations of a factory: exit code, plait.toml, options.
CONFIGURED = {
    "by nobody": (0, "", ()),
    "by a file": (0, "[app]\nendpoint = 'unix:echo.sock'\n", ()),
    "by an option": (0, "", ("--set", "app.endpoint=tcp:0")),
    "a key misspelt": (78, "[app]\nendpiont = 'unix:echo.sock'\n", ()),
    "a number": (78, "[app]\nendpoint = 80\n", ()),
    "an endpoint that is none": (78, "", ("--set", "app.endpoint=tcp:http")),
}


def _keep() -> list[Configuration]:
    kept = []

    def keep(kind: str, name: str, code: int | None = 0, **fields: object) -> None:
        fields.setdefault("scene", make_scene)
        kept.append(Configuration(name=f"{kind}: {name}", kind=kind, code=code, **fields))  # type: ignore[arg-type]

    for name, source in APPLICATIONS.items():
        scene = with_certificates if "folder}" in source else make_scene
        keep("application", name, source=source, scene=scene)
    for name, options in OPTIONS.items():
        keep("option", name, options=options)
    for name, source in SOURCES.items():
        keep("source", name, 78, source=source)
    for name, source in TLS_FAULTS.items():
        keep("certificate", name, 78, source=source, scene=with_certificates)
    for name, source in BINDS.items():
        keep("bind", name, 69, source=source)
    for name, (code, options) in WRONG_OPTIONS.items():
        keep(f"{code}", name, code, options=options)
    for name, (wrong, source, options) in POWERLESS.items():
        keep("powerless", name, wrong, source=APPLICATIONS[source], options=options, is_powerless=True)
    keep(
        "powerless",
        "certificate closed",
        78,
        source=tls("certKey=@locked.pem"),
        scene=with_certificates,
        is_powerless=True,
    )
    keep("powerless", "socket in a closed folder", 69, source=listening("unix:closed/a.sock"), is_powerless=True)
    keep("powerless", "low port", None, source=listening("tcp:81:interface=127.0.0.1"), is_powerless=True)
    keep("root", "change of user", 0, options=("-u", "nobody", "-l", "-"), needs_root=True)
    keep("root", "change to numbers", 0, options=("-u", "54321", "-g", "54321"), needs_root=True)
    keep("root", "log of another user", 73, options=("-u", "nobody", "-l", "shop.log"), needs_root=True)
    keep("root", "change of group", 0, options=("-g", "54321", "--pidfile="), needs_root=True)
    jail = ("--chroot", "run")
    keep("root", "effective user", 0, options=("--euid", "-u", "nobody", "-l", "-"), needs_root=True)
    keep("root", "jail", 0, options=(*jail, "-u", "nobody"), source=PORT, needs_root=True)
    keep("root", "jail: log inside", 0, options=(*jail, "-l", "run/shop.log"), needs_root=True)
    keep("root", "jail: log outside", 0, options=(*jail, "-l", "shop.log"), needs_root=True)
    keep("root", "jail: log is a directory", 73, options=(*jail, "-l", "."), needs_root=True)
    keep("root", "jail: log of another user", 73, options=(*jail, "-u", "nobody", "-l", "shop.log"), needs_root=True)
    keep("root", "jail: no such folder inside", 78, options=(*jail, "-d", "run"), needs_root=True)
    keep("root", "jail: certificate outside", 78, source=TLS, scene=with_certificates, options=jail, needs_root=True)
    keep("root", "jail: daemon", 0, options=jail, daemonizes=True, needs_root=True)
    keep(
        "root", "jail, user and sandbox", 0, options=(*jail, "-u", "nobody", "--sandbox"), source=PORT, needs_root=True
    )
    keep("root", "user and sandbox", 0, options=("-u", "nobody", "--sandbox"), source=PORT, needs_root=True)
    shadowed = {"PYTHONPATH": "shadow"}
    keep("extra", "no uvloop", 78, options=("-r", "uvloop"), scene=without_uvloop, environment=shadowed)
    keep("extra", "auto without uvloop", 0, scene=without_uvloop, environment=shadowed)
    keep("extra", "no cronsim", 78, source=APPLICATIONS["cron"], scene=without_cronsim, environment=shadowed)
    names = {
        "shop:application": 0,
        "shop.web:application": 0,
        "shop.web:make": 0,
        "shop.web:holder.app": 0,
        "shop:aplication": 78,
        "shop:name": 78,
        "shop": 2,  # no plugin of that name
        "shop:": 78,
        "shop.py": 78,
        "./shop/web.py:application": 78,
        "..:application": 78,
        "shap:application": 78,
        "shop.nowhere:application": 78,
        "shop.broken:application": 78,
        "shop.wrong:application": 78,
        "shop.web:holder.nothing": 78,
    }
    for name, code in names.items():
        keep("named", name, code, arguments=(name,), scene=write_package)
    for name, (code, text) in DESCRIPTIONS.items():
        keep("described", name, code, arguments=("-f", "shop.toml"), scene=write_text("shop.toml", text))
    keep("described", "by its name alone", arguments=("shop.toml",), scene=write_text("shop.toml", DESCRIBED))
    keep("described", "no such file", 78, arguments=("-f", "shop.toml"))
    keep("described", "Python", 78, arguments=("-f", "shop.py"))
    keep("described", "beside -y", 2, options=("-f", "shop.toml"), scene=write_text("shop.toml", DESCRIBED))
    for name, (code, text, options) in CONFIGURED.items():
        scene = write_text("plait.toml", text)
        keep("configured", name, code, source=FACTORY, options=options, scene=scene)
    keep("arguments", "nothing to run", 2, arguments=())
    keep("arguments", "value missing", 2, arguments=("-y",))
    keep("arguments", "no such file", 78, arguments=("-y", "nowhere.py"))
    keep("arguments", "a directory", 78, arguments=("-y", "run"))
    keep("arguments", "combined letters", 0, arguments=("-nyshop.py",))
    threads = "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True, name='mine').start()\n"
    echo = APPLICATIONS["echo"]
    keep("daemon", "echo", 0, daemonizes=True)
    keep("daemon", "threads", 78, source=threads + echo, daemonizes=True)
    keep("daemon", "threads in the foreground", 0, source=threads + echo)
    keep("daemon", "log to nowhere", 2, options=("-l", "-"), daemonizes=True)
    keep("daemon", "log to the standard output of nobody", 2, options=("-l", "/dev/stdout"), daemonizes=True)
    keep("daemon", "log: a directory", 73, options=("-l", "run"), daemonizes=True)
    keep("daemon", "pidfile: a link", 73, options=("--pidfile", "link"), daemonizes=True)
    keep("daemon", "certificate", 78, source=TLS_FAULTS["key of another"], scene=with_certificates, daemonizes=True)
    keep("systemd", "passed", 0, source=listening("systemd:name=shop"), passes=1)
    keep("systemd", "another name", 69, source=listening("systemd:name=shap"), passes=1)
    keep("systemd", "one too few", 69, source=listening("systemd:index=1"), passes=1)
    keep("systemd", "not there", 69, source=listening("systemd:index=1"), passes=2)
    return kept


KEPT = _keep()


# By chance ------------------------------------------------------------------------------------------------------------


def generate(number: int) -> Configuration:
    """Return the generated configuration of this *number*: none, one or two faults among what is right."""
    chance = random.Random(number)
    source = chance.choice(list(APPLICATIONS))
    made = Configuration(f"generated: {number}", f"{number % 3} faults", source=APPLICATIONS[source])
    names = chance.sample(list(OPTIONS), chance.randrange(1, 5))
    options = [word for name in names for word in OPTIONS[name]]
    faults = ["source", "options"] if number % 3 == 2 else [chance.choice(["source", "options"])] * (number % 3)
    code: int | None = 0
    if "source" in faults:
        table, code = chance.choice([(SOURCES, 78), (TLS_FAULTS, 78), (BINDS, 69)])
        made = replace(made, source=table[chance.choice(list(table))])
    if "options" in faults:
        name = chance.choice(list(WRONG_OPTIONS))
        code, words = WRONG_OPTIONS[name]
        options += words
    # Of two faults, or of an option that hides another, only the first counts.
    unknown = len(faults) == 2 or "rundir" in names
    return replace(made, options=tuple(options), code=None if unknown else code, scene=with_certificates)


GENERATED = [generate(number) for number in range(COUNT - len(KEPT))]


def choose(configurations: list[Configuration]) -> set[str]:
    """Return the names of some of each kind, spread over it: the more there are, the more."""
    kinds: dict[str, list[Configuration]] = {}
    for each in configurations:
        kinds.setdefault(each.kind, []).append(each)
    return {
        found[place * len(found) // wanted].name
        for found in kinds.values()
        for wanted in [max(1, round(len(found) ** 0.4))]
        for place in range(wanted)
    }


ALL = [*KEPT, *GENERATED]
SHORT = choose(ALL)
