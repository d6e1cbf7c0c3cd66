"""How a Twisted application is started, line by line: where its files are, as whom it runs, what a daemon finds."""

from __future__ import annotations

import grp
import os
import pwd

import pytest

from tests.guests.facts import NOTE, Noted, read
from tests.guests.tac import IDLE, run, start, write
from tests.system.daemon import Place
from tests.system.places import FORMS

STEPS = (
    NOTE
    + """
note("load")

class Noting(service.Service):
    def __init__(self, name):
        self.name = name

    def privilegedStartService(self):
        note("privileged " + self.name)

    def startService(self):
        super().startService()
        note("start " + self.name, groups=os.getgroups())

    def stopService(self):
        note("stop " + self.name)

inner = service.MultiService()
inner.setName("inner")
Noting("two").setServiceParent(inner)
add(Noting("one"), inner, Noting("three"))
reactor.callWhenRunning(note, "running")
"""
)


def steps(place: Place, daemonize: bool, *options: str, more: str = "") -> dict[str, Noted]:
    """Run `STEPS` and *more*; return what was noted at each step."""
    write(place, STEPS + more)
    ended = start(place, daemonize, *options).stop()
    assert ended.code == 0, ended.output
    noted = read(ended.output)
    return {each.step: each for each in noted}


# The order ------------------------------------------------------------------------------------------------------------


@FORMS
def test_all_privileged_starts_come_before_all_starts(place: Place, daemonize: bool) -> None:
    """In the order in which the services were added, those in collections in their place."""
    assert list(steps(place, daemonize)) == [
        "load",
        "privileged one",
        "privileged two",
        "privileged three",
        "start one",
        "start two",
        "start three",
        "running",
        "stop three",
        "stop two",
        "stop one",
    ]


@pytest.mark.root
@FORMS
def test_what_has_changed_at_each_step(public: Place, daemonize: bool) -> None:
    """Loading: nothing.  The privileged start: folder, umask, process, pidfile.  The start: the user as well."""
    (public.folder / "away").mkdir()
    public.allow("away")
    noted = steps(public, daemonize, "--rundir=away", "--umask=027", "--uid=1", "--pidfile=plaitd.pid")
    here, away = str(public.folder), str(public.folder / "away")
    pid = noted["start one"].pid
    load, privileged, begin, end = (noted[step] for step in ("load", "privileged one", "start one", "stop one"))
    assert (load.folder, load.uid, load.pidfile) == (here, 0, None)
    assert (privileged.folder, privileged.umask, privileged.uid, privileged.pid) == (away, 0o027, 0, pid)
    assert (begin.folder, begin.umask, begin.uid, begin.pid) == (away, 0o027, 1, pid)
    assert privileged.pidfile == str(pid)  # it is not for the eyes of the user that is become
    assert (end.folder, end.umask, end.uid, end.pid) == (away, 0o027, 1, pid)


def test_of_a_second_start_nothing_is_done(place: Place) -> None:
    """Who finds that one runs does not run the file: it may open a log that is in use, and rotate it."""
    write(place, "with open('loaded', 'a') as file:\n    file.write('x')\n" + IDLE)
    place.allow("loaded")
    daemon = start(place, True)
    assert place.heard() == "runs"
    second = place.run("-y", "shop.tac")
    assert second.code == 75
    assert str(daemon.pid) in second.errors
    assert (place.folder / "loaded").read_text() == "x"
    assert daemon.stop().code == 0


# Files ----------------------------------------------------------------------------------------------------------------


def test_pidfile_and_log_are_where_it_was_started(place: Place) -> None:
    """Whatever folder it goes to."""
    write(place, IDLE)
    (place.folder / "away").mkdir()
    place.allow("away")
    daemon = start(place, True, "--rundir=away")
    assert os.readlink(f"/proc/{daemon.pid}/cwd") == str(place.folder / "away")
    assert place.read_pid() == daemon.pid
    assert daemon.stop().code == 0
    assert "shop is ready" in place.log
    assert list((place.folder / "away").iterdir()) == []


def test_paths_that_are_given_are_those_of_whoever_starts_it(place: Place) -> None:
    """A pidfile and a log of other names, relative to where they were typed."""
    write(place, IDLE)
    (place.folder / "away").mkdir()
    place.allow("away", "other.log", "other.pid")
    ended = place.run("-y", "shop.tac", "--rundir=away", "--pidfile=other.pid", "--logfile=other.log")
    assert (ended.code, ended.output, ended.errors) == (0, "", "")
    assert place.heard() == "runs"
    pid = int((place.folder / "other.pid").read_text())
    (daemon,) = place.relatives()
    assert daemon == pid
    os.kill(pid, 15)
    place.assert_nothing_left(20)
    assert "ended: received SIGTERM" in (place.folder / "other.log").read_text()
    assert not (place.folder / "other.pid").exists()


@FORMS
def test_an_empty_pidfile_is_none(place: Place, daemonize: bool) -> None:
    """As ``--pidfile=``, which units of systemd have."""
    write(place, IDLE)
    ended = place.run(*([] if daemonize else ["-n"]), "--pidfile=", "-y", "shop.tac") if daemonize else None
    plaitd = None if daemonize else start(place, False, "--pidfile=")
    assert place.heard() == "runs"
    assert list(place.folder.glob("*.pid")) == []
    if plaitd is not None:
        assert plaitd.stop().code == 0
    else:
        assert ended is not None
        assert ended.code == 0
        (pid,) = place.relatives()
        os.kill(pid, 15)
        place.assert_nothing_left(20)


@pytest.mark.parametrize("left", ["4711\n", "not a number\n", ""])
def test_a_pidfile_that_nobody_holds_is_in_nobody_s_way(place: Place, left: str) -> None:
    """The lock counts, and not the number, nor what else is in its place."""
    write(place, IDLE)
    place.pidfile.write_text(left)
    assert start(place, True).stop().code == 0


# As whom --------------------------------------------------------------------------------------------------------------


def user_with_another_group() -> pwd.struct_passwd:
    """Return a user of this system whose group has another number."""
    return next(each for each in pwd.getpwall() if each.pw_uid and each.pw_uid != each.pw_gid)


@pytest.mark.root
def test_the_users_of_the_application(public: Place) -> None:
    """With a uid alone, the group is that of the user; the groups are the user's."""
    user = user_with_another_group()
    begin = steps(public, False, more=f"service.IProcess(application).uid = {user.pw_uid}\n")["start one"]
    assert (begin.uid, begin.gid) == (user.pw_uid, user.pw_gid)
    assert sorted(begin.more["groups"]) == sorted(os.getgrouplist(user.pw_name, user.pw_gid))


@pytest.mark.root
def test_uid_and_gid_of_the_application(public: Place) -> None:
    """Both, as in ``Application(name, uid, gid)``."""
    more = "application = service.Application('shop', uid=1, gid=2)\nadd(Noting('own'))\n"
    begin = steps(public, True, more=more)["start own"]
    assert (begin.uid, begin.gid) == (1, 2)


@pytest.mark.root
def test_the_options_come_first(public: Place) -> None:
    """What a person gives wins over what the application says."""
    user = user_with_another_group()
    group = next(each for each in grp.getgrall() if each.gr_gid not in (0, 1, user.pw_gid))
    more = "service.IProcess(application).uid = 1\nservice.IProcess(application).gid = 1\n"
    options = (f"--uid={user.pw_name}", f"--gid={group.gr_name}")
    begin = steps(public, False, *options, more=more)["start one"]
    assert (begin.uid, begin.gid) == (user.pw_uid, group.gr_gid)


# A daemon -------------------------------------------------------------------------------------------------------------


SLOW = """
class Slow(service.Service):
    def {method}(self):
        time.sleep(0.5)
        with open("done", "w") as file:
            file.write(str(os.getpid()))

add(Slow())
"""


def test_a_daemon_is_away_from_the_terminal(place: Place) -> None:
    """A session of its own, /dev/null for its streams, and files for nobody else."""
    write(place, STEPS)
    daemon = start(place, True)
    assert os.getsid(daemon.pid) not in (os.getsid(0), 0)
    assert {os.readlink(f"/proc/{daemon.pid}/fd/{number}") for number in (0, 1, 2)} == {"/dev/null"}
    noted = {each.step: each for each in read(daemon.stop().output)}
    assert noted["privileged one"].umask == noted["running"].umask == 0o077


@pytest.mark.parametrize("method", ["privilegedStartService", "startService"])
def test_who_starts_a_daemon_waits_for_all_starts(place: Place, method: str) -> None:
    """Also for one that blocks: with the command's end they are done."""
    write(place, STEPS + SLOW.format(method=method))
    daemon = start(place, True)
    assert (place.folder / "done").read_text() == str(daemon.pid)
    place.allow("done")
    assert daemon.stop().code == 0


def test_the_foreground_keeps_the_umask(place: Place) -> None:
    """That of whoever starts it, which is not the daemon's."""
    before = os.umask(0o026)
    try:
        write(place, STEPS)
        plaitd = start(place, False)
    finally:
        os.umask(before)
    assert {each.umask for each in read(plaitd.stop().output)} == {0o026}


# Failures -------------------------------------------------------------------------------------------------------------

FAILING = """
class Failing(service.Service):
    name = "failing"

    def {method}(self):
        raise RuntimeError("no stock")

add(first, Failing())
"""


@FORMS
@pytest.mark.parametrize("method", ["privilegedStartService", "startService"])
def test_an_exception_in_either_start(place: Place, method: str, daemonize: bool) -> None:
    """The traceback, with the line, is in the log; the status is not 0; there is no pidfile."""
    write(place, FAILING.format(method=method))
    ended = run(place, daemonize)
    assert ended.code == 70
    assert "RuntimeError: no stock" in ended.output
    assert "Traceback" in ended.output
    line = place.line_of("raise RuntimeError", "shop.tac").partition(":")[2]
    assert f'shop.tac", line {line}, in {method}' in ended.output


def test_a_thread_that_began_with_the_file_is_named_when_the_daemon_loses_it(place: Place) -> None:
    """As under twistd the daemon runs without it; the log says so."""
    poller = "threading.Thread(target=threading.Event().wait, name='poller', daemon=True).start()"
    write(place, f"import threading\n{poller}\n{IDLE}")
    ended = start(place, True).stop()
    assert ended.code == 0
    assert "[plait#warning] threads that began before the daemon was there are not in it: poller\n" in ended.output
