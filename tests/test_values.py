"""What the values of plait ask of dataclasses, and that loading these is cheap."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from typing import Any

import pytest

from plait.values import _Inspect


def run(code: str) -> Any:
    """Return what *code* prints in a fresh interpreter, as JSON."""
    return json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


#: What is large, and what --help or a slip in a command line can do without.
LARGE = ["argparse", "ast", "asyncio", "email", "importlib.metadata", "inspect", "shutil", "textwrap", "tomllib"]


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="dataclasses of 3.14 import inspect in other ways")
@pytest.mark.parametrize(("arguments", "code"), [(["--help"], 0), (["--version"], 0), (["--umask=x"], 2)])
def test_who_asks_for_help_waits_for_nothing_large(arguments: list[str], code: int) -> None:
    """Neither does who made a slip, whose nearest correct spelling is looked for."""
    found, ended = run(
        "import contextlib, io, json, sys\n"
        "from plait.cli.plaitd import main\n"
        "nowhere = io.StringIO()\n"
        "with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):\n"
        "    try:\n"
        f"        code = main({arguments})\n"
        "    except SystemExit as end:\n"
        "        code = end.code\n"
        f"print(json.dumps([[name for name in {LARGE} if name in sys.modules], code]))\n"
    )

    assert (found, ended) == ([], code)


def test_dataclasses_of_others_are_as_ever() -> None:
    """One without a docstring has its signature for it, and everybody else imports the real inspect."""
    doc, name, real = run(
        "import json, plait.values\n"
        "from dataclasses import dataclass\n"
        "@dataclass\n"
        "class Point:\n"
        "    x: int = 0\n"
        "import inspect\n"
        "print(json.dumps([Point.__doc__, inspect.__name__, hasattr(inspect, '__file__')]))\n"
    )

    assert doc == "Point(x: int = 0)"
    assert (name, real) == ("inspect", True)


def test_annotations_are_those_of_inspect() -> None:
    """Of a class with some, with none, and with inherited ones only."""

    class Some:
        x: int
        y: str = ""

    class Inherited(Some):
        pass

    class Nothing:
        pass

    for each in (Some, Inherited, Nothing):
        assert _Inspect.get_annotations(each) == inspect.get_annotations(each)
    assert _Inspect("inspect").signature is inspect.signature
