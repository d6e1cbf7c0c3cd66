"""
What is wrong is said in one sentence, with its exit code, the same as a daemon and in the foreground; nothing is left.

`test_check_agrees` has more of them; here are the words.
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.system.configurations import ECHO, forbid, listening, services, shadow, write_pair
from tests.system.daemon import PLAITD, Place
from tests.system.test_check_agrees import POWERLESS

GOOD = ECHO.format(endpoint='"unix:echo.sock"')
ELSEWHERE = "give another place with --pidfile=FILE, or none with --pidfile="
SHOP = ("-y", "shop.py")
FORMS = pytest.mark.parametrize("form", [(), ("-n",)], ids=["daemon", "foreground"])


@dataclass(frozen=True)
class Failure:
    """
    A start that fails: the exit *code* and the *sentence*, in which ``{folder}`` is where it is started.

    *scene* is around it, and what it returns is filled into the sentence, the source and the arguments as ``{0}``.
    """

    code: int
    sentence: str
    arguments: tuple[str, ...] = SHOP
    source: str = GOOD
    scene: Callable[[Path], AbstractContextManager[object]] = lambda folder: nullcontext()
    environment: dict[str, str] = field(default_factory=dict)
    is_powerless: bool = False


@contextmanager
def port_in_use(folder: Path) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        (folder / "shop.py").write_text(listening(f"tcp:{port}:interface=127.0.0.1"))
        yield port


@contextmanager
def path_in_use(folder: Path) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX) as holder:
        holder.bind(str(folder / "taken.sock"))
        holder.listen()
        yield


def made(make: Callable[[Path], object]) -> Callable[[Path], AbstractContextManager[object]]:
    """Return a scene that is only made."""
    return lambda folder: nullcontext(make(folder))


def wrong(source: str, sentence: str, code: int = 78, **fields: object) -> Failure:
    return Failure(code, sentence, source=source, **fields)  # type: ignore[arg-type]


def given(code: int, sentence: str, *arguments: str, **fields: object) -> Failure:
    return Failure(code, sentence, arguments=(*arguments, *SHOP), **fields)  # type: ignore[arg-type]


FAILURES = {
    # The file
    "syntax error": wrong("\nx = = 1\n", "shop.py:2: invalid syntax: correct the file"),
    "missing application": wrong(
        "aplication = 1\n",
        "shop.py: defines no variable `application` (but `aplication`): write application = Application(...)",
    ),
    "wrong type": wrong(
        "application = 3\n", "shop.py: application: is an int, not an Application: make it a plait.Application"
    ),
    "exception": wrong("\n1 / 0\n", "shop.py:2: ZeroDivisionError: division by zero: correct it, then start again"),
    "exit": wrong("import sys\nsys.exit(4)\n", "shop.py:2: ends by sys.exit(4): take that out, plaitd does the rest"),
    "bad endpoint": wrong(
        listening("tcp:http"), 'shop.py:8: endpoint "tcp:http": port "http" is not a number: write one from 0 to 65535'
    ),
    "bad policy": wrong(
        services("Group('g', [], limit=Limit(-1))"),
        "shop.py:11: Limit: restarts=-1: wanted a whole number from 0, or None",
    ),
    "extra not installed": wrong(
        services("Cron('0 3 * * *', pause, name='night')"),
        "shop.py:11: Cron night: needs the package cronsim: pip install plait[cron]",
        scene=made(lambda folder: shadow(folder, "cronsim")),
        environment={"PYTHONPATH": "shadow"},
    ),
    "no file": Failure(
        78,
        "nowhere.py: cannot be read (No such file or directory): give the path of a Python file",
        ("-y", "nowhere.py"),
    ),
    "no module": Failure(
        78,
        "nowhere:application: there is no module 'nowhere' here: look at the name, or change to its folder",
        ("nowhere:application",),
    ),
    "no attribute": Failure(
        78,
        "shop:aplication: shop has no attribute 'aplication' (but `application`): look at the name",
        ("shop:aplication",),
    ),
    # The command line
    "unknown option": given(2, "--pidfle: no such option, did you mean --pidfile?: see plaitd --help", "--pidfle=x"),
    "value missing": Failure(2, "-y: wants a value: see plaitd --help", ("-y",)),
    "bad umask": given(2, "--umask: '999': wanted an octal mask such as 022: see plaitd --help", "--umask", "999"),
    "nothing to run": Failure(
        2, "nothing to run: give -y FILE, -f FILE, module:attribute or a plugin: see plaitd --help", ()
    ),
    "two applications": given(2, "shop:application: is given beside -y shop.py: give one of them", "shop:application"),
    "uvloop not installed": given(
        78,
        "--reactor=uvloop: is not installed here: pip install plait[uvloop], or take asyncio",
        "--reactor=uvloop",
        scene=made(lambda folder: shadow(folder, "uvloop")),
        environment={"PYTHONPATH": "shadow"},
    ),
    # Endpoints
    "port in use": wrong(
        "",
        "tcp:{0}:interface=127.0.0.1: cannot be opened (Address already in use): "
        "stop the program that has it, or choose another port",
        69,
        scene=port_in_use,
    ),
    "path in use": wrong(
        listening("unix:taken.sock"),
        "unix:taken.sock: cannot be opened (Address already in use): "
        "a running program answers there: stop it, or choose another path",
        69,
        scene=path_in_use,
    ),
    "second endpoint": wrong(
        listening("unix:echo.sock", "unix:nowhere/echo.sock"),
        "unix:nowhere/echo.sock: cannot be opened (No such file or directory): "
        "make the directory {folder}/nowhere, or choose another path",
        69,
    ),
    "address of another machine": wrong(
        listening("tcp:0:interface=203.0.113.7"),
        "tcp:0:interface=203.0.113.7: cannot be opened (Cannot assign requested address): "
        "write an address that this machine has (ip address shows them), or leave interface= out",
        69,
    ),
    "no sockets passed": wrong(
        listening("systemd:name=shop"),
        "systemd:name=shop: systemd passed no sockets: start it from a .socket unit, or write such as tcp:8080",
        69,
    ),
    # Certificates
    "no certificate": wrong(
        listening("ssl:0:certKey=no.pem:interface=127.0.0.1"),
        "no.pem: the certificate cannot be read (No such file or directory): "
        "check the path, and that this user may read it",
    ),
    "unreadable certificate": wrong(
        listening("unix:echo.sock", "ssl:0:certKey=locked.pem:interface=127.0.0.1"),
        "locked.pem: the certificate cannot be read (Permission denied): "
        "check the path, and that this user may read it",
        scene=made(write_pair),
        is_powerless=True,
    ),
    "key of another": wrong(
        listening("ssl:0:certKey=cert.pem:privateKey=other-key.pem:interface=127.0.0.1"),
        "other-key.pem: does not belong to cert.pem: give the private key that the certificate was made for",
        scene=made(write_pair),
    ),
    # The process
    "unwritable pidfile": given(
        73,
        f"closed/shop.pid: cannot be written (Permission denied): {ELSEWHERE}",
        "--pidfile=closed/shop.pid",
        scene=made(lambda folder: forbid(folder / "closed")),
        is_powerless=True,
    ),
    "pidfile nowhere": given(
        73,
        f"nowhere/shop.pid: cannot be written (there is no directory {{folder}}/nowhere): make it, or {ELSEWHERE}",
        "--pidfile=nowhere/shop.pid",
    ),
    "pidfile in /proc": given(
        73, f"/proc/shop.pid: cannot be written (No such file or directory): {ELSEWHERE}", "--pidfile=/proc/shop.pid"
    ),
    "planted pidfile": given(
        73,
        f"link: is a symbolic link, and somebody may have planted it: remove it, or {ELSEWHERE}",
        "--pidfile=link",
        scene=made(lambda folder: (folder / "link").symlink_to("elsewhere")),
    ),
    "unwritable log": given(
        73,
        "{folder}/closed/shop.log: cannot be written (Permission denied): give another place with --logfile",
        "--logfile=closed/shop.log",
        scene=made(lambda folder: forbid(folder / "closed")),
        is_powerless=True,
    ),
    "log nowhere": given(
        73,
        "{folder}/nowhere/shop.log: cannot be written (No such file or directory): give another place with --logfile",
        "--logfile=nowhere/shop.log",
    ),
    "planted log": given(
        73,
        "{folder}/link: cannot be written (it is a symbolic link): give another place with --logfile",
        "--logfile=link",
        scene=made(lambda folder: (folder / "link").symlink_to("elsewhere")),
    ),
    "rundir missing": given(
        78,
        "nowhere: cannot be entered (No such file or directory): make it, or give another --rundir",
        "--rundir=nowhere",
    ),
    "unknown user": given(
        78, "--uid nobody-at-all: no such user: give a name of the passwd database, or a number", "-u", "nobody-at-all"
    ),
    "unknown group": given(
        78, "--gid nobody-at-all: no such group: give a name of the group database, or a number", "-g", "nobody-at-all"
    ),
    "change of user without the right": given(
        77,
        "--uid nobody: uid {uid} may not (Operation not permitted): start it as root, or leave that out",
        "-u",
        "nobody",
        is_powerless=True,
    ),
}


@pytest.mark.promise(32, 42)
@FORMS
@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
def test_one_sentence_and_its_code(tmp_path: Path, failure: Failure, form: tuple[str, ...]) -> None:
    """On standard error, not a word elsewhere, no traceback; no process, pidfile, log or socket stays."""
    program = how_to_run(failure)
    with Place(tmp_path) as place:
        (place.folder / "shop.py").write_text(failure.source)
        with failure.scene(place.folder) as found:
            environment = dict(failure.environment)
            if environment:
                path = f"{place.folder / 'shadow'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
                environment["PYTHONPATH"] = path
            before = {path.name for path in place.folder.iterdir()}
            ended = place.run(*form, *failure.arguments, environment=environment, program=program)
            sentence = failure.sentence.format(found, folder=place.folder, uid=os.geteuid())
            assert (ended.code, ended.output, ended.errors) == (failure.code, "", f"plaitd: {sentence}\n")
            left = {path.name for path in place.folder.iterdir()} - before - {"__pycache__"}
            assert not left, "files are left"
            place.allow(*before, "__pycache__", "plaitd.log")
            place.assert_nothing_left()
        if (place.folder / "closed").exists():
            (place.folder / "closed").chmod(0o755)


def how_to_run(failure: Failure) -> tuple[str, ...]:
    """Return the words before the arguments of plaitd."""
    if not failure.is_powerless or os.geteuid() != 0:
        return (PLAITD,)
    if not shutil.which("setpriv"):
        pytest.skip("NOT RUN: root's rights are taken away by setpriv, which is not installed (util-linux)")
    return (*POWERLESS, PLAITD)


@FORMS
def test_a_second_start_says_who_has_the_pidfile(tmp_path: Path, form: tuple[str, ...]) -> None:
    """75, and the number that can be stopped; the first is not disturbed."""
    with Place(tmp_path) as place:
        place.write(GOOD)
        daemon = place.daemonize()
        log = place.log
        ended = place.run(*form, "--pidfile=plaitd.pid", *SHOP)
        sentence = f'plaitd.pid: held by plaitd with pid {daemon.pid}: stop it with "kill {daemon.pid}", '
        assert (ended.code, ended.output) == (75, "")
        assert ended.errors == f"plaitd: {sentence}or give another --pidfile\n"
        assert place.log == log
        assert place.read_pid() == daemon.pid
        assert daemon.stop().code == 0
        place.assert_nothing_left()


def test_threads_that_run_already_keep_a_daemon_from_starting(tmp_path: Path) -> None:
    """Said before the fork, which would lose them."""
    with Place(tmp_path) as place:
        place.write(f"import threading\nthreading.Thread(target=time.sleep, args=(0.3,), name='mine').start()\n{GOOD}")
        ended = place.run(*SHOP)
        assert (ended.code, ended.output) == (78, "")
        assert ended.errors == (
            "plaitd: threads run already (mine): start them in a service, not while the application loads, "
            "or stay in the foreground with --nodaemon\n"
        )
        place.assert_nothing_left()


def test_a_daemon_cannot_log_to_a_terminal_that_it_leaves(tmp_path: Path) -> None:
    """Not by any name of it: the log would vanish without a word."""
    with Place(tmp_path) as place:
        place.write(GOOD)
        for name in ("-", "/dev/stdout", "/dev/stderr"):
            ended = place.run("-l", name, *SHOP)
            assert (ended.code, ended.output) == (2, "")
            assert ended.errors == (
                f"plaitd: --logfile={name}: a daemon has no standard output: name a file, or stay in front with -n\n"
            )
        place.assert_nothing_left()


@FORMS
def test_a_folder_that_is_gone_is_said(tmp_path: Path, form: tuple[str, ...]) -> None:
    """It was removed under the feet of a shell: nothing that is relative can be found."""
    with Place(tmp_path) as place:
        path = place.write(GOOD)
        gone = place.root / "gone"
        gone.mkdir()
        ended = place.run(
            *form, "-y", str(path), program=("sh", "-c", f'rmdir "{gone}"; exec "$@"', "sh", PLAITD), cwd=gone
        )
        assert (ended.code, ended.output) == (78, "")
        assert ended.errors == "plaitd: the present directory was removed: change to one that exists\n"
        place.assert_nothing_left()
