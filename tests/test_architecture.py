"""
The house stands as ARCHITECTURE.md draws it: imports go down only, and every module does what its line says.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "plait"

#: What each layer may import, besides itself.  "names" is ``plait`` itself: the list of public names.
BELOW = {
    "ground": set[str](),
    "tree": {"ground"},
    "process": {"ground"},
    "services": {"ground", "tree"},
    "control": {"ground", "tree", "services"},
    "testing": {"ground", "tree", "services"},
    "runner": {"ground", "tree", "process", "services", "control"},
    "cli": {"ground", "tree", "process", "services", "control", "runner"},
    "names": {"ground", "tree", "services", "control", "runner"},
    # The ring uses what ``import plait`` offers, and nothing behind it; nobody imports the ring.
    "guests": {"names"},
    "cluster": {"names"},
    "export": {"names"},
    "batteries": {"names"},
}
#: What a layer may not import although others may.
FORBIDDEN = {"process": {"asyncio"}}


#: The modules of packages that are called otherwise.
MODULES = {"python_dotenv": "dotenv"}


@dataclass(frozen=True)
class Import:
    """One imported module, where that stands, and whether only a function needs it."""

    path: Path
    line: int
    module: str
    is_deferred: bool


# The checker ----------------------------------------------------------------------------------------------------------


def layer_of(module: str) -> str:
    """Return the layer of *module*: its package, or for a module beside the packages the ground."""
    first = module.split(".")[1] if "." in module else ""
    if not first:
        return "names"
    return first if first in BELOW else "ground"


def name_of(path: Path, package: Path) -> str:
    """Return the dotted name of the module at *path*."""
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def find_imports(path: Path, package: Path) -> Iterator[Import]:
    """
    Yield each module that the file at *path* imports, wherever the statement stands.

    An import inside a function counts, and so does one for type checkers only: whoever knows a type, knows its module.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    deferred = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or is_for_types(node)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules = [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = imported_from(node, path, package)
        else:
            continue
        for module in modules:
            yield Import(path, node.lineno, module, id(node) in deferred)


def is_for_types(node: ast.AST) -> bool:
    """Say whether *node* is ``if TYPE_CHECKING:``."""
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imported_from(node: ast.ImportFrom, path: Path, package: Path) -> list[str]:
    """Return the modules that ``from ... import ...`` names: those behind the names, where these are modules."""
    source = node.module or ""
    if node.level:
        here = name_of(path, package).split(".")
        here = here if path.name == "__init__.py" else here[:-1]
        source = ".".join([*here[: len(here) - node.level + 1], *([source] if source else [])])
    if source.split(".")[0] != package.name:
        return [source]
    modules = []
    for name in node.names:
        inner = package.parent.joinpath(*source.split("."), name.name)
        is_module = inner.with_suffix(".py").is_file() or (inner / "__init__.py").is_file()
        modules.append(f"{source}.{name.name}" if is_module else source)
    return modules


def find_faults(package: Path, extras: frozenset[str] = frozenset()) -> list[str]:
    """Return a sentence about each import in *package* that goes up, or out of the standard library."""
    imports = [found for path in sorted(package.rglob("*.py")) for found in find_imports(path, package)]
    eager = {found.module for found in imports if not found.is_deferred}
    faults = []
    for found in imports:
        fault = judge(found, package, extras, eager)
        if fault:
            faults.append(f"{found.path.relative_to(package.parent)}:{found.line}: {fault}")
    return faults


def judge(found: Import, package: Path, extras: frozenset[str], eager: set[str]) -> str:
    """Return what is wrong with an import, or an empty text; *eager* are the modules that load with their importer."""
    module = name_of(found.path, package)
    layer = layer_of(module)
    top = found.module.split(".")[0]
    if top == package.name:
        target = layer_of(found.module)
        # The version is a fact that the names happen to keep.
        if target == layer or target in BELOW[layer] or (target == "names" and layer in ("runner", "cli")):
            return ""
        return f"{layer} imports {found.module}, which is {target}: imports go down only"
    if found.module in FORBIDDEN.get(layer, ()) or top in FORBIDDEN.get(layer, ()):
        return f"{layer} imports {found.module}: that is not for {layer}"
    if top in sys.stdlib_module_names:
        return ""
    if layer in ("ground", "tree", "process"):
        return f"{layer} imports {found.module}: it stands on the standard library only"
    if top not in extras:
        return f"{layer} imports {found.module}: neither in the standard library nor in an extra of pyproject.toml"
    # A guest is only loaded by who uses its framework.
    if layer != "guests" and not found.is_deferred and module in eager:
        return f"{layer} imports {found.module} at the top of a module that always loads: import it where it is used"
    return ""


def read_extras() -> frozenset[str]:
    """Return the modules of the extras that are for users."""
    with open(ROOT / "pyproject.toml", "rb") as file:
        optional = tomllib.load(file)["project"]["optional-dependencies"]
    names = set()
    for extra, requirements in optional.items():
        if extra not in ("test", "docs", "dev", "bench"):
            names |= {re.split(r"[^\w.-]", text)[0].replace("-", "_") for text in requirements}
    return frozenset(MODULES.get(name, name) for name in names)


# The layers -----------------------------------------------------------------------------------------------------------


def test_imports_go_down_only() -> None:
    """No module of plait imports from a layer above its own, or what its layer may not have."""
    assert find_faults(PACKAGE, read_extras()) == []


WRONG = {
    "tree above services": ("tree/child.py", "from plait.services.listener import Listener", "tree", "services"),
    "tree above runner": ("tree/child.py", "import plait.runner.runner", "tree", "runner"),
    "ground above tree": ("events.py", "from plait.tree import child", "ground", "tree"),
    "process beside tree": ("process/daemon.py", "from plait.tree.child import Child", "process", "tree"),
    "services above runner": ("services/listener.py", "from plait.runner import runner", "services", "runner"),
    "runner above cli": ("runner/runner.py", "from plait.cli.plaitd import main", "runner", "cli"),
    "in a function": (
        "tree/child.py",
        "def f() -> None:\n    from plait.services.listener import Listener",
        "tree",
        "services",
    ),
    "for types": (
        "tree/child.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from plait.services.listener import Listener",
        "tree",
        "services",
    ),
    "relative": ("tree/child.py", "from ..services.listener import Listener", "tree", "services"),
    "relative package": ("tree/child.py", "from ..services import listener", "tree", "services"),
    "through the names": ("tree/child.py", "from plait import Listener", "tree", "names"),
    "ring behind the names": ("batteries/web.py", "from plait.tree.child import Child", "batteries", "tree"),
    "guest behind the names": ("guests/host.py", "from plait.services.task import Task", "guests", "services"),
    "guest beside batteries": ("guests/host.py", "from plait.batteries import web", "guests", "batteries"),
    "core above guests": ("runner/runner.py", "from plait.guests import host", "runner", "guests"),
    "core above the ring": ("runner/runner.py", "from plait.batteries import web", "runner", "batteries"),
    "core above testing": ("tree/child.py", "from plait.testing import run", "tree", "testing"),
}


def make_package(folder: Path, texts: dict[str, str]) -> Path:
    """Write a small package called plait, with a module in each layer, and *texts* in place of some of them."""
    package = folder / "plait"
    modules = dict.fromkeys(
        [
            "__init__.py",
            "events.py",
            "testing.py",
            *(
                f"{layer}/__init__.py"
                for layer in ("tree", "services", "process", "runner", "cli", "guests", "batteries")
            ),
            "tree/child.py",
            "services/listener.py",
            "process/daemon.py",
            "runner/runner.py",
            "cli/plaitd.py",
            "guests/host.py",
            "batteries/web.py",
        ],
        "",
    )
    for name, text in (modules | texts).items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text, encoding="utf-8")
    return package


@pytest.mark.parametrize(("module", "text", "lower", "higher"), WRONG.values(), ids=WRONG)
def test_an_import_that_goes_up_is_found(tmp_path: Path, module: str, text: str, lower: str, higher: str) -> None:
    """A module of a lower layer that imports a higher one is named, with the line, however the import is written."""
    (fault,) = find_faults(make_package(tmp_path, {module: text}))

    assert fault.startswith(f"plait/{module}:{len(text.splitlines())}: {lower} imports plait")
    assert fault.endswith(f", which is {higher}: imports go down only")


def test_an_import_that_goes_down_is_right(tmp_path: Path) -> None:
    """The same package is without fault when its imports go down."""
    texts = {
        "tree/child.py": "from plait.events import Event",
        "services/listener.py": "import asyncio\nfrom ..tree import child",
        "process/daemon.py": "import os\nfrom plait import events",
        "runner/runner.py": "from plait import __version__\nfrom plait.tree.child import Child\nimport plait.process",
        "cli/plaitd.py": "from plait.runner import runner",
        "batteries/web.py": "from plait import Application",
    }

    assert find_faults(make_package(tmp_path, texts)) == []


FOREIGN = {
    "process and asyncio": (
        "process/daemon.py",
        "from asyncio.events import get_running_loop",
        "process imports asyncio.events: that is not for process",
    ),
    "ground": ("events.py", "import attrs", "ground imports attrs: it stands on the standard library only"),
    "undeclared": (
        "services/listener.py",
        "import attrs",
        "services imports attrs: neither in the standard library nor in an extra of pyproject.toml",
    ),
    "at the top": (
        "services/listener.py",
        "import uvloop",
        "services imports uvloop at the top of a module that always loads: import it where it is used",
    ),
}


@pytest.mark.parametrize(("module", "text", "fault"), FOREIGN.values(), ids=FOREIGN)
def test_what_is_not_in_the_standard_library_is_found(tmp_path: Path, module: str, text: str, fault: str) -> None:
    """The core stands on the standard library; an extra loads when it is used."""
    texts = {module: text, "runner/runner.py": "import plait.services.listener"}

    faults = find_faults(make_package(tmp_path, texts), frozenset({"uvloop"}))

    assert faults == [f"plait/{module}:1: {fault}"]


@pytest.mark.parametrize(
    "texts",
    [
        {
            "services/listener.py": "def f() -> None:\n    import uvloop",
            "runner/runner.py": "import plait.services.listener",
        },
        {
            "services/listener.py": "import uvloop",
            "runner/runner.py": "def f() -> None:\n    import plait.services.listener",
        },
        {
            "guests/host.py": "import uvloop",
            "guests/other.py": "from plait.guests.host import Host",
        },
    ],
    ids=["in a function", "in a module that is imported in a function", "in a guest"],
)
def test_an_extra_may_be_imported_where_it_is_used(tmp_path: Path, texts: dict[str, str]) -> None:
    """An import of an extra that runs only when somebody wants it is without fault."""
    assert find_faults(make_package(tmp_path, texts), frozenset({"uvloop"})) == []


# The map --------------------------------------------------------------------------------------------------------------

LINE = re.compile(r"^(?P<indent>[│ ]*)[├└]── (?P<name>\w+(?:\.py|/))(?:  +(?P<duty>.+))?$")


def read_map(text: str) -> dict[str, str]:
    """Return the duty of each module and package that the map in *text* draws, by its path under ``plait/``."""
    duties: dict[str, str] = {}
    folders: list[str] = []
    for line in text.splitlines():
        match = LINE.match(line)
        if match is None:
            continue
        depth = len(match["indent"]) // 4
        folders = folders[:depth]
        path = "".join(folders) + match["name"]
        duties[path] = match["duty"] or ""
        if path.endswith("/"):
            folders.append(match["name"])
    return duties


def read_duties(package: Path) -> dict[str, str]:
    """Return the first line of the docstring of each module; a package is known by that of its ``__init__.py``."""
    duties = {}
    for path in sorted(package.rglob("*.py")):
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        name = str(path.relative_to(package))
        if path.name == "__init__.py" and path.parent != package:
            name = name.removesuffix("__init__.py")
        duties[name] = docstring.partition("\n")[0].removesuffix(".")
    return duties


def compare(drawn: dict[str, str], found: dict[str, str]) -> list[str]:
    """Return a sentence about each difference between the map and the modules."""
    faults = []
    for path in sorted(drawn.keys() | found.keys()):
        if path not in drawn:
            faults.append(f"{path}: is not in the map of ARCHITECTURE.md: add it, with {found[path]!r}")
        elif path not in found:
            faults.append(f"{path}: is in the map of ARCHITECTURE.md, and nowhere else: take it out, or write it")
        elif not found[path]:
            faults.append(f"{path}: has no docstring that says its duty: write {drawn[path]!r}")
        elif drawn[path] != found[path]:
            faults.append(f"{path}: says {found[path]!r}, and the map of ARCHITECTURE.md {drawn[path]!r}: choose one")
    return faults


def test_every_module_does_what_its_line_in_the_map_says() -> None:
    """The first line of each module's docstring is its duty in ARCHITECTURE.md, and no module is missing there."""
    drawn = read_map((ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8"))

    assert compare(drawn, read_duties(PACKAGE)) == []


def test_a_difference_from_the_map_is_found(tmp_path: Path) -> None:
    """A module that is missing in the map, only in the map, silent, or says another duty, is named."""
    texts = {
        "events.py": '"""\nWhat can happen.\n"""',
        "tree/__init__.py": '"""What runs."""',
        "tree/new.py": '"""New"""',
    }
    found = read_duties(make_package(tmp_path, texts))
    drawn = read_map(
        """
        src/plait/
├── events.py      What did happen
├── testing.py     Running trees
├── gone.py        Nothing
└── tree/          What runs
    └── child.py   One place
"""
    )

    faults = compare(drawn, {path: duty for path, duty in found.items() if path in drawn or "new" in path})

    assert faults == [
        "events.py: says 'What can happen', and the map of ARCHITECTURE.md 'What did happen': choose one",
        "gone.py: is in the map of ARCHITECTURE.md, and nowhere else: take it out, or write it",
        "testing.py: has no docstring that says its duty: write 'Running trees'",
        "tree/child.py: has no docstring that says its duty: write 'One place'",
        "tree/new.py: is not in the map of ARCHITECTURE.md: add it, with 'New'",
    ]


# Names ----------------------------------------------------------------------------------------------------------------


def test_no_module_has_a_name_that_says_nothing_or_means_another() -> None:
    """No module is named like one of the standard library, or after having no duty of its own."""
    vague = {"utils", "util", "common", "base", "types", "core", "helpers", "helper", "manager", "misc"}
    names = {path.stem if path.stem != "__init__" else path.parent.name for path in PACKAGE.rglob("*.py")}

    assert sorted(names & (sys.stdlib_module_names | vague)) == []
