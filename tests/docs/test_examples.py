"""What stands in README.md and in docs/ as Python is Python, and what is a whole program there runs."""

from __future__ import annotations

import ast
import builtins
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

import plait
from plait.runner.options import option_fields
from plait.runner.settings import Settings
from plait.runner.sources import _read_table as read_settings

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = r"^```{}\n(.*?)^```$"


def find_blocks(language: str) -> Iterator[tuple[str, str]]:
    """Yield where each block in *language* stands, and its text."""
    for page in PAGES:
        if "_build" in page.parts:
            continue
        text = page.read_text(encoding="utf-8")
        for match in re.finditer(BLOCK.format(language), text, re.MULTILINE | re.DOTALL):
            line = text.count("\n", 0, match.start()) + 2
            yield f"{page.relative_to(ROOT)}:{line}", match[1]


def parse(text: str) -> ast.Module:
    """Return the tree of a block; ``await`` is allowed at its top, as a fragment of an async function has it."""
    code = compile(text, "block", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    assert isinstance(code, ast.Module)
    return code


def is_whole(text: str) -> bool:
    """Say whether a block is a program and no fragment: it imports from plait, and has all that it uses."""
    nodes = list(ast.walk(parse(text)))
    used = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    made = {node.id for node in nodes if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    made |= {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}
    made |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    made |= {alias.asname or alias.name.split(".")[0] for node in nodes for alias in aliases(node)}
    sources = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    return "plait" in sources and not used - made - set(dir(builtins))


def aliases(node: ast.AST) -> list[ast.alias]:
    """Return the names that an import makes."""
    return node.names if isinstance(node, ast.Import | ast.ImportFrom) else []


BLOCKS = dict(find_blocks("python"))
TOML = dict(find_blocks("toml"))
PROGRAMS = {where: text for where, text in BLOCKS.items() if is_whole(text)}


@pytest.mark.parametrize("text", BLOCKS.values(), ids=BLOCKS)
def test_a_block_is_python(text: str) -> None:
    """Every block that says it is Python can be parsed, and is formatted for people: no tabs, at most 120 columns."""
    parse(text)

    assert [line for line in text.splitlines() if len(line) > 120 or "\t" in line] == []


@pytest.mark.parametrize("text", TOML.values(), ids=TOML)
def test_a_block_is_toml(text: str) -> None:
    """Every block that says it is TOML can be read; its settings are settings, and its services have such fields."""
    tables = tomllib.loads(text)

    read_settings({option.name: option for option in option_fields(Settings)}, tables.get("plaitd", {}), "plait.toml")
    for service in tables.get("services", ()):
        assert service.keys() - {"type", "use", "services", "name"} <= known_keys(service)


def known_keys(table: dict[str, str]) -> set[str]:
    """Return the fields of the service that *table* describes; of one that nobody wrote, its own."""
    kind = getattr(plait, table.get("type", ""), None)
    return {item.name for item in fields(kind)} if kind else set(table)


@pytest.mark.parametrize("text", PROGRAMS.values(), ids=PROGRAMS)
def test_a_program_in_the_documentation_runs(tmp_path: Path, text: str) -> None:
    """A block that imports all that it uses is a whole program: it runs, and ``plaitd`` takes it."""
    (tmp_path / "example.py").write_text(text, encoding="utf-8")
    load = ["-c", "import sys; from plait.runner.loader import load_file; print(load_file(sys.argv[1]))"]
    command = [sys.executable, *(load if "\napplication = " in text else []), "example.py"]

    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30)

    assert (ended.returncode, ended.stderr) == (0, "")


def test_the_example_of_the_readme_is_the_one_that_its_command_runs() -> None:
    """README.md shows examples/echo.py as it is, but for the docstring."""
    shown = next(text for where, text in BLOCKS.items() if where.startswith("README.md"))
    source = (ROOT / "examples" / "echo.py").read_text(encoding="utf-8")

    assert shown == source[source.index("import asyncio\n") :]
