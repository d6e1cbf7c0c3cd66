"""The log of a running plaitd, and the programs that it meets: logrotate, rsyslogd, journald; a disk that stalls."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.system.daemon import PATIENCE, PLAITD, Place, wait_for_end

JOURNALD = "/lib/systemd/systemd-journald"

#: An application that logs numbers as long as it lives.
COUNTING = """
from plait import Periodic

number = 0

def count():
    global number
    for _ in range(20):
        context.log.info("number %d", number)
        number += 1

@service
async def counter(own):
    global context
    context = own
    own.ready()
    await asyncio.Event().wait()

application = Application("shop", [counter, Periodic(0.005, count, name="count")])
"""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with Place(tmp_path) as place:
        yield place


def need(program: str, package: str) -> str:
    """The path of *program*; without it the test is skipped, loudly."""
    found = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"NOT RUN: {program} is not installed ({package})")
    return found


def numbers_in(*texts: str) -> list[int]:
    return [int(number) for text in texts for number in re.findall(r"\] number (\d+)$", text, re.MULTILINE)]


# logrotate ------------------------------------------------------------------------------------------------------------


@pytest.mark.root
@pytest.mark.parametrize("how", ["create", "copytruncate", "dropped", "jail"])
def test_logrotate_rotates_it(place: Place, how: str) -> None:
    """
    The real logrotate moves the log and sends USR1, or copies and empties it: three times, and records are whole.

    Also after a change of the user, and in a jail.  When the file is moved, no record is lost; what is written between
    its copying and its emptying is lost by the nature of `copytruncate`.
    """
    logrotate = need("logrotate", "logrotate")
    place.write(COUNTING)
    folder, more = place.aside / "log", ()
    if how == "jail":
        (place.aside / "jail" / "log").mkdir(parents=True)
        folder = place.aside / "jail" / "log"
        more = ("--chroot", str(place.aside / "jail"))
    else:
        folder.mkdir()
    owner = "root"
    if how == "dropped":
        owner, more = "nobody", ("--uid", "nobody")
        shutil.chown(folder, "nobody", "nogroup")
        for each in (folder, *folder.parents):
            if each.name.startswith(("pytest", "test_")) or each in (place.aside, place.root):
                each.chmod(0o755)
    log = folder / "plaitd.log"
    running = place.daemonize("-l", str(log), *more)
    config = place.root / "logrotate.conf"
    su = f"su {owner} {'nogroup' if owner == 'nobody' else 'root'}"
    moving = f"nocreate\npostrotate\n  kill -USR1 {running.pid}\nendscript"
    config.write_text(
        f"{log} {{\n{su}\nrotate 9\nsize 1\nmissingok\n{'copytruncate' if how == 'copytruncate' else moving}\n}}\n"
    )
    _wait_for(lambda: "number 99\n" in log.read_text())
    for _ in range(3):
        before = log.stat().st_ino
        done = subprocess.run(
            [logrotate, "--force", "--state", str(place.root / "state"), str(config)], capture_output=True, text=True
        )
        assert (done.returncode, done.stderr) == (0, "")
        _wait_for(
            lambda before=before: (
                log.exists()
                and log.stat().st_size > 0
                and (  # type: ignore[misc]
                    how == "copytruncate" or log.stat().st_ino != before
                )
            )
        )
    running.send(signal.SIGTERM)
    assert wait_for_end(running.pid)
    assert os.waitpid(running.pid, 0)[1] == 0
    files = [folder / name for name in ("plaitd.log.3", "plaitd.log.2", "plaitd.log.1", "plaitd.log")]
    texts = [path.read_text() for path in files]
    assert all(text.count("\n") == len(re.findall(r"^20\d\d-", text, re.MULTILINE)) for text in texts)
    numbers = numbers_in(*texts)
    if how == "copytruncate":
        assert numbers == sorted(set(numbers))
        assert "\0" not in "".join(texts)  # it goes on at the end of the file as it is, not where it was
    else:
        assert numbers == list(range(len(numbers)))
        assert "".join(texts).count("received SIGUSR1: opened the log again") == 3
    assert {path.stat().st_uid for path in files} == {65534 if owner == "nobody" else 0}


def _wait_for(condition: Any) -> None:
    import time

    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# A disk that stalls ---------------------------------------------------------------------------------------------------

TICKING = """
from plait import Periodic

worst, last = 0.0, 0.0

def tick():
    global worst, last
    now = time.monotonic()
    if last:
        worst = max(worst, now - last)
    last = now
    context.log.info("number %d", int(now * 1000))

@service
async def shop(own):
    global context
    context = own
    own.ready()
    await asyncio.sleep(1.0)
    tell("%.3f" % worst)
    await asyncio.Event().wait()

application = Application("shop", [shop, Periodic(0.02, tick, name="tick")])
"""


@pytest.mark.parametrize("where", ["file", "pipe"])
def test_a_place_that_stalls_delays_no_service(place: Place, where: str) -> None:
    """While a write to the log takes 2 s, what runs every 20 ms goes on, and every record is there afterwards."""
    strace = need("strace", "strace")
    place.write(TICKING)
    log = place.aside / "stalls.log"
    if where == "file":
        # Behind the start the log is written with few calls: from the eighth on each takes 2 s.
        program = (strace, "-f", "-qq", "-o", "/dev/null", "-P", str(log), "-e", "trace=write,writev,pwritev2")
        program += ("-e", "inject=write,writev,pwritev2:delay_enter=2000000:when=8", PLAITD)
        process = place.popen("-n", "-l", str(log), "-y", "shop.py", program=program)
        worst = float(place.heard())
        os.kill(_child_of(process.pid), signal.SIGTERM)
        process.wait(PATIENCE)
        text = log.read_text()
    else:
        # Nobody reads it from the start on; a pipe holds 64 KB, which the first records fill.
        place.write(TICKING.replace('"number %d"', '"x" * 4000 + "number %d"'))
        process = place.popen("-n", "-y", "shop.py", stdout=subprocess.PIPE)
        worst = float(place.heard())
        process.terminate()
        assert process.stdout is not None
        text = process.stdout.read().decode()
        process.wait(PATIENCE)
    assert worst < 1.0, f"a tick came {worst:.3f} s after the one before"
    assert text.count("number") > 25
    assert re.search(r"ended: .*: exit status 0$", text.rstrip().rpartition("\n")[2])


def _child_of(pid: int) -> int:
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)


# rsyslogd -------------------------------------------------------------------------------------------------------------


@contextmanager
def rsyslog(folder: Path) -> Iterator[tuple[Path, Path]]:
    """A real rsyslogd on a socket of its own: the socket, and the file that it writes."""
    program = need("rsyslogd", "rsyslog")
    place, messages = folder / "dev-log", folder / "messages"
    messages.unlink(missing_ok=True)
    (folder / "rsyslog.conf").write_text(
        'module(load="imuxsock" SysSock.Use="off")\n'
        f'input(type="imuxsock" Socket="{place}" RateLimit.Interval="0")\n'
        'template(name="all" type="string" string="%syslogfacility-text%.%syslogseverity-text% %syslogtag%%msg%\\n")\n'
        f'action(type="omfile" file="{messages}" template="all")\n'
    )
    place.unlink(missing_ok=True)
    command = [program, "-n", "-iNONE", "-f", str(folder / "rsyslog.conf")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(lambda: _answers(place))
        yield place, messages
    finally:
        process.terminate()
        process.wait(PATIENCE)


def _answers(place: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        try:
            client.connect(str(place))
        except OSError:
            return False
    return True


@pytest.mark.logs("shop")
def test_rsyslog_gets_what_is_logged(tmp_path: Path) -> None:
    """The real rsyslogd: priorities, the tag with the process, the path, further lines; also when it starts anew."""
    import logging

    from plait.runner.logs import LogSettings, open_logs

    log = logging.getLogger("shop")
    with rsyslog(tmp_path) as (place, messages):
        settings = LogSettings(syslog=True, syslog_address=str(place), prefix="shopd", level=("debug",))
        logs = open_logs(settings, path_of=lambda: "shop/web")
        logs.write_behind()
        for level in (10, 20, 30, 40, 50):
            log.log(level, "at %d", level, extra={"who": "é"})
        log.info("one\ntwo %s", "x" * 6000)
        logs.flush()
        _wait_for(lambda: messages.exists() and messages.read_text().count("\n") >= 8)
        lines = messages.read_text().splitlines()
    tag = f"shopd[{os.getpid()}]:"
    assert lines[:6] == [
        f"user.debug {tag} [shop/web#debug] at 10 who=é",
        f"user.info {tag} [shop/web#info] at 20 who=é",
        f"user.warning {tag} [shop/web#warning] at 30 who=é",
        f"user.err {tag} [shop/web#error] at 40 who=é",
        f"user.crit {tag} [shop/web#critical] at 50 who=é",
        f"user.info {tag} [shop/web#info] one",
    ]
    assert all(line.startswith(f"user.info {tag} #011") for line in lines[6:])  # how rsyslog shows a TAB
    assert sum(line.count("x") for line in lines[6:]) == 6000
    log.info("lost")
    logs.flush()
    with rsyslog(tmp_path) as (place, messages):
        log.info("back")
        logs.close()
        _wait_for(lambda: messages.exists() and messages.read_text().count("\n") >= 2)
        lines = messages.read_text().splitlines()
    assert re.search(r"user.warning .*: 1 record was lost while it could not be written", lines[0]), lines
    assert lines[1].endswith("[shop/web#info] back")


# journald -------------------------------------------------------------------------------------------------------------

#: Runs in namespaces of its own: starts a journald there, then the program in its arguments, and shows the journal.
BOX = """
set -e
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/journal /run/log/journal /run/systemd/journald.conf.d
printf '[Journal]\\nStorage=volatile\\nReadKMsg=no\\nRateLimitIntervalSec=0\\n' > /run/systemd/journald.conf.d/test.conf
[ -s /etc/machine-id ] || { echo 0123456789abcdef0123456789abcdef > /run/id; touch /etc/machine-id;
                            mount --bind /run/id /etc/machine-id; }
/lib/systemd/systemd-journald > /run/journald.out 2>&1 &
while ! [ -S /run/systemd/journal/stdout ] || ! [ -S /run/systemd/journal/socket ]; do sleep 0.05; done
"$@"
journalctl --sync
exec env SYSTEMD_COLORS=0 journalctl -D /run/log/journal -o json --all SYSLOG_IDENTIFIER=shop
"""


def journal_of(*command: str, **options: Any) -> list[dict[str, Any]]:
    """What a real journald kept of what *command* sent it under the name ``shop``."""
    if not os.path.exists(JOURNALD):
        pytest.skip("NOT RUN: systemd-journald is not installed (systemd)")
    box = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", BOX, "box", *command]
    done = subprocess.run(box, capture_output=True, text=True, timeout=50, **options)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def value_of(entry: dict[str, Any], name: str) -> bytes:
    """A field as bytes: journalctl shows what is no text as numbers."""
    value = entry[name]
    return bytes(value) if isinstance(value, list) else str(value).encode()


@pytest.mark.root
@pytest.mark.promise(53)
def test_journald_keeps_what_it_was_sent() -> None:
    """The real journald: messages of many lines, bytes of every value and a MiB come back as they were."""
    code = """
    import logging, sys
    from plait.runner.logs import LogSettings, open_logs
    logs = open_logs(LogSettings(journal=True, prefix="shop"), path_of=lambda: "shop/web")
    log = logging.getLogger("a.b")
    logs.write_behind()
    log.warning("one\\ntwo\\n\\n three", extra={"raw": bytes(range(256)), "odd name": 7, "text": "a=b\\nc"})
    log.info("big", extra={"big": "x" * (1 << 20) + "\\n" + "y", "bytes": bytes(range(256)) * 4096})
    try:
        1 / 0
    except ZeroDivisionError:
        log.exception("failed")
    logs.close()
    """
    first, second, third = journal_of(sys.executable, "-c", textwrap.dedent(code))
    assert value_of(first, "MESSAGE") == b"[shop/web] one\ntwo\n\n three"
    assert value_of(first, "RAW") == bytes(range(256))
    assert value_of(first, "ODD_NAME") == b"7"
    assert value_of(first, "TEXT") == b"a=b\nc"
    assert [first[name] for name in ("PRIORITY", "LOGGER", "LEVEL", "PLAIT_PATH", "CODE_FUNC", "CODE_LINE")] == [
        *("4", "a.b", "warning", "shop/web", "<module>", "7")
    ]
    assert first["_TRANSPORT"] == "journal"
    assert value_of(second, "BIG") == b"x" * (1 << 20) + b"\ny"
    assert value_of(second, "BYTES") == bytes(range(256)) * 4096
    assert value_of(third, "EXCEPTION").startswith(b"Traceback (most recent call last):\n")
    assert value_of(third, "MESSAGE") == b"[shop/web] failed\n" + value_of(third, "EXCEPTION")


@pytest.mark.root
@pytest.mark.promise(53)
@pytest.mark.parametrize("matches", [True, False])
def test_plaitd_whose_output_is_the_journal_writes_entries(place: Place, matches: bool) -> None:
    """Under systemd each record is an entry with its fields; through a pipe to somewhere else it stays a line."""
    need("systemd-cat", "systemd")
    place.write(
        """
@service
async def shop(context):
    context.log.error("one\\ntwo", extra={"raw": b"\\xff"})

application = Application("shop", [shop])
"""
    )
    # What systemd says to a service; systemd-cat connects both streams as it does, and leaves that to us.
    stream = "$(stat -L -c %d:%i /proc/self/fd/2)" if matches else "1:1"
    command = f"JOURNAL_STREAM={stream} exec {PLAITD} -n --prefix shop -y shop.py"
    entries = journal_of("systemd-cat", "-t", "shop", "sh", "-c", command, cwd=place.folder, env=place.environment)
    if matches:
        (entry,) = [entry for entry in entries if entry.get("PLAIT_PATH") == "shop/shop" and "RAW" in entry]
        assert value_of(entry, "MESSAGE") == b"[shop/shop] one\ntwo"
        assert value_of(entry, "RAW") == b"\xff"
        assert {entry["_TRANSPORT"] for entry in entries} == {"journal"}
    else:
        assert {entry["_TRANSPORT"] for entry in entries} == {"stdout"}
        assert any(str(entry["MESSAGE"]).endswith("[shop/shop#error] one") for entry in entries)


# Through the command line ---------------------------------------------------------------------------------------------

OWN = """
import logging
def make():
    handler = logging.FileHandler("own.log")
    handler.setFormatter(logging.Formatter("%(plait_path)s %(levelname)s %(message)s"))
    return handler
def broken():
    raise KeyError("x")
"""

SAYS = """
import logging, warnings

@service
async def shop(context):
    context.ready()
    print("printed")
    warnings.warn("old")
    logging.getLogger("stock").debug("low")
    context.log.info("sold")

application = Application("shop", [shop])
"""


@pytest.mark.parametrize("daemonize", [False, True])
def test_a_handler_of_ones_own_is_the_log(place: Place, daemonize: bool) -> None:
    """--logger: all records go to the handler, with their service's path, and no other log is made."""
    place.write(SAYS)
    place.write(OWN, "own_logs.py")
    place.allow("own.log", "__pycache__")
    ended = place.run(*([] if daemonize else ["-n"]), "--logger", "own_logs.make", "-y", "shop.py")
    assert (ended.code, ended.output, ended.errors) == (0, "", "")
    place.left(PATIENCE)
    lines = (place.folder / "own.log").read_text().splitlines()
    assert "shop/shop INFO printed" in lines
    assert "shop/shop INFO sold" in lines
    assert not (place.folder / "plaitd.log").exists()


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        (
            ["--logger", "own_logs:broken"],
            78,
            "--logger: own_logs.py:{line}: KeyError: 'x': correct it, then start again",
        ),
        (
            ["--logger", "own_logs:mak"],
            78,
            "--logger: own_logs:mak: own_logs has no attribute 'mak' (but `make`): look at the name",
        ),
        (
            ["--journal"],
            73,
            "--journal: /run/systemd/journal/socket: cannot be written (No such file or directory): "
            "run it where systemd-journald does, or leave --journal out",
        ),
        (
            ["--syslog"],
            73,
            "--syslog: /dev/log: cannot be written (No such file or directory): "
            "start a syslog daemon, or leave --syslog out",
        ),
    ],
)
@pytest.mark.parametrize("daemonize", [False, True])
def test_what_is_wrong_with_the_log_is_said(
    place: Place, options: list[str], code: int, sentence: str, daemonize: bool
) -> None:
    """The one who starts it hears it, daemon or not, and a check says the same with the same exit code."""
    for option, socket_file in (("--journal", "/run/systemd/journal/socket"), ("--syslog", "/dev/log")):
        if option in options and os.path.exists(socket_file):
            pytest.skip(f"NOT RUN: there is a {socket_file} on this machine")
    place.write(SAYS)
    place.write(OWN, "own_logs.py")
    place.allow("__pycache__")
    line = place.line_of("raise KeyError", "own_logs.py").partition(":")[2]
    sentence = sentence.replace("own_logs.py:{line}", f"{place.folder}/own_logs.py:{line}")
    ended = place.run(*([] if daemonize else ["-n"]), *options, "-y", "shop.py")
    assert (ended.code, ended.errors) == (code, f"plaitd: {sentence}\n")
    plait = os.path.join(os.path.dirname(PLAITD), "plait")
    checked = place.run("check", *([] if daemonize else ["-n"]), *options, "-y", "shop.py", program=(plait,))
    assert (checked.code, checked.errors) == (code, f"plait check: {sentence}\n")


def test_levels_of_loggers_and_services(place: Place) -> None:
    """--log-level, more than once: of everything, of a logger, of a service."""
    place.write(SAYS)
    ended = place.run("-n", *("--log-level", "error", "--log-level", "stock=debug"), "-y", "shop.py")
    assert [line.partition(" ")[2] for line in ended.output.splitlines()] == ["[shop/shop#debug] low"]
