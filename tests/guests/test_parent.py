"""The parent of a plugin's options: twistd's, filled from what plaitd was told, and obeyed in what is written there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.system.daemon import PLAITD, Ended, Place

#: A plugin that looks at the parent, and does there what a test says.
HEAD = """
import os, sys
from zope.interface import implementer
from twisted.application.service import IServiceMaker, Service
from twisted.internet import reactor
from twisted.plugin import IPlugin
from twisted.python import usage
from twisted.scripts.twistd import ServerOptions

class Options(usage.Options):
    def postOptions(self):
        parent = self.parent
        {code}

@implementer(IPlugin, IServiceMaker)
class Maker:
    tapname, description, options = "shop", "Sells things.", Options
    def makeService(self, options):
        made = Service()
        {making}
        made.startService = lambda: {running}
        return made

maker = Maker()
"""


@pytest.fixture
def place(place: Place) -> Place:
    """One with a folder for plugins."""
    (place.folder / "twisted" / "plugins").mkdir(parents=True)
    place.allow("twisted")
    return place


#: What the service does when it has started: it tells so, or ends it.
TELL = 'reactor.callLater(0, open(os.environ["TOLD"], "w").write, "runs" + chr(10))'
STOP = "reactor.callLater(0, reactor.stop)"


def write(place: Place, code: str, making: str = "pass", running: str = TELL) -> dict[str, str]:
    """Write the plugin, and return the environment that it is found in."""
    text = HEAD.format(code=code.replace("\n", "\n        "), making=making, running=running)
    (place.folder / "twisted" / "plugins" / "shop_dropin.py").write_text(text)
    return {"PYTHONPATH": str(place.folder)}


def look(place: Place, expression: str, *options: str) -> str:
    """Return what *expression* is, for a plugin that is started with *options*."""
    environment = write(place, f"print(({expression}))\nsys.exit(0)")
    ended = place.run(*options, "shop", environment=environment)
    assert (ended.code, ended.errors) == (0, "")
    return ended.output.rstrip("\n")


# Read -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "expression", "shown"),
    [
        ([], "isinstance(parent, ServerOptions), parent.subCommand, parent.subOptions is self", "(True, 'shop', True)"),
        (
            [],
            "parent['pidfile'], parent['nodaemon'], parent['umask'], 'umask' in parent",
            "('twistd.pid', 0, None, True)",
        ),
        (
            [],
            "parent['logfile'], parent['rundir'], parent.get('syslog'), parent['prefix']",
            "(None, '.', 0, 'twisted')",
        ),
        ([], "parent['uid'], parent['gid'], parent['chroot'], parent['euid']", "(None, None, None, 0)"),
        ([], "parent['logger'], parent['profile'], parent['debug'], 'reactor' in parent", "(None, None, False, False)"),
        (["-n"], "parent['nodaemon']", "1"),
        (
            ["--pidfile", "shop.pid", "-l", "shop.log"],
            "parent['pidfile'], parent['logfile']",
            "('shop.pid', 'shop.log')",
        ),
        (["--umask=27", "-d", "run"], "parent['umask'], parent['rundir']", "(23, 'run')"),
        (["-u", "root", "-g", "0"], "parent['uid'], parent['gid']", "(0, 0)"),
        (["--syslog", "--prefix=shop"], "parent['syslog'], parent['prefix']", "(1, 'shop')"),
        (["--originalname", "-o", "--euid"], "parent['originalname'], parent['no_save'], parent['euid']", "(1, 1, 1)"),
        (["-n", "-r", "asyncio", "-b"], "parent['reactor'], parent['debug']", "('asyncio', True)"),
        (["--logger=os:getcwd"], "parent['logger']", "os.getcwd"),
    ],
)
def test_what_a_plugin_finds(place: Place, options: list[str], expression: str, shown: str) -> None:
    """The settings of plaitd under twistd's names, in its types; the default pidfile has its name."""
    assert look(place, expression, *options) == shown


def test_it_stays_in_front_where_plaitd_does(place: Place) -> None:
    """Whatever the reason is, a plugin is told."""
    environment = write(place, "print(parent['nodaemon'])\nsys.exit(0)")
    ended = place.run("shop", environment=environment | {"NOTIFY_SOCKET": "/nowhere"})
    assert ended.output == "1\n"
    plait = (os.path.join(os.path.dirname(PLAITD), "plait"), "run")
    assert place.run("shop", environment=environment, program=plait).output == "1\n"


def test_the_pidfile_is_absolute_when_the_service_is_made(place: Place) -> None:
    """As under twistd, whose own options are done by then."""
    environment = write(place, "pass", "print(options.parent['pidfile']); sys.exit(0)")
    assert place.run("shop", environment=environment).output == f"{place.folder}/twistd.pid\n"


# Written --------------------------------------------------------------------------------------------------------------


def begin(place: Place, environment: dict[str, str], *options: str) -> Ended:
    ended = place.run(*options, "shop", environment=environment)
    assert (ended.code, ended.output, ended.errors) == (0, "", "")
    assert place.heard() == "runs"
    return ended


def stop(place: Place, pidfile: Path) -> None:
    os.kill(int(pidfile.read_text()), 15)
    assert place._wait_for_relatives(20)


def test_the_default_pidfile_is_plaitds_own(place: Place) -> None:
    """If a plugin leaves twistd's alone."""
    begin(place, write(place, "parent['pidfile']"))
    place.allow("plaitd.log")
    stop(place, place.folder / "plaitd.pid")


@pytest.mark.parametrize("mask", ["0o027", "'027'"])
def test_what_it_writes_is_done(place: Place, mask: str) -> None:
    """The pidfile, the umask as a number or as text, the folder, the log."""
    (place.folder / "run").mkdir()
    place.allow("run")
    wanted = f"pidfile='run/shop.pid', umask={mask}, rundir='run', logfile='x.log'"
    begin(place, write(place, f"parent.update({wanted})"), "--umask=077", "--logfile=y.log")
    pidfile = place.folder / "run" / "shop.pid"
    pid = int(pidfile.read_text())
    place.allow("x.log")
    assert Path(f"/proc/{pid}/cwd").readlink() == place.folder / "run"
    assert "Umask:\t0027" in Path(f"/proc/{pid}/status").read_text()
    stop(place, pidfile)
    assert "runs shop" in (place.folder / "x.log").read_text()
    assert list((place.folder / "run").iterdir()) == []
    shutil.rmtree(place.folder / "run")


def test_no_pidfile(place: Place) -> None:
    """An empty name is none."""
    environment = write(place, "parent['pidfile'] = ''; parent['nodaemon'] = 1", running=STOP)
    ended = place.run("shop", environment=environment)
    assert (ended.code, ended.errors) == (0, "")
    assert "runs shop" in ended.output  # in the foreground, though nobody asked for that


def test_it_makes_a_daemon(place: Place) -> None:
    """Where the command line had another thing in mind."""
    begin(place, write(place, "parent['nodaemon'] = 0; parent['pidfile'] = 'shop.pid'"), "-n")
    place.allow("plaitd.log")
    stop(place, place.folder / "shop.pid")


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="NOT RUN: needs to be root")
def test_it_chooses_the_user(place: Place) -> None:
    """By numbers, as those do that look them up themselves."""
    code = "parent['uid'] = 1; parent['gid'] = 2; parent['nodaemon'] = True"
    environment = write(place, code, running=f"(print(os.getresuid(), os.getgid()), {STOP})")
    ended = place.run("shop", environment=environment)
    assert "(1, 1, 1) 2" in ended.output, ended


def test_check_shows_what_it_writes(place: Place) -> None:
    """As the application's."""
    environment = write(place, "parent['pidfile'] = '/nowhere/shop.pid'")
    plait = (os.path.join(os.path.dirname(PLAITD), "plait"), "check")
    ended = place.run("shop", environment=environment, program=plait)
    assert ["pidfile", "/nowhere/shop.pid", "the", "application"] in [
        line.split() for line in ended.output.splitlines()
    ]
    assert "/nowhere/shop.pid" in ended.errors


def test_a_run_of_a_developer_has_no_pidfile(place: Place) -> None:
    """Whatever the plugin says."""
    code = "parent['pidfile'] = 'shop.pid'; parent['nodaemon'] = 0"
    environment = write(place, code, running=f"(print('pidfile', os.path.exists('shop.pid')), {STOP})")
    plait = (os.path.join(os.path.dirname(PLAITD), "plait"), "run")
    ended = place.run("shop", environment=environment, program=plait)
    assert (ended.code, ended.errors) == (0, "")
    assert "pidfile False" in ended.output
