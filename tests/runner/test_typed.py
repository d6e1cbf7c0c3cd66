"""A text or data becomes a value of the annotated type, or a sentence says where, what and what is wanted."""

from __future__ import annotations

import datetime
import enum
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NewType, Optional, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait import Backoff, ConfigurationError, Endpoint, EndpointError, Limit
from plait.runner.typed import Place, Text, describe_kind, gather, kinds_of, read_data, read_text, repeats

if TYPE_CHECKING:
    from fractions import Fraction


class Colour(enum.Enum):
    red = "r"
    green = 2


@dataclass(frozen=True)
class Store:
    """A dataclass inside of another."""

    path: Path
    size: int = 10


@dataclass(frozen=True)
class Shop:
    """A configuration as somebody would write it; its annotations are texts."""

    host: str
    port: int = 80
    ratio: float = 0.5
    debug: bool = False
    store: Store | None = None
    tags: tuple[str, ...] = ()
    prices: dict[str, float] = field(default_factory=dict)
    mode: Literal["fast", "safe"] = "safe"
    max_age: float | None = 5.0
    hook: Callable[[str], Any] | None = None
    strange: Fraction | None = None

    def __post_init__(self) -> None:
        if self.port > 65535:
            raise ValueError("a port is at most 65535")


@dataclass(frozen=True)
class Loud:
    """Its refusal has two lines."""

    def __post_init__(self) -> None:
        raise ValueError("one\ntwo")


Id = NewType("Id", int)
Bound = TypeVar("Bound", bound=int)
NOON = datetime.datetime(2026, 1, 31, 12, 0)

TEXTS: list[tuple[Any, str, Any]] = [
    (str, "", ""),
    (str, "none", "none"),
    (int, "-12", -12),
    (int, "0x1f", 31),
    (float, "2.5e3", 2500.0),
    (float, "3", 3.0),
    (bool, "Yes", True),
    (bool, "0", False),
    (Path, "a/b", Path("a/b")),
    (os.PathLike[str], "a", Path("a")),
    (Endpoint, "tcp:8080", Endpoint.listening("tcp:8080")),
    (Annotated[Endpoint, Endpoint.connecting], "broker:1883", Endpoint.connecting("tcp:broker:1883")),
    (Annotated[int, "a comment"], "1", 1),
    (Literal["a", 1, None], "1", 1),
    (Literal["a", 1, None], "none", None),
    (Colour, "red", Colour.red),
    (Colour, "r", Colour.red),
    (int | None, "none", None),
    (Optional[int], "5", 5),  # noqa: UP045 - older code spells it so
    (str | None, "none", "none"),
    (int | str, "12", 12),
    (int | str, "twelve", "twelve"),
    (str | int, "12", 12),
    (Path | None, "none", None),
    (os.PathLike[str] | str, "./run", "./run"),
    (Id, "7", 7),
    (Bound, "7", 7),
    (list[int], "7", [7]),
    (list[int], "[7, 8]", [7, 8]),
    (tuple[int, str], '[7, "a"]', (7, "a")),
    (tuple[str, ...], "a b", ("a b",)),
    (Sequence[str] | None, "a", ("a",)),
    (dict[str, int], "a=1", {"a": 1}),
    (dict[str, int], "{a = 1, b = 2}", {"a": 1, "b": 2}),
    (Store, '{path = "x"}', Store(Path("x"))),
    (Limit, "{restarts = 3}", Limit(3)),
    (datetime.datetime, "2026-01-31T12:00:00", NOON),
    (datetime.date, "2026-01-31", NOON.date()),
    (datetime.time, "12:00", NOON.time()),
    (datetime.timedelta, "90", datetime.timedelta(seconds=90)),
    (Callable[..., Any], "json:dumps", json.dumps),
    (type[Any], "plait:Limit", Limit),
    (Any, "12", 12),
    (Any, "a, b", "a, b"),
]


@pytest.mark.parametrize(("kind", "text", "value"), TEXTS, ids=lambda item: str(item)[:40])
def test_a_text_becomes_a_value_of_its_kind(kind: Any, text: str, value: Any) -> None:
    """What somebody typed becomes what the annotation says, of exactly that type."""
    found = read_text(kind, text)

    assert (found, type(found)) == (value, type(value))


DATA: list[tuple[Any, Any, Any]] = [
    (str, "a", "a"),
    (int, 3, 3),
    (float, 3, 3.0),
    (bool, True, True),
    (int | float, 3, 3),
    (float | int, 3, 3),
    (bool | int, True, True),
    (bool | int, 1, 1),
    (Path, "a", Path("a")),
    (Endpoint, "tcp:80", Endpoint.listening("tcp:80")),
    (Literal["a", 1], 1, 1),
    (Colour, 2, Colour.green),
    (float | None, "none", None),
    (str | None, "none", "none"),
    (Backoff | None, {"base": 1, "immediate": False}, Backoff(base=1.0, immediate=False)),
    (Backoff | None, {}, Backoff()),
    (Limit, {"restarts": "none"}, Limit(None)),
    (list[str], ["a"], ["a"]),
    (list, [1, "a"], [1, "a"]),
    (tuple, [1, "a"], (1, "a")),
    (tuple[()], [], ()),
    (frozenset[int], [1, 2], frozenset({1, 2})),
    (Iterable[int], [1], (1,)),
    (Sequence[int] | int, 1, 1),
    (Sequence[int] | int, [1], (1,)),
    (Mapping[str, list[int]], {"a": [1]}, {"a": [1]}),
    (dict[int, str], {"1": "a"}, {1: "a"}),
    (dict, {"a": 1}, {"a": 1}),
    (datetime.datetime, NOON, NOON),
    (datetime.date, NOON.date(), NOON.date()),
    (datetime.timedelta, 1.5, datetime.timedelta(seconds=1.5)),
    (Callable[..., Any] | None, "json:dumps", json.dumps),
    (Callable[..., Any] | None, "none", None),
    (Any, {"a": [1]}, {"a": [1]}),
    (object, 1, 1),
    (
        Shop,
        {"host": "h", "store": {"path": "p"}, "tags": ["a"], "prices": {"pear": 2}, "max-age": "none"},
        Shop("h", store=Store(Path("p")), tags=("a",), prices={"pear": 2.0}, max_age=None),
    ),
    (Shop, {"host": Text("12"), "port": Text("12"), "tags": Text("12")}, Shop("12", 12, tags=("12",))),
    (Shop, {"host": "h", "store": {"path": "p", "size": Text("3")}}, Shop("h", store=Store(Path("p"), 3))),
]


@pytest.mark.parametrize(("kind", "data", "value"), DATA, ids=lambda item: str(item)[:40])
def test_data_becomes_a_value_of_its_kind(kind: Any, data: Any, value: Any) -> None:
    """What TOML has read becomes what the annotation says, of exactly that type."""
    found = read_data(kind, data)

    assert (found, type(found)) == (value, type(value))


WRONG_TEXTS: list[tuple[Any, str, str]] = [
    (int, "12x", '--x: "12x": wanted a whole number'),
    (int, " 1", '--x: " 1": wanted a whole number'),
    (int, "9" * 5000, f'--x: "{"9" * 57}...": wanted a whole number'),
    (int, "1\n2", r'--x: "1\n2": wanted a whole number'),
    (float, "nan", '--x: "nan": wanted a number'),
    (bool, "maybe", '--x: "maybe": wanted true or false'),
    (Path, "", '--x: "": wanted a path'),
    (Path, "a\0b", r'--x: "a\x00b": wanted a path'),
    (
        Endpoint,
        "tcp:http",
        '--x: endpoint "tcp:http": port "http" is not a number: write one from 0 to 65535',
    ),
    (Literal["fast", "safe"], "fats", '--x: "fats": wanted one of fast, safe, did you mean fast?'),
    (Colour, "gren", '--x: "gren": wanted one of red, green, did you mean green?'),
    (int | None, "x", '--x: "x": wanted a whole number or none'),
    (int | float, "x", '--x: "x": wanted a whole number or a number'),
    (list[int], "x", '--x[0]: "x": wanted a whole number'),
    (list[int], "[1", '--x: "[1": wanted a list, each item a whole number, as in TOML'),
    (list[int], '[1, "a"]', '--x[1]: "a" is a text: wanted a whole number'),
    (tuple[int, int], "[1]", "--x: has 1 items: wanted a list of 2: a whole number, a whole number"),
    (dict[str, int], "a", '--x: "a": wanted key=value'),
    (dict[str, int], "a=b", '--x: "b": wanted a whole number'),
    (Store, "x", '--x: "x": wanted a table with the fields of Store, such as {path = ...}'),
    (Store | None, "{pth = 1}", "--x.pth: Store has no field pth, did you mean path?"),
    (datetime.date, "today", '--x: "today": wanted a date such as 2026-01-31'),
    (datetime.datetime, "x", '--x: "x": wanted a date and time such as 2026-01-31T12:00:00'),
    (datetime.timedelta, "1e300", "--x: 1e+300: wanted a number of seconds"),
    (Callable[..., Any], "json", "--x: json: wanted module:attribute, such as shop.web:answer"),
    (
        Callable[..., Any],
        "json:dunps",
        "--x: json:dunps: json has no attribute 'dunps' (but `dumps`): look at the name",
    ),
    (Callable[..., Any], "json:__name__", "--x: json:__name__ is a str: wanted a function"),
    (type[Any], "json:dumps", "--x: json:dumps is a function: wanted a class"),
    (
        Callable[..., Any] | None,
        "gone:x",
        "--x: gone:x: there is no module 'gone' here: look at the name, or change to its folder",
    ),
    (Annotated[int, int], "x", "--x: \"x\": invalid literal for int() with base 10: 'x'"),
]


@pytest.mark.parametrize(("kind", "text", "words"), WRONG_TEXTS, ids=lambda item: str(item)[:40])
def test_a_text_that_is_no_such_value_is_refused(kind: Any, text: str, words: str) -> None:
    """The sentence says where, what was given and what is wanted."""
    with pytest.raises(ConfigurationError) as caught:
        read_text(kind, text, "--x")

    assert str(caught.value) == words


WRONG_DATA: list[tuple[Any, Any, str]] = [
    (str, 8080, "8080 is a whole number: wanted a text"),
    (int, True, "true: wanted a whole number"),
    (int, "8080", '"8080" is a text: wanted a whole number'),
    (int, 1.0, "1.0 is a number: wanted a whole number"),
    (bool, 1, "1 is a whole number: wanted true or false"),
    (float, False, "false: wanted a number"),
    (float, 10**400, f"{10**400}: wanted a number below 1e308"),
    (list[int], {}, "is a table: wanted a list, each item a whole number"),
    (list, 1, "1 is a whole number: wanted a list"),
    (Mapping[str, int], [], "is a list: wanted a table, each value a whole number"),
    (frozenset[Any], [[]], "has an item twice or one that cannot be in a set: wanted plain values"),
    (datetime.date, NOON, "2026-01-31T12:00:00 is a date and time: wanted a date such as 2026-01-31"),
    (Literal[True, 2], 1, "1: wanted one of true, 2"),
    (str, 1, "1 is a whole number: wanted a text"),
    (Callable[..., Any], "a\n:b", r"a\n:b: wanted module:attribute, such as shop.web:answer"),
    (Loud, {}, "one two: correct it"),
    (Literal["a"], 1, "1 is a whole number: wanted one of a"),
    (Endpoint, 80, "80 is a whole number: wanted an endpoint such as tcp:8080"),
    (Annotated[Endpoint, Endpoint.connecting], 80, "80 is a whole number: wanted an endpoint such as tcp:8080"),
    (type(json), "json", '"json" is a text: wanted a module, which only Python can make'),
    (float | None, "nothing", '"nothing" is a text: wanted a number or none'),
    (Limit, {"seconds": -1}, "Limit: seconds=-1.0: wanted a number above 0"),
]


@pytest.mark.parametrize(("kind", "data", "words"), WRONG_DATA, ids=lambda item: str(item)[:40])
def test_data_that_is_no_such_value_is_refused(kind: Any, data: Any, words: str) -> None:
    """The sentence says where, what was given and what is wanted; a truth is no number."""
    with pytest.raises(ConfigurationError) as caught:
        read_data(kind, data, "plait.toml: app")

    assert str(caught.value) == f"plait.toml: app: {words}"


WRONG_TABLES: list[tuple[dict[str, Any], str]] = [
    ({}, "plait.toml: app: host is missing: give a text"),
    ({"host": 1}, "plait.toml: app.host: 1 is a whole number: wanted a text"),
    ({"host": "h", "prot": 1}, "plait.toml: app.prot: Shop has no field prot, did you mean port?"),
    (
        {"host": "h", "a b": 1},
        'plait.toml: app."a b": Shop has no field a b: it has host, port, ratio, debug, store, tags, prices, mode, '
        "max_age, hook, strange",
    ),
    (
        {"a\nb": 1},
        r'plait.toml: app."a\nb": Shop has no field a\nb: it has host, port, ratio, debug, store, tags, prices, mode, '
        "max_age, hook, strange",
    ),
    ({"host": "h", "port": 70000}, "plait.toml: app: a port is at most 65535: correct it"),
    ({"host": "h", "store": {}}, "plait.toml: app.store: path is missing: give a path"),
    ({"host": "h", "store": {"pth": ""}}, "plait.toml: app.store.pth: Store has no field pth, did you mean path?"),
    ({"host": "h", "tags": ["a", 2]}, "plait.toml: app.tags[1]: 2 is a whole number: wanted a text"),
    ({"host": "h", "prices": {"a pear": "2"}}, 'plait.toml: app.prices."a pear": "2" is a text: wanted a number'),
    ({"host": "h", "max-age": 1, "max_age": 2}, "plait.toml: app.max_age: is there twice: write max_age once"),
    (
        {"host": "h", "strange": 1},
        "plait.toml: app.strange: its annotation Fraction | None is not known at run time: import it there",
    ),
    (
        {"host": "h", "mode": Text("sfae")},
        'plait.toml: app.mode: "sfae": wanted one of fast, safe, did you mean safe?',
    ),
    ({"host": "h", "port": Text("http")}, '--set app.port: "http": wanted a whole number'),
    ({"host": "h", "tags": Text('["a", 2]')}, "plait.toml: app.tags[1]: 2 is a whole number: wanted a text"),
]


@pytest.mark.parametrize(("table", "words"), WRONG_TABLES, ids=lambda item: str(item)[:40])
def test_a_table_that_is_no_such_dataclass_is_refused(table: dict[str, Any], words: str) -> None:
    """The sentence names the key, the nearest field, and where the value came from."""
    with pytest.raises(ConfigurationError) as caught:
        read_data(Shop, table, Place("plait.toml", "app", {"app.port": "--set app.port"}))

    assert str(caught.value) == words


def test_an_error_keeps_its_class() -> None:
    """What an endpoint refuses is an EndpointError also with its place."""
    with pytest.raises(EndpointError):
        read_data(Endpoint, "tcp:x", "shop.toml: a")


ANY_DATA = st.recursive(
    st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["none", "json:x"])
    | st.dates(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | st.just("host"), inner, max_size=3)
    ),
    max_leaves=8,
)
ANY_TEXT = st.text() | st.sampled_from(["[1]", "[[", "{a = 1}", "{", "1e999", "-0", "9999-99-99", "none", "json:x"])


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([kind for kind, *_ in TEXTS + DATA] + [Shop]), ANY_TEXT, ANY_DATA)
def test_whatever_is_given_is_a_value_or_refused_in_one_line(kind: Any, text: str, data: Any) -> None:
    """No other error comes of it, and nothing that would break a line of the terminal or of a log."""
    for read in (
        lambda: read_text(kind, text, "--x"),
        lambda: gather(kind, [text, text], "--x"),
        lambda: read_data(kind, Text(text), "x"),
        lambda: read_data(kind, data, "x"),
    ):
        said = ""
        try:
            read()
        except ConfigurationError as error:
            said = str(error)
        assert said.isprintable()


DESCRIPTIONS: list[tuple[Any, str, bool]] = [
    (str, "TEXT", False),
    (int | None, "INTEGER", False),
    (float, "NUMBER", False),
    (Path, "PATH", False),
    (Endpoint, "ENDPOINT", False),
    (bool, "true or false", False),
    (Literal["a", "b"], "one of a, b", False),
    (Literal["a", 1] | None, "one of a, 1", False),
    (Colour, "one of red, green", False),
    (int | str, "INTEGER or TEXT", False),
    (list[int], "INTEGER", True),
    (Sequence[Path] | None, "PATH", True),
    (dict[str, int], "KEY=INTEGER", True),
    (Callable[..., Any], "MODULE:NAME", False),
    (Store, "{FIELD=VALUE, ...}", False),
    (datetime.date, "DATE", False),
    (Any, "VALUE", False),
]


@pytest.mark.parametrize(("kind", "words", "is_repeated"), DESCRIPTIONS, ids=lambda item: str(item)[:40])
def test_help_shows_a_kind(kind: Any, words: str, is_repeated: bool) -> None:
    """Each kind has its word for help; lists and tables may be given value by value."""
    assert (describe_kind(kind), repeats(kind)) == (words, is_repeated)


def test_values_given_one_by_one_are_gathered() -> None:
    """A list collects what each option gives, a mapping too, and of a single value the last counts."""
    assert gather(tuple[int, ...] | None, ["1", "[2, 3]", "4"]) == (1, 2, 3, 4)
    assert gather(dict[str, int], ["a=1", "b=2"]) == {"a": 1, "b": 2}
    assert gather(int, ["1", "2"]) == 2
    assert gather(list[int] | None, ["none"]) is None
    with pytest.raises(ConfigurationError, match=r'^--x\[0\]: "none": wanted a whole number$'):
        gather(list[int] | None, ["1", "none"], "--x")


def test_the_kinds_of_a_function_are_found() -> None:
    """Annotations that are texts are resolved, also when one of them cannot be."""

    def shop(host: str, port: int | None = None, strange: Fraction | None = None) -> None: ...

    kinds = kinds_of(shop)

    assert (kinds["host"], kinds["port"]) == (str, int | None)
    with pytest.raises(ConfigurationError, match=r"^--strange: its annotation Fraction \| None is not known"):
        read_data(kinds["strange"], "1", "--strange")
