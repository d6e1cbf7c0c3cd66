"""
What stands around the code agrees with it: the README, the scripts, the locks, the lists of names.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import plait
from plait import errors

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted([*(ROOT / "scripts").iterdir(), ROOT / ".ci" / "run"])


def read(name: str) -> str:
    """Return the text of a file of the project."""
    return (ROOT / name).read_text(encoding="utf-8")


def read_project() -> dict[str, Any]:
    """Return the table ``project`` of pyproject.toml."""
    project: dict[str, Any] = tomllib.loads(read("pyproject.toml"))["project"]
    return project


def find_texts() -> Iterator[Path]:
    """Yield the files that people wrote: what is built, installed or cached is left out."""
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [
            name
            for name in folders
            if name not in ("build", "dist", "_build", "__pycache__") and (not name.startswith(".") or name == ".ci")
        ]
        for name in names:
            if not name.endswith((".pyc", ".pid", ".log", ".sock")) and name != ".git":
                yield Path(folder, name)


# Commands -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_can_be_run(script: Path) -> None:
    """Every script is executable, is understood by any POSIX shell, stops at the first error, and says what it does."""
    lines = script.read_text(encoding="utf-8").splitlines()
    checked = subprocess.run(["sh", "-n", str(script)], capture_output=True, text=True, check=False)

    assert os.access(script, os.X_OK)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert lines[0] == "#!/bin/sh"
    assert lines[1].startswith("# ")
    assert "set -eu" in lines


def test_continuous_integration_runs_the_test_command_of_the_readme() -> None:
    """README.md's second command is what ``.ci/run`` ends with."""
    commands = re.findall(r"^```sh\n(.*?)^```$", read("README.md"), re.MULTILINE | re.DOTALL)

    assert commands[1] == "scripts/test\n"
    assert read(".ci/run").splitlines()[-1] == 'exec scripts/test "$@"'


def test_the_main_job_of_the_readme_is_one_line() -> None:
    """README.md's first command sets up and runs an example, with nothing but Python and its venv."""
    commands = re.findall(r"^```sh\n(.*?)^```$", read("README.md"), re.MULTILINE | re.DOTALL)
    steps = commands[0].removesuffix("\n").split(" && ")

    assert steps[:2] == ["python3 -m venv .venv", ".venv/bin/pip install ."]
    assert steps[2:] == [".venv/bin/plaitd -ny examples/echo.py"]


# Facts that are written twice -----------------------------------------------------------------------------------------


def read_exit_statuses(name: str) -> dict[int, str]:
    """Return the exit statuses in the tables of a page."""
    rows = re.findall(r"^\| (\d+) \| (.+) \|$", read(name), re.MULTILINE)
    return {int(status): meaning for status, meaning in rows}


def test_the_exit_statuses_of_the_readme_are_those_of_the_errors() -> None:
    """Every error has its exit status in README.md, and the reference of plaitd says the same."""
    own = {
        error.exit_code for error in vars(errors).values() if isinstance(error, type) and hasattr(error, "exit_code")
    }

    assert read_exit_statuses("README.md").keys() == own | {0}
    assert read_exit_statuses("docs/reference/plaitd.md").keys() == own | {0}


def test_the_tree_of_errors_is_drawn_as_it_is() -> None:
    """The picture at the top of errors.py has every error, below its parent, with its exit status."""
    drawn: dict[str, tuple[str, int]] = {}
    parents = [""]
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"([ │├└─]*)(\w+) +(?:exit code )?(\d+)\b", line)
        if match:
            parents = parents[: len(match[1]) // 4]  # the first four columns are the margin of the picture
            drawn[match[2]] = (parents[-1], int(match[3]))
            parents.append(match[2])
    found = {
        name: (
            next((base.__name__ for base in error.__bases__ if issubclass(base, errors.PlaitError)), ""),
            error.exit_code,
        )
        for name, error in vars(errors).items()
        if isinstance(error, type) and issubclass(error, errors.PlaitError)
    }

    assert drawn == found


def test_the_public_names_are_told_alike_to_people_and_type_checkers() -> None:
    """What type checkers see in ``plait`` is what is found there, each name in the module that it is said to be in."""
    source = ast.parse(read("src/plait/__init__.py"))
    typed = {
        alias.asname: node.module
        for node in ast.walk(source)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname
    }

    assert {*typed, "__version__"} == set(plait.__all__)
    assert typed == dict(plait._MODULES)
    assert [name for name in plait.__all__ if getattr(plait, name, None) is None] == []


def test_every_public_name_is_in_the_reference() -> None:
    """Each name that ``import plait`` offers is described on a page of the reference."""
    pages = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs" / "reference").glob("*.md")))
    described = set(re.findall(r"^\.\. auto(?:class|function|exception):: plait\.(\w+)$", pages, re.MULTILINE))
    # The page about errors takes all of its module.
    described |= {name for name in vars(errors) if "automodule:: plait.errors" in pages}

    assert sorted(set(plait.__all__) - described - {"__version__"}) == []


def test_a_version_that_was_released_is_in_the_changelog() -> None:
    """The versions in CHANGELOG.md are in falling order, and the newest is not above that of the package."""
    found = re.findall(r"^## \[?(\d+)\.(\d+)\.(\d+)\]?", read("CHANGELOG.md"), re.MULTILINE)
    versions = [tuple(int(part) for part in version) for version in found]
    own = tuple(int(part) for part in plait.__version__.split("."))

    assert versions == sorted(versions, reverse=True)
    assert not versions or versions[0] <= own


def test_a_change_is_named_after_its_topic_and_its_kind() -> None:
    """What lies in changes/ can be gathered: ``topic.kind.md``, and not empty."""
    names = sorted(path.name for path in (ROOT / "changes").iterdir() if path.name != "README.md")
    kinds = "added|changed|deprecated|removed|fixed|security"

    assert [name for name in names if not re.fullmatch(rf"[a-z0-9-]+\.({kinds})\.md", name)] == []
    assert [name for name in names if not read(f"changes/{name}").strip()] == []


# Dependencies ---------------------------------------------------------------------------------------------------------


def read_lock(name: str) -> dict[str, str]:
    """Return the versions that a lock file pins, by the normal form of the name."""
    lines = [line for line in read(f"requirements/{name}.lock").splitlines() if not line.startswith("#")]
    pins = [line.split("==") for line in lines]
    return {normal(name): version for name, version in pins}


def normal(name: str) -> str:
    """Return the one spelling of the name of a distribution."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_core_depends_on_nothing() -> None:
    """Installing plait installs plait."""
    assert read_project()["dependencies"] == []


@pytest.mark.parametrize("name", ["dev", "bench"])
def test_a_lock_has_names_and_versions_and_nothing_else(name: str) -> None:
    """A lock file pins each package to one version, and knows neither an index nor a path."""
    lines = [line for line in read(f"requirements/{name}.lock").splitlines() if not line.startswith("#")]

    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+_-]+", line)] == []
    assert lines != []


@pytest.mark.parametrize("name", ["dev", "bench"])
def test_a_lock_has_what_its_extra_asks_for(name: str) -> None:
    """Everything that an extra for developers names, directly or through another extra, is pinned."""
    extras: dict[str, list[str]] = read_project()["optional-dependencies"]
    wanted, left = set(), [name]
    while left:
        for requirement in extras[left.pop()]:
            inner = re.fullmatch(r"plait\[([\w,]+)\]", requirement)
            if inner:
                left += inner[1].split(",")
            else:
                wanted.add(normal(re.split(r"[^\w.-]", requirement)[0]))

    assert sorted(wanted - read_lock(name).keys()) == []


# What must not be in the repository -----------------------------------------------------------------------------------

#: Put together here, so that this file does not have them.
STRANGERS = ["/".join(["", *parts]) for parts in (("work", "main"), ("work", "shared"), ("tmp", "venv"), ("root", ""))]
STRANGERS += [".".join(parts) for parts in (("pypi", "org"), ("pythonhosted", "org"))] + ["--" + "index-url"]


def test_the_repository_knows_no_machine_and_no_registry() -> None:
    """No file has the path of a machine that it was written on, or the address of an index of packages."""
    found = []
    for path in find_texts():
        text = path.read_text(encoding="utf-8", errors="replace")
        found += [f"{path.relative_to(ROOT)}: {stranger}" for stranger in STRANGERS if stranger in text]

    assert sorted(found) == []


# Imports --------------------------------------------------------------------------------------------------------------


def run_python(code: str) -> str:
    """Return what *code* prints in a fresh interpreter."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_importing_plait_loads_nothing_else_of_it() -> None:
    """``import plait`` loads one module of plait, and no event loop."""
    code = "import plait, sys; print([name for name in sys.modules if name.startswith('plait') or name == 'asyncio'])"

    assert run_python(code) == "['plait']"


def test_importing_plait_touches_no_signal() -> None:
    """The signals of the process are as they were when every public name has been loaded."""
    code = """
import signal
before = [signal.getsignal(number) for number in signal.valid_signals()]
import plait
for name in plait.__all__:
    getattr(plait, name)
print(before == [signal.getsignal(number) for number in signal.valid_signals()])
"""

    assert run_python(code) == "True"


def test_a_name_that_is_not_there_is_said_as_of_any_module() -> None:
    """``plait.nothing`` is an AttributeError that names both."""
    with pytest.raises(AttributeError, match=r"^module 'plait' has no attribute 'nothing'$"):
        plait.nothing  # noqa: B018 - looking is what is tested
