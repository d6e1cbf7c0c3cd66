"""An application as TOML: what was written is read as an equal value, and what has no form is named."""

from __future__ import annotations

import datetime
import functools
import sys
import tomllib
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import plait
from plait import (
    Application,
    Backoff,
    ConfigurationError,
    Connection,
    Cron,
    Endpoint,
    Group,
    Limit,
    Listener,
    Periodic,
    Program,
    Resource,
    Service,
    Task,
    Thread,
    from_data,
)
from plait.export.toml import to_data, write
from plait.runner.loader import load_toml
from tests.export import parts

# Any application ------------------------------------------------------------------------------------------------------

seconds = st.one_of(st.integers(0, 100), st.floats(0, 100))
above = st.one_of(st.integers(1, 100), st.floats(0.1, 100))
names = st.one_of(st.sampled_from(["web", "a.b", "é", "it's", 'say"', "\\", "[x]", "#1", "-"]), st.uuids().map(str))
texts = st.text(st.characters(codec="utf-8"), max_size=8)
limits = st.builds(Limit, st.none() | st.integers(0, 10), above)
backoffs = st.builds(Backoff, seconds, seconds, st.floats(0, 1), seconds, st.booleans())
hosts = st.sampled_from(["", "127.0.0.1", "::1", "localhost"])
listening = st.one_of(
    st.builds(lambda host, port: Endpoint("tcp", host, port), hosts, st.integers(0, 65535)),
    st.builds(lambda path: Endpoint("unix", path=path, mode=0o600), st.sampled_from(["a b", "/x:y", "@z", "\\"])),
)
connecting = st.builds(lambda port: Endpoint.connecting(f"tcp:broker:{port}:timeout=3"), st.integers(1, 65535))
handlers = st.sampled_from([parts.answer, parts.EchoProtocol, parts.EchoProtocol.make])
plain = st.recursive(
    st.booleans() | st.integers() | st.floats(allow_nan=False) | texts | st.dates() | st.datetimes(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)


def common(name: st.SearchStrategy[str]) -> dict[str, st.SearchStrategy[Any]]:
    """Return the fields that every service has."""
    return {
        "name": name,
        "restart": st.sampled_from(["always", "on-failure", "never"]),
        "start_timeout": st.none() | above,
        "stop_timeout": st.none() | st.floats(20, 100),
        "backoff": st.none() | backoffs,
    }


repeated = {
    "overlap": st.sampled_from(["skip", "queue", "overlap"]),
    "timeout": st.none() | above,
    "on_error": st.sampled_from(["log", "fail"]),
}
functions = st.sampled_from([parts.sweep, parts.work])
options = st.builds(parts.Options, st.integers(), st.lists(texts).map(tuple), st.sampled_from(parts.Colour) | st.none())
resources = st.builds(Resource, st.just(parts.open_pool), arguments=st.lists(plain, max_size=3).map(tuple))
LEAVES: list[tuple[Callable[..., Service[Any]], dict[str, st.SearchStrategy[Any]]]] = [
    (Listener, {"endpoint": listening, "handler": handlers, "drain": st.floats(0, 20), "handshake_timeout": above}),
    (
        Connection,
        {
            "endpoint": connecting,
            "handler": st.none() | handlers,
            "prepare": st.none() | st.just(parts.prepare),
            "require": st.booleans(),
            "retry": backoffs,
            "drain": seconds,
        },
    ),
    (
        Periodic,
        {
            "every": st.integers(50, 100),
            "function": functions,
            "jitter": st.integers(0, 50),
            "phase": seconds,
            "at_once": st.booleans(),
        }
        | repeated,
    ),
    (
        Cron,
        {
            "expression": st.sampled_from(["0 3 * * *", "*/5 * * * 1-5"]),
            "function": functions,
            "timezone": st.sampled_from([None, "UTC", "Europe/Berlin"]),
        }
        | repeated,
    ),
    (
        Program,
        {
            "command": st.lists(texts.filter(lambda text: text and "\0" not in text), min_size=1, max_size=3),
            "environment": st.none() | st.dictionaries(texts, texts, max_size=2),
            "directory": st.none() | texts,
            "signal": st.sampled_from(["INT", "SIGUSR1", 15]),
            "grace": st.floats(0, 9),
            "ready_line": st.sampled_from(["", r"^\[ok\]\s+\d$"]),
            "lock": texts,
            "dies_with_us": st.booleans(),
            "exit_codes": st.lists(st.integers(0, 255)).map(tuple),
        },
    ),
    (Task, {"function": st.sampled_from([parts.work, parts.follow, parts.EchoProtocol.sit])}),
    (Thread, {"function": st.sampled_from([parts.crunch, parts.sweep])}),
    (Resource, {"factory": st.just(parts.open_pool), "arguments": st.lists(plain, max_size=3).map(tuple)}),
    (type(parts.ticker), {"function": st.sampled_from([parts.follow, parts.ticker.function, parts.clock.function])}),
    (
        parts.Site,
        {
            "root": texts.filter(lambda text: text and "\0" not in text).map(Path),
            "options": options,
            "flag": st.booleans(),
            "ratio": st.none() | st.floats(allow_nan=False) | st.integers(),
            "tags": st.frozensets(texts),
            "table": st.dictionaries(texts, st.integers()),
            "since": st.none() | st.dates() | st.datetimes(),
            "pause": st.integers(0, 10**6).map(lambda number: datetime.timedelta(seconds=number)),
            "hook": st.none() | st.sampled_from([len, dict, parts.sweep]),
            "upstream": st.none() | listening,
            "database": st.none() | resources,
            "anything": st.none() | plain.filter(lambda value: value != "none"),
            "label": texts,
        },
    ),
]


def leaves(name: st.SearchStrategy[str]) -> st.SearchStrategy[Service[Any]]:
    return st.one_of([st.builds(cls, **(common(name) | fields)) for cls, fields in LEAVES])


def groups(inner: st.SearchStrategy[Service[Any]]) -> st.SearchStrategy[Service[Any]]:
    children = st.lists(inner, max_size=3, unique_by=lambda child: child.name)
    more = {"strategy": st.sampled_from(["one_for_one", "rest_for_one", "one_for_all"]), "limit": limits}
    fields = common(names) | more | {"children": children, "backoff": backoffs}
    return st.builds(Group, **fields) | st.builds(parts.Team, **fields, size=st.integers())


def without_twins(children: list[Service[Any]]) -> bool:
    """Say whether *children* may be one application: nobody listens where another does."""
    found = [endpoint for child in children for endpoint in child.endpoints()]
    return len(found) == len(set(found))


services = st.recursive(leaves(names), groups, max_leaves=6)
applications = st.builds(
    Application,
    name=names,
    children=st.lists(services, max_size=4, unique_by=lambda child: child.name).filter(without_twins),
    strategy=st.sampled_from(["one_for_one", "one_for_all"]),
    limit=limits,
    backoff=backoffs,
    stop_timeout=st.none() | seconds,
)


def is_there_and_back(application: Application) -> None:
    """Assert that *application* is written, and read again as it was."""
    text = write(application)

    read = from_data(tomllib.loads(text))
    assert read == application
    assert write(from_data(tomllib.loads(write(read)))) == write(read)


@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@settings(max_examples=50, deadline=None)
@given(applications)
def test_any_application_is_read_as_it_was_written(application: Application) -> None:
    """Whatever it is made of, as long as its parts have names."""
    is_there_and_back(application)


@pytest.mark.long
@pytest.mark.time_limit(900)
@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@settings(max_examples=3000, deadline=None)
@given(applications)
def test_any_of_many_applications_is_read_as_it_was_written(application: Application) -> None:
    """The same, more often."""
    is_there_and_back(application)


@pytest.mark.parametrize(("cls", "fields"), LEAVES, ids=[cls.__name__ for cls, _ in LEAVES])
def test_every_field_of_every_kind_is_tried(cls: Any, fields: dict[str, Any]) -> None:
    """The applications above leave nothing at its default; a new field has to be added there."""
    left = {field for field in cls.__dataclass_fields__ if field not in fields} - set(common(names))

    assert left <= {"notify"}  # excludes ready_line


def test_every_kind_is_tried() -> None:
    """A new kind of service has to be added above."""
    kinds = {item for item in (getattr(plait, name) for name in plait.__all__) if isinstance(item, type)}

    assert {kind for kind in kinds if issubclass(kind, Service)} - {cls for cls, _ in LEAVES} == {
        Service,
        Group,
        Application,
    }


HERE = "tests.export.parts"

# As people read it ----------------------------------------------------------------------------------------------------

SHOP = """\
name = "shop"
stop_timeout = 60

[[services]]
type = "Resource"
name = "open_pool"
factory = "tests.export.parts:open_pool"

[[services]]
type = "Group"
name = "web"
strategy = "rest_for_one"
limit = {restarts = 3}

[[services.services]]
type = "Listener"
name = "front"
endpoint = "tcp:8080:interface=127.0.0.1"
handler = "tests.export.parts:answer"
drain = 2.5

[[services.services]]
type = "Group"
name = "deep"

[[services.services.services]]
use = "tests.export.parts:clock"
name = "clock"
restart = "never"

[[services]]
type = "Program"
name = "images"
command = ["./images", "-v"]
environment = {LANG = "C"}
signal = "SIGINT"
stop_timeout = "none"
"""


def test_it_is_written_for_people() -> None:
    """What is at its default is left out; what a service is about stands before what every service has."""
    application = Application(
        "shop",
        [
            Resource(parts.open_pool),
            Group(
                "web",
                [
                    Listener("tcp:8080:interface=127.0.0.1", parts.answer, name="front", drain=2.5),
                    Group("deep", [type(parts.clock)(parts.clock.function, restart="never", stop_timeout=None)]),
                ],
                strategy="rest_for_one",
                limit=Limit(3),
            ),
            Program(["./images", "-v"], environment={"LANG": "C"}, signal="INT", stop_timeout=None),
        ],
        stop_timeout=60,
    )

    assert write(application) == SHOP
    assert to_data(application) == tomllib.loads(SHOP)


def test_what_is_written_can_be_run(tmp_path: Path) -> None:
    """The file is what -f takes."""
    (tmp_path / "shop.toml").write_text(SHOP)

    assert to_data(load_toml(str(tmp_path / "shop.toml"))) == tomllib.loads(SHOP)


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (parts.sweep, "sweep"),
        (parts.EchoProtocol.make, "EchoProtocol.make"),
        (parts.bound, "bound"),
        (parts.unnamed, "unnamed"),
        (parts.made, "made"),
        (parts.echo.method, "echo.method"),
    ],
)
def test_what_stands_in_a_module_has_a_name(function: Any, name: str) -> None:
    """Also if it does not know that itself: a partial, a lambda, the method of an object."""
    application = Application("shop", [Periodic(5, function, name="api")])

    assert f'function = "{HERE}:{name}"' in write(application)
    is_there_and_back(application)


# What has no form -----------------------------------------------------------------------------------------------------


def site(**fields: Any) -> Service[Any]:
    return parts.Site(Path("r"), name="api", **fields)


def make_class() -> Any:
    class Local(Service[None]): ...

    return Local(name="api")


UNWRITABLE: list[tuple[Callable[[], Service[Any]], str]] = [
    (
        lambda: Periodic(5, lambda: None, name="api"),
        "function: a lambda has no name: make it a function of its module",
    ),
    (
        lambda: Periodic(5, functools.partial(parts.sweep), name="api"),
        "function: a partial has no name: give it one in its module, or write a function",
    ),
    (
        lambda: Periodic(5, parts.make_inner(), name="api"),
        "function: inner is made inside of a function, where it has no name: move it out",
    ),
    (
        lambda: Periodic(5, parts.lost[0], name="api"),
        f"function: {HERE}:hidden is not it, or cannot be imported: give it a name of its own in its module",
    ),
    (
        lambda: Periodic(5, parts.EchoProtocol().method, name="api"),
        "function: EchoProtocol.method belongs to an object that has no name: give it one in its module, or write a "
        "function",
    ),
    (
        make_class,
        "its class: Local is made inside of a function, where it has no name: move it out",
    ),
    (lambda: parts.Typed(name="api", type="x"), "type: a table has another use for this key: rename the field"),
    (lambda: site(anything=b"x"), "anything: b'x' is neither data nor a function: it has no form in TOML"),
    (lambda: site(anything={"a": [3j]}), "anything.a[0]: 3j is neither data nor a function: it has no form in TOML"),
    (lambda: site(anything={1: 2}), "anything: 1 is no text that TOML can hold: give another"),
    (lambda: site(label="\udc80"), r"label: '\udc80' is no text that TOML can hold: give another"),
    (lambda: site(anything=(1,)), "anything: (1,) would be read as [1]: give what TOML has"),
    (lambda: site(anything="none", label=None), "label: None would be read as 'none': give what TOML has"),
    (lambda: site(ratio=float("nan")), "ratio: nan would be read as nan: give what TOML has"),
]


@pytest.mark.parametrize(("make", "words"), UNWRITABLE, ids=[words[:50] for _, words in UNWRITABLE])
def test_what_has_no_form_is_named(make: Callable[[], Service[Any]], words: str) -> None:
    """The path of the service, its field, why, and what to do."""
    with pytest.raises(ConfigurationError) as caught:
        write(Application("shop", [Group("web", [make()])]))

    assert str(caught.value) == f"shop/web/api: {words}"


def test_what_would_be_refused_when_it_is_read_is_refused_now() -> None:
    """Python lets many things be that an annotation does not; what is read again is held against the annotation."""
    with pytest.raises(ConfigurationError) as caught:
        write(Application("shop", [site(flag=3)]))

    assert str(caught.value) == (
        "shop: would not be read again: services.api.flag: 3 is a whole number: wanted true or false"
    )


@pytest.mark.parametrize(
    ("name", "file", "words"),
    [
        ("__main__", None, "work is in the program that was started: move it to a module that can be imported"),
        (
            "started",
            "/srv/started.py",
            "work is in /srv/started.py, which cannot be imported from here: change to its folder",
        ),
        (
            "application_json",
            "json.py",
            "work is in json.py, which has the name of another module: call the file otherwise",
        ),
        ("started", "started.py", ""),
    ],
)
def test_what_lies_in_a_file_that_was_started(
    monkeypatch: pytest.MonkeyPatch, name: str, file: str | None, words: str
) -> None:
    """A file of -y is a module of its name, which only who starts in its folder can import."""
    module = types.ModuleType(name)
    module.__file__ = file
    monkeypatch.setitem(sys.modules, name, module)
    exec("async def work(): pass", module.__dict__)
    application = Application("shop", [Task(module.work)])

    if words:
        with pytest.raises(ConfigurationError) as caught:
            write(application)
        assert str(caught.value) == f"shop/work: function: {words}"
    else:
        assert 'function = "started:work"' in write(application)


def test_without_tomlkit_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is needed to write, and for nothing else."""
    monkeypatch.setitem(sys.modules, "tomlkit", None)

    with pytest.raises(ConfigurationError) as caught:
        write(Application("shop"))

    assert str(caught.value) == "export toml: needs the package tomlkit: pip install plait[toml]"
