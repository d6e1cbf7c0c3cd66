"""How a log record looks, as text, as coloured text and as JSON."""

from __future__ import annotations

import json
import logging
import math
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plait.runner.formats import Memory, Text, severity_number
from plait.runner.json_lines import JSONLines
from plait.runner.records import STANDARD

AT = 1795418726.25  # 2026-11-23T07:25:26.25Z
STAMP = "2026-11-23T07:25:26+0000"


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def record(
    message: object = "text",
    *args: object,
    level: int = logging.INFO,
    name: str = "shop.web",
    exc_info: Any = None,
    stack: str | None = None,
    at: float = AT,
    **fields: object,
) -> logging.LogRecord:
    made = logging.LogRecord(name, level, "/srv/shop.py", 12, message, args, exc_info, "serve", stack)
    made.created = at
    made.__dict__.update(fields)
    return made


def text(made: logging.LogRecord, path: str = "") -> str:
    return Text()(made, path).decode()


def as_json(made: logging.LogRecord, path: str = "") -> dict[str, Any]:
    line = JSONLines()(made, path)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    return strict(line)


def strict(line: bytes) -> dict[str, Any]:
    """Parse *line* as a reader does that takes nothing but JSON: no NaN, no double name, no lone surrogate."""

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(found)) == len(found), "a name stands there twice"
        return dict(found)

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    parsed: dict[str, Any] = json.loads(line.decode("utf-8"), object_pairs_hook=pairs, parse_constant=refuse)
    json.dumps(parsed, ensure_ascii=False).encode("utf-8")  # raises for a lone surrogate
    return parsed


def caught(error: BaseException) -> Any:
    try:
        raise error
    except BaseException:
        return sys.exc_info()


class Unspeakable:
    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


# --- text


def test_a_text_line_is_as_twistd_writes_it() -> None:
    """A line is the local time in whole seconds with its zone, the system and the level, and the message."""
    assert text(record("ready")) == f"{STAMP} [shop.web#info] ready\n"


def test_the_path_of_the_service_stands_in_place_of_the_logger() -> None:
    """A record from a service is shown with the path of the service."""
    assert text(record("ready"), "shop/web") == f"{STAMP} [shop/web#info] ready\n"


def test_time_is_local(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of a text line is that of the machine's zone, and says which."""
    monkeypatch.setenv("TZ", "Europe/Zurich")
    time.tzset()
    assert text(record("x")) == "2026-11-23T08:25:26+0100 [shop.web#info] x\n"


def test_the_second_is_not_kept_too_long() -> None:
    """Two records of one second share its text, the next second has its own, and so has an earlier one."""
    format = Text()
    lines = [format(record("x", at=AT + offset), "")[17:19] for offset in (0, 0.7, 0.75, 5, 0, -1)]
    assert lines == [b"26", b"26", b"27", b"31", b"26", b"25"]


@pytest.mark.parametrize(
    ("level", "name"),
    [(10, "debug"), (20, "info"), (30, "warning"), (40, "error"), (50, "critical"), (25, "level 25")],
)
def test_levels_have_the_names_of_the_standard_library(level: int, name: str) -> None:
    """The level is shown in small letters."""
    assert text(record("x", level=level)) == f"{STAMP} [shop.web#{name}] x\n"


def test_fields_follow_the_message() -> None:
    """What was given with extra= follows, in its order, quoted where a reader would not see where it ends."""
    made = record(
        "served", method="GET", status=200, seconds=0.25, path="/a b", empty="", said='a"b', pair="a=b", n=None
    )
    assert text(made) == (
        f"{STAMP} [shop.web#info] served method=GET status=200 seconds=0.25"
        ' path="/a b" empty="" said="a\\"b" pair="a=b" n=None\n'
    )


def test_a_field_stays_on_its_line() -> None:
    """A newline, a TAB and a backslash in a field are escaped."""
    assert text(record("x", said="a\nb\tc\\d \x1b")) == f'{STAMP} [shop.web#info] x said="a\\nb\\tc\\\\d \\x1b"\n'


def test_further_lines_begin_with_a_tab() -> None:
    """A message of several lines cannot pass for several records."""
    made = record("one\n2026-11-23T07:25:26+0000 [root#info] forged\r\nthree\n")
    assert text(made) == f"{STAMP} [shop.web#info] one\n\t2026-11-23T07:25:26+0000 [root#info] forged\n\tthree\n"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("\x9b2J", "\\x9b2J"),
        ("a\rb", "a\\rb"),
        ("a\x00\x07\x7f\x85", "a\\x00\\x07\\x7f\\x85"),
        ("a\u2028b\u2029", "a\\u2028b\\u2029"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\udc80", "\\udc80"),
        ("Zürich \u00a0 東京 🎉\ttab", "Zürich \u00a0 東京 🎉\ttab"),
    ],
)
def test_nothing_steers_the_terminal(given: str, shown: str) -> None:
    """Control characters, other ends of lines and lone surrogates are shown as escapes; letters of any script stay."""
    assert text(record(given)) == f"{STAMP} [shop.web#info] {shown}\n"


def test_names_cannot_forge_a_line() -> None:
    """A logger, a path and the name of a field are escaped like the message."""
    made = record("x", name="a\nb", **{"k\n y": 1})
    assert text(made) == f'{STAMP} [a\\nb#info] x "k\\n y"=1\n'
    assert text(made, "p\x1b") == f'{STAMP} [p\\x1b#info] x "k\\n y"=1\n'


def test_a_traceback_follows_with_tabs() -> None:
    """A traceback stands below its record, after the fields, each line behind a TAB."""
    lines = text(record("failed", exc_info=caught(ValueError("a\nb")), job=3)).splitlines()
    assert lines[0] == f"{STAMP} [shop.web#info] failed job=3"
    assert lines[1] == "\tTraceback (most recent call last):"
    assert lines[-2:] == ["\tValueError: a", "\tb"]
    assert all(line.startswith("\t") for line in lines[1:])


def test_a_stack_follows_with_tabs() -> None:
    """What stack_info=True adds stands below the record."""
    assert text(record("here", stack="Stack:\n  a")) == f"{STAMP} [shop.web#info] here\n\tStack:\n\t  a\n"


def test_an_exception_outside_of_one_is_none() -> None:
    """log.exception without an exception shows the message alone."""
    assert text(record("odd", exc_info=(None, None, None))) == f"{STAMP} [shop.web#info] odd\n"


def test_a_record_that_cannot_be_formatted_says_what_and_where() -> None:
    """A wrong argument yields one line with the place of the call, the error and both parts."""
    sentence = (
        "/srv/shop.py:12: a log record cannot be formatted"
        " (TypeError: %d format: a real number is required, not str): '%d' with ('x',)"
    )
    assert text(record("%d", "x")) == f"{STAMP} [shop.web#info] {sentence}\n"
    assert as_json(record("%d", "x"))["message"] == sentence


def test_a_message_that_raises_is_described() -> None:
    """A message, an argument or a field whose str raises takes nothing else with it."""
    assert "RuntimeError: no" in text(record("%s", Unspeakable()))
    assert "RuntimeError: no" in text(record(Unspeakable()))
    described = '"<Unspeakable that cannot be shown: RuntimeError>"'
    assert text(record("x", a=1, b=Unspeakable(), c=2)) == f"{STAMP} [shop.web#info] x a=1 b={described} c=2\n"


def test_a_long_unformattable_record_is_cut() -> None:
    """The description of a record that cannot be formatted does not repeat megabytes."""
    assert len(text(record("%d", "x" * 1_000_000))) < 1000


def test_colours_change_nothing_but_the_colour() -> None:
    """Without its escapes a coloured line is the text line."""
    for made in (record("x", a=1, b="c d"), record("a\x1b[0mb\nc", level=40, exc_info=caught(ValueError("no")))):
        coloured = Text(colours=True)(made, "shop/web").decode()
        assert re.sub("\x1b\\[[0-9;]*m", "", coloured) == text(made, "shop/web")
    line = Text(colours=True)(record("x", a=1), "").decode()
    assert line == f"\x1b[2m{STAMP}\x1b[0m [shop.web#\x1b[32minfo\x1b[0m] x \x1b[2ma=\x1b[0m1\n"


def test_names_that_never_end_are_not_kept() -> None:
    """A program that invents names of fields does not fill the memory."""
    memory = Memory(str)
    for number in range(10_000):
        assert memory[number] == str(number)
    assert len(memory) <= 1000


# --- JSON


def test_a_json_line_has_the_fixed_fields_first() -> None:
    """The line is exact: order, time in UTC with microseconds, OpenTelemetry's number of the level."""
    assert JSONLines()(record("served %d", 3, method="GET", status=200, seconds=0.25), "shop/web") == (
        b'{"time":"2026-11-23T07:25:26.250000Z","level":"info","severity_number":9,"logger":"shop.web",'
        b'"path":"shop/web","message":"served 3","method":"GET","status":200,"seconds":0.25}\n'
    )


@pytest.mark.parametrize(
    ("level", "number"),
    [(10, 5), (20, 9), (30, 13), (40, 17), (50, 21), (5, 1), (25, 9), (99, 21), (None, 0)],
)
def test_severity_numbers_are_opentelemetrys(level: int, number: int) -> None:
    """Each level has the number of its OpenTelemetry range."""
    assert severity_number(level) == number


def test_fields_never_overwrite_the_fixed_ones() -> None:
    """A field with a name that is taken gets an underscore, and another when that is taken too."""
    made = record("x", level_=3, path="/a", exception="e", time=1)
    made.__dict__["level"] = 2
    line = as_json(made, "shop")
    assert (line["level"], line["path"]) == ("info", "shop")
    assert (line["level_"], line["level__"]) == (3, 2)
    assert (line["path_"], line["exception_"], line["time_"]) == ("/a", "e", 1)
    assert "exception" not in line


def test_names_that_are_no_strings_are_kept_apart() -> None:
    """Names of fields and of mappings become strings, and none is lost because another has the same text."""
    made = record("x")
    made.__dict__.update({1: "a", "1": "b"})  # type: ignore[dict-item]
    line = as_json(made)
    assert (line["1"], line["1_"]) == ("a", "b")
    assert as_json(record("x", m={1: "a", "1": "b", None: "c"}))["m"] == {"1": "a", "1_": "b", "None": "c"}


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (True, True),
        (None, None),
        (-3, -3),
        (1 << 60, 1 << 60),
        ((1 << 64) - 1, (1 << 64) - 1),
        (1 << 64, str(1 << 64)),
        (math.nan, "NaN"),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
        (b"\xff", "b'\\xff'"),
        (ValueError("no"), "ValueError: no"),
        ((1, "a", [None]), [1, "a", [None]]),
        ({"a": {"b": math.nan}}, {"a": {"b": "NaN"}}),
        ({3}, [3]),
        ("\ud800x", "\\ud800x"),
        (Unspeakable(), "<Unspeakable that cannot be shown: RuntimeError>"),
        ([1, Unspeakable()], [1, "<Unspeakable that cannot be shown: RuntimeError>"]),
        (10**5000, hex(10**5000)),
        (1 + 2j, "(1+2j)"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_value_has_a_place_in_json(value: object, shown: object) -> None:
    """What JSON has is that; anything else is a string that says what it was."""
    line = as_json(record("x", value=value, after=1))
    assert (line["value"], line["after"]) == (shown, 1)


def test_a_circle_ends() -> None:
    """A value that contains itself, is very deep or very large is shown as far as it is sensible."""
    circle: list[object] = [1]
    circle.append(circle)
    assert as_json(record("x", value=circle))["value"] == [1, "<the same list again>"]
    deep: object = "end"
    for _ in range(100_000):
        deep = {"in": deep}
    assert "<dict too deep to be shown>" in JSONLines()(record("x", value=deep), "").decode()
    twice: object = "leaf"
    for _ in range(60):
        twice = [twice] * 60
    assert len(JSONLines()(record("x", value=twice), "")) < 1_000_000
    assert as_json(record("x", value=list(range(20_000))))["value"][9_999:] == [9_999, "... 10000 more"]
    while isinstance(deep, dict):  # or the interpreter takes it apart with as many nested calls
        deep = deep.pop("in")


def test_a_huge_message_is_whole() -> None:
    """A message of ten megabytes is one line, and nothing of it is missing."""
    message = 'a"\n' * 3_000_000
    assert as_json(record(message))["message"] == message


def test_json_has_the_traceback_as_text() -> None:
    """exception holds the traceback, stack the stack; both are absent otherwise."""
    line = as_json(record("x", exc_info=caught(KeyError("k")), stack="Stack: here"))
    assert line["exception"].startswith("Traceback (most recent call last):\n")
    assert line["exception"].endswith("KeyError: 'k'")
    assert line["stack"] == "Stack: here"
    assert not {"exception", "stack"} & as_json(record("x")).keys()


def test_an_exception_that_cannot_be_shown_is_described() -> None:
    """A traceback that cannot be made is a sentence in its place."""
    assert as_json(record("x", exc_info=True))["exception"].startswith("<a traceback that cannot be shown: ")


def test_json_steers_no_terminal() -> None:
    """What a terminal or a viewer would take for an order stands in the line as an escape; letters do not."""
    line = JSONLines()(record("\x1b[2J\x9b\u2028 Zürich"), "")
    assert b'"message":"\\u001b[2J\\u009b\\u2028 Z\xc3\xbcrich"' in line


@pytest.mark.parametrize("put_back", [False, True])
@pytest.mark.parametrize("name", ["process", "taskName", "threadName", "funcName"])
def test_a_record_that_somebody_took_apart_is_shown(name: str, put_back: bool) -> None:
    """A filter that removes a standard attribute, or sets it anew, hides no field and shows none that is not one."""
    made = record("x", a=1, b="c")
    value = made.__dict__.pop(name, None) if not put_back or name != STANDARD[-1] else None
    if put_back:
        made.__dict__[name] = value
    line = as_json(made)
    assert (line["message"], line["a"], line["b"], len(line)) == ("x", 1, "c", 8)
    assert text(made) == f"{STAMP} [shop.web#info] x a=1 b=c\n"


@pytest.mark.parametrize("created", [math.nan, math.inf, -5.5, 1e20, "now", None])
def test_a_time_that_is_none_is_replaced(created: Any) -> None:
    """A record with an impossible time is written with some time."""
    made = record("x", a=1)
    made.created = created
    assert re.fullmatch(r"\d+-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", as_json(made)["time"])
    assert text(made).endswith(" [shop.web#info] x a=1\n")


# --- both ways to one line, and promise 61

anything: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.integers(min_value=10**4000, max_value=10**5000),
        st.floats(),
        st.text(st.characters()),
        st.text(st.characters(categories=["Cs", "Cc", "Zl", "Zp", "Cf"])),
        st.binary(),
        st.decimals(),
        st.builds(Unspeakable),
        st.builds(object),
    ),
    lambda inner: st.one_of(
        st.lists(inner),
        st.dictionaries(st.one_of(st.text(st.characters()), st.integers(), st.none()), inner),
        st.tuples(inner, inner),
    ),
    max_leaves=8,
)
words = st.text(st.characters(exclude_categories=[]))


@st.composite
def any_record(draw: st.DrawFn) -> logging.LogRecord:
    """A record with anything in every place where a program can put something."""
    message = draw(st.one_of(words, anything, st.sampled_from(["%s", "%d", "%s %s", "%(a)s", "100%"])))
    error = draw(st.one_of(st.none(), st.builds(ValueError, words), st.builds(ValueError, st.builds(Unspeakable))))
    made = record(
        message,
        *draw(st.lists(anything, max_size=2)),
        level=draw(st.sampled_from([0, 10, 20, 25, 30, 40, 50])),
        name=draw(words),
        exc_info=None if error is None else caught(error),
    )
    names = st.one_of(words, st.sampled_from(["time", "level", "path", "message_", "a", "b"]))
    for name, value in draw(st.dictionaries(names, anything, max_size=4)).items():
        made.__dict__.setdefault(name, value)
    return made


REFERENCE = Path(__file__).parents[2] / "docs/reference/logs.md"
#: The fields of a line of JSON, as the reference has them: the name, and the type.
SCHEMA = dict(re.findall(r"^\| `(\w+)` \| (string|number) \| ", REFERENCE.read_text(), re.MULTILINE))
OPTIONAL = {"exception", "stack"}
#: OpenTelemetry's SeverityNumber for each level of the standard library.
SEVERITY = {"debug": 5, "info": 9, "warning": 13, "error": 17, "critical": 21}


def assert_schema(found: dict[str, Any]) -> None:
    """Assert that the fixed fields of a line are those of the reference."""
    assert SCHEMA.keys() - OPTIONAL <= found.keys()
    for name, kind in SCHEMA.items():
        if name in found:
            assert type(found[name]) is {"string": str, "number": int}[kind], name
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", found["time"])
    assert found["severity_number"] in {0, 1, *SEVERITY.values()}
    assert SEVERITY.get(found["level"], found["severity_number"]) == found["severity_number"]


@pytest.mark.promise(96)
@pytest.mark.parametrize("level", range(61))
def test_the_fields_are_those_of_the_schema(level: int) -> None:
    """Each level has OpenTelemetry's number for what it is at least, and each field the type of the reference."""
    found = strict(JSONLines()(record("x", level=level, exc_info=caught(ValueError("x")), stack="here"), "shop"))
    assert found.keys() == SCHEMA.keys()
    assert_schema(found)
    wanted = [number for name, number in SEVERITY.items() if level >= getattr(logging, name.upper())]
    assert found["severity_number"] == (wanted[-1] if wanted else 1)


def check(made: logging.LogRecord, path: str) -> None:
    for format in (Text(), Text(colours=True)):
        lines = format(made, path).decode("utf-8")
        assert lines.endswith("\n")
        first, *others = lines[:-1].split("\n")
        assert first.startswith((STAMP, f"\x1b[2m{STAMP}"))
        assert all(other.startswith("\t") for other in others)
        controls = set(re.findall("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e]", lines))
        assert controls <= ({"\x1b"} if lines.startswith("\x1b") else set())
    line = JSONLines()(made, path)
    assert line.count(b"\n") == 1
    found = strict(line)
    assert list(found)[:6] == ["time", "level", "severity_number", "logger", "path", "message"]
    assert_schema(found)
    fields = made.__dict__.keys() - logging.LogRecord("", 0, "", 0, "", (), None).__dict__.keys() - {"message"}
    assert len(found) == 6 + len(fields - {"asctime", "taskName"}) + bool(made.exc_info)


@pytest.mark.promise(61)
@given(any_record(), words)
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_a_record_holds_is_one_line(made: logging.LogRecord, path: str) -> None:
    """Promise 61: JSON is one valid line; text is one record's lines, with no control character of the record's."""
    check(made, path)


@pytest.mark.promise(61)
@pytest.mark.long
@pytest.mark.time_limit(3600)
def test_whatever_100_000_records_hold_is_one_line_each() -> None:
    """Promise 61 with its full figure, in portions: the search remembers each example of one."""
    patient = settings(max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    for _ in range(100):
        patient(given(any_record(), words)(check))()


@given(any_record(), words)
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_quick_way_and_the_careful_way_agree(made: logging.LogRecord, path: str) -> None:
    """Which way a line was made cannot be seen in it."""
    for format in (Text(), JSONLines()):
        assert format(made, path) == format._careful(made, path)
