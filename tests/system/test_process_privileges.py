"""Giving up root for good, in real processes: what a test may not do to itself."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from tests.system.daemons import end, read_pid, run, start

pytestmark = pytest.mark.root

#: A program that tells what it has become, and how it fares when it wants to go back.
TELL = """
    import json, grp, pwd
    os.setgroups([0, 4, 27])
    groups = os.getgrouplist("nobody", pwd.getpwnam("nobody").pw_gid)
    def tell(prepared):
        threading.Thread(target=signal.pause, daemon=True).start()
        facts = []
        for task in os.listdir("/proc/self/task"):
            lines = open(f"/proc/self/task/{task}/status").read().splitlines()
            facts.append({key: value.split() for key, _, value in (line.partition(":") for line in lines)})
        back = []
        for way in ("setuid", "seteuid", "setgid", "setegid", "setgroups"):
            try:
                getattr(os, way)([0] if way == "setgroups" else 0)
                back.append(way)
            except PermissionError:
                pass
        prepared.status("hm")
        return json.dumps([os.getpid(), facts, back, groups])
"""


def free_low_port() -> int:
    """Return a port below 1024 that nobody has."""
    for port in range(1023, 600, -1):
        with socket.socket() as trial:
            try:
                trial.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port below 1024 is free")


def check(told: str, uid: int, gid: int, groups: list[int] | None = None) -> None:
    _, tasks, back, own_groups = json.loads(told)
    assert len(tasks) == 2
    for facts in tasks:
        assert facts["Uid"] == [str(uid)] * 4
        assert facts["Gid"] == [str(gid)] * 4
        assert sorted(map(int, facts["Groups"])) == sorted(own_groups if groups is None else groups)
        assert all(int(facts[kind][0], 16) == 0 for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"))
        assert facts["NoNewPrivs"] == ["1"]
    assert back == []


def test_a_named_user_gets_its_own_groups_and_no_way_back(tmp_path: Path) -> None:
    """All four user and group numbers of all threads are the user's, its groups are, and no call goes back to root."""
    with start(tmp_path, TELL + "    print(tell(daemon(daemonize=False, uid='nobody')))") as process:
        told, errors = process.communicate(timeout=20)
    assert errors == ""
    check(told, 65534, 65534)


def test_numbers_need_no_entry_in_any_database(tmp_path: Path) -> None:
    """A user and a group that are only numbers, as in containers: no supplementary groups."""
    with start(tmp_path, TELL + "    print(tell(daemon(daemonize=False, uid='54321', gid='54322')))") as process:
        told, errors = process.communicate(timeout=20)
    assert errors == ""
    check(told, 54321, 54322, [])


def test_a_daemon_binds_as_root_and_serves_as_nobody(tmp_path: Path) -> None:
    """A low port is bound before root is given up; the pidfile, which may then not be removed, is emptied."""
    body = (
        TELL
        + """
    with daemon("tcp:PORT:interface=127.0.0.1", "unix:sock", uid="nobody", gid="nogroup") as prepared:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        os.write(tell_here, tell(prepared).encode())
        prepared.ready()
        signal.sigwait({signal.SIGTERM})
        os.write(tell_here, prepared.close().encode())
    """.replace("tell_here", "told.fileno()")
    )
    port = free_low_port()
    body = body.replace("PORT", str(port)).replace(
        "    import json", "    told = open('told', 'w')\n    import json", 1
    )
    code, errors = run(tmp_path, body)
    assert (code, errors) == (0, "")
    pid = read_pid(tmp_path)
    told = (tmp_path / "told").read_text()
    assert json.loads(told)[0] == pid
    check(told, 65534, 65534)
    socket.create_connection(("127.0.0.1", port), 5).close()
    end(pid)
    assert (tmp_path / "told").read_text()[len(told) :] == (
        "plaitd.pid: cannot be removed (Permission denied), so it was emptied: "
        "put it in a folder where uid 65534 may write"
    )
    assert (tmp_path / "plaitd.pid").read_bytes() == b""
    assert run(tmp_path, "daemon(daemonize=False).close()") == (0, "")


def test_only_a_group_keeps_the_user_and_drops_the_groups(tmp_path: Path) -> None:
    """--gid alone changes the group and leaves no supplementary groups of root's."""
    body = """
        os.setgroups([0, 4, 27])
        daemon(daemonize=False, gid="nogroup")
        print(os.getresuid(), os.getresgid(), os.getgroups())
    """
    with start(tmp_path, body) as process:
        assert process.communicate(timeout=20) == ("(0, 0, 0) (65534, 65534, 65534) []\n", "")


def test_root_who_stays_root_gets_its_own_groups(tmp_path: Path) -> None:
    """--uid root sets the groups too, whatever a starter gave it; its capabilities stay."""
    body = """
        os.setgroups([0, 4, 27])
        daemon(daemonize=False, uid="root")
        status = dict(line.split(":", 1) for line in open("/proc/self/status"))
        print(os.getgroups() == os.getgrouplist("root", 0), int(status["CapEff"], 16) > 0, status["NoNewPrivs"].strip())
    """
    with start(tmp_path, body) as process:
        assert process.communicate(timeout=20) == ("True True 0\n", "")


def test_an_ordinary_user_is_refused(tmp_path: Path) -> None:
    """Without the right to it: exit code 77 and one sentence, from the daemon through its parent; nothing is left."""
    body = """
        import grp, pwd, plait.process.capabilities, plait.process.privileges, plait.process.modules
        os.setresuid(54321, 54321, 54321)
        daemon(uid="nobody", pidfile="", rundir="/")
    """
    code, errors = run(tmp_path, body)
    assert errors == (
        "plaitd: --uid nobody: uid 54321 may not (Operation not permitted): start it as root, or leave that out\n"
    )
    assert code == 77


def test_who_is_that_user_already_needs_no_right(tmp_path: Path) -> None:
    """An ordinary user may ask to become itself, by number, without an entry, in a container: nothing is set."""
    body = """
        # The new user may not be able to read where Python is installed.
        import grp, pwd, plait.process.capabilities, plait.process.privileges, plait.process.modules
        os.setgroups([27])
        os.setresgid(54322, 54322, 54322)
        os.setresuid(54321, 54321, 54321)
        daemon(daemonize=False, pidfile="", rundir="/", uid="54321")
        daemon(daemonize=False, pidfile="", rundir="/", uid="54321", gid="54322")
        print(os.getresuid(), os.getresgid(), os.getgroups())
    """
    with start(tmp_path, body) as process:
        assert process.communicate(timeout=20) == ("(54321, 54321, 54321) (54322, 54322, 54322) [27]\n", "")


def test_capabilities_that_survive_the_change_are_given_up(tmp_path: Path) -> None:
    """Securebits may let them survive, and with them the way back: they are taken away by name."""
    body = (
        TELL
        + """
    import ctypes
    assert ctypes.CDLL(None).prctl(28, 4, 0, 0, 0) == 0  # PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP
    print(tell(daemon(daemonize=False, uid="nobody", gid="nogroup")))
"""
    )
    with start(tmp_path, body) as process:
        told, errors = process.communicate(timeout=20)
    assert errors == ""
    check(told, 65534, 65534)


def test_an_error_is_told_also_by_who_cannot_read_the_standard_library(tmp_path: Path) -> None:
    """After the change modules may be out of reach: what is needed to say what went wrong is not one of them."""
    body = """
        class Unreadable:
            def find_spec(self, *_):
                raise PermissionError("modules are out of reach")
        del sys.modules["traceback"]
        with daemon(uid="nobody", gid="nogroup"):
            sys.meta_path.insert(0, Unreadable())
            raise RuntimeError("hm")
    """
    assert run(tmp_path, body) == (70, "plaitd: RuntimeError: hm\n")
