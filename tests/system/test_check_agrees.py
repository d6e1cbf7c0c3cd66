"""plait check says what a start says, over good and bad configurations of every kind, and leaves nothing behind."""

from __future__ import annotations

import fcntl
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.configurations import ALL, SHORT, Configuration
from tests.system.daemon import PATIENCE, PLAITD, Ended, Place, wait_for_end

PLAIT = os.path.join(sysconfig.get_path("scripts"), "plait")
#: Root without what makes it root.
POWERLESS = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all")
#: What systemd does: the number of the process that it starts is known to that one alone.
PASSING = ("sh", "-c", 'export LISTEN_PID=$$; exec "$@" 3<&0 </dev/null', "sh")

CONFIGURATIONS = [
    pytest.param(each, id=each.name, marks=[] if each.name in SHORT else [pytest.mark.long]) for each in ALL
]


class Stage:
    """The folder of a configuration, in which it is checked and started."""

    def __init__(self, configuration: Configuration, place: Place) -> None:
        self.configuration = configuration
        self.place = place
        configuration.build(place.folder)

    def popen(self, *program: str, environment: dict[str, str] | None = None, **how: Any) -> subprocess.Popen[bytes]:
        """Start *program* with the command line of the configuration."""
        case = self.configuration
        environment = case.environment | (environment or {})
        if "PYTHONPATH" in environment:
            former = os.environ.get("PYTHONPATH", "")
            environment["PYTHONPATH"] = f"{self.place.folder / environment['PYTHONPATH']}{os.pathsep}{former}"
        words = [*program, *([] if case.daemonizes else ["-n"]), *case.options, *case.arguments]
        if case.is_powerless and os.geteuid() == 0:
            words = [*POWERLESS, *words]
        if not case.passes:
            return self.place.popen(program=tuple(words), environment=environment, **how)
        environment |= {"LISTEN_FDS": str(case.passes), "LISTEN_FDNAMES": ":".join(["shop", "other"][: case.passes])}
        with socket.create_server(("127.0.0.1", 0)) as passed:
            return self.place.popen(program=(*PASSING, *words), environment=environment, stdin=passed, **how)

    def check(self, *tracer: str) -> Ended:
        """Run plait check to its end."""
        with open(self.place.root / "output", "w+b") as output, open(self.place.root / "errors", "w+b") as errors:
            code = self.popen(*tracer, PLAIT, "check", stdout=output, stderr=errors).wait(PATIENCE)
            return Ended(code, read(output), read(errors))

    def start(self) -> Ended:
        """Run plaitd until it serves, when it is stopped, or fails."""
        # A pipe as s6 has it: a newline comes when it serves, the end when it ended.
        heard, said = os.pipe()
        high = fcntl.fcntl(said, fcntl.F_DUPFD, 10)
        os.close(said)
        how: dict[str, Any] = {"pass_fds": (high,), "environment": {"PLAIT_NOTIFY_FD": str(high)}}
        try:
            with open(self.place.root / "output", "w+b") as output, open(self.place.root / "errors", "w+b") as errors:
                if self.configuration.daemonizes:
                    how = {}  # it would not daemonize for who wants to hear of it
                process = self.popen(PLAITD, stdout=output, stderr=errors, **how)
                os.close(high)
                assert select.select([heard], [], [], PATIENCE)[0]
                pid = process.pid
                if self.configuration.daemonizes and process.wait(PATIENCE) == 0:
                    pid = self.place.read_pid()
                if os.read(heard, 1) or pid != process.pid:
                    os.kill(pid, signal.SIGTERM)
                assert wait_for_end(pid, PATIENCE)
                self.place.reap()
                return Ended(process.wait(PATIENCE), read(output), read(errors))
        finally:
            os.close(heard)


def read(file: Any) -> str:
    file.seek(0)
    text: str = file.read().decode()
    return text


@pytest.fixture
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    """The folder of the configuration that the test is about."""
    configuration: Configuration = request.param
    if configuration.needs_root and os.geteuid() != 0:
        pytest.skip("NOT RUN: needs to be root: run scripts/test as root")
    if configuration.is_powerless and os.geteuid() == 0 and not shutil.which("setpriv"):
        pytest.skip("NOT RUN: root's rights are taken away by setpriv, which is not installed (util-linux)")
    with Place(tmp_path) as place:
        try:
            yield Stage(configuration, place)
        finally:
            for name in ("closed", "hidden"):
                if (place.folder / name).exists():
                    (place.folder / name).chmod(0o755)  # pytest removes it


def sentences(ended: Ended) -> list[str]:
    """Return what was said on standard error, without the name of the program that said it."""
    lines = [re.sub(r"^(plaitd|plait check): ", "", line) for line in ended.errors.splitlines()]
    return [re.sub(r"\b0x[0-9a-f]+", "0x", line).replace("plait check --help", "plaitd --help") for line in lines]


@pytest.mark.promise(39)
@pytest.mark.parametrize("stage", CONFIGURATIONS, indirect=True)
def test_check_says_what_a_start_says(stage: Stage) -> None:
    """Promise 39: the same exit code, and for what is wrong the same sentence; no file is made, changed or removed."""
    before = look_at(stage.place.folder)
    checked = stage.check()
    assert look_at(stage.place.folder) == before
    started = stage.start()

    assert checked.code == started.code, f"{checked}\n{started}"
    if stage.configuration.code is not None:
        assert started.code == stage.configuration.code, started
    if started.code:
        assert len(sentences(started)) == 1
        # A check goes on behind the first problem.
        assert sentences(checked)[:1] == sentences(started)
    else:
        assert checked.errors == started.errors == ""
        assert checked.output.endswith("\nnothing would keep it from starting\n")


def look_at(folder: Path) -> dict[str, tuple[int, ...]]:
    """Return what is in *folder*, below it, and in what state."""
    paths = [folder, *(Path(root) / name for root, folders, files in os.walk(folder) for name in (*folders, *files))]
    states = {str(path): path.lstat() for path in paths}
    return {path: (state.st_ino, state.st_mode, state.st_size, state.st_mtime_ns) for path, state in states.items()}


TRACED = ["application: many", "application: tls", "application: name", "named: shop.web:make", "daemon: echo"]
TRACED += ["73: log: a link", "root: log of another user"]
#: What changes the system, and what opens files, which may be for reading only.
CALLS = (
    "bind,listen,flock,openat,open,creat,truncate,ftruncate,unlink,unlinkat,rename,renameat,renameat2,mkdir,mkdirat,rmdir,"
    "link,linkat,symlink,symlinkat,mknod,mknodat,chmod,fchmod,fchmodat,chown,fchown,lchown,fchownat,utimensat,kill"
)
#: Looking up a name asks the kernel for the addresses of this machine, which takes a socket of an own kind.
HARMLESS = re.compile(
    r"bind\(\d+, \{sa_family=AF_NETLINK|open(at)?\((AT_FDCWD, )?(\"/dev/null\"|.*\bO_RDONLY\b)|resumed>"
)


@pytest.mark.promise(39)
@pytest.mark.parametrize(
    "stage", [pytest.param(each, id=each.name) for each in ALL if each.name in TRACED], indirect=True
)
def test_check_binds_nothing_and_writes_nothing(stage: Stage, tmp_path: Path) -> None:
    """Promise 39: it asks the system for nothing that binds, locks, makes, changes or removes anything."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("NOT RUN: what the system is asked for is told by strace, which is not installed")
    stage.check()  # Python may write the byte code of plait itself, once
    shutil.rmtree(stage.place.folder / "shop" / "__pycache__", ignore_errors=True)
    checked = stage.check(strace, "-f", "-qq", "-e", "signal=none", "-e", f"trace={CALLS}", "-o", f"{tmp_path}/calls")
    assert checked.code == stage.configuration.code
    calls = (tmp_path / "calls").read_text().splitlines()
    assert any("shop" in call for call in calls), "strace saw nothing"
    assert [call for call in calls if not HARMLESS.search(call) and "exited with" not in call] == []


@pytest.mark.promise(39)
def test_the_corpus_is_of_two_hundred_and_its_short_form_has_every_kind() -> None:
    """What runs by default leaves no kind out."""
    assert len({each.name for each in ALL}) == len(ALL) >= 200
    assert {each.kind for each in ALL if each.name in SHORT} == {each.kind for each in ALL}
