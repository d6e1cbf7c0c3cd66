"""Where log records go: files, standard output, what happens when they cannot be written, and who is left as before."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import resource
import signal
import socket
import stat
import subprocess
import sys
import textwrap
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from plait.errors import CannotCreate, ConfigurationError
from plait.runner import sinks
from plait.runner.formats import Text
from plait.runner.handler import LineHandler
from plait.runner.json_lines import JSONLines
from plait.runner.log_places import choose_format
from plait.runner.logs import Logs, LogSettings, open_logs
from plait.runner.sinks import Sink, open_log_file

log = logging.getLogger("shop")


@contextmanager
def logs_in(path: Path | str, **settings: Any) -> Iterator[Logs]:
    with closing(open_logs(LogSettings(file=str(path), **settings))) as logs:
        yield logs


def texts(path: Path) -> list[str]:
    """The lines of a file without their times."""
    return [line.partition(" ")[2] for line in path.read_text().splitlines()]


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments], capture_output=True, text=True, timeout=60
    )


# --- settings


@pytest.mark.parametrize("level", ["info", "INFO", "Warning", "warn", "critical", "25", "0", " error "])
def test_any_level_of_the_standard_library_will_do(level: str) -> None:
    """A level is a name in any case, or a number."""
    LogSettings(level=(level,))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"level": ("inof",)}, 'log level "inof": there is no such: did you mean "info"?'),
        ({"level": ("WARNNIG",)}, 'log level "WARNNIG": there is no such: did you mean "warning"?'),
        ({"level": ("x",)}, 'log level "x": there is no such: give one of debug, info, warning, error, critical'),
        ({"format": "jsn"}, 'log format "jsn": there is no such: did you mean "json"?'),
    ],
)
def test_a_wrong_setting_names_the_nearest(settings: dict[str, Any], sentence: str) -> None:
    """What cannot be used is refused where it is given, with what was probably meant."""
    with pytest.raises(ConfigurationError) as caught:
        LogSettings(**settings)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("format", "for_people", "terminal", "environment", "kind"),
    [
        ("auto", False, False, {}, "text"),
        ("auto", False, True, {}, "text"),
        ("auto", True, False, {}, "json"),
        ("auto", True, True, {}, "colour"),
        ("auto", True, True, {"NO_COLOR": "1"}, "text"),
        ("auto", True, True, {"NO_COLOR": ""}, "colour"),
        ("auto", True, True, {"TERM": "dumb"}, "text"),
        ("text", True, True, {}, "text"),
        ("json", False, True, {}, "json"),
        ("colour", False, False, {"NO_COLOR": "1"}, "colour"),
    ],
)
def test_the_format_fits_who_reads(
    format: Any,
    for_people: bool,
    terminal: bool,
    environment: dict[str, str],
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """auto is text for plaitd; for people it is coloured on a terminal that wants colours, and JSON elsewhere."""
    for name, value in ({"NO_COLOR": "", "TERM": "xterm"} | environment).items():
        monkeypatch.setenv(name, value)
    line = choose_format(format, for_people=for_people, terminal=terminal)(logging.makeLogRecord({"msg": "x"}), "")
    assert {b"{": "json", b"\x1b": "colour"}.get(line[:1], "text") == kind


# --- files


@pytest.mark.logs("shop: outside")
def test_records_reach_the_file_with_the_path_of_their_service(tmp_path: Path) -> None:
    """A record is in the file when the call returns; its system is the service from which it comes."""
    path = "shop/web"
    with closing(open_logs(LogSettings(file=str(tmp_path / "a.log")), path_of=lambda: path)):
        log.info("ready", extra={"port": 80})
        log.debug("too low")
        assert texts(tmp_path / "a.log") == ["[shop/web#info] ready port=80"]
        path = ""
        log.warning("outside")
        assert texts(tmp_path / "a.log")[1:] == ["[shop#warning] outside"]


@pytest.mark.logs("shop: yes")
def test_a_level_is_kept(tmp_path: Path) -> None:
    """Records below the level of the settings go nowhere."""
    with logs_in(tmp_path / "a.log", level=("Error",)):
        log.warning("no")
        log.error("yes")
    assert texts(tmp_path / "a.log") == ["[shop#error] yes"]


def test_one_record_is_one_write() -> None:
    """Each record is one system call, however long: on a socket that keeps packets apart each is one packet."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        handler = LineHandler(Text(), Sink(os.dup(ours.fileno())), "socket", lambda: "")
        for size in (1, 10, 10_000):
            handler.handle(logging.makeLogRecord({"msg": "x" * size, "created": 0.0}))
            assert theirs.recv(100_000).endswith(b"] " + b"x" * size + b"\n")
        handler.end()


def test_a_relative_path_is_kept_when_the_folder_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log given by a relative path is opened again where it was, though a service changed the folder."""
    monkeypatch.chdir(tmp_path)
    with logs_in("a.log") as logs:
        assert logs.name == "a.log"
        monkeypatch.chdir("/")
        (tmp_path / "a.log").rename(tmp_path / "a.log.1")
        assert logs.reopen() is None
        log.info("new")
    assert texts(tmp_path / "a.log") == ["[shop#info] new"]


def test_the_umask_decides_who_may_read(tmp_path: Path) -> None:
    """A new log has the mode that the umask leaves."""
    old = os.umask(0o027)
    try:
        with logs_in(tmp_path / "a.log"):
            assert stat.S_IMODE((tmp_path / "a.log").stat().st_mode) == 0o640
    finally:
        os.umask(old)


def test_a_file_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    """The error says where, what and what to do, and its exit code is 73."""
    before = list(logging.root.handlers)
    for place, problem in ((tmp_path / "no" / "a.log", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(CannotCreate) as caught:
            open_logs(LogSettings(file=str(place)))
        assert str(caught.value) == f"{place}: cannot be written ({problem}): give another place with --logfile"
        assert caught.value.exit_code == 73
    assert logging.root.handlers == before


@pytest.mark.parametrize(
    ("plant", "problem"),
    [
        (lambda place, target: place.symlink_to(target), "it is a symbolic link"),
        (lambda place, target: place.symlink_to("nowhere"), "it is a symbolic link"),
        (lambda place, target: place.hardlink_to(target), "it is a hard link: the same file has another name"),
        (lambda place, target: os.mkfifo(place), "it is not a file"),
    ],
    ids=["link", "dangling", "hard", "pipe"],
)
def test_what_could_be_planted_is_refused(plant: Any, problem: str, tmp_path: Path) -> None:
    """A link or a pipe at the log's path is refused at once, also when reopening, and its target is unchanged."""
    target = tmp_path / "shadow"
    target.write_text("secret")
    plant(tmp_path / "a.log", target)
    with pytest.raises(CannotCreate, match=re.escape(f"cannot be written ({problem}): give another place")):
        open_logs(LogSettings(file=str(tmp_path / "a.log")))
    with logs_in(tmp_path / "b.log") as logs:
        (tmp_path / "b.log").rename(tmp_path / "b.log.1")
        plant(tmp_path / "b.log", target)
        assert logs.reopen() == (
            f"{tmp_path}/b.log: cannot be opened again ({problem}): writing goes on in the old file"
        )
        log.info("still here")
    assert texts(tmp_path / "b.log.1") == ["[shop#info] still here"]
    assert target.read_text() == "secret"
    assert not (tmp_path / "nowhere").exists()


def test_a_pipe_with_a_reader_is_refused_too(tmp_path: Path) -> None:
    """A named pipe is no log, whether somebody reads it or not."""
    os.mkfifo(tmp_path / "a.log")
    reader = os.open(tmp_path / "a.log", os.O_RDONLY | os.O_NONBLOCK)
    try:
        with pytest.raises(OSError, match="it is not a file"):
            open_log_file(str(tmp_path / "a.log"))
    finally:
        os.close(reader)


@pytest.mark.root
def test_a_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """A file that another user put there is no log of ours."""
    (tmp_path / "a.log").touch()
    os.chown(tmp_path / "a.log", 12345, -1)
    with pytest.raises(CannotCreate, match="it belongs to user 12345"):
        open_logs(LogSettings(file=str(tmp_path / "a.log")))


@pytest.mark.root
def test_a_file_without_permission_is_refused(tmp_path: Path) -> None:
    """The reason is the system's, in its own words."""
    done = run(
        """
        import os, sys
        from plait.runner.logs import LogSettings, open_logs
        os.chdir(sys.argv[1])
        os.setuid(12345)
        try:
            open_logs(LogSettings(file="plaitd.log"))
        except Exception as error:
            print(error)
        """,
        str(_traversable(tmp_path)),
    )
    assert done.stdout == ("plaitd.log: cannot be written (Permission denied): give another place with --logfile\n"), (
        done.stderr
    )


def _traversable(folder: Path) -> Path:
    for each in (folder, *folder.parents):
        if each.stat().st_uid == os.geteuid() and each.name.startswith("pytest"):
            each.chmod(0o755)
    return folder


# --- reopening


def test_reopening_follows_a_rename(tmp_path: Path) -> None:
    """After mv and reopen, new records are in a new file and the old ones in the moved one (weakness 19 of twistd)."""
    with logs_in(tmp_path / "a.log") as logs:
        log.info("one")
        (tmp_path / "a.log").rename(tmp_path / "a.log.1")
        log.info("two")
        assert logs.reopen() is None
        log.info("three")
    assert texts(tmp_path / "a.log.1") == ["[shop#info] one", "[shop#info] two"]
    assert texts(tmp_path / "a.log") == ["[shop#info] three"]


def test_reopening_uses_no_second_descriptor(tmp_path: Path) -> None:
    """Reopening a hundred times leaves as many descriptors open as before, and none that a child would inherit."""
    with logs_in(tmp_path / "a.log") as logs:
        before = os.listdir("/proc/self/fd")
        for _ in range(100):
            assert logs.reopen() is None
        assert os.listdir("/proc/self/fd") == before
        assert not os.get_inheritable(logs.handler.writer.place.descriptor)  # type: ignore[attr-defined]


def test_standard_output_needs_no_reopening() -> None:
    """There is nothing to open again, and that is no error."""
    with logs_in("") as logs:
        assert logs.name == "standard output"
        assert logs.reopen() is None


def test_nothing_is_lost_or_torn_while_threads_write(tmp_path: Path) -> None:
    """Four threads log while the file is moved away and reopened: every line is whole and there once."""
    with logs_in(tmp_path / "a.log", format="json") as logs:

        def write(thread: int) -> None:
            for number in range(500):
                log.info("x" * (number * 7 % 5000), extra={"thread_number": thread, "number": number})

        threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        moved = 0
        while any(thread.is_alive() for thread in threads):
            (tmp_path / "a.log").rename(tmp_path / f"a.log.{moved}")
            moved += 1
            assert logs.reopen() is None
        for thread in threads:
            thread.join()
    lines = [json.loads(line) for path in tmp_path.iterdir() for line in path.read_bytes().splitlines()]
    assert sorted((line["thread_number"], line["number"]) for line in lines) == [
        (thread, number) for thread in range(4) for number in range(500)
    ]


def test_kill_loses_nothing(tmp_path: Path) -> None:
    """Whatever was logged before SIGKILL is in the file."""
    done = run(
        """
        import logging, os, sys
        from plait.runner.logs import LogSettings, open_logs
        open_logs(LogSettings(file=sys.argv[1]))
        for number in range(1000):
            logging.getLogger("shop").info("%d", number)
        os.kill(os.getpid(), 9)
        """,
        str(tmp_path / "a.log"),
    )
    assert done.returncode == -signal.SIGKILL
    assert texts(tmp_path / "a.log") == [f"[shop#info] {number}" for number in range(1000)]


# --- when it cannot be written


def test_a_full_device_is_said_once_and_counted(capfd: pytest.CaptureFixture[str]) -> None:
    """A log on a full device: the service lives, standard error hears it once, and in the end how many."""
    with logs_in("/dev/full"):
        for _ in range(3):
            log.info("lost")
    assert capfd.readouterr().err == (
        "/dev/full: cannot be written (No space left on device): records are lost until it can\n"
        "/dev/full: 3 records were lost while it could not be written (No space left on device)\n"
    )


def test_a_file_that_can_be_written_again_says_what_is_missing(tmp_path: Path) -> None:
    """A record that was cut is finished, those that are lost are counted, and the log goes on."""
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    path = tmp_path / "a.log"
    with logs_in(path) as logs:
        try:
            log.info("first")
            resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, hard))
            for name in ("cut", "lost", "lost"):
                log.info(name)
            size = path.stat().st_size
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, ignored)
        assert path.read_bytes()[size - 11 : size - 10] == b"\n", "the limit was to cut a line"
        log.info("after")
        log.info("later")
        assert logs.name == str(path)
    assert texts(path) == [
        "[shop#info] first",
        "[shop#info] cut",
        f"[plait#warning] {path}: 2 records were lost while it could not be written (File too large)",
        "[shop#info] after",
        "[shop#info] later",
    ]


def test_a_reader_that_is_gone_harms_nobody(capfd: pytest.CaptureFixture[str]) -> None:
    """Standard output into a pipe without a reader: the service lives, and it is said."""
    reader, writer = os.pipe()
    os.close(reader)
    handler = LineHandler(Text(), Sink(writer), "standard output", lambda: "")
    for _ in range(2):
        handler.handle(logging.makeLogRecord({"msg": "x"}))
    handler.end()
    assert capfd.readouterr().err.splitlines() == [
        "standard output: cannot be written (Broken pipe): records are lost until it can",
        "standard output: 2 records were lost while it could not be written (Broken pipe)",
    ]


def test_a_slow_reader_of_a_pipe_gets_everything() -> None:
    """A non-blocking pipe that is full is waited for: no record of four threads is lost, none is torn."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    handler = LineHandler(JSONLines(), Sink(writer), "standard output", lambda: "")
    found: list[bytes] = []

    def read() -> None:
        with open(reader, "rb") as file:
            found.extend(file)

    def write(first: int) -> None:
        for number in range(first, 200, 4):
            handler.handle(logging.makeLogRecord({"msg": "x" * 10_000, "number": number}))

    reading = threading.Thread(target=read)
    writing = [threading.Thread(target=write, args=(first,)) for first in range(4)]
    for thread in (reading, *writing):
        thread.start()
    for thread in writing:
        thread.join()
    assert handler.writer.lost == 0
    handler.end()
    reading.join()
    assert sorted(json.loads(line)["number"] for line in found) == list(range(200))


def test_a_reader_that_does_not_read_is_waited_for_once(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A pipe that stays full costs one wait, not one a record; when it is read again the log says what is missing."""
    monkeypatch.setattr(sinks, "_PATIENCE", 0.01)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    os.set_blocking(reader, False)
    handler = LineHandler(JSONLines(), Sink(writer), "standard output", lambda: "")
    number = 0
    while not handler.writer.lost:
        handler.handle(logging.makeLogRecord({"msg": "x" * 3000, "number": number}))
        number += 1
    monkeypatch.setattr(sinks, "_PATIENCE", 3600.0)
    handler.handle(logging.makeLogRecord({"msg": "y" * 3000}))
    lost = handler.writer.lost
    with open(reader, "rb", buffering=0) as file:
        read = file.readall()
        handler.handle(logging.makeLogRecord({"msg": "again"}))
        handler.end()
        read += file.readall()
    messages = [json.loads(line)["message"] for line in read.splitlines()]
    assert messages[-2:] == [
        f"standard output: {lost} records were lost while it could not be written (nobody reads it)",
        "again",
    ]
    assert messages[:-2] == ["x" * 3000] * (number + 1 - lost)
    assert len(capfd.readouterr().err.splitlines()) == 1


def test_a_format_that_fails_costs_no_record(tmp_path: Path) -> None:
    """Should a record defeat the format itself, a line says so in its place."""
    broken = logging.makeLogRecord({"msg": "x", "name": "shop"})
    del broken.levelno
    with logs_in(tmp_path / "a.log") as logs:
        logs.handler.handle(broken)
    (line,) = texts(tmp_path / "a.log")
    assert line.startswith("[plait#error] a record of logger shop cannot be shown: AttributeError: ")


# --- the standard library around it


def test_closing_leaves_logging_as_it_was(tmp_path: Path) -> None:
    """Handlers, level, class of loggers, streams and warnings are as before."""
    before = (list(logging.root.handlers), logging.root.level, logging.getLoggerClass(), type(log))
    streams, show = (sys.stdout, sys.stderr), warnings.showwarning
    with logs_in(tmp_path / "a.log", level=("debug" if before[1] != logging.DEBUG else "info",)) as logs:
        logs.capture_streams()
        logs.capture_streams()
        fresh = logging.getLogger("shop.made.meanwhile")
    assert (list(logging.root.handlers), logging.root.level, logging.getLoggerClass(), type(log)) == before
    assert type(fresh) is logging.Logger
    assert (sys.stdout, sys.stderr) == streams
    assert warnings.showwarning is show
    logs.close()
    assert list(logging.root.handlers) == before[0]


def test_a_second_handler_for_the_terminal_is_set_aside(tmp_path: Path) -> None:
    """What basicConfig installed does not say everything twice; a handler for another place stays."""
    terminal, elsewhere = logging.StreamHandler(), logging.StreamHandler(io.StringIO())
    logging.root.addHandler(terminal)
    logging.root.addHandler(elsewhere)
    try:
        with logs_in(tmp_path / "a.log"):
            assert terminal not in logging.root.handlers
            assert elsewhere in logging.root.handlers
        assert terminal in logging.root.handlers
    finally:
        logging.root.removeHandler(terminal)
        logging.root.removeHandler(elsewhere)


def test_records_after_logging_shutdown_are_not_lost(tmp_path: Path) -> None:
    """logging.shutdown, which runs at exit, does not close the log under those who still have something to say."""
    with logs_in(tmp_path / "a.log") as logs:
        logs.handler.close()
        log.info("last words")
    assert texts(tmp_path / "a.log") == ["[shop#info] last words"]


def test_filters_of_the_handler_are_asked(tmp_path: Path) -> None:
    """A filter that somebody adds to the handler may refuse a record or give it a field."""
    with logs_in(tmp_path / "a.log") as logs:

        def mark(record: logging.LogRecord) -> bool:
            record.seen = True
            return record.getMessage() != "no"

        logs.handler.addFilter(mark)
        log.info("no")
        log.info("yes")
        logs.handler.setLevel(logging.ERROR)
        log.info("too low")
    assert texts(tmp_path / "a.log") == ["[shop#info] yes seen=True"]


class Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def outer(logger: logging.Logger, *args: Any, **more: Any) -> None:
    logger.warning(*args, **more)


@pytest.mark.parametrize(
    ("args", "more"),
    [
        (("plain",), {}),
        (("%s and %s", 1, "two"), {}),
        (("%(a)s", {"a": 1}), {}),
        (("%s", {}), {}),
        (("fields",), {"extra": {"a": 1, "b": None}}),
        (("empty",), {"extra": {}}),
        (("level",), {"stacklevel": 2}),
        (("stack",), {"stack_info": True}),
        (("error",), {"exc_info": ValueError("x")}),
        (("none",), {"exc_info": True}),
    ],
)
def test_our_loggers_make_the_record_of_the_standard_library(
    args: Any, more: Mapping[str, Any], tmp_path: Path
) -> None:
    """A record made on the shorter way has the same attributes, in the same order, with the same values."""
    collector = Collector()
    log.addHandler(collector)
    log.propagate = False
    try:
        for quick in (False, True):
            if quick:
                with logs_in(tmp_path / "a.log"):
                    assert type(log) is not logging.Logger
                    outer(log, *args, **more)  # the same line as below: see lineno
            else:
                outer(log, *args, **more)
    finally:
        log.propagate = True
        log.removeHandler(collector)
    standard, ours = (record.__dict__ for record in collector.records)
    assert list(standard) == list(ours)
    moving = {"created", "msecs", "relativeCreated"} | ({"lineno"} if "stacklevel" in more else set())
    if "stack_info" in more:
        moving.add("stack_info")
        assert ours["stack_info"].splitlines()[-1] == standard["stack_info"].splitlines()[-1]
    for name, value in standard.items():
        assert type(ours[name]) is type(value), name
        if name not in moving:
            assert ours[name] == value, name
    assert (
        abs(ours["created"] - ours["relativeCreated"] / 1000 - standard["created"] + standard["relativeCreated"] / 1000)
        < 0.001
    )
    assert ours["funcName"] == ("outer" if "stacklevel" not in more else standard["funcName"])


def test_a_tracer_that_wrapped_the_logger_is_not_gone_around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where somebody wrapped how records are made, records are made that way."""
    original = logging.Logger.makeRecord

    def make_record(self: logging.Logger, *args: Any, **more: Any) -> logging.LogRecord:
        record = original(self, *args, **more)
        record.trace = "t1"
        return record

    monkeypatch.setattr(logging.Logger, "makeRecord", make_record)
    with logs_in(tmp_path / "a.log"):
        log.info("x")
    assert texts(tmp_path / "a.log") == ["[shop#info] x trace=t1"]


def test_a_record_factory_of_somebody_else_is_used(tmp_path: Path) -> None:
    """Records come from the factory that a library set, before the logs were opened or after."""

    class Record(logging.LogRecord):
        def getMessage(self) -> str:  # noqa: N802 - the standard library's name
            return str(self.msg).format(*self.args or ())

    with logs_in(tmp_path / "a.log"):
        logging.setLogRecordFactory(Record)
        try:
            log.info("{} of {}", 1, 2)
        finally:
            logging.setLogRecordFactory(logging.LogRecord)
    assert texts(tmp_path / "a.log") == ["[shop#info] 1 of 2"]


def test_every_way_to_log_finds_its_caller(tmp_path: Path) -> None:
    """Each method, with and without stacklevel, in a subclass too, names the function that called it."""

    class Mine(logging.getLoggerClass()):  # type: ignore[misc]
        pass

    collector = Collector()
    with logs_in(tmp_path / "a.log"):

        class Later(logging.getLoggerClass()):  # type: ignore[misc]
            pass

        for logger in (log, Mine("mine"), Later("later")):
            logger.addHandler(collector)
            logger.propagate = False
            try:
                for way in ("debug", "info", "warning", "error", "critical", "exception"):
                    getattr(logger, way)("x")
                    helper(getattr(logger, way), "x", stacklevel=2)
                logger.log(logging.INFO, "x")
                helper(logger.log, logging.INFO, "x", stacklevel=2, extra={"a": 1})
            finally:
                logger.propagate = True
                logger.removeHandler(collector)
        logging.getLogger("shop.off").setLevel(logging.ERROR)
        logging.getLogger("shop.off").info("too low")
    callers = {(record.filename, record.funcName) for record in collector.records}
    assert callers == {("test_logs.py", "test_every_way_to_log_finds_its_caller")}
    assert len(collector.records) == 3 * 14 - 2  # debug is off for the logger that has its level from the root


def helper(way: Any, *args: Any, **more: Any) -> None:
    way(*args, **more)


def test_a_field_that_would_overwrite_is_refused_as_ever(tmp_path: Path) -> None:
    """extra={"message": ...} is the same KeyError as without plait."""
    with logs_in(tmp_path / "a.log"):
        for name in ("message", "asctime", "levelname"):
            with pytest.raises(KeyError, match="Attempt to overwrite"):
                log.info("x", extra={name: 1})


def test_a_record_knows_the_process_after_a_fork(tmp_path: Path) -> None:
    """In a child made by fork, records carry the number of the child."""
    done = run(
        """
        import logging, os, sys
        from plait.runner.logs import LogSettings, open_logs
        logs = open_logs(LogSettings(file=sys.argv[1]))
        class Check(logging.Filter):
            def filter(self, record):
                record.right = record.process == os.getpid()
                return True
        logs.handler.addFilter(Check())
        log = logging.getLogger("shop")
        log.info("x")
        child = os.fork()
        log.info("x")
        if child:
            os.waitpid(child, 0)
        """,
        str(tmp_path / "a.log"),
    )
    assert done.stderr == ""
    assert texts(tmp_path / "a.log") == ["[shop#info] x right=True"] * 3


def test_text_needs_no_json() -> None:
    """A start with the text format does not pay for the import of json."""
    done = run(
        """
        import sys
        from plait.runner.logs import LogSettings, open_logs
        open_logs(LogSettings()).close()
        heavy = {"json", "pathlib", "difflib", "tomllib", "ctypes", "logging.config", "logging.handlers"}
        print(sorted(heavy & sys.modules.keys()))
        """
    )
    assert done.stdout == "[]\n", done.stderr


def test_a_closed_standard_output_is_said() -> None:
    """Without a standard output there is a sentence, not a traceback."""
    done = run(
        """
        import os
        from plait.runner.logs import LogSettings, open_logs
        os.close(1)
        try:
            open_logs(LogSettings())
        except Exception as error:
            os.write(2, str(error).encode())
        """
    )
    assert done.stderr == (
        "standard output: cannot be written (Bad file descriptor): give another place with --logfile"
    )


# --- what is printed


@pytest.mark.logs("stderr: to stderr")
def test_what_is_printed_becomes_records(tmp_path: Path) -> None:
    """Whole lines of both streams are records; the last line without an end is one too, at close."""
    with logs_in(tmp_path / "a.log") as logs:
        logs.capture_streams()
        print("one", 2, sep="-")
        print("\n")
        print("a\nb")
        print("to stderr", file=sys.stderr)
        assert sys.stdout.write("no end") == 6
        assert sys.stdout.buffer.write(b" \xff\xc3\xa9") == 4
        sys.stdout.flush()
        assert sys.stdout.encoding == "utf-8"
        assert not sys.stdout.isatty()
    assert texts(tmp_path / "a.log") == [
        "[stdout#info] one-2",
        "[stdout#info] a",
        "[stdout#info] b",
        "[stderr#error] to stderr",
        "[stdout#info] no end \\xffé",
    ]


@pytest.mark.logs("DeprecationWarning: old")
def test_warnings_become_records(tmp_path: Path) -> None:
    """A warning is a record of py.warnings at level warning."""
    with logs_in(tmp_path / "a.log") as logs, warnings.catch_warnings():
        warnings.simplefilter("always")
        logs.capture_streams()
        warnings.warn("old", DeprecationWarning, stacklevel=1)
        logs.close()
    first, second = texts(tmp_path / "a.log")
    assert first.startswith("[py.warnings#warning] ")
    assert first.endswith("DeprecationWarning: old")
    assert "warnings.warn(" in second


def test_threads_do_not_share_lines(tmp_path: Path) -> None:
    """Two threads that print in pieces do not mix their lines."""
    with logs_in(tmp_path / "a.log") as logs:
        logs.capture_streams()
        sys.stdout.write("main ")
        thread = threading.Thread(target=lambda: print("thread", 1))
        thread.start()
        thread.join()
        print("thread")
    assert texts(tmp_path / "a.log") == ["[stdout#info] thread 1", "[stdout#info] main thread"]


def test_a_handler_that_prints_ends(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A handler that prints each record it gets does not get those, without end."""

    class Echo(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            print("echo", record.getMessage())

    echo = Echo()
    logging.root.addHandler(echo)
    try:
        with logs_in(tmp_path / "a.log") as logs:
            logs.capture_streams()
            log.info("x")
    finally:
        logging.root.removeHandler(echo)
    assert sorted(texts(tmp_path / "a.log")) == ["[shop#info] x", "[stdout#info] echo x"]
    assert capfd.readouterr().out == "echo echo x\n"


def test_a_line_that_never_ends_is_cut(tmp_path: Path) -> None:
    """A program that prints without newlines does not fill the memory."""
    with logs_in(tmp_path / "a.log") as logs:
        logs.capture_streams()
        sys.stdout.write("x" * 100_000)
        assert len(texts(tmp_path / "a.log")) == 1
        print("y")
    assert texts(tmp_path / "a.log")[1:] == ["[stdout#info] y"]


def test_a_captured_stream_has_the_descriptor_of_the_old_one(tmp_path: Path) -> None:
    """Child processes get what they would have got; nothing that asks for a descriptor breaks."""
    done = run(
        """
        import subprocess, sys
        from plait.runner.logs import LogSettings, open_logs
        logs = open_logs(LogSettings(file=sys.argv[1]))
        logs.capture_streams()
        subprocess.run(["echo", "from the child"], stdout=sys.stdout, check=True)
        logs.close()
        """,
        str(tmp_path / "a.log"),
    )
    assert (done.stdout, done.stderr) == ("from the child\n", "")


def handler_of(logger: logging.Logger, stream: Any, *, propagate: bool = True) -> logging.StreamHandler[Any]:
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("own format: %(message)s"))
    logger.addHandler(handler)
    logger.propagate = propagate
    return handler


@pytest.mark.parametrize("propagate", [True, False])
@pytest.mark.parametrize("before", [True, False])
def test_a_librarys_own_handler_is_not_heard_twice(
    before: bool, propagate: bool, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A handler that a library made for standard error, before or after, brings the record itself, once."""
    library = logging.getLogger("library.part")
    with logs_in(tmp_path / "a.log") as logs:
        handler = handler_of(library, sys.stderr, propagate=propagate) if before else None
        logs.capture_streams()
        handler = handler or handler_of(library, sys.stderr, propagate=propagate)
        try:
            library.info("served", extra={"status": 200})
        finally:
            library.removeHandler(handler)
            library.propagate = True
    assert texts(tmp_path / "a.log") == ["[library.part#info] served status=200"]
    assert capfd.readouterr() == ("", "")


def test_the_streams_of_handlers_are_given_back(tmp_path: Path) -> None:
    """What was turned to the log for a time writes where it wrote before."""
    library = logging.getLogger("library.part")
    handler = handler_of(library, sys.stderr)
    before = handler.stream
    try:
        with logs_in(tmp_path / "a.log") as logs:
            logs.capture_streams()
            assert handler.stream is sys.stderr is not before
            logs.release_streams()
            assert handler.stream is before
            logs.capture_streams()
        assert handler.stream is before
    finally:
        library.removeHandler(handler)


def test_capturing_what_is_the_log_itself_goes_round_once(capfd: pytest.CaptureFixture[str]) -> None:
    """In the foreground the log is standard output, and what is printed is in it, once."""
    with logs_in("-") as logs:
        logs.capture_streams()
        print("printed")
        print("and this", file=sys.stdout, flush=True)
        log.info("logged")
    out, err = capfd.readouterr()
    assert [line.partition(" ")[2] for line in out.splitlines()] == [
        *("[stdout#info] printed", "[stdout#info] and this", "[shop#info] logged")
    ]
    assert err == ""
