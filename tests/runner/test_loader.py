"""From a file or a name to an application, and what is said when there is none: always by the user's own line."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from plait.errors import ConfigurationError, EndpointError, PlaitError, UsageError
from plait.runner.factory import AppTable
from plait.runner.loader import load, load_file, load_name
from plait.runner.places import Text
from plait.runner.settings import Assignment, Settings
from plait.tree.application import Application, Group

SERVICE = """
from plait import Application, Group, Task

async def work():
    pass

task = Task(work)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder to start in; what is imported from it is forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    modules, finders = set(sys.modules), set(sys.path_importer_cache)
    yield tmp_path
    for name in set(sys.modules) - modules:
        if name.partition(".")[0] not in (*sys.stdlib_module_names, "plait"):
            del sys.modules[name]
    for path in set(sys.path_importer_cache) - finders:
        del sys.path_importer_cache[path]


def write(source: str, path: str = "shop.py") -> str:
    Path(path).parent.mkdir(exist_ok=True)
    Path(path).write_text(source)
    return path


def refused(source: str, path: str = "shop.py") -> str:
    """Return what is said about a file with this *source*."""
    with pytest.raises(ConfigurationError) as caught:
        load_file(write(source, path))
    assert caught.value.exit_code == 78
    return str(caught.value)


def misnamed(target: str) -> str:
    """Return what is said about a name."""
    with pytest.raises(ConfigurationError) as caught:
        load_name(target)
    return str(caught.value)


# What is right --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "application = Application('shop', [task])",
        "application = lambda: Application('shop', [task])",
        "def application():\n    return Application('shop', [task])",
        "application = Group('shop', [task])",
        "application = lambda: Group('shop', [task])",
    ],
)
def test_an_application_a_group_or_what_makes_one(line: str) -> None:
    """A factory is called; a group becomes an application with it inside."""
    found = load_file(write(SERVICE + line))
    assert type(found) is Application
    assert found.name == "shop"
    (inside,) = found
    assert inside.name == ("shop" if "Group" in line else "work")
    assert isinstance(inside, Group) == ("Group" in line)


def test_a_bare_service_is_wrapped() -> None:
    """In an application of its name."""
    found = load_file(write(SERVICE + "application = task"))
    assert type(found) is Application
    assert (found.name, [child.name for child in found]) == ("work", ["work"])


def test_a_service_that_can_be_called_is_not_called() -> None:
    """It is a description, whatever else it is."""
    source = "from plait import Service\nclass Odd(Service):\n    def __call__(self): 1 / 0\napplication = Odd()"
    assert load_file(write(source)).name == "odd"


def test_a_file_is_a_module_of_its_name() -> None:
    """What it defines can be pickled; it knows where it lies; it is not ``__main__``."""
    source = SERVICE + "application = Application(__name__.replace('_', '-'), [task])\nfile = __file__"
    path = write(source, "sub/my-shop.py")
    found = load_file(path)
    assert found.name == "my-shop"
    assert sys.modules["my_shop"].file == os.path.abspath(path)
    assert pickle.loads(pickle.dumps(found)) == found


@pytest.mark.parametrize("path", ["logging.py", "asyncio.py", "plait.py", "1st.py", "sys.py"])
def test_a_file_hides_no_module_of_that_name(path: str) -> None:
    """It gets another name."""
    before = dict(sys.modules)
    load_file(write(SERVICE + "application = task", path))
    for name, module in before.items():
        assert sys.modules[name] is module
    assert f"application_{path.removesuffix('.py')}" in sys.modules


@pytest.mark.parametrize("attribute", ["application", "make", "holder.inner.app", "task"])
def test_a_name_is_imported_from_where_it_was_started(attribute: str) -> None:
    """A module or package of the present folder, an attribute of an attribute, a factory, a bare service."""
    write(
        SERVICE
        + "application = Application('shop', [task])\ndef make(): return application\n"
        + "class holder:\n    class inner:\n        app = application",
        "store/web.py",
    )
    assert load_name(f"store.web:{attribute}").name in ("shop", "work")


def test_settings_say_which() -> None:
    """A file, or a name, and one of them only."""
    write(SERVICE + "application = task")
    assert load(Settings(python="shop.py")).name == "work"
    assert load(Settings(target="shop:application")).name == "work"
    with pytest.raises(UsageError) as caught:
        load(Settings(python="shop.py", target="shop:application"))
    assert str(caught.value) == "shop:application: is given beside -y shop.py: give one of them"
    with pytest.raises(UsageError) as caught:
        load(Settings())
    assert str(caught.value) == "nothing to run: give -y FILE, -f FILE, module:attribute or a plugin: see plaitd --help"


# Files that are wrong -------------------------------------------------------------------------------------------------


def test_a_file_that_cannot_be_read(folder: Path) -> None:
    """Missing, or no file."""
    with pytest.raises(ConfigurationError) as caught:
        load_file("no.py")
    assert str(caught.value) == "no.py: cannot be read (No such file or directory): give the path of a Python file"
    with pytest.raises(ConfigurationError) as caught:
        load_file(str(folder))
    assert str(caught.value) == f"{folder}: cannot be read (Is a directory): give the path of a Python file"


def test_what_is_not_python() -> None:
    """The line, in the file or in another that it imports; no line is made up."""
    assert refused("\n\nx = = 1") == "shop.py:3: invalid syntax: correct the file"
    assert refused("if 1:\nx = 1").startswith("shop.py:2: expected an indented block after 'if' statement on line 1: ")
    Path("other.py").write_text("\nx = = 1")
    sentence = refused("import sys\nsys.path.insert(0, '.')\nimport other")
    assert sentence == f"{os.getcwd()}/other.py:2: invalid syntax: correct the file"
    assert refused("\n\ncompile('x = = 1', 'formula', 'eval')").startswith("shop.py:3: SyntaxError: invalid syntax")
    Path("shop.py").write_bytes(b"x = '\xff'\n")
    with pytest.raises(ConfigurationError, match=r"^shop\.py(:\d)?: .*utf-8.*: correct the file$"):
        load_file("shop.py")
    Path("shop.py").write_bytes(b"x = '\0'\n")
    with pytest.raises(ConfigurationError, match=r"^shop\.py(:\d)?: .*null bytes.*: correct the file$"):
        load_file("shop.py")


def test_a_missing_variable() -> None:
    """With the nearest that there is."""
    assert refused("x = 1") == "shop.py: defines no variable `application`: write application = Application(...)"
    assert refused("aplication = 1") == (
        "shop.py: defines no variable `application` (but `aplication`): write application = Application(...)"
    )
    assert refused("_application = 1") == (
        "shop.py: defines no variable `application`: write application = Application(...)"
    )


def test_an_error_that_looks_like_a_missing_variable_is_not_taken_for_one() -> None:
    """The original of these files was looked up in a dictionary, and a KeyError inside was mistaken."""
    assert refused("\nraise KeyError('application')") == (
        "shop.py:2: KeyError: 'application': correct it, then start again"
    )


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("application = 3", "an int"),
        ("application = None", "a NoneType"),
        ("application = []", "a list"),
        ("application = Application", "a type"),
        ("def application(): pass", "a NoneType"),
        ("async def application(): pass", "a coroutine"),
        ("application = work", "a coroutine"),
    ],
)
def test_what_is_no_application(line: str, what: str) -> None:
    """Said with what it is; a coroutine is put away without a warning."""
    assert refused(f"{SERVICE}{line}\n") == (
        f"shop.py: application: is {what}, not an Application: make it a plait.Application"
    )


def test_errors_show_the_users_own_line() -> None:
    """The innermost of the file itself, not of the libraries or of Python that it calls."""
    assert refused("\n\n1 / 0") == "shop.py:3: ZeroDivisionError: division by zero: correct it, then start again"
    assert refused("def f():\n    return 1 / 0\n\nf()") == (
        "shop.py:2: ZeroDivisionError: division by zero: correct it, then start again"
    )
    assert refused("import json\n\njson.loads('x')").startswith("shop.py:3: JSONDecodeError: Expecting value: ")
    library = "lib/python3/site-packages/thing.py"
    Path(library).parent.mkdir(parents=True)
    Path(library).write_text("def fail():\n    raise RuntimeError('bad')\n")
    path = f"import sys\nsys.path.insert(0, {os.path.dirname(library)!r})\nimport thing\n"
    assert refused(f"{path}thing.fail()\n") == "shop.py:4: RuntimeError: bad: correct it, then start again"
    assert refused("from dataclasses import dataclass\n@dataclass\nclass A:\n    a: int\n\nA()").startswith(
        "shop.py:6: TypeError: "
    )
    assert refused("raise RuntimeError('one\\n\\ntwo')") == (
        "shop.py:1: RuntimeError: one two: correct it, then start again"
    )


def test_a_library_that_is_named_is_shown_by_its_own_line() -> None:
    """Where nothing but a library was run, its line is better than none."""
    Path("site-packages").mkdir()
    Path("site-packages/store.py").write_text("\nraise RuntimeError('bad')\n")
    sys.path.insert(0, "site-packages")
    assert misnamed("store:application") == (
        f"{os.getcwd()}/site-packages/store.py:2: RuntimeError: bad: correct it, then start again"
    )


def test_what_plait_says_about_a_value_is_said_with_the_line() -> None:
    """The class of the error stays; nothing is said twice."""
    path = write("from plait import Listener\n\n\napplication = Listener('tcp:http', print)")
    with pytest.raises(EndpointError) as caught:
        load_file(path)
    assert str(caught.value) == (
        'shop.py:4: endpoint "tcp:http": port "http" is not a number: write one from 0 to 65535'
    )
    assert refused("from plait import Limit\nLimit(-1)") == (
        "shop.py:2: Limit: restarts=-1: wanted a whole number from 0, or None"
    )
    assert refused("from plait import current\ncurrent()").startswith("shop.py:2: PlaitError: plait.current(): ")


def test_a_file_that_exits_is_not_obeyed() -> None:
    """It would end plaitd without a word; argparse in it does that."""
    assert refused("import sys\nsys.exit(4)") == ("shop.py:2: ends by sys.exit(4): take that out, plaitd does the rest")
    assert refused("\nraise SystemExit('enough')") == (
        "shop.py:2: ends by sys.exit('enough'): take that out, plaitd does the rest"
    )


def test_a_factory_that_fails_is_shown_by_its_line() -> None:
    """Or by its name, when it could not even be called."""
    assert refused("def application():\n    return 1 / 0") == (
        "shop.py:2: ZeroDivisionError: division by zero: correct it, then start again"
    )
    assert refused("def application(): return make()\ndef make(a): pass").startswith("shop.py:1: TypeError: ")


# Factories with a configuration ---------------------------------------------------------------------------------------

CONFIGURED = """
from __future__ import annotations
from dataclasses import dataclass, field
from functools import partial
from plait import Application

@dataclass(frozen=True)
class Store:
    path: str
    size: int = 1

@dataclass(frozen=True)
class Config:
    title: str = "shop"
    port: int = 80
    version: str = "1"
    store: Store | None = None

    def __post_init__(self):
        if self.port > 65535:
            raise ValueError("a port is at most 65535")

made = []

def application(config: Config) -> Application:
    made.append(config)
    return Application(config.title, [])

def optional(config: Config | None = None, other: int = 3): return application(config)
def positional(config: Config, /): return application(config)
def keyword(*, config: Config, **rest): return application(config)
bound = partial(keyword, rest=1)
class Maker:
    def __call__(self, config: Config): return application(config)
maker = Maker()
def simple(): return Application("simple")
def number(first: int = 3): return Application(f"number-{first}")
constant = Application("constant")

def untyped(config): pass
def wrong(config: int): pass
def unknown(config: Nowhere): pass
def many(config: Config, reactor): pass
def fails(config: Config): raise RuntimeError("no")
"""


@pytest.mark.parametrize("name", ["application", "optional", "positional", "keyword", "bound", "maker"])
def test_a_factory_gets_what_it_wants_of_the_table(name: str) -> None:
    """However it takes it: a dataclass made of the table, whose texts from the command line are read by the fields."""
    write(CONFIGURED)
    table = {
        "title": Text("12"),
        "port": Text("81"),
        "version": Text("1.10"),
        "store": {"path": "p", "size": Text("2")},
    }

    assert load_name(f"shop:{name}", AppTable(table)).name == "12"
    (config,) = sys.modules["shop"].made
    assert (config.port, config.version, config.store.path, config.store.size) == (81, "1.10", "p", 2)


def test_without_a_table_the_defaults_are_taken() -> None:
    """A factory whose dataclass needs nothing needs no table; one of no dataclass is called as it is."""
    write(CONFIGURED)

    assert load_name("shop:application").name == "shop"
    assert load_name("shop:optional").name == "shop"
    assert load_name("shop:simple").name == "simple"
    assert load_name("shop:number").name == "number-3"


@pytest.mark.parametrize(
    ("name", "table", "words"),
    [
        ("application", {"prot": 1}, "etc/plait.toml: app.prot: Config has no field prot, did you mean port?"),
        ("application", {"port": "x"}, 'etc/plait.toml: app.port: "x" is a text: wanted a whole number'),
        ("application", {"port": Text("x")}, '--set app.port: "x": wanted a whole number'),
        ("application", {"store": {}}, "etc/plait.toml: app.store: path is missing: give a text"),
        ("application", {"port": 70000}, "etc/plait.toml: app: a port is at most 65535: correct it"),
        (
            "simple",
            {"port": 1},
            "--set app.port: shop:simple takes no configuration: take it out, or make a function of one dataclass",
        ),
        (
            "constant",
            {"title": 1},
            "etc/plait.toml: app.title: shop:constant takes no configuration: take it out, or make a function of one "
            "dataclass",
        ),
        (
            "untyped",
            {},
            "shop:untyped: its parameter config has no annotation: give it that of a dataclass, which [app] fills",
        ),
        ("wrong", {}, "shop:wrong: its parameter config is annotated int: make it a dataclass"),
        ("unknown", {}, "shop:unknown: its parameter config is annotated Nowhere: make it a dataclass"),
        ("many", {}, "shop:many: wants 2 arguments (config, reactor): make them one, a dataclass"),
    ],
)
def test_what_is_wrong_with_a_configuration_is_told_by_its_place(
    name: str, table: dict[str, object], words: str
) -> None:
    """The file and the key, or the option; what is wrong with the function is told by its name."""
    write(CONFIGURED)
    origins = {"app.port": "--set app.port"} if isinstance(table.get("port"), Text) or name == "simple" else {}

    with pytest.raises(ConfigurationError) as caught:
        load_name(f"shop:{name}", AppTable(table, "etc/plait.toml", origins))

    assert str(caught.value) == words


def test_a_factory_that_fails_with_its_configuration_is_shown_by_its_line() -> None:
    """It was given what it wanted."""
    number = CONFIGURED.splitlines().index('def fails(config: Config): raise RuntimeError("no")') + 1
    write(CONFIGURED)

    assert misnamed("shop:fails") == f"{os.getcwd()}/shop.py:{number}: RuntimeError: no: correct it, then start again"


def test_settings_bring_the_table() -> None:
    """From plait.toml, and over it from --set; each value is told by where it came from."""
    write(CONFIGURED)
    given = (
        Assignment(("app", "title"), "market", "etc/plait.toml"),
        Assignment(("app", "port"), Text("x"), "--set app.port"),
        Assignment(("other", "port"), 1, "etc/plait.toml"),
    )

    for settings in (
        Settings(target="shop:application", assignments=given),
        Settings(python="shop.py", assignments=given),
    ):
        with pytest.raises(ConfigurationError, match=r'^--set app\.port: "x": wanted a whole number$'):
            load(settings)
        assert load(replace(settings, assignments=given[:1])).name == "market"


def test_the_folder_of_a_file_can_be_imported_from() -> None:
    """When it is asked for, and not otherwise: another file of the same name may lie there."""
    write("name = 'beside'", "sub/beside_it.py")
    path = write(
        "import beside_it\nfrom plait import Application\napplication = Application(beside_it.name)", "sub/a.py"
    )

    with pytest.raises(ConfigurationError, match="No module named 'beside_it'"):
        load_file(path)
    assert load_file(path, import_folder=True).name == "beside"
    assert sys.path[0] == os.path.abspath("sub")


# Names that are wrong -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["shop", "shop:", ":application", ":", "..:application", "a b:c", "shop:a.", "1:x"])
def test_what_is_not_a_name(target: str) -> None:
    """An example says what is."""
    assert misnamed(target) == f"{target}: wanted module:attribute, such as shop:application"


@pytest.mark.parametrize("target", ["shop.py", "shop.py:application", "./shop.py", "sub/shop:application"])
def test_a_path_in_place_of_a_name(target: str) -> None:
    """It is what most people type first."""
    path = target.partition(":")[0]
    write("raise RuntimeError('it was run')")
    assert misnamed(target) == f"{target}: wanted module:attribute: for a file give -y {path}"


def test_a_module_that_is_not_there() -> None:
    """Which part of the name, and that it may be elsewhere."""
    write("", "store/__init__.py")
    sentence = "look at the name, or change to its folder"
    assert misnamed("nowhere:x") == f"nowhere:x: there is no module 'nowhere' here: {sentence}"
    assert misnamed("nowhere.web:x") == f"nowhere.web:x: there is no module 'nowhere' here: {sentence}"
    assert misnamed("store.web:x") == f"store.web:x: there is no module 'store.web' here: {sentence}"


def test_a_module_that_lacks_another_is_shown_by_its_line() -> None:
    """It was found; what it imports was not."""
    write("\nimport nowhere", "store/web.py")
    place = f"{os.getcwd()}/store/web.py:2"
    assert misnamed("store.web:x") == (
        f"{place}: ModuleNotFoundError: No module named 'nowhere': correct it, then start again"
    )


def test_a_file_that_lacks_its_neighbour_is_told_how_to_reach_it() -> None:
    """Its folder is on the path only when that is asked for."""
    write("import beside_it.inner", "site/shop.py")
    write("", "site/beside_it/inner.py")
    with pytest.raises(ConfigurationError) as caught:
        load_file("site/shop.py")
    assert str(caught.value) == (
        "site/shop.py:1: ModuleNotFoundError: No module named 'beside_it': "
        "it lies beside the file: give --import-folder"
    )


def test_a_module_that_is_wrong_is_shown_by_its_line() -> None:
    """As a file is."""
    write("x = = 1", "store/a.py")
    write("\n1 / 0", "store/b.py")
    write("from plait import Limit\nLimit(-1)", "store/c.py")
    write("import sys\nsys.exit()", "store/d.py")
    place = f"{os.getcwd()}/store"
    assert misnamed("store.a:x") == f"{place}/a.py:1: invalid syntax: correct the file"
    assert misnamed("store.b:x").startswith(f"{place}/b.py:2: ZeroDivisionError: ")
    assert misnamed("store.c:x").startswith(f"{place}/c.py:2: Limit: restarts=-1: ")
    assert misnamed("store.d:x") == f"{place}/d.py:2: ends by sys.exit(None): take that out, plaitd does the rest"


def test_an_attribute_that_is_not_there() -> None:
    """With the nearest that is."""
    write(SERVICE + "application = task\n", "store.py")
    assert misnamed("store:aplication") == (
        "store:aplication: store has no attribute 'aplication' (but `application`): look at the name"
    )
    assert misnamed("store:application.zzz") == (
        "store:application.zzz: store has no attribute 'zzz': look at the name"
    )
    assert misnamed("store:Task") == "store:Task: is a type, not an Application: make it a plait.Application"


def test_every_refusal_has_the_error_behind_it() -> None:
    """For whoever debugs: the cause of an error of people's own is kept."""
    with pytest.raises(PlaitError) as caught:
        load_file(write("1 / 0"))
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
