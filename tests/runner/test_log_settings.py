"""What can be asked of the log, what is refused, and that it is done: levels, rotation, handlers of people's own."""

from __future__ import annotations

import logging
import os
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from plait.errors import ConfigurationError
from plait.runner.custom_logger import find_factory
from plait.runner.log_settings import LogSettings
from plait.runner.logs import open_logs
from plait.runner.rotation import Rotation

log = logging.getLogger("shop")


@pytest.mark.parametrize(
    ("text", "rotation"),
    [
        ("", None),
        ("10MB", Rotation(size=10 << 20)),
        ("10m:5", Rotation(size=10 << 20, keep=5)),
        ("1024", Rotation(size=1024)),
        ("100 KiB", Rotation(size=100 << 10)),
        ("2G:1", Rotation(size=2 << 30, keep=1)),
        ("daily", Rotation(daily=True, keep=10)),
        (" Daily:14 ", Rotation(daily=True, keep=14)),
    ],
)
def test_a_rotation_is_a_size_or_a_day(text: str, rotation: Rotation | None) -> None:
    """Sizes are binary, in any case, with or without B; ten files are kept unless it is said."""
    assert LogSettings(rotate=text).rotation() == rotation


WANTED = 'wanted a size or "daily", and perhaps how many files to keep: 10MB:5, daily:14'


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"rotate": "weekly"}, f'log rotation "weekly": {WANTED}'),
        ({"rotate": "10X"}, f'log rotation "10X": {WANTED}'),
        ({"rotate": "-1M"}, f'log rotation "-1M": {WANTED}'),
        ({"rotate": "1M:0"}, 'log rotation "1M:0": wanted 1 to 9999 files to keep, such as 1M:14'),
        ({"rotate": "daily:x"}, 'log rotation "daily:x": wanted 1 to 9999 files to keep, such as daily:14'),
        ({"rotate": "daily:"}, 'log rotation "daily:": wanted 1 to 9999 files to keep, such as daily:14'),
        ({"rotate": "1M:99999"}, 'log rotation "1M:99999": wanted 1 to 9999 files to keep, such as 1M:14'),
        ({"rotate": "10"}, 'log rotation "10": wanted at least 1KB: give a greater size, such as 10MB'),
        ({"level": ("asyncio=warnig",)}, 'log level "warnig": there is no such: did you mean "warning"?'),
        (
            {"level": ("=debug",)},
            'log level "=debug": there is no name before "=": give NAME=LEVEL, such as asyncio=warning',
        ),
        ({"syslog": True, "journal": True}, "--journal, --syslog: one excludes the other: give one of them"),
        ({"logger": "x"}, "--logger: x: wanted package.module:factory, such as shop.logs:make_handler"),
        ({"logger": "a b:c"}, "--logger: a b:c: wanted package.module:factory, such as shop.logs:make_handler"),
        ({"prefix": "a b"}, "--prefix 'a b': wanted a name of at most 48 letters, such as shop"),
        ({"prefix": "x[1]"}, "--prefix 'x[1]': wanted a name of at most 48 letters, such as shop"),
    ],
)
def test_what_cannot_be_is_refused(settings: dict[str, Any], sentence: str) -> None:
    """Each wrong setting is one sentence that says what would be right."""
    with pytest.raises(ConfigurationError) as caught:
        LogSettings(**settings)
    assert str(caught.value) == sentence


def texts(path: Path) -> list[str]:
    return [line.partition(" ")[2] for line in path.read_text().splitlines()]


@pytest.mark.logs("shop")
def test_loggers_have_levels_of_their_own(tmp_path: Path) -> None:
    """NAME=LEVEL is for one logger and those below; the last one wins; afterwards all is as before."""
    noisy, below = logging.getLogger("noisy"), logging.getLogger("noisy.below")
    noisy.setLevel(logging.DEBUG)
    levels = ("noisy=debug", "debug", "noisy=ERROR", "info", "shop=10")
    with closing(open_logs(LogSettings(file=str(tmp_path / "a.log"), level=levels))):
        for logger in (noisy, below, log, logging.getLogger("other")):
            logger.debug("debug")
            logger.info("info")
        noisy.error("shop") if noisy.isEnabledFor(40) else None
    assert texts(tmp_path / "a.log") == [
        "[shop#debug] debug",
        "[shop#info] info",
        "[other#info] info",
        "[noisy#error] shop",
    ]
    assert (noisy.level, log.level) == (logging.DEBUG, logging.NOTSET)
    noisy.setLevel(logging.NOTSET)


@pytest.mark.logs("")
def test_services_have_levels_by_their_path(tmp_path: Path) -> None:
    """A name with a slash is a service and all below it; the nearest counts; loggers' own levels still hold."""
    path = ""
    levels = ("warning", "shop/web=debug", "shop/web/api=error", "/quiet/=critical", "asyncio=error")
    with closing(open_logs(LogSettings(file=str(tmp_path / "a.log"), level=levels), path_of=lambda: path)):
        for path in ("", "shop", "shop/web", "shop/web/page", "shop/web/api", "shop/website", "quiet"):
            for level in (logging.DEBUG, logging.WARNING, logging.ERROR):
                logging.getLogger("any").log(level, path)
        path = "shop/other"
        logging.getLogger("asyncio").warning("low")
    assert texts(tmp_path / "a.log") == [
        *("[any#warning] ", "[any#error] ", "[shop#warning] shop", "[shop#error] shop"),
        *(
            f"[{path}#{level}] {path}"
            for path in ("shop/web", "shop/web/page")
            for level in ("debug", "warning", "error")
        ),
        *(
            "[shop/web/api#error] shop/web/api",
            "[shop/website#warning] shop/website",
            "[shop/website#error] shop/website",
        ),
    ]


def test_milliseconds(tmp_path: Path) -> None:
    """The format text-ms is the text format with milliseconds."""
    with closing(open_logs(LogSettings(file=str(tmp_path / "a.log"), format="text-ms"))) as logs:
        logs.handler.handle(logging.makeLogRecord({"msg": "x", "name": "shop", "levelno": 20, "created": 1.9996}))
        log.info("two\nlines")
    first, second, third = (tmp_path / "a.log").read_text().splitlines()
    assert re.fullmatch(r"19[67]\d-\d\d-\d\dT\d\d:\d\d:01\.999[+-]\d{4} \[shop#info\] x", first)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d{4} \[shop#info\] two", second)
    assert third == "\tlines"


# Handlers of people's own --------------------------------------------------------------------------------------------

FACTORIES = """
import io, logging
handler = logging.StreamHandler(io.StringIO())
handler.setFormatter(logging.Formatter("%(plait_path)s|%(message)s"))
make = lambda: handler
nothing = lambda: None
number = 3
def broken():
    raise KeyError("x")
def leaves():
    raise SystemExit(1)
class Failing(logging.Handler):
    error = OSError("no paper")
    def emit(self, record):
        try:
            raise self.error
        except Exception:
            self.handleError(record)
class Knowing(Failing):
    seen = []
    def handleError(self, record):
        self.seen.append(record.getMessage())
def reopening():
    handler.reopened = 0
    def reopen(): handler.reopened += 1
    handler.reopen = reopen
    return handler
"""


@pytest.fixture
def factories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the module ``own_logs``, where the program is started."""
    (tmp_path / "own_logs.py").write_text(FACTORIES)
    (tmp_path / "own_broken.py").write_text("import nowhere_to_be_found\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    for name in ("own_logs", "own_broken"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("name", ["own_logs:make", "own_logs.make"])
def test_a_handler_of_ones_own_gets_the_records(factories: Path, name: str) -> None:
    """It takes the place of the built-in one, and each record knows its service's path."""
    logs = open_logs(LogSettings(logger=name, file="not-made.log"), path_of=lambda: "shop/web")
    assert (logs.name, logs.is_stream) == (name, False)
    logs.write_behind()
    log.info("x")
    assert logs.flush()
    assert logs.reopen() is None
    logs.close()
    handler: Any = sys.modules["own_logs"].handler
    assert handler.stream.getvalue() == "shop/web|x\n"
    assert handler not in logging.root.handlers
    assert not os.path.exists("not-made.log")


def test_a_handler_that_can_reopen_is_asked_to(factories: Path) -> None:
    """HUP and USR1 call the handler's method `reopen`, if it has one; an error of it is told."""
    logs = open_logs(LogSettings(logger="own_logs:reopening"))
    assert logs.reopen() is None
    handler: Any = sys.modules["own_logs"].handler
    assert handler.reopened == 1
    handler.reopen = lambda: 1 / 0
    assert logs.reopen() == (
        "own_logs:reopening: cannot be opened again (ZeroDivisionError: division by zero): writing goes on as before"
    )
    logs.close()


def failing(**settings: Any) -> None:
    """Log three records to a handler that fails, with two kinds of errors."""
    with closing(open_logs(LogSettings(logger="own_logs:Failing", **settings), path_of=lambda: "shop/web")) as logs:
        handler: Any = logs.handler
        log.info("one")
        log.info("two")
        handler.error = ValueError("no ink")
        log.info("three")


@pytest.mark.usefixtures("factories")
def test_what_a_handler_fails_with_is_told_where_the_log_would_be(tmp_path: Path) -> None:
    """Each record, and each kind of error once with its traceback, in a file that is made when it is needed."""
    failing(spare=str(tmp_path / "spare.log"))
    lines = [line.partition(" ")[2] for line in (tmp_path / "spare.log").read_text().splitlines() if line[0] != "\t"]
    told = "own_logs:Failing failed ({}): what it does not take is written here"
    assert lines == [
        f"[shop/web#error] {told.format('OSError: no paper')}",
        "[shop/web#info] one",
        "[shop/web#info] two",
        f"[shop/web#error] {told.format('ValueError: no ink')}",
        "[shop/web#info] three",
    ]
    assert (tmp_path / "spare.log").read_text().count("in emit\n\t    raise self.error\n") == 2


@pytest.mark.usefixtures("factories")
def test_where_that_cannot_be_opened_it_is_told_to_syslog_and_at_last_on_standard_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """As another user, or in another root folder, the file may be out of reach."""
    spare, address = f"{tmp_path}/no/such.log", str(tmp_path / "log")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as daemon:
        daemon.bind(address)
        daemon.listen()
        failing(spare=spare, syslog_address=address)
        with daemon.accept()[0] as told:
            assert b"own_logs:Failing failed (OSError: no paper)" in told.recv(1000)
    assert capfd.readouterr().err == ""
    failing(spare=spare, syslog_address=f"{tmp_path}/no/log")
    assert capfd.readouterr().err.count("#info] two\n") == 1


@pytest.mark.usefixtures("factories")
def test_what_comes_when_the_log_is_closed_goes_to_standard_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whoever still has the handler, such as another framework, may call it to the last moment."""
    logs = open_logs(LogSettings(logger="own_logs:Failing", spare=str(tmp_path / "spare.log")))
    logs.close()
    logs.handler.handleError(logging.makeLogRecord({"msg": "too late", "name": "shop"}))
    assert capfd.readouterr().err.endswith(" too late\n")
    logs.close()


@pytest.mark.usefixtures("factories")
def test_a_handler_that_knows_what_to_do_when_it_fails_does_it(tmp_path: Path) -> None:
    """Its own `handleError` stays, and no other log is made while all is well."""
    with closing(open_logs(LogSettings(logger="own_logs:Knowing", spare=str(tmp_path / "spare.log")))) as logs:
        log.info("one")
        handler: Any = logs.handler
    with closing(open_logs(LogSettings(logger="own_logs:make", spare=str(tmp_path / "spare.log")))):
        log.info("two")
    assert handler.seen == ["one"]
    assert not (tmp_path / "spare.log").exists()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "no_such:x",
            "--logger: no_such:x: there is no module 'no_such' here: look at the name, or change to its folder",
        ),
        ("own_logs:mak", "--logger: own_logs:mak: own_logs has no attribute 'mak' (but `make`): look at the name"),
        ("own_logs.mak", "--logger: own_logs:mak: own_logs has no attribute 'mak' (but `make`): look at the name"),
        ("own_logs:number", "--logger: own_logs:number: is an int: name a callable that returns a logging.Handler"),
        (
            "own_logs:nothing",
            "--logger: own_logs:nothing: returned a NoneType: return an instance of logging.Handler",
        ),
        ("own_logs:broken", "--logger: {}/own_logs.py:9: KeyError: 'x': correct it, then start again"),
        (
            "own_logs:leaves",
            "--logger: {}/own_logs.py:11: ends by sys.exit(1): take that out, plaitd does the rest",
        ),
        (
            "own_broken:x",
            "--logger: {}/own_broken.py:1: ModuleNotFoundError: No module named 'nowhere_to_be_found': "
            "correct it, then start again",
        ),
    ],
)
def test_one_that_gives_no_handler_is_refused(factories: Path, name: str, sentence: str) -> None:
    """Each way to name the wrong thing is one sentence, and nothing is changed."""
    before = list(logging.root.handlers)
    with pytest.raises(ConfigurationError) as caught:
        open_logs(LogSettings(logger=name))
    assert str(caught.value) == sentence.format(factories)
    assert logging.root.handlers == before


def test_the_factory_is_found_without_being_called(factories: Path) -> None:
    """What is wrong with the name is known before the fork."""
    assert find_factory("own_logs:broken").__name__ == "broken"
