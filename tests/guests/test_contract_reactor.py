"""What applications take for granted of the reactor, line by line."""

from __future__ import annotations

import socket
import urllib.request

import pytest

from tests.guests.tac import HEAD, IDLE, run, start, write
from tests.system.daemon import PLAITD, Daemon, Foreground, Place
from tests.system.places import FORMS


def said(text: str) -> list[str]:
    """Return what the lines of a log say."""
    return [line.partition("] ")[2] for line in text.splitlines()]


# Which one it is ------------------------------------------------------------------------------------------------------

PLUGIN = """
from twisted.internet import reactor
from twisted.application.service import ServiceMaker
made = ServiceMaker("made", "nothing", "a plugin", "made")
"""


def test_a_scan_of_all_plugins_meets_the_reactor_that_runs(place: Place) -> None:
    """An application that looks through them, where no cache can tell, imports all; one imports the reactor."""
    write(
        place,
        """
from twisted.plugin import getPlugins
print("found", sorted(plugin.tapname for plugin in getPlugins(service.IServiceMaker) if plugin.tapname == "made"))
print("runs", type(reactor).__name__, reactor is sys.modules["twisted.internet.reactor"])
add(first)
""",
    )
    folder = place.folder / "twisted" / "plugins"
    folder.mkdir(parents=True)
    (folder / "scanned.py").write_text(PLUGIN)
    place.allow("twisted")
    plaitd = place.foreground(name="shop.tac", environment={"PYTHONPATH": ".", "PYTHONDONTWRITEBYTECODE": "1"})
    lines = plaitd.ready().stop().output.splitlines()
    assert lines[:2] == ["found ['made']", "runs GuestReactor True"]


@pytest.mark.parametrize("name", ["asyncioreactor", "epollreactor", "pollreactor", "selectreactor"])
def test_a_file_that_installs_another_has_this_one(place: Place, name: str) -> None:
    """Files begin so that are started by twistd without -r; what they install can do no more, and is left out."""
    (place.folder / "shop.tac").write_text(f"from twisted.internet import {name}\n{name}.install()\n")
    with open(place.folder / "shop.tac", "a") as file:
        file.write(HEAD + IDLE + "print('runs on', type(reactor).__name__)\n")
    place.allow("shop.tac")
    ended = start(place, False).stop()
    assert ended.code == 0
    assert "runs on GuestReactor\n" in ended.output
    assert (
        f"#warning] twisted.internet.{name}.install() was left out: plait's reactor stands in for it\n" in ended.output
    )


@FORMS
def test_a_file_that_installs_one_of_another_kind_is_refused(place: Place, daemonize: bool) -> None:
    """One that serves a loop of its own, such as that of a window system, cannot be stood in for."""
    write(place, "from twisted.internet import _threadedselect\n_threadedselect.install()\nadd(first)\n")
    ended = run(place, daemonize)
    assert ended.code == 78
    line = place.line_of("_threadedselect.install()", "shop.tac")
    assert ended.errors.startswith(
        f"plaitd: {line}: ThreadedSelectReactor: is no reactor that plait can stand in for: run this with twistd"
    )


# When it runs ---------------------------------------------------------------------------------------------------------

RUNNING = """
import asyncio

def in_loop():
    try:
        return asyncio.get_running_loop() is not None
    except RuntimeError:
        return False

class Second(service.Service):
    def startService(self):
        print("second begins, in the loop:", in_loop(), "running:", reactor.running)

def when_running():
    print("called when running:", reactor.running)
    reactor.callLater(0, later)

def later():
    print("later, in the loop:", in_loop())
    tell("later")

reactor.callWhenRunning(when_running)
for phase in ("after", "during", "before"):
    reactor.addSystemEventTrigger(phase, "startup", print, phase, "the startup")
add(first, Second())
"""


@FORMS
def test_what_is_called_when_it_runs_comes_after_all_starts(place: Place, daemonize: bool) -> None:
    """Once, when every service has started; what that puts off finds the loop running."""
    write(place, RUNNING)
    plaitd = start(place, daemonize)
    assert place.heard() == "later"
    lines = said(plaitd.stop().output)
    told = ("first begins", "second", "called", "later", "before the", "during the", "after the")
    steps = [line for line in lines if line.startswith(told)]
    assert steps == [
        "first begins",
        f"second begins, in the loop: True running: {steps[1].rpartition(' ')[2]}",
        "before the startup",
        "during the startup",
        "called when running: True",
        "after the startup",
        "later, in the loop: True",
    ]


@FORMS
def test_it_does_not_run_while_a_file_is_loaded(place: Place, daemonize: bool) -> None:
    """`reactor.stop()` is `ReactorNotRunning` there."""
    write(place, "assert not reactor.running\nreactor.stop()\n")
    ended = run(place, daemonize)
    assert ended.code == 78
    assert "ReactorNotRunning: Can't stop reactor that isn't running" in ended.errors


# Threads and children -------------------------------------------------------------------------------------------------

WORK = """
import subprocess, threading
from twisted.internet.utils import getProcessOutput, getProcessOutputAndValue

@defer.inlineCallbacks
def work():
    thread = yield threads.deferToThread(threading.current_thread)
    print("in a thread:", thread is not threading.main_thread())
    back = defer.Deferred()
    reactor.callInThread(lambda: reactor.callFromThread(back.callback, "and back"))
    print((yield back))
    waited = yield threads.deferToThread(
        threads.blockingCallFromThread, reactor, lambda: task.deferLater(reactor, 0.01, lambda: "waited for")
    )
    print(waited)
    try:
        yield threads.deferToThread(int, "x")
    except ValueError as error:
        print("failed in a thread:", error)
    out, err, code = yield getProcessOutputAndValue("/bin/sh", ["-c", "echo out; echo err >&2; exit 3"])
    print("child:", out, err, code)
    code = subprocess.run(["/bin/sh", "-c", "exit 4"]).returncode
    print("of the standard library:", code)
    print("many:", len(set((yield defer.gatherResults(
        [getProcessOutput("/bin/sh", ["-c", "echo $$"]) for _ in range(20)])))))
    tell("done")

reactor.callWhenRunning(work)
add(first)
"""


@FORMS
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_threads_and_children(place: Place, loop: str, daemonize: bool) -> None:
    """What comes back from a thread, a child's output with its exit code, and children of others, which stay theirs."""
    write(place, WORK)
    plaitd = start(place, daemonize, f"--reactor={loop}")
    assert place.heard() == "done"
    lines = said(plaitd.stop().output)
    assert lines[lines.index("in a thread: True") :][:7] == [
        "in a thread: True",
        "and back",
        "waited for",
        "failed in a thread: invalid literal for int() with base 10: 'x'",
        "child: b'out\\n' b'err\\n' 3",
        "of the standard library: 4",
        "many: 20",
    ]


# Sockets of systemd's -------------------------------------------------------------------------------------------------

WEB = """
from twisted.web import resource, server

class Page(resource.Resource):
    isLeaf = True

    def render_GET(self, request):
        return b"served by %d" % os.getpid()

add(strports.service({endpoint!r}, server.Site(Page())))
"""

PASS = 'LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=web exec "$@" 3<&{fd}'


@FORMS
@pytest.mark.parametrize("endpoint", ["systemd:domain=INET:index=0", "systemd:domain=INET:name=web"])
def test_a_socket_of_systemd_s(place: Place, endpoint: str, daemonize: bool) -> None:
    """By its number, and by its name; in a daemon too, although that is another process then."""
    write(place, WEB.format(endpoint=endpoint))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        fd = listening.fileno()
        how = {"program": ("bash", "-c", PASS.format(fd=fd), "bash", PLAITD), "pass_fds": (fd,)}
        plaitd: Foreground | Daemon
        if daemonize:
            plaitd = place.daemonize(name="shop.tac", **how)
        else:
            plaitd = place.foreground(name="shop.tac", **how).ready()
        port = listening.getsockname()[1]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as answer:
        assert answer.read() == f"served by {plaitd.pid}".encode()
    assert plaitd.stop().code == 0


@FORMS
def test_a_socket_that_systemd_did_not_pass_is_told(place: Place, daemonize: bool) -> None:
    """The file fails, where it asks for it."""
    write(place, WEB.format(endpoint="systemd:domain=INET:index=0"))
    ended = run(place, daemonize)
    assert ended.code == 78
    assert place.line_of("strports.service(", "shop.tac") in ended.errors
