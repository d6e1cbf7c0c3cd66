"""
Every ``.tac`` file of Twisted's documentation that runs under twistd runs under plaitd, unchanged.

Each is started in a box of its own as its page says, proves itself to a real client, and is stopped by SIGTERM.  They
run side by side before the first test, which judges what was seen of its file.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.guests import twisted_docs
from tests.guests.box import Box, Talk, make_etc
from tests.guests.tacs import BROKEN, TACS, Tac
from tests.system.daemon import PLAITD, Place, wait_for_end

twisted = pytest.importorskip("twisted", reason="NOT RUN: Twisted is not installed: scripts/install")

TWISTD = os.path.join(os.path.dirname(PLAITD), "twistd")
CLIENTS = ("curl", "ip", "nc", "nsenter", "openssl", "ssh", "ssh-keygen", "swaks", "telnet", "unshare")
MISSING = [name for name in CLIENTS if shutil.which(name) is None]

pytestmark = [
    pytest.mark.root,
    pytest.mark.time_limit(300),  # that of the first holds all runs
    pytest.mark.skipif(bool(MISSING), reason=f"NOT RUN: needs {', '.join(MISSING)}: run scripts/test as root"),
]

#: How many run at a time, and how long a stop may take.
AT_A_TIME = 4
STOP = 10.0

#: What ``/etc/users`` holds, which the finger tutorial reads.
USERS = "moshez: happy and well\nshawn: alive\n"

#: A line of plaitd's log, or of twistd's, that is about something wrong.
WRONG = re.compile(r"#(warn|warning|error|critical)\]|Traceback|Unhandled")


@dataclass(frozen=True)
class Runner:
    """What runs a file: its command, and the exit code after SIGTERM."""

    command: tuple[str, ...]
    code: int


PLAIT = Runner((PLAITD, "-ny"), 0)
ON_ASYNCIO = Runner((PLAITD, "--reactor=asyncio", "-ny"), 0)
REFERENCE = Runner((TWISTD, "-r", "asyncio", "-ny"), -signal.SIGTERM)


@dataclass(frozen=True)
class Seen:
    """What was seen of one run."""

    code: int | None = None
    output: str = ""
    left: tuple[str, ...] = ()
    failed: str = ""


async def wait_for_start(tac: Tac, runner: Runner, program: Talk) -> None:
    """Wait until the services of *tac* have started."""
    if tac.has_own_log:
        return
    if runner is not REFERENCE:
        await program.hear(r"#info\] [^\n]* is ready ")
        return
    # twistd says nothing when it has started: that it has set its signal handlers is the last that it does before.
    await program.hear("reactor class")
    while not is_handled(program.pid, signal.SIGTERM):
        await asyncio.sleep(0.01)


def is_handled(pid: int, number: int) -> bool:
    """Say whether the process *pid* has a handler for signal *number*."""
    (mask,) = re.findall(r"^SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return bool(int(mask, 16) >> (number - 1) & 1)


class Course:
    """Where the files are run."""

    def __init__(self, docs: Path, root: Path) -> None:
        self.docs = docs
        self.root = root
        self.etc = root / "etc"
        make_etc(self.etc, users=USERS)
        self.keys = root / "keys"
        self.keys.mkdir()
        key = [
            "ssh-keygen",
            "-q",
            "-t",
            "rsa",
            "-b",
            "2048",
            "-m",
            "PEM",
            "-N",
            "",
            "-f",
            str(self.keys / "ssh_host_rsa_key"),
        ]
        subprocess.run(key, check=True, timeout=60)
        made = ["-keyout", str(self.keys / "key.pem"), "-out", str(self.keys / "cert.pem"), "-subj", "/CN=localhost"]
        openssl = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *made]
        subprocess.run(openssl, check=True, timeout=60, capture_output=True)

    def make_folder(self) -> Path:
        """Return a new folder that any user can read."""
        folder = Path(tempfile.mkdtemp(dir=self.root))
        folder.chmod(0o755)
        return folder

    def box(self, name: str, here: Path | None = None) -> Box:
        """Return a box for the file *name*, with all that it wants beside it, in the folder *here*."""
        root = self.make_folder()
        here = here or root / "here"
        box = Box(root, here, self.etc)
        shutil.copytree((self.docs / name).parent, here, dirs_exist_ok=True)
        (here / "passwd").write_text("guest:password\n")
        (here / "ssh-keys").mkdir()
        for part in ("ssh_host_rsa_key", "ssh_host_rsa_key.pub"):
            shutil.copy(self.keys / part, here / "ssh-keys")
        for part in ("key.pem", "cert.pem"):
            shutil.copy(self.keys / part, here)
        # Where one would make a key for itself, of a size that takes seconds.
        own = here / ".local" / "share" / "twisted.conch.manhole_tap"
        own.mkdir(parents=True)
        shutil.copy(self.keys / "ssh_host_rsa_key", own / "server.key")
        return box

    async def run(self, tac: Tac, runner: Runner) -> Seen:
        """Run *tac* to its end."""
        box = self.box(tac.name)
        async with box:
            if tac.peer:
                box.peers.append(await box.start(*tac.peer))
            program = await box.start(*runner.command, os.path.basename(tac.name), PYTHONPATH=tac.path)
            try:
                await wait_for_start(tac, runner, program)
                await tac.proof(box)
                program.send(signal.SIGTERM)
                code = await program.ends(STOP)
            except AssertionError as error:
                return Seen(failed=f"{error}\n{program.output}")
            left = [f"process: {command}" for command in box.strangers()]
            left += [path.name for path in box.folder.glob("*.pid")]
            return Seen(code, program.output, tuple(left))

    async def run_all(self, tacs: list[Tac], runner: Runner) -> dict[str, Seen]:
        """Run all *tacs*, some at a time."""
        turn = asyncio.Semaphore(AT_A_TIME)

        async def run(tac: Tac) -> Seen:
            async with turn:
                return await self.run(tac, runner)

        async with asyncio.TaskGroup() as group:
            tasks = {tac.name: group.create_task(run(tac)) for tac in tacs}
        return {name: task.result() for name, task in tasks.items()}


@pytest.fixture(scope="module")
def course() -> Iterator[Course]:
    made = subprocess.run(["unshare", "--net", "--mount", "true"], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"NOT RUN: namespaces cannot be made here: {made.stderr.strip()}")
    docs = twisted_docs.fetch()
    with tempfile.TemporaryDirectory() as root:
        os.chmod(root, 0o755)  # one of the users that are become has to read it
        yield Course(docs, Path(root))


def chosen(request: pytest.FixtureRequest, test: str) -> list[Tac]:
    """Return the files of which the test called *test* was asked for."""
    names = {item.name for item in request.session.items if item.path == request.path}
    return [tac for tac in TACS if f"{test}[{tac.id}]" in names]


@pytest.fixture(scope="module")
def under_plaitd(request: pytest.FixtureRequest, course: Course) -> dict[str, Seen]:
    return asyncio.run(course.run_all(chosen(request, "test_it_runs_under_plaitd"), PLAIT))


@pytest.fixture(scope="module")
def on_asyncio(request: pytest.FixtureRequest, course: Course) -> dict[str, Seen]:
    return asyncio.run(course.run_all(chosen(request, "test_it_runs_on_the_loop_of_asyncio"), ON_ASYNCIO))


@pytest.fixture(scope="module")
def under_twistd(request: pytest.FixtureRequest, course: Course) -> dict[str, Seen]:
    return asyncio.run(course.run_all(chosen(request, "test_it_runs_under_twistd"), REFERENCE))


def is_as_expected(tac: Tac, output: str) -> bool:
    """Say whether the log says nothing of anything wrong but the one error that *tac* causes."""
    if not tac.error:
        return WRONG.search(output) is None
    return output.count("Traceback") == 1 and tac.error in output


def judge(tac: Tac, seen: Seen) -> None:
    """Fail unless *seen* is as it should be under plaitd."""
    assert not seen.failed, seen.failed
    assert (seen.code, seen.left) == (0, ()), seen.output
    assert is_as_expected(tac, seen.output), seen.output


@pytest.mark.parametrize("tac", TACS, ids=lambda tac: tac.id)
def test_it_runs_under_plaitd(tac: Tac, under_plaitd: dict[str, Seen]) -> None:
    """It serves its client, ends with status 0 within ten seconds of SIGTERM, and leaves no process and no pidfile."""
    judge(tac, under_plaitd[tac.name])


@pytest.mark.long
@pytest.mark.parametrize("tac", TACS, ids=lambda tac: tac.id)
def test_it_runs_on_the_loop_of_asyncio(tac: Tac, on_asyncio: dict[str, Seen]) -> None:
    """As on that of uvloop, which is taken where it is installed."""
    judge(tac, on_asyncio[tac.name])


#: Of each kind one: as root, as another user, with a peer, with terminals.
DAEMONS = ("service", "finger14", "finger16", "demo_manhole")


@pytest.mark.parametrize(
    "tac", [pytest.param(tac, id=tac.id, marks=[] if tac.id in DAEMONS else [pytest.mark.long]) for tac in TACS]
)
def test_it_runs_as_a_daemon(tac: Tac, course: Course) -> None:
    """It serves its client behind the terminal's back, as the user that it asks for, and leaves nothing but its log."""
    user = 1 if "finger" in tac.id else 0

    async def run(place: Place) -> int:
        async with course.box(tac.name, place.folder) as box:
            if tac.peer:
                box.peers.append(await box.start(*tac.peer))
            variables = {"PYTHONPATH": tac.path, "HOME": str(place.folder)}
            daemon = place.daemonize(name=f"{tac.id}.tac", program=box.enter(PLAITD), environment=variables)
            assert os.stat(f"/proc/{daemon.pid}").st_uid == user
            await tac.proof(box)
            daemon.send(signal.SIGTERM)
            assert wait_for_end(daemon.pid, STOP)
            assert box.strangers() == []
            return daemon.pid

    with Place(course.make_folder()) as place:
        os.chown(place.folder, user, -1)  # who may not write there can empty a pidfile, but not remove it
        pid = asyncio.run(run(place))
        assert os.waitpid(pid, 0)[1] == 0
        assert place.relatives() == []
        assert list(place.folder.glob("*.pid")) == []
        logs = {path.name for path in place.folder.glob("*.log")}
        assert logs == {"twistd-logging.log" if tac.has_own_log else "plaitd.log"}
        assert tac.has_own_log or is_as_expected(tac, place.log), place.log


@pytest.mark.parametrize(
    "options",
    [["--pidfile=finger.pid"], ["--rundir=/"], ["--chroot=var"], ["-l", "var/finger.log"]],
    ids=" ".join,
)
def test_the_ways_to_start_it_that_the_tutorial_tells(options: list[str], course: Course) -> None:
    """Behind the file's name, as the page has them, for a server that becomes another user."""
    (tac,) = (tac for tac in TACS if tac.id == "finger11")

    async def run(place: Place) -> int:
        async with course.box(tac.name, place.folder) as box:
            var = place.folder / "var"
            var.mkdir()
            os.chown(var, 1, -1)
            ended = place.run("-y", "finger11.tac", *options, program=box.enter(PLAITD))
            assert (ended.code, ended.output, ended.errors) == (0, "", "")
            (pid,) = place.relatives()
            place_of = os.readlink(f"/proc/{pid}/root"), os.readlink(f"/proc/{pid}/cwd")
            root = str(var) if options == ["--chroot=var"] else "/"
            assert place_of == (root, {"--rundir=/": "/", "--chroot=var": str(var)}.get(options[0], str(place.folder)))
            await tac.proof(box)
            os.kill(pid, signal.SIGTERM)
            assert wait_for_end(pid, STOP)
            return pid

    with Place(course.make_folder()) as place:
        os.chown(place.folder, 1, -1)
        pid = asyncio.run(run(place))
        assert os.waitpid(pid, 0)[1] == 0
        # From another root folder the pidfile is out of reach: it is emptied.
        left = {path.name: path.stat().st_size for path in place.folder.glob("*.pid")}
        assert left == ({"plaitd.pid": 0} if options == ["--chroot=var"] else {})
        log = place.folder / ("var/finger.log" if "-l" in options else "plaitd.log")
        assert is_as_expected(tac, log.read_text()), log.read_text()


@pytest.mark.long
@pytest.mark.parametrize("tac", TACS, ids=lambda tac: tac.id)
def test_it_runs_under_twistd(tac: Tac, under_twistd: dict[str, Seen]) -> None:
    """The same client sees the same of it under Twisted's own runner, or this would prove nothing."""
    seen = under_twistd[tac.name]

    assert not seen.failed, seen.failed
    assert seen.code == REFERENCE.code
    assert is_as_expected(tac, seen.output), seen.output


def by_reason() -> dict[str, list[str]]:
    """Return those that do not run by what twistd says of them."""
    found: dict[str, list[str]] = {}
    for name, reason in BROKEN.items():
        found.setdefault(reason, []).append(name)
    return found


def test_the_others_do_not_run_under_twistd_either(course: Course, is_long: bool) -> None:
    """What is left out fails as it is said to, under Twisted's own runner: one for each reason, or all."""
    names = list(BROKEN) if is_long else [names[0] for names in by_reason().values()]

    async def run(name: str) -> tuple[str, int, str]:
        async with course.box(name) as box:
            program = await box.start(*REFERENCE.command, os.path.basename(name), PYTHONPATH=".")
            return name, await program.ends(), program.output

    async def run_all() -> list[tuple[str, int, str]]:
        return await asyncio.gather(*map(run, names))

    for name, code, output in asyncio.run(run_all()):
        assert code == 1, (name, output)
        assert BROKEN[name] in output, (name, output)


def test_no_file_is_missing(course: Course) -> None:
    """There is no ``.tac`` file in the documentation of the Twisted that is installed but those of these two lists."""
    there = {path.relative_to(course.docs).as_posix() for path in course.docs.rglob("*.tac")}

    assert twisted.__version__ == twisted_docs.VERSION
    assert there == {tac.name for tac in TACS} | set(BROKEN)
