"""What is left of root after the drop, in real daemons: nothing, and no way back."""

from __future__ import annotations

import grp
import json
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.daemon import PLAITD, Ended, Place
from tests.system.test_process_privileges import free_low_port

pytestmark = pytest.mark.root

EMPTY = "0" * 16
NET_BIND = f"{1 << 10:016x}"

THREADS = """
@service
async def busy(context):
    together = __import__("threading").Barrier(3)
    waits = [asyncio.to_thread(together.wait) for _ in range(2)]
    gathered = asyncio.gather(*waits)
    context.ready()
    try:
        await asyncio.Event().wait()
    finally:
        together.abort()
        await asyncio.gather(gathered, return_exceptions=True)

application = Application("shop", [busy])
"""

ECHO = """
from plait import Listener
async def echo(reader, writer):
    async for line in reader:
        writer.write(line)
application = Application("shop", [Listener("tcp:PORT:interface=127.0.0.1", echo)])
"""


@pytest.fixture
def place() -> Iterator[Place]:
    """A place that every user may enter."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        with Place(Path(folder)) as place:
            (place.root / "told").chmod(0o666)
            yield place


def facts_of(pid: int) -> list[dict[str, list[str]]]:
    """Return what /proc says of each thread of *pid*."""
    found = []
    for task in os.listdir(f"/proc/{pid}/task"):
        lines = Path(f"/proc/{pid}/task/{task}/status").read_text().splitlines()
        found.append({key: value.split() for key, _, value in (line.partition(":") for line in lines)})
    return found


def assert_is(pid: int, uid: int, gid: int, groups: set[int], capabilities: str = EMPTY, threads: int = 1) -> None:
    """Fail unless every thread of *pid* is exactly that."""
    tasks = facts_of(pid)
    assert len(tasks) >= threads
    for facts in tasks:
        assert facts["Uid"] == [str(uid)] * 4
        assert facts["Gid"] == [str(gid)] * 4
        assert {int(word) for word in facts["Groups"]} == groups
        for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            assert facts[kind] == [capabilities], kind
        assert facts["CapBnd"] == [EMPTY]
        assert facts["NoNewPrivs"] == ["1"]


# 79 -------------------------------------------------------------------------------------------------------------------


@pytest.mark.promise(79)
@pytest.mark.parametrize("who", ["name", "numbers"])
def test_every_thread_of_a_daemon_is_exactly_who_it_should_be(place: Place, who: str) -> None:
    """All four user and group numbers, the groups, no capability in any set, and no_new_privs."""
    place.write(THREADS)
    if who == "name":
        user = pwd.getpwnam("daemon")
        uid, gid, groups = user.pw_uid, user.pw_gid, set(os.getgrouplist("daemon", user.pw_gid))
        daemon = place.daemonize("-u", "daemon")
    else:
        uid, gid, groups = 54321, 54322, set()
        daemon = place.daemonize("-u", "54321", "-g", "54322")
    assert_is(daemon.pid, uid, gid, groups, threads=3)
    assert daemon.stop().code == 0


@pytest.mark.promise(79)
def test_the_foreground_with_supplementary_groups_keeps_none_of_them(place: Place) -> None:
    """Groups of root's are gone, and those of the user are there, also with another group than its own."""
    place.write(THREADS)
    other = grp.getgrnam("games").gr_gid
    plaitd = place.foreground("-u", "daemon", "-g", "games", extra_groups=[0, 4, 27]).ready()
    uid = pwd.getpwnam("daemon").pw_uid
    assert_is(plaitd.pid, uid, other, set(os.getgrouplist("daemon", other)), threads=3)
    assert plaitd.stop().code == 0


@pytest.mark.promise(79)
def test_threads_that_began_while_the_application_loaded_have_no_more(place: Place) -> None:
    """They were root's: their numbers and capabilities go with those of the others."""
    place.write("import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()\n" + THREADS)
    plaitd = place.foreground("-u", "nobody").ready()
    for facts in facts_of(plaitd.pid):
        assert (facts["Uid"], facts["CapEff"], facts["CapPrm"], facts["NoNewPrivs"]) == (
            *(["65534"] * 4, [EMPTY], [EMPTY]),
            ["1"],
        )
    assert plaitd.stop().code == 0


def test_euid_changes_only_the_effective_numbers(place: Place) -> None:
    """The way back stays open, as in twistd, and the log says so; the groups are set all the same."""
    place.write(THREADS)
    plaitd = place.foreground("--euid", "-u", "nobody", extra_groups=[4, 27]).ready()
    (facts, *_) = facts_of(plaitd.pid)
    assert facts["Uid"] == ["0", "65534", "0", "65534"]
    assert facts["Gid"] == ["0", "65534", "0", "65534"]
    assert facts["Groups"] == ["65534"]
    assert facts["CapEff"] == [EMPTY]
    ended = plaitd.stop()
    assert ended.code == 0
    assert "--euid --uid nobody: any code can become uid 0 again: prefer it without --euid\n" in ended.output


# 80 -------------------------------------------------------------------------------------------------------------------

BACK = """
import json, subprocess
def attempt(word, *arguments):
    try:
        getattr(os, word)(*arguments)
    except OSError as error:
        return error.strerror
    return "worked"

@service
async def back(context):
    tried = {word: attempt(word, *([[0]] if word == "setgroups" else [0] * (3 if "res" in word else 1)))
             for word in ("setuid", "setresuid", "seteuid", "setgid", "setresgid", "setegid", "setgroups")}
    shown = subprocess.run(["./root-id"], capture_output=True, text=True).stdout
    tell(json.dumps([tried, shown]))
    context.ready()
    await asyncio.Event().wait()

application = Application("shop", [back])
"""


@pytest.mark.promise(80)
def test_no_call_and_no_setuid_program_leads_back(place: Place) -> None:
    """Each call is refused, and a program that belongs to root and is setuid runs as the user who runs it."""
    program = place.folder / "root-id"
    shutil.copy("/usr/bin/id", program)
    program.chmod(0o4755)
    place.allow("root-id")
    as_nobody = {"user": 65534, "group": 65534, "extra_groups": []}
    control = subprocess.run([program], capture_output=True, text=True, check=True, **as_nobody)  # type: ignore[call-overload]
    assert "euid=0(root)" in control.stdout, "setuid programs mean nothing here: this would not be tested"
    place.write(BACK)
    plaitd = place.foreground("-u", "nobody").ready()
    tried, shown = json.loads(place.heard())
    assert set(tried.values()) == {"Operation not permitted"}
    assert len(tried) == 7
    assert shown.startswith("uid=65534(nobody)")
    assert "euid" not in shown
    assert plaitd.stop().code == 0


#: A C library in which one way back seems to work, or one that gives something up seems to and does not.
LIBRARY = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
static int lies(const char *name) { const char *lie = getenv("LIE"); return lie && !strcmp(lie, name); }
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define ONE(name, type) int name(type a) { return lies(#name) && a == 0 ? 0 : REAL(name)(a); }
int setuid(uid_t); int seteuid(uid_t); int setgid(gid_t); int setegid(gid_t);
int setresuid(uid_t, uid_t, uid_t); int setresgid(gid_t, gid_t, gid_t);
int setgroups(size_t, const gid_t *); int prctl(int, ...); int capset(void *, void *);
ONE(setuid, uid_t) ONE(seteuid, uid_t) ONE(setgid, gid_t) ONE(setegid, gid_t)
int setresuid(uid_t a, uid_t b, uid_t c) {
    if (lies("setresuid") && a == 0) return 0;
    if (lies("no setresuid")) return 0;
    return REAL(setresuid)(a, b, c);
}
int setresgid(gid_t a, gid_t b, gid_t c) {
    if (lies("setresgid") && a == 0) return 0;
    if (lies("no setresgid")) return 0;
    return REAL(setresgid)(a, b, c);
}
int setgroups(size_t n, const gid_t *list) {
    if (lies("setgroups") && n && list[0] == 0) return 0;
    if (lies("no setgroups")) return 0;
    return REAL(setgroups)(n, list);
}
int prctl(int option, ...) {
    va_list rest; va_start(rest, option);
    unsigned long a = va_arg(rest, unsigned long), b = va_arg(rest, unsigned long);
    unsigned long c = va_arg(rest, unsigned long), d = va_arg(rest, unsigned long);
    va_end(rest);
    if (lies("no prctl") && option == 38) return 0;
    return REAL(prctl)(option, a, b, c, d);
}
int capset(void *head, void *data) { return lies("no capset") ? 0 : REAL(capset)(head, data); }
"""

OPEN = "--uid nobody: the way back is open ({} works): take CAP_SETUID and CAP_SETGID from it"
LIES = {
    "setgroups": OPEN.format("setgroups([0, 65534])"),
    "setuid": OPEN.format("setuid(0)"),
    "seteuid": OPEN.format("seteuid(0)"),
    "setresuid": OPEN.format("setresuid(0, 0, 0)"),
    "setgid": OPEN.format("setgid(0)"),
    "setegid": OPEN.format("setegid(0)"),
    "setresgid": OPEN.format("setresgid(0, 0, 0)"),
    "no setgroups": "--uid nobody: the system said yes and did it not "
    "(uids (65534, 65534, 65534), gids (65534, 65534, 65534), groups [4]): do not trust it",
    "no setresgid": "--uid nobody: the system said yes and did it not "
    "(uids (65534, 65534, 65534), gids (0, 0, 0), groups [65534]): do not trust it",
    "no setresuid": "--uid nobody: the system said yes and did it not "
    "(uids (0, 0, 0), gids (65534, 65534, 65534), groups [65534]): do not trust it",
    "no prctl": "--uid nobody: setuid programs can still give it rights (no_new_privs is not set): "
    "do not trust this system",
}


@pytest.fixture(scope="session")
def lying_library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The library, for LD_PRELOAD."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("NOT RUN: a C library that lies must be compiled, and there is no gcc")
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        source = Path(folder, "liar.c")
        source.write_text(LIBRARY)
        made = Path(folder, "liar.so")
        subprocess.run([compiler, "-shared", "-fPIC", "-o", made, source, "-ldl"], check=True, capture_output=True)
        yield made


@pytest.mark.promise(80)
@pytest.mark.parametrize(
    ("form", "lie"),
    [
        *(pytest.param("daemon", lie, marks=[] if "setresuid" in lie else pytest.mark.long) for lie in LIES),
        *(("foreground", lie) for lie in LIES),
    ],
)
def test_a_way_back_that_works_ends_it_before_it_is_ready(
    place: Place, lying_library: Path, lie: str, form: str
) -> None:
    """Whichever call works, or says that it did what it did not: exit code 77, one sentence, nobody is served."""
    place.write(BACK)
    ended = place.run(
        *(["-n"] if form == "foreground" else []),
        *("-u", "nobody", "-y", "shop.py"),
        environment={"LD_PRELOAD": str(lying_library), "LIE": lie},
        extra_groups=[4],
    )
    assert (ended.code, ended.errors) == (77, f"plaitd: {LIES[lie]}\n")
    assert "is ready" not in ended.output
    place.allow("plaitd.pid", "plaitd.log")
    assert not place.pidfile.exists() or place.pidfile.read_bytes() == b""
    place.assert_nothing_left()


def test_without_a_lie_it_starts_with_that_library(place: Place, lying_library: Path) -> None:
    """The library alone is not what ends it."""
    place.write(THREADS)
    plaitd = place.foreground("-u", "nobody", environment={"LD_PRELOAD": str(lying_library)}).ready()
    assert plaitd.stop().code == 0


# 81 -------------------------------------------------------------------------------------------------------------------

FAULTS = [
    ("setgroups", "EPERM", "Operation not permitted"),
    ("setgroups", "ENOMEM", "Cannot allocate memory"),
    ("setresgid", "EPERM", "Operation not permitted"),
    ("setresuid", "EPERM", "Operation not permitted"),
    ("setresuid", "EAGAIN", "Resource temporarily unavailable"),
    ("capset", "EPERM", "Operation not permitted"),
]


@pytest.mark.promise(81)
@pytest.mark.parametrize(("call", "error", "words"), FAULTS)
def test_a_step_of_the_drop_that_fails_is_fatal(place: Place, call: str, error: str, words: str) -> None:
    """Exit code 77 and a sentence; the listener never accepts, and it is never ready."""
    ended, calls = run_traced(place, f"inject={call}:error={error}:when=1", "-u", "nobody")
    who = {"setgroups": 0, "setresgid": 0, "setresuid": 0, "capset": 65534}[call]
    assert ended.errors == (f"plaitd: --uid nobody: uid {who} may not ({words}): start it as root, or leave that out\n")
    assert ended.code == 77
    assert call in calls
    assert "accept" not in calls
    assert "is ready" not in ended.output


@pytest.mark.promise(81)
@pytest.mark.parametrize("option", ["--uid=nobody", "--sandbox"])
def test_without_no_new_privs_nothing_is_begun(place: Place, option: str) -> None:
    """A system that does not know it: exit code 77 and a sentence, before the application is loaded."""
    ended, calls = run_traced(place, "inject=prctl:error=EINVAL", option)
    assert (ended.code, ended.errors) == (
        77,
        "plaitd: no_new_privs: cannot be set (Invalid argument): "
        "leave --uid and --sandbox out, or use Linux 3.5 or later\n",
    )
    assert "listen" not in calls


@pytest.mark.promise(81)
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("-u", "nobdy"), "--uid nobdy: no such user: give a name of the passwd database, or a number"),
        (("-u", "nobody", "-g", "nogrp"), "--gid nogrp: no such group: give a name of the group database, or a number"),
        (("-u", "54321"), "--uid 54321: has no passwd entry that says its group: give --gid too"),
    ],
)
def test_an_unknown_user_is_fatal_before_anything_listens(
    place: Place, options: tuple[str, ...], sentence: str
) -> None:
    """Exit code 78 and a sentence; no socket is even made."""
    ended, calls = run_traced(place, "trace=listen,accept4,accept,bind", *options)
    assert (ended.code, ended.errors) == (78, f"plaitd: {sentence}\n")
    assert "listen" not in calls
    assert "accept" not in calls


def run_traced(place: Place, what: str, *options: str) -> tuple[Ended, str]:
    """Run plaitd under strace: how it ended, and the calls of interest that it made."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("NOT RUN: faults are put in by strace, which is not installed")
    place.write(ECHO.replace("PORT", "0"))
    trace = "prctl,setgroups,setresgid,setresuid,capset,listen,accept,accept4"
    tracing = ["-e", f"trace={trace}", "-e", what] if what.startswith("inject") else ["-e", what]
    ended = place.run(
        *("-f", "-qq", "-e", "signal=none", *tracing, "-o", str(place.root / "calls"), PLAITD, "-n", *options),
        *("-y", "shop.py"),
        program=(strace,),
    )
    return ended, (place.root / "calls").read_text()


# 82 -------------------------------------------------------------------------------------------------------------------


@pytest.mark.promise(82)
def test_a_low_port_is_bound_before_the_drop(place: Place) -> None:
    """It is served by an ordinary user, who has no capability."""
    port = free_low_port()
    place.write(ECHO.replace("PORT", str(port)))
    daemon = place.daemonize("-u", "nobody")
    assert_is(daemon.pid, 65534, 65534, {65534})
    assert ask(port) == b"hello\n"
    assert daemon.stop().code == 0


AMBIENT = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")


@pytest.mark.promise(82)
@pytest.mark.parametrize("asks", [True, False])
def test_a_low_port_works_with_an_ambient_capability(place: Place, asks: bool) -> None:
    """As with AmbientCapabilities= of systemd: with --uid that names itself, nothing else is left in any set."""
    if not shutil.which("setpriv"):
        pytest.skip("NOT RUN: capabilities are given by setpriv, which is not installed (util-linux)")
    port = free_low_port()
    place.write(ECHO.replace("PORT", str(port)))
    # The second one lets it read Python wherever that is installed.
    given = "+net_bind_service,+dac_read_search"
    sets = (f"--inh-caps={given}", f"--ambient-caps={given}")
    options = ("-u", "nobody") if asks else ()
    plaitd = place.foreground(*options, program=(*AMBIENT, *sets, PLAITD)).ready()
    (facts, *_) = facts_of(plaitd.pid)
    if asks:
        for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            assert facts[kind] == [NET_BIND], kind
        assert facts["NoNewPrivs"] == ["1"]
    else:
        assert facts["CapEff"] == [f"{1 << 10 | 1 << 2:016x}"]  # what it was started with: nothing was asked for
    assert facts["Uid"] == ["65534"] * 4
    assert ask(port) == b"hello\n"
    assert plaitd.stop().code == 0


def ask(port: int) -> bytes:
    """Return what an echo answers."""
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(b"hello\n")
        return client.recv(100)


# 83 -------------------------------------------------------------------------------------------------------------------


@pytest.mark.promise(83)
def test_modules_out_of_reach_are_told_at_the_start(place: Place) -> None:
    """A tree of modules that only root can read: said before it is ready, and not when something is imported."""
    tree = place.folder / "tree"
    (tree / "shop").mkdir(parents=True)
    (tree / "shop" / "__init__.py").write_text("")
    (tree / "shop" / "later.py").write_text("answer = 42\n")
    tree.chmod(0o700)
    place.allow("tree")
    place.write(
        "sys.path.insert(0, 'tree'); import shop as tree_shop\n"
        "@service\n"
        "async def late(context):\n"
        "    context.ready()\n"
        "    try:\n"
        "        import shop.later\n"
        "    except ImportError as error:\n"
        "        context.log.error('%s', error)\n"
        "    await asyncio.Event().wait()\n"
        "application = Application('shop', [late])\n",
        "main.py",
    )
    plaitd = place.foreground("-u", "nobody", name="main.py")
    plaitd.log_until(
        rf"#warning\] --uid nobody: modules in {tree} cannot be read, so none is found there from now on: "
        rf"make {tree} readable, or import at the top of the application what it needs later\n"
    )
    plaitd.log_until(r"\[shop/late#error\] No module named 'shop.later'")
    ended = plaitd.stop()
    assert ended.output.index("#warning] --uid nobody: modules in") < ended.output.index(" runs shop")


def test_a_folder_that_may_not_be_entered_is_told_at_the_start(place: Place) -> None:
    """Paths of the application that are relative would mean nothing: said before it is ready."""
    (place.folder / "closed").mkdir(0o700)
    place.allow("closed")
    place.write(THREADS)
    plaitd = place.foreground("-u", "nobody", "-d", "closed").ready()
    assert (
        f"#warning] --uid nobody: may not enter {place.folder}/closed, where relative paths begin: "
        "give another --rundir\n"
    ) in plaitd.stop().output


@pytest.mark.promise(83)
def test_of_modules_that_can_be_read_nothing_is_told(place: Place) -> None:
    """Only what is out of reach is told."""
    (place.folder / "tree").mkdir()
    place.allow("tree")
    place.write("sys.path.insert(0, 'tree')\n" + THREADS)
    plaitd = place.foreground("-u", "nobody").ready()
    assert str(place.folder) not in plaitd.stop().output
