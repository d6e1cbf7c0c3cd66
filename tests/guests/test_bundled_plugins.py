"""
Every plugin that comes with Twisted runs under plaitd, to the proof of a real client, and ends with nothing left.

`CASES` is the table.  With ``--long`` each case is also run by twistd, which must make no difference to the client.
`NOT_HERE` and `FAILING` are what does not run under twistd on Python 3 either, each with its reason.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guests import bundled_failing, bundled_net, bundled_talk, bundled_web  # noqa: F401 - they fill the table
from tests.guests.bundled import CASES, DAEMON, FAILING, FOREGROUND, REFERENCE, TWISTD, Bundled, Host, Rig
from tests.guests.network import network_of_its_own
from tests.system.daemon import PLAITD, Place

#: The cases that run as a daemon too.
DAEMONS = ("web-path", "dns-secondary", "ftp-auth_memory", "procmon-keeps", "conch-key", "words-irc")

#: The plugins that come with Twisted, and the words in front of two whose names are also plait's.
PLUGINS = ("conch", "dns", "ftp", "inetd", "mail", "manhole", "portforward", "procmon", "socks", "web", "words")
PLUGINS += ("xmpp-router",)
TWISTED = {"portforward": ["--twisted"], "procmon": ["--twisted"]}

#: The clients that the cases run.
CLIENTS = ("curl", "dig", "ip", "nc", "openssl", "sic", "ssh", "sshpass", "swaks", "telnet", "unshare")

by_name = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def by_name_in(*names: str) -> pytest.MarkDecorator:
    """Return the mark for the cases of these names alone."""
    cases = [case for case in CASES if case.name in names]
    assert len(cases) == len(names)
    return pytest.mark.parametrize("case", cases, ids=lambda case: case.name)


@pytest.fixture
def apart() -> Iterator[None]:
    """A network where all ports are free, for whoever has the clients."""
    missing = [name for name in CLIENTS if not shutil.which(name)]
    if missing:
        pytest.skip(f"NOT RUN: needs {', '.join(missing)}: run scripts/test as root")
    with network_of_its_own():
        yield


def test_no_plugin_is_forgotten() -> None:
    """Each has a case at least."""
    assert {case.plugin for case in CASES} == set(PLUGINS)


# They run -------------------------------------------------------------------------------------------------------------


@pytest.mark.root
@by_name
def test_it_runs(apart: None, place: Place, case: Bundled) -> None:
    """In the foreground: its client is served, it ends in time with nothing left, and nothing unexpected is logged."""
    Rig(place, FOREGROUND).prove(case)


@pytest.mark.root
@by_name_in(*DAEMONS)
def test_it_runs_as_a_daemon(apart: None, place: Place, case: Bundled) -> None:
    """As a daemon: the same, and the pidfile is gone."""
    Rig(place, DAEMON).prove(case)


NOBODY = 65534


@pytest.fixture
def public() -> Iterator[Place]:
    """A folder to start plaitd in that is nobody's."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        with Place(Path(folder)) as place:
            os.chown(place.folder, NOBODY, NOBODY)
            yield place
            place.assert_nothing_left()


@pytest.mark.root
@by_name_in("web-listen", "dns-pyzone", "mail-smtp_pop3")
def test_it_runs_as_another_user(apart: None, public: Place, case: Bundled) -> None:
    """Its ports below 1024 were bound before."""
    host = Host(PLAITD, ("--uid", str(NOBODY), "--gid", str(NOBODY)), True, uid=NOBODY)
    # Where Python itself is only root's, a warning says so.
    Rig(public, host, expected=["modules in .* cannot be reached"]).prove(case)


@pytest.mark.root
@pytest.mark.long
@pytest.mark.parametrize("loop", ["uvloop", "rloop", "epoll", "poll", "select"])
@by_name
def test_it_runs_on_every_loop(apart: None, place: Place, case: Bundled, loop: str) -> None:
    """Twisted's reactor works on whichever loop it is given."""
    Rig(place, Host(PLAITD, ("-n", "--reactor", loop), False)).prove(case)


@pytest.mark.root
@pytest.mark.long
@by_name
def test_twistd_is_the_reference(apart: None, place: Place, case: Bundled) -> None:
    """What the case shows is so under twistd: its client sees no difference."""
    Rig(place, REFERENCE).prove(case)


# What they say --------------------------------------------------------------------------------------------------------

HELP = """\
import json
from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins

print(json.dumps({each.tapname: str(each.options()) for each in getPlugins(IServiceMaker)}))
"""


@pytest.fixture(scope="module")
def helps() -> dict[str, str]:
    """The help of each plugin, as Twisted makes it."""
    shown = subprocess.run([sys.executable, "-c", HELP], check=True, capture_output=True, text=True)
    found: dict[str, str] = json.loads(shown.stdout)
    return found


@pytest.mark.parametrize("plugin", PLUGINS)
def test_its_help_is_twisteds_own(place: Place, helps: dict[str, str], plugin: str) -> None:
    """Word for word, but for how it is called."""
    ended = place.run(*TWISTED.get(plugin, []), plugin, "--help")

    assert (ended.code, ended.errors) == (0, "")
    assert ended.output.startswith(f"Usage: plaitd [options] {plugin} ")
    shown = ended.output.partition("Options:")[2]
    assert shown.rstrip("\n") == helps[plugin].partition("Options:")[2].rstrip("\n")


def test_who_has_read_enough_of_a_help_is_no_error(place: Place) -> None:
    """As for the help of plaitd itself."""
    reader, writer = os.pipe()
    os.close(reader)
    ended = place.run("web", "--help", stdout=writer)
    os.close(writer)

    assert (ended.code, ended.errors) == (128 + signal.SIGPIPE, "")


@pytest.mark.parametrize("plugin", PLUGINS)
def test_a_wrong_option_is_refused(place: Place, plugin: str) -> None:
    """In Twisted's words, with where to look."""
    ended = place.run(*TWISTED.get(plugin, []), plugin, "--nonsense")

    words = " ".join([*TWISTED.get(plugin, []), plugin])
    refusal = f"plaitd: {plugin}: option --nonsense not recognized: see plaitd {words} --help\n"
    assert (ended.code, ended.output, ended.errors) == (2, "", refusal)


REFUSALS = {
    "web --mime-type text/plain": "You can only use --mime_type after --path.",
    "web --wsgi none.such": "No such WSGI application: 'none.such'",
    "web more": "Wrong number of arguments.",
    "dns -p x": "Invalid port: 'x'",
    "dns --secondary x": "Argument must be of the form IP[:port]/domain",
    "manhole": "At least one of --telnetPort and --sshPort must be specified",
    "mail --esmtp": "--esmtp requires --hostname",
    "mail --no-pop3 --no-smtp": "You cannot disable all protocols",
    "ftp --auth nonsense": "Auth plugin not recognized: nonsense",
    "--twisted procmon": "Please specify a process commandline",
}


@pytest.mark.parametrize(("line", "words"), REFUSALS.items(), ids=REFUSALS)
def test_what_it_refuses_is_told(place: Place, line: str, words: str) -> None:
    """A `UsageError` is a sentence, and nothing begins."""
    ended = place.run("-n", *line.split())

    name = line.removeprefix("--twisted ").partition(" ")[0]
    assert (ended.code, ended.output) == (2, "")
    assert ended.errors.startswith(f"plaitd: {name}: {words}: see plaitd ")
    assert ended.errors.count("\n") == 1


FAILURES = {
    "inetd -f /none": "FileNotFoundError: [Errno 2] No such file or directory: '/none'",
    "words --irc-port nonsense": "ValueError: Unknown endpoint type: 'nonsense'",
}


@pytest.mark.parametrize(("line", "words"), FAILURES.items(), ids=FAILURES)
def test_what_fails_in_it_is_told(place: Place, line: str, words: str) -> None:
    """An error of its ``makeService`` is a sentence with the place of it."""
    ended = place.run("-n", *line.split())

    assert (ended.code, ended.output) == (78, "")
    assert re.fullmatch(
        rf"plaitd: plugin {line.split()[0]} of Twisted: \S+:\d+: {re.escape(words)}: .*\n", ended.errors
    )


# What does not run under twistd either --------------------------------------------------------------------------------

#: What fails at once, and with what.
NOT_HERE = {
    # The domains are kept by texts and looked for by bytes; so no letter is taken, and nobody may fetch one.
    "mail --maildirdbmdomain example.com=mail --user joe=rabbit": "TypeError: DirDBM key must be bytes",
    "words --irc-port tcp:6667 --group shop": "AttributeError: 'str' object has no attribute 'decode'",
    # As the help has it: a number alone is no endpoint.
    "web --port 8081": "ValueError: Unknown endpoint type: '8081'",
}


@pytest.mark.long
@pytest.mark.parametrize(("line", "words"), NOT_HERE.items(), ids=NOT_HERE)
def test_what_does_not_start_under_twistd(place: Place, line: str, words: str) -> None:
    """It ends with an error of Twisted itself, there as here."""
    place.allow("mail")
    ended = place.run("-n", "-r", "asyncio", "--pidfile=", *line.split(), program=(TWISTD,))
    assert (ended.code, words in ended.errors) == (1, True), ended
    ended = place.run("-n", *line.split())
    assert (ended.code, words in ended.errors) == (78, True), ended


@pytest.mark.root
@pytest.mark.long
@pytest.mark.parametrize("host", [REFERENCE, DAEMON], ids=["twistd", "plaitd"])
@pytest.mark.parametrize("case", FAILING, ids=lambda case: case.name)
def test_what_does_not_work_under_twistd(apart: None, place: Place, case: Bundled, host: Host) -> None:
    """Its client is sent away, there as here."""
    Rig(place, host).prove(case)
