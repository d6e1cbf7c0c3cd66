"""What is made of an event: its text, its level, its traceback, its keys; and who hears of errors."""

from __future__ import annotations

import contextvars
import gc
import json
import logging
import threading
from typing import Any, ClassVar

import pytest

pytest.importorskip("twisted")

from twisted.internet import defer
from twisted.logger import (
    ILogObserver,
    Logger,
    LogLevel,
    LogPublisher,
    eventAsJSON,
    formatEvent,
    formatEventAsClassicLogText,
)
from twisted.python import log
from twisted.python.failure import Failure
from zope.interface import provider

from plait.guests.twisted import failures
from plait.guests.twisted.observers import ObserverHandler, event_of
from plait.guests.twisted.records import EventRecord, level_of, make_record
from plait.runner.formats import PreciseText, Text
from plait.runner.journal import JournalEntries
from plait.runner.json_lines import JSONLines
from plait.runner.syslog_daemon import SyslogLines

Event = dict[str, Any]


@pytest.fixture
def events() -> list[Event]:
    """The events that `publisher` published."""
    return []


@pytest.fixture
def publisher(events: list[Event]) -> LogPublisher:
    publisher: Any = LogPublisher()
    publisher.addObserver(events.append)
    return publisher  # type: ignore[no-any-return]


@pytest.fixture
def legacy(publisher: LogPublisher) -> Any:
    return log.LogPublisher(publisher, publisher)


def record_of(event: Event) -> logging.LogRecord:
    record = make_record(event, event["log_namespace"], level_of(event))
    assert record is not None
    return record


def fail() -> Failure:
    try:
        raise ValueError("no paper")
    except ValueError:
        return Failure()


class Shown:
    """What can be called, looked into, and shown in several ways."""

    inner: ClassVar = {"key": [7], 3: "three"}

    def __call__(self) -> str:
        return "called"

    def method(self) -> str:
        return "method called"

    def __str__(self) -> str:
        return "str"

    def __repr__(self) -> str:
        return "repr"

    def __format__(self, how: str) -> str:
        return f"formatted <{how}>"


class Refusing:
    def __repr__(self) -> str:
        raise SystemExit(3)

    __str__ = __repr__


FORMATS = [
    *("", "plain", "{{}}", "{number}", "{number:>8}", "{number!r:>8}", "{text:{width}}|", "{shown}", "{shown:x}"),
    *("{shown!s}", "{shown!r}", "{shown()}", "{shown.method()}", "{shown.inner}", "{shown.inner[key]}"),
    *("{shown.inner[3]}", "{shown.inner[key][0]}", "{nothing}", "{shown.nothing}", "{}", "{0}", "{", "{number:q}"),
    *("{refusing}", "{refusing!r}", b"bytes {number}", None, 3),
]


@pytest.mark.parametrize("form", FORMATS, ids=repr)
def test_the_text_is_that_of_twisted(form: Any) -> None:
    event = {"log_format": form, "log_namespace": "shop", "log_level": LogLevel.info, "log_time": 0.0}
    event |= {"number": 12, "text": "tea", "width": 5, "shown": Shown(), "refusing": Refusing()}
    record = make_record(event, "shop", logging.INFO)
    assert (record.getMessage() if record else "") == formatEvent(event)


def test_an_event_without_text_is_no_record(legacy: Any, publisher: LogPublisher, events: list[Event]) -> None:
    Logger(namespace="shop", observer=publisher).info(None, key=1)
    legacy.msg("")
    assert [make_record(event, "shop", logging.INFO) for event in events] == [None, None]


def test_a_record_has_the_time_of_its_event(publisher: LogPublisher, events: list[Event]) -> None:
    Logger(namespace="shop", observer=publisher).info("new")
    record = record_of(events[0] | {"log_time": 1_700_000_000.25})
    assert (record.created, record.msecs) == (1_700_000_000.25, 250)
    assert record.relativeCreated < 0


@pytest.mark.parametrize(
    ("event", "level"),
    [
        ({"log_level": LogLevel.warn}, logging.WARNING),
        ({}, logging.INFO),
        ({"log_failure": fail()}, logging.CRITICAL),
        ({"log_level": "loud"}, logging.INFO),
        ({"log_level": LogLevel.critical, "log_failure": Failure(SystemExit(3))}, logging.INFO),
    ],
)
def test_levels(event: Event, level: int) -> None:
    assert level_of(event) == level


def test_the_levels_of_log_msg(legacy: Any, events: list[Event]) -> None:
    legacy.msg("plain")
    legacy.msg("warned", logLevel=logging.WARNING)
    legacy.msg("an error", isError=True)
    legacy.msg("odd", logLevel=35)
    assert [level_of(event) for event in events] == [logging.INFO, logging.WARNING, logging.CRITICAL, logging.INFO]


def test_a_traceback_goes_along_as_it_is(publisher: LogPublisher, events: list[Event]) -> None:
    failure = fail()
    Logger(namespace="shop", observer=publisher).failure("it {what}", failure, what="broke")
    record = record_of(events[0])
    assert record.getMessage() == "it broke"
    assert record.exc_info is not None
    assert record.exc_info[1] is failure.value
    assert b"in fail" in Text()(record, "shop/till")


def test_of_a_failure_that_let_go_of_its_frames_the_text_goes_along(
    publisher: LogPublisher, events: list[Event]
) -> None:
    failure = fail()
    failure.cleanFailure()
    Logger(namespace="shop", observer=publisher).failure("it broke", failure)
    record = record_of(events[0])
    assert record.exc_info is None
    assert record.exc_text is not None
    assert "in fail" in record.exc_text
    assert record.exc_text.endswith("\nValueError: no paper")
    text = Text()(record, "").decode()
    assert text.endswith("\n\tValueError: no paper\n")


def test_what_failed_without_ever_being_raised_is_named(publisher: LogPublisher, events: list[Event]) -> None:
    Logger(namespace="shop", observer=publisher).failure("it broke", Failure(ValueError("no paper")))
    assert record_of(events[0]).exc_text == "ValueError: no paper"


def test_an_error_of_log_err_has_its_traceback_once(legacy: Any, events: list[Event]) -> None:
    legacy.msg(failure=fail(), why="why so", isError=1)
    legacy.msg(failure=fail(), why=None, isError=1)
    first, second = map(record_of, events)
    assert (first.getMessage(), second.getMessage()) == ("why so", "Unhandled Error")
    assert Text()(first, "").count(b"Traceback") == 1


@pytest.mark.parametrize("key", ["name", "message", "created", "plait_details", "system", "exc_info", "path", "logger"])
def test_no_key_of_an_event_takes_the_place_of_anything(publisher: LogPublisher, events: list[Event], key: str) -> None:
    Logger(namespace="shop", observer=publisher).info("sold", **{key: "theirs"})
    record = record_of(events[0])
    assert (record.name, record.getMessage()) == ("shop", "sold")
    found = json.loads(JSONLines()(record, "shop/till"))
    assert (found["message"], found["path"], found["level"]) == ("sold", "shop/till", "info")


def test_a_key_that_a_filter_has_added_already_is_there_twice(publisher: LogPublisher, events: list[Event]) -> None:
    Logger(namespace="shop", observer=publisher).info("sold", item="tea")
    record = record_of(events[0])
    record.__dict__["item"] = "theirs"
    found = json.loads(JSONLines()(record, ""))
    assert (found["item"], found["item_"]) == ("theirs", "tea")


def test_each_format_shows_what_is_meant_for_it(publisher: LogPublisher, events: list[Event]) -> None:
    Logger(namespace="shop", observer=publisher).warn("sold {item}", item="tea", count=3)
    record = record_of(events[0])
    for text in (Text(), PreciseText()):
        assert text(record, "shop/till").endswith(b" [shop/till#warning] sold tea\n")
    assert SyslogLines("plaitd")(record, "").endswith(b": [shop#warning] sold tea\n")
    found = json.loads(JSONLines()(record, ""))
    assert (found["logger"], found["item"], found["count"]) == ("shop", "tea", 3)
    entry = JournalEntries("plaitd")(record, "shop/till")
    for field in (b"MESSAGE=[shop/till] sold tea", b"ITEM=tea", b"COUNT=3", b"PRIORITY=4", b"LOGGER=shop"):
        assert field + b"\n" in entry


def test_a_record_factory_of_somebodys_own_is_used(
    publisher: LogPublisher, events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Theirs(logging.LogRecord):
        pass

    monkeypatch.setattr(logging, "_logRecordFactory", Theirs)
    Logger(namespace="shop", observer=publisher).info("sold", item="tea")
    assert type(record_of(events[0])) is Theirs
    monkeypatch.undo()
    assert type(record_of(events[0])) is EventRecord


def test_what_is_logged_in_two_threads_does_not_wait_for_each_other() -> None:
    """An observer that itself logs, in the one way or the other, would wait for ever."""
    both = threading.Barrier(2)
    handler = ObserverHandler(lambda event: both.wait(20), str)
    record = logging.LogRecord("std", logging.INFO, __file__, 1, "text", (), None)
    thread = threading.Thread(target=handler.handle, args=(record,))
    thread.start()
    handler.handle(record)
    thread.join()
    assert not both.broken


def test_a_record_is_an_event_as_twisted_makes_them() -> None:
    seen: list[Event] = []

    @provider(ILogObserver)
    def observer(event: Event) -> None:
        seen.append(event)

    handler = ObserverHandler(observer, lambda: "shop/till")
    for name, level, text in (("std", 35, "standard"), ("stdout", logging.INFO, "printed"), ("low", 5, "low")):
        handler.handle(logging.LogRecord(name, level, __file__, 1, "%s", (text,), None))
    assert [formatEventAsClassicLogText(event, lambda when: "-") for event in seen] == [
        "- [shop/till#warn] standard\n",
        "- [stdout#info] printed\n",
        "- [shop/till#debug] low\n",
    ]
    assert [event["plait_path"] for event in seen] == ["shop/till"] * 3
    json.loads(eventAsJSON(seen[0]))


def test_a_record_that_cannot_be_formatted_is_told_as_such() -> None:
    event = event_of(logging.LogRecord("std", logging.INFO, __file__, 1, "%d", ("x",), None), "")
    assert "cannot be formatted" in formatEvent(event)


# Who hears of errors --------------------------------------------------------------------------------------------------

WHO = contextvars.ContextVar("who", default="nobody")


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Failure | None, Event]]:
    found: list[tuple[str, Failure | None, Event]] = []
    monkeypatch.setattr(failures, "_listeners", [])
    failures.listen(lambda failure, event: found.append((WHO.get(), failure, event)))
    return found


def test_who_listens_hears_of_errors_only(
    legacy: Any, publisher: Any, heard: list[tuple[str, Failure | None, Event]]
) -> None:
    publisher.addObserver(failures.watch)
    shop = Logger(namespace="shop", observer=publisher)
    first, second = fail(), fail()
    shop.info("fine")
    shop.error("only said")
    shop.error("only said, and seen by an observer of the old kind", isError=1)
    legacy.msg("fine")
    shop.failure("it broke", first)
    legacy.msg(failure=second, why="why so", isError=1)
    legacy.msg("'three'", isError=1)
    assert [failure for _, failure, _ in heard] == [first, second, None]


def test_an_error_that_lies_among_the_garbage_is_heard_of_where_it_came_about(
    publisher: Any, heard: list[tuple[str, Failure | None, Event]], monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher.addObserver(failures.watch)
    monkeypatch.setattr(defer, "DebugInfo", failures._Carrying)
    monkeypatch.setattr(defer, "log", Logger(namespace="twisted.internet.defer", observer=publisher))

    def leave() -> None:
        WHO.set("till")
        defer.succeed(None).addCallback(lambda _: 1 / 0)  # in a circle with its error

    contextvars.copy_context().run(leave)
    assert heard == []
    gc.collect()
    assert [who for who, _, _ in heard] == ["till"]
    assert heard[0][1] is not None
    assert heard[0][1].check(ZeroDivisionError)


def test_an_error_that_is_handled_late_is_not_heard_of(
    publisher: Any, heard: list[tuple[str, Failure | None, Event]], monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher.addObserver(failures.watch)
    monkeypatch.setattr(defer, "DebugInfo", failures._Carrying)
    monkeypatch.setattr(defer, "log", Logger(namespace="twisted.internet.defer", observer=publisher))
    deferred = defer.fail(ValueError("no paper"))
    deferred.addErrback(lambda _: None)
    del deferred
    gc.collect()
    assert heard == []
