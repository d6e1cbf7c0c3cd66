"""An application as data: what a TOML file may say, and what is said about each mistake in one."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from signal import SIGINT

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plait import (
    Application,
    Backoff,
    ConfigurationError,
    Connection,
    Cron,
    Endpoint,
    EndpointError,
    Group,
    Limit,
    Listener,
    Periodic,
    Program,
    Resource,
    Task,
    Thread,
    from_data,
)
from plait.runner.loader import load, load_toml
from plait.runner.settings import Settings

SHOP = """
from __future__ import annotations
import contextlib
from dataclasses import dataclass
from plait import Application, Context, Group, Resource, Service, service

async def answer(reader, writer): pass
async def work(): pass
async def follow(context): pass
def crunch(stop): pass
def sweep(): pass
@contextlib.asynccontextmanager
async def open_pool(size, name="pool"): yield size
@service(restart="always")
async def ticker(context): pass
pool = Resource(open_pool, arguments=(3,))
application = Application("inner", [pool])

@dataclass(frozen=True)
class Options:
    depth: int = 1
    words: tuple[str, ...] = ()

@dataclass(frozen=True)
class Site(Service[None]):
    root: str
    options: Options = Options()
    database: Resource | None = None
    async def run(self, context): pass

@dataclass(frozen=True)
class Both(Group):
    size: int = 2

class Plain(Service[None]): pass
class Bare(Service[None]):
    size: int = 3
class Whole(Application): pass
number = 3
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a module that descriptions name; it is forgotten again."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "data_shop.py").write_text(SHOP)
    finders = set(sys.path_importer_cache)
    yield tmp_path
    sys.modules.pop("data_shop", None)
    for path in set(sys.path_importer_cache) - finders:
        del sys.path_importer_cache[path]


def read(text: str) -> Application:
    Path("shop.toml").write_text(text)
    return load_toml("shop.toml")


def refused(text: str) -> str:
    """Return what is said about a file with this *text*; it begins with the name of the file."""
    with pytest.raises(ConfigurationError) as caught:
        read(text)
    assert caught.value.exit_code == 78
    name, _, words = str(caught.value).partition(": ")
    assert name.startswith("shop.toml")
    return words if name == "shop.toml" else str(caught.value)


# What is right --------------------------------------------------------------------------------------------------------


def test_every_kind_of_service_can_be_described() -> None:
    """A table is its type and its fields; what is described is equal to what would be built in Python."""
    found = read("""
        name = "shop"
        stop_timeout = 60
        limit = { restarts = "none" }

        [[services]]
        use = "data_shop:pool"

        [[services]]
        type = "Group"
        name = "web"
        strategy = "rest_for_one"
        limit = { restarts = 3, seconds = 10 }

        [[services.services]]
        type = "Listener"
        endpoint = "tcp:8080:interface=127.0.0.1"
        handler = "data_shop:answer"
        drain = 2

        [[services.services]]
        type = "Group"
        name = "deep"

        [[services.services.services]]
        type = "Task"
        function = "data_shop:work"
        stop_timeout = "none"
        backoff = { base = 1 }

        [[services]]
        type = "Connection"
        name = "broker"
        endpoint = "broker:1883"
        retry = { cap = 5 }

        [[services]]
        type = "Periodic"
        every = 60
        function = "data_shop:sweep"
        at-once = false

        [[services]]
        type = "Cron"
        name = "report"
        expression = "0 3 * * *"
        function = "data_shop:sweep"
        timezone = "Europe/Berlin"

        [[services]]
        type = "Program"
        command = ["./images", "-v"]
        environment = { LANG = "C" }
        signal = "INT"
        exit_codes = [0, 3]

        [[services]]
        type = "Thread"
        function = "data_shop:crunch"

        [[services]]
        type = "Resource"
        name = "other"
        factory = "data_shop:open_pool"
        arguments = [1, "other"]

        [[services]]
        use = "data_shop:ticker"
        name = "clock"
        restart = "never"

        [[services]]
        use = "data_shop:follow"

        [[services]]
        type = "data_shop:Site"
        root = "/srv"
        options = { depth = 2, words = ["a"] }
        database = "data_shop:pool"
    """)
    import data_shop as shop  # type: ignore[import-not-found]

    web = Group(
        "web",
        [
            Listener("tcp:8080:interface=127.0.0.1", shop.answer, drain=2),
            Group("deep", [Task(shop.work, stop_timeout=None, backoff=Backoff(base=1))]),
        ],
        strategy="rest_for_one",
        limit=Limit(3, 10),
    )
    ticker = shop.ticker
    assert found == Application(
        "shop",
        [
            shop.pool,
            web,
            Connection("tcp:broker:1883", name="broker", retry=Backoff(cap=5)),
            Periodic(60, shop.sweep, at_once=False),
            Cron("0 3 * * *", shop.sweep, name="report", timezone="Europe/Berlin"),
            Program(["./images", "-v"], environment={"LANG": "C"}, signal=SIGINT, exit_codes=(0, 3)),
            Thread(shop.crunch),
            Resource(shop.open_pool, name="other", arguments=(1, "other")),
            type(ticker)(ticker.function, name="clock", restart="never"),
            type(ticker)(shop.follow),
            shop.Site("/srv", shop.Options(2, ("a",)), shop.pool),
        ],
        stop_timeout=60,
        limit=Limit(None),
    )
    assert pickle.loads(pickle.dumps(found)) == found
    assert isinstance(found.children[1].children[0].endpoint, Endpoint)  # type: ignore[index]


def test_services_may_be_named_only() -> None:
    """A text in place of a table is a service that exists."""
    found = read('name = "shop"\nservices = ["data_shop:pool", "data_shop:ticker", { type = "data_shop:Plain" }]')

    assert [child.name for child in found] == ["open_pool", "ticker", "plain"]


def test_kinds_of_ones_own_nest_too() -> None:
    """A group, and an application, of somebody's own."""
    found = read("""
        type = "data_shop:Whole"
        [[services]]
        type = "data_shop:Both"
        size = 3
        services = ["data_shop:pool"]
    """)

    assert (type(found).__name__, found.name) == ("Whole", "whole")
    (both,) = found
    assert (both.size, both.name, len(both)) == (3, "both", 1)  # type: ignore[attr-defined, arg-type]


def test_an_empty_file_is_an_empty_application() -> None:
    """Everything has a default."""
    assert read("") == Application()


def test_data_need_not_come_from_a_file() -> None:
    """What JSON or a program gives is read alike; the place begins where the caller says."""
    assert from_data({"name": "shop", "services": ({"use": "json:loads"},)[:0]}) == Application("shop")
    with pytest.raises(
        ConfigurationError, match=r"^http://config: nme: Application has no field nme, did you mean name\?$"
    ):
        from_data({"nme": 1}, "http://config")
    with pytest.raises(ConfigurationError, match=r"^nme: "):
        from_data({"nme": 1})
    with pytest.raises(ConfigurationError, match=r"^x: is a list: wanted a table with a name and services$"):
        from_data([], "x")  # type: ignore[arg-type]


def test_settings_name_the_file(folder: Path) -> None:
    """Behind -f, or alone if its name says what it is; its folder can be imported from if that is wanted."""
    (folder / "sub").mkdir()
    (folder / "data_shop.py").rename(folder / "sub" / "data_shop.py")
    (folder / "sub" / "a.toml").write_text('services = ["data_shop:pool"]')

    for named in (Settings(file="sub/a.toml"), Settings(target="sub/a.toml")):
        with pytest.raises(ConfigurationError, match="there is no module 'data_shop' here"):
            load(named)
    assert len(load(Settings(file="sub/a.toml", import_folder=True))) == 1


# What is wrong --------------------------------------------------------------------------------------------------------

A_SERVICE = 'a table such as {type = "Listener", ...} or the module:name of a service'
NOT_HERE = "there is no module 'nowhere' here: look at the name, or change to its folder"
SAVED = (
    "is an application that Twisted saved, and those are not run: describe it in Python, and give that with -y, or in "
    "TOML"
)
KINDS = "Connection, Cron, Group, Listener, Periodic, Program, Resource, Task, Thread"

WRONG: list[tuple[str, str]] = [
    # the top
    ("nme = 1", "nme: Application has no field nme, did you mean name?"),
    ("name = 1", "name: 1 is a whole number: wanted a text"),
    ('name = "a b"', ": Application: name='a b': wanted a word without '/', spaces or a leading dot"),
    ("servces = []", "servces: Application has no field servces, did you mean services?"),
    ("children = []", "children: the children of a group are its services: write services"),
    (
        "x = 1",
        "x: Application has no field x: it has services, type, name, restart, start_timeout, stop_timeout, backoff, "
        "strategy, limit",
    ),
    ("type = 1", 'type: 1 is a whole number: wanted the kind of a service, such as "Listener"'),
    ('type = "Group"', 'type: "Group": wanted an Application, or nothing'),
    (
        "services = 1",
        f"services: 1 is a whole number: wanted a list of services, each {A_SERVICE}",
    ),
    (
        "[services]",
        f"services: is a table: wanted a list of services, each {A_SERVICE}",
    ),
    ("stop_timeout = -1", ": Application application: stop_timeout=-1.0: wanted a number of seconds from 0, or None"),
    ('stop_timeout = "never"', 'stop_timeout: "never" is a text: wanted a number or none'),
    ("stop_timeout = true", "stop_timeout: true: wanted a number or none"),
    (
        'strategy = "one_for_nobody"',
        'strategy: "one_for_nobody": wanted one of one_for_one, rest_for_one, one_for_all, did you mean one_for_one?',
    ),
    ("limit = 3", "limit: 3 is a whole number: wanted a table with the fields of Limit"),
    ("limit = { restart = 3 }", "limit.restart: Limit has no field restart, did you mean restarts?"),
    ("limit = { restarts = -1 }", "limit: Limit: restarts=-1: wanted a whole number from 0, or None"),
    ("limit = { restarts = 1.5 }", "limit.restarts: 1.5 is a number: wanted a whole number or none"),
    # a service
    (
        "services = [1]",
        f"services[0]: 1 is a whole number: wanted {A_SERVICE}",
    ),
    ("services = [{}]", 'services[0]: has no type: give type = "Listener" or such, or use = "module:name"'),
    (
        'services = [{name = "web", typ = "Task"}]',
        'services.web: has no type: typ is nearly one: give type = "Listener" or such, or use = "module:name"',
    ),
    ('services = [{type = "Task", use = "a:b"}]', "services[0]: has a type, and use as well: leave one of them out"),
    ('services = [{type = "Lisener"}]', 'services[0].type: there is no service "Lisener", did you mean Listener?'),
    ('services = [{type = "web"}]', f'services[0].type: there is no service "web": there are {KINDS}'),
    ('services = [{type = "Limit"}]', f'services[0].type: "Limit" is no kind of service: wanted one of {KINDS}'),
    ('services = [{type = "Service"}]', f'services[0].type: "Service" is no kind of service: wanted one of {KINDS}'),
    (
        'services = [{type = "data_shop:pool"}]',
        f'services[0].type: "data_shop:pool" is no kind of service: wanted one of {KINDS}',
    ),
    (
        'services = [{type = "data_shop:Bare"}]',
        "services[0].type: data_shop:Bare is no dataclass: decorate it with @dataclass(frozen=True)",
    ),
    (
        'services = [{type = "data_shop:Sit"}]',
        "services[0].type: data_shop:Sit: data_shop has no attribute 'Sit' (but `Site`): look at the name",
    ),
    (
        'services = [{type = "Task"}]',
        "services[0]: function is missing: give a function or class by its name, module:name",
    ),
    (
        'services = [{type = "Task", name = "a b.c", functon = 1}]',
        'services."a b.c".functon: Task has no field functon, did you mean function?',
    ),
    (
        'services = [{type = "Task", function = 3}]',
        "services[0].function: 3 is a whole number: wanted a function or class by its name, module:name",
    ),
    (
        'services = [{type = "Task", function = "work"}]',
        "services[0].function: work: wanted module:attribute, such as shop.web:answer",
    ),
    (
        'services = [{type = "Task", function = "nowhere:work"}]',
        f"services[0].function: nowhere:work: {NOT_HERE}",
    ),
    (
        'services = [{type = "Task", function = "data_shop:number"}]',
        "services[0].function: data_shop:number is an int: wanted a function",
    ),
    (
        'services = [{type = "Task", function = "data_shop:sweep"}]',
        "services[0]: Task sweep: function=sweep: wanted an async function of no arguments, or of one, the context: a "
        "blocking one belongs in a Thread",
    ),
    (
        'services = [{type = "Listener", endpoint = "tcp:http", handler = "data_shop:answer"}]',
        'services[0]: endpoint "tcp:http": port "http" is not a number: write one from 0 to 65535',
    ),
    (
        'services = [{type = "Program", command = "echo hello"}]',
        'services[0].command: "echo hello" is a text: wanted a list, each item a text or a path',
    ),
    (
        'services = [{type = "Program", command = ["a", 1]}]',
        "services[0].command[1]: 1 is a whole number: wanted a text or a path",
    ),
    (
        'services = [{type = "Program", command = ["a"], environment = {A = 1}}]',
        "services[0].environment.A: 1 is a whole number: wanted a text",
    ),
    (
        'services = [{type = "Program", command = ["a"], signal = "STOPP"}]',
        "services[0]: Program a: signal='STOPP': wanted a signal, such as signal.SIGINT or \"INT\"",
    ),
    (
        'services = [{type = "Cron", expression = "* *", function = "data_shop:sweep"}]',
        "services[0]: Cron sweep: expression='* *': wrong number of fields: wanted minute, hour, ",
    ),
    # what exists
    (
        'services = ["nowhere:x"]',
        f"services[0]: nowhere:x: {NOT_HERE}",
    ),
    ("services = [{use = 1}]", "services[0].use: 1 is a whole number: wanted a text"),
    (
        'services = ["data_shop:sweep"]',
        "services[0]: data_shop:sweep is a function: wanted a service, such as @service makes of a function",
    ),
    ('services = [{use = "data_shop:pool", siez = 1}]', "services[0].siez: Resource has no field siez: it has "),
    (
        'services = [{use = "data_shop:pool", restart = "ever"}]',
        'services[0].restart: "ever": wanted one of always, on-failure, never, did you mean never?',
    ),
    ('services = ["data_shop:application"]', ": application: children: 'inner' is an Application: make it a Group"),
    # fields of one's own
    (
        'services = [{type = "data_shop:Site", root = "r", options = {dept = 1}}]',
        "services[0].options.dept: Options has no field dept, did you mean depth?",
    ),
    (
        'services = [{type = "data_shop:Site", root = "r", database = "data_shop:ticker"}]',
        "services[0].database: is a FunctionService: wanted a Resource",
    ),
    (
        'services = [{type = "data_shop:Site", root = "r", database = 3}]',
        f"services[0].database: 3 is a whole number: wanted {A_SERVICE}",
    ),
    # groups
    (
        'services = [{type = "Group", name = "w", services = [{type = "Task", name = "a", function = "json:x"}]}]',
        "services.w.services.a.function: json:x: json has no attribute 'x': look at the name",
    ),
    (
        'services = [{type = "Group", name = "web", services = ["data_shop:work", "data_shop:work"]}]',
        "services.web: web: children: two services are called 'work': give name=",
    ),
    (
        'services = [{type = "Listener", name = "a", endpoint = "tcp:1", handler = "data_shop:answer"}, '
        '{type = "Listener", name = "b", endpoint = "tcp:1", handler = "data_shop:answer"}]',
        ": application: two services listen on tcp:1: give one of them another, or make them one",
    ),
]


@pytest.mark.parametrize(("text", "words"), WRONG, ids=[text[:60] for text, _ in WRONG])
def test_a_mistake_is_told_with_its_place(text: str, words: str) -> None:
    """The file, the path inside of it, what is there, and what to write."""
    found = refused(text)

    assert found == words.removeprefix(": ") or (found.startswith(words) and words[-1] in "( ")


ANY = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.dates() | st.text(max_size=4) | st.sampled_from(["a:b", "none"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
FIELDS = "name endpoint handler every function command limit backoff stop_timeout services signal arguments expression"
TYPES = [*KINDS.split(", "), "data_shop:Site", "data_shop:Both", "Service", "json:loads", "builtins:type", "abc:ABC"]
A_TABLE = st.fixed_dictionaries(
    {"type": st.sampled_from(TYPES) | st.text(max_size=3)}, optional=dict.fromkeys(FIELDS.split(), ANY)
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.fixed_dictionaries({}, optional={"name": ANY, "limit": ANY, "services": st.lists(A_TABLE | ANY, max_size=2)}))
def test_whatever_is_described_is_an_application_or_refused_in_one_line(data: dict[str, object]) -> None:
    """No other error comes of it, and the sentence begins with the file."""
    said = "shop.toml: "
    try:
        assert isinstance(from_data(data, "shop.toml"), Application)
    except ConfigurationError as error:
        said = str(error)

    assert said.startswith("shop.toml: ")
    assert said.isprintable()


FILES: list[tuple[str, bytes | None, str]] = [
    ("no.toml", None, "no.toml: cannot be read (No such file or directory): give the path of a TOML file"),
    ("a\0.toml", None, "a\0.toml: cannot be read (embedded null byte): give the path of a TOML file"),
    ("a.toml", b"x = \n", "a.toml:1: Invalid value: correct the file"),
    ("a.toml", b"\n\n[[services]]\nname = 'a'\nname = 'b'\n", "a.toml:5: Cannot overwrite a value: correct the file"),
    ("a.toml", b"x = 'a", 'a.toml: Expected "\'" (at end of document): correct the file'),
    ("a.toml", b"x = 1\n\xff", "a.toml:2: is not UTF-8: save the file as UTF-8"),
    ("a.toml", b"x = " + b"[" * 10000, "a.toml: is nested too deep: correct the file"),
    ("a.py", b"application = 1", "a.py: is Python: give it with -y a.py"),
    (
        "shop.tap",
        b"(dp0\n.",
        f"shop.tap: {SAVED}",
    ),
    (
        "shop",
        pickle.dumps({}),
        f"shop: {SAVED}",
    ),
    (
        "plait.toml",
        b"[plaitd]\nuid = 'www'",
        "plait.toml: has settings and no services: give it with --config plait.toml",
    ),
    ("etc.toml", b"[app]\nport = 1", "etc.toml: has settings and no services: give it with --config etc.toml"),
]


@pytest.mark.parametrize(("name", "content", "words"), FILES, ids=[repr(words)[:50] for _, _, words in FILES])
def test_a_file_that_is_no_description(name: str, content: bytes | None, words: str) -> None:
    """What it is instead, and how to give that."""
    if content is not None:
        Path(name).write_bytes(content)

    with pytest.raises(ConfigurationError) as caught:
        load_toml(name)

    assert str(caught.value) == words


def test_an_error_of_an_endpoint_is_still_one() -> None:
    """The class of an error stays, for the exit code and for whoever catches it."""
    with pytest.raises(EndpointError):
        read('services = [{type = "Listener", endpoint = "tcp:x", handler = "data_shop:answer"}]')


def test_a_module_that_fails_is_shown_by_its_line(folder: Path) -> None:
    """Behind the place in the file that names it."""
    (folder / "data_broken.py").write_text("\n1 / 0")

    assert refused('services = ["data_broken:x"]') == (
        f"services[0]: {folder}/data_broken.py:2: ZeroDivisionError: division by zero: correct it, then start again"
    )
