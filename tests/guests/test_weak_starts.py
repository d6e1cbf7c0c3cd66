"""What goes wrong while twistd starts an application does not go wrong here; see `test_weaknesses.py` for the list."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.guests.tac import IDLE, run, start, told, write
from tests.system.daemon import PLAITD, Daemon, Place
from tests.system.places import FORMS, start_five_at_once

# Starts that fail (1-5) -----------------------------------------------------------------------------------------------

LUCK = "no luck" + " at all" * 60 + " \u2014 é"

FAILS = {
    "raises": "def startService(self): self.fail()",
    "raises in its privileged start": "def privilegedStartService(self): self.fail()",
    "returns a Deferred that has failed": "def startService(self): return defer.execute(self.fail)",
    "returns a Deferred that fails": "def startService(self): return task.deferLater(reactor, 0.05, self.fail)",
    "is async, and fails": "async def startService(self): await task.deferLater(reactor, 0, self.fail)",
}


@FORMS
@pytest.mark.parametrize("how", FAILS)
def test_a_failed_start_is_told_whole(place: Place, how: str, daemonize: bool) -> None:
    """Whoever started it reads the whole sentence, however long; what had started is stopped, and all is put away."""
    write(
        place,
        f"""
class Second(Plain):
    {FAILS[how]}

    def fail(self):
        raise ValueError({LUCK!r})

add(first, Second("second"), Plain("later"))
""",
    )
    ended = run(place, daemonize)
    privileged = "privileged" in how
    assert ended.code == 70
    assert told(ended, daemonize) == f"shop/second: did not start: ValueError: {LUCK}"
    assert re.search(r'File "shop\.tac", line \d+, in fail$', ended.output, re.MULTILINE)
    assert ended.output.count("Traceback") == 1
    assert re.findall(r"(\w+) begins", ended.output) == ["first"], privileged
    assert "first put away" in ended.output
    assert "later" not in ended.output


def test_an_async_start_runs_and_is_waited_for(place: Place) -> None:
    """Where twistd never runs it: the next one begins when it is done."""
    write(
        place,
        """
class Slow(Plain):
    async def startService(self):
        await task.deferLater(reactor, 0.05, int)
        super().startService()

add(Slow("slow"), first)
""",
    )
    ended = start(place, False).stop()
    assert re.findall(r"(\w+ begins|\w+ put away|is ready)", ended.output) == [
        *("slow begins", "first begins", "is ready"),
        *("first put away", "slow put away"),
    ]


@pytest.mark.parametrize(
    ("exit", "code"), [("sys.exit(3)", 3), ("sys.exit()", 70), ("sys.exit('no luck')", 1), ("os._exit(5)", 5)]
)
@pytest.mark.parametrize("method", ["startService", "privilegedStartService"])
def test_an_exit_in_a_start_does_not_hang_the_starter(place: Place, method: str, exit: str, code: int) -> None:
    """Who leaves the process in the middle of its start: the starter says so, with its code or 70, never with 0."""
    write(
        place,
        f"""
class Leaves(Plain):
    def {method}(self):
        {exit}

add(first, Leaves("leaves"))
""",
    )
    ended = place.run("-y", "shop.tac")
    assert ended.code == code
    assert re.fullmatch(r"plaitd: [^\n]+\n", ended.errors)
    if method == "startService":
        assert ("first put away" in place.log) == (exit != "os._exit(5)")


# Users (6, 7) ---------------------------------------------------------------------------------------------------------


@FORMS
def test_who_may_not_become_root_is_told_so(public: Place, daemonize: bool) -> None:
    """Asked for on the command line or by the application itself: one sentence, 77, and nothing was started."""
    place = public
    program: tuple[str, ...] = (PLAITD,)
    if os.geteuid() == 0:
        setpriv = shutil.which("setpriv") or pytest.skip("NOT RUN: needs setpriv (util-linux) to be an ordinary user")
        may_read = ("--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search")
        program = (setpriv, "--reuid", "65534", "--regid", "65534", "--clear-groups", *may_read, PLAITD)
    write(place, IDLE)
    write(place, IDLE.replace("add(", "service.IProcess(application).uid = 0; add("), "asks.tac")
    for arguments in (("-y", "shop.tac", "--uid", "root"), ("-y", "asks.tac")):
        ended = place.run(*arguments, *([] if daemonize else ["-n"]), program=program)
        assert ended.code == 77
        assert re.fullmatch(r"plaitd: --uid (root|0): [^\n]+\n", ended.errors)
        assert "begins" not in ended.output


@pytest.mark.root
@pytest.mark.parametrize("asks", ["on the command line", "in the file"])
def test_a_user_may_be_only_a_number(public: Place, asks: str) -> None:
    """A user and a group without entries in any database will do, given or asked for."""
    place = public
    given = ["-u", "54321", "-g", "54322"]
    if asks == "in the file":
        write(place, "application = service.Application('shop', uid=54321, gid=54322)\n" + IDLE)
        given = []
    else:
        write(place, IDLE)
    daemon = place.daemonize(*given, name="shop.tac")
    facts = Path(f"/proc/{daemon.pid}/status").read_text()
    assert re.search(r"^Uid:(\t54321){4}$", facts, re.MULTILINE)
    assert re.search(r"^Gid:(\t54322){4}$", facts, re.MULTILINE)
    assert re.search(r"^Groups:\s*$", facts, re.MULTILINE)
    assert place.heard() == "runs"
    assert daemon.stop().code == 0


# Files (8) ------------------------------------------------------------------------------------------------------------

BROKEN = {
    "a syntax error": ("application = [\n", r"shop\.tac:1: '\[' was never closed: correct the file"),
    "an exception": ("import os\n\n1 / 0\n", r"shop\.tac:3: ZeroDivisionError: division by zero: correct [^\n]+"),
    "no application": ("app = 1\n", r"shop\.tac: defines no variable `application`: write [^\n]+"),
    "another KeyError": ("{}['application']\n", r"shop\.tac:1: KeyError: 'application': correct [^\n]+"),
    "a number": ("application = 42\n", r"shop\.tac: application: is int, which is no application: make it [^\n]+"),
    "an exit": ("import sys; sys.exit(7)\n", ""),
}


@FORMS
@pytest.mark.parametrize("what", BROKEN)
def test_a_file_that_is_broken_is_one_sentence(place: Place, what: str, daemonize: bool) -> None:
    """With its line, once, and no traceback; no pidfile is left, and no log is begun."""
    source, sentence = BROKEN[what]
    (place.folder / "shop.tac").write_text(source)
    place.allow("shop.tac")
    ended = place.run("-y", "shop.tac", *([] if daemonize else ["-n"]))
    if what == "an exit":
        assert (ended.code, ended.output) == (7, "")
    else:
        assert (ended.code, ended.output) == (78, "")
        assert re.fullmatch(f"plaitd: {sentence}\n", ended.errors), ended.errors
    assert "Traceback" not in ended.errors
    assert not (place.folder / "plaitd.log").exists()


def test_a_file_that_is_not_there_is_one_sentence(place: Place) -> None:
    """As any file that cannot be read."""
    ended = place.run("-y", "nope.tac")
    assert (ended.code, ended.output) == (78, "")
    assert re.fullmatch(r"plaitd: nope\.tac: cannot be read \(No such file or directory\): [^\n]+\n", ended.errors)


@FORMS
def test_a_bare_service_will_do(place: Place, daemonize: bool) -> None:
    """A `MultiService` that is called `application`, where twistd fails with an error of its own."""
    write(place, IDLE + "application = service.MultiService()\nfirst.disownServiceParent()\nadd(first)\n")
    running = start(place, daemonize)
    assert place.heard() == "runs"
    assert "first put away" in running.stop().output


# One of many (9, 26) --------------------------------------------------------------------------------------------------


def test_of_five_starts_at_once_one_wins(place: Place) -> None:
    """The others name the winner, exit with 75, and disturb nobody."""
    write(place, IDLE)
    start_five_at_once(place, "shop.tac")
    assert place.heard() == "runs"
    assert Daemon(place, place.read_pid()).stop().code == 0


def test_a_stale_pid_does_not_block(place: Place) -> None:
    """A zombie's, somebody else's, that of whoever starts it, 0, -1, a huge one: whatever number is left in it."""
    write(place, IDLE)
    zombie = subprocess.Popen([sys.executable, "-S", "-c", ""])
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    try:
        for pid in (zombie.pid, os.getpid(), 0, -1, 10**30):
            place.pidfile.write_text(f"{pid}\n")
            daemon = place.daemonize(name="shop.tac")
            assert place.heard() == "runs"
            assert daemon.stop().code == 0
    finally:
        zombie.wait()


# Ports in use (13, 14) ------------------------------------------------------------------------------------------------

TAKEN = {
    "strports.service": "strports.service('tcp:{port}:interface=127.0.0.1', protocol.Factory())",
    "StreamServerEndpointService": (
        "internet.StreamServerEndpointService("
        "endpoints.TCP4ServerEndpoint(reactor, {port}, interface='127.0.0.1'), protocol.Factory())"
    ),
    "TCPServer": "internet.TCPServer({port}, protocol.Factory(), interface='127.0.0.1')",
    "listenTCP": "Listens('web')",
}


@FORMS
@pytest.mark.parametrize("how", TAKEN)
def test_a_port_in_use_is_told_whole(place: Place, how: str, daemonize: bool) -> None:
    """The start has failed, whoever opens the port; the sentence names the service, the port, and the reason."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        write(
            place,
            f"""
from twisted.internet import endpoints

class Listens(Plain):
    def startService(self):
        reactor.listenTCP({port}, protocol.Factory(), interface="127.0.0.1")

web = {TAKEN[how].format(port=port)}
web.setName("web")
add(first, web)
""",
        )
        ended = run(place, daemonize)
    assert ended.code == 69
    sentence = told(ended, daemonize)
    assert sentence == f"shop/web: did not start: cannot listen on 127.0.0.1:{port}: address already in use"
    assert re.findall(r"first (begins|put away)", ended.output) == ["begins", "put away"]


# The title, passed sockets, another root (23-25) ----------------------------------------------------------------------


@FORMS
def test_a_process_name_is_the_title_in_a_virtual_environment_too(place: Place, daemonize: bool) -> None:
    """The program is not started a second time for it: the file is run once."""
    write(place, IDLE + "service.IProcess(application).processName = 'the shop'\nprint('loaded', flush=True)\n")
    if daemonize:
        ended = place.run("-y", "shop.tac")
        assert (ended.code, ended.output) == (0, "loaded\n")
        running: Daemon = Daemon(place, place.read_pid())
    else:
        running = start(place, False)  # type: ignore[assignment]
    assert place.heard() == "runs"
    command = Path(f"/proc/{running.pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")[0]
    assert command == b"the shop"
    ended = running.stop()
    assert ended.code == 0


@FORMS
def test_a_process_name_loses_no_passed_socket(place: Place, daemonize: bool) -> None:
    """With a name and a passed socket it starts, and answers there."""
    write(
        place,
        """
class Hello(protocol.Protocol):
    def connectionMade(self):
        self.transport.write(b"hello")
        self.transport.loseConnection()

service.IProcess(application).processName = "the shop"
add(strports.service("systemd:domain=INET:index=0", protocol.Factory.forProtocol(Hello)))
""",
    )
    passing = ("sh", "-c", 'export LISTEN_PID=$$; exec "$@" 3<&0 </dev/null', "sh", PLAITD)
    with socket.create_server(("127.0.0.1", 0)) as passed:
        begin = place.daemonize if daemonize else place.foreground
        running = begin(name="shop.tac", program=passing, environment={"LISTEN_FDS": "1"}, stdin=passed)
        with socket.create_connection(passed.getsockname(), 10) as client:
            assert client.recv(10) == b"hello"
    assert running.stop().code == 0


@pytest.mark.root
def test_another_root_works_with_the_default_pidfile(public: Place) -> None:
    """In an empty folder, without /dev/null, as another user: a daemon that serves, calls a thread, and stops."""
    place = public
    jail = place.folder / "jail"
    jail.mkdir()
    place.allow("jail", "plaitd.pid")
    write(
        place,
        """
class Echo(protocol.Protocol):
    def dataReceived(self, data):
        threads.deferToThread(bytes.upper, data).addCallback(self.transport.write)

add(first, strports.service("tcp:0:interface=127.0.0.1", protocol.Factory.forProtocol(Echo)))
web = list(service.IServiceCollection(application))[1]
reactor.callWhenRunning(lambda: print("port", web._waitingForPort.result.getHost().port))
""",
    )
    daemon = place.daemonize("-u", "nobody", "--chroot", "jail", name="shop.tac")
    assert os.readlink(f"/proc/{daemon.pid}/root") == str(jail)
    port = int(re.findall(r"port (\d+)$", place.log, re.MULTILINE)[0])
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(b"hello")
        assert client.recv(10) == b"HELLO"
    ended = daemon.stop()
    assert ended.code == 0
    assert "first put away" in ended.output
    assert place.pidfile.read_bytes() == b""


# The other runner (34) ------------------------------------------------------------------------------------------------


def test_plait_run_tells_of_a_failed_start(place: Place) -> None:
    """`plait run` has the whole log of a failed start, and calls the privileged starts as plaitd does."""
    plait = str(Path(PLAITD).with_name("plait"))
    write(
        place,
        """
class Second(Plain):
    def privilegedStartService(self):
        print("is privileged")

    def startService(self):
        raise ValueError("no luck at all")

add(first, Second("second"))
""",
    )
    ended = place.run("run", "-y", "shop.tac", program=(plait,))
    assert ended.code == 70
    log = ended.output + ended.errors
    for text in ("is privileged", "shop/second: did not start: ValueError: no luck at all", "first put away"):
        assert text in log
