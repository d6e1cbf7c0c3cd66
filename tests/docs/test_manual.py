"""The manual pages: what mandoc and man say of them, and that each fact in them is the one of the code."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from plait.runner.command_line import COMMANDS, options_of
from plait.runner.options import Option
from plait.runner.signals import OTHERS, STOPPING

SOURCE = Path(__file__).parents[2] / "docs" / "man" / "pages.py"


def load_pages() -> ModuleType:
    """Return the module that makes the pages."""
    spec = importlib.util.spec_from_file_location("pages", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    pages = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pages)
    return pages


PAGES = load_pages()


@pytest.fixture(scope="module", params=PAGES.PAGES)
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of each page."""
    path = tmp_path_factory.mktemp("man") / f"{request.param}.1"
    path.write_text(PAGES.make_page(request.param), encoding="utf-8")
    return path


def run(*command: str) -> str:
    """Return what *command* prints, anywhere."""
    if not shutil.which(command[0]):
        pytest.skip(f"NOT RUN: needs {command[0]}")
    ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30)
    assert ended.returncode == 0, ended.stdout
    return ended.stdout


def render(path: Path) -> str:
    """Return a page as people read it, without the marks of a terminal, and wide enough that no line is broken."""
    return re.sub(r".\x08", "", run("mandoc", "-Tutf8", "-O", "width=1000", str(path)))


def test_mandoc_finds_nothing_to_complain_about(page: Path) -> None:
    """Neither a warning nor a matter of style, but that another page is not installed here."""
    complaints = run("mandoc", "-Tlint", "-Wwarning", str(page)).splitlines()

    assert complaints == []


def test_man_finds_nothing_to_complain_about(page: Path) -> None:
    """Nor does groff, which most systems read pages with."""
    shown = run("man", "--warnings=all", "--encoding=utf8", "--pager=cat", "--local-file", str(page))

    assert re.findall(r":\d+: .*", shown) == []
    assert "EXIT STATUS" in re.sub(r".\x08", "", shown)


def test_a_page_has_its_sections_in_their_order(page: Path) -> None:
    """The order is that of mdoc(7)."""
    found = re.findall(r"^\.Sh (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    order = ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "SIGNALS", "ENVIRONMENT", "FILES", "EXIT STATUS"]
    order += ["EXAMPLES", "SEE ALSO", "HISTORY"]

    assert found == [name for name in order if name in found]
    assert {"NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "SIGNALS", "EXIT STATUS", "EXAMPLES"} <= set(found)


@pytest.mark.parametrize(("name", "program"), [("plaitd", "plaitd"), ("plait", "plait run"), ("plait", "plait export")])
def test_every_option_is_in_the_page_of_its_program(tmp_path: Path, name: str, program: str) -> None:
    """Each spelling, the meaning, and the names in the environment and in plait.toml."""
    path = tmp_path / f"{name}.1"
    path.write_text(PAGES.make_page(name), encoding="utf-8")
    shown = render(path)

    for option in options_of(program):
        if not option.dropped:
            assert find_option(option, shown), option.name


def find_option(option: Option, shown: str) -> bool:
    """Say whether a page that is *shown* has *option* with all that is to be said of it."""
    takes = f" {option.metavar}" if option.metavar else ""
    spelt = ", ".join(f"{flag}{takes}" for flag in option.flags) or option.metavar
    places = [option.variable] * ("env" in option.places) + [option.name] * ("toml" in option.places)
    told = option.help.replace("`", "")
    ends = rf"\.  \({', '.join(places)}\)" if places else r"\."
    pattern = rf"^ +{re.escape(spelt)}\s+{re.escape(told[0])}{re.escape(told[1:])}{ends}$"
    return re.search(pattern, shown, re.MULTILINE | re.IGNORECASE) is not None


def test_the_page_of_plaitd_says_what_is_not_there_any_more(tmp_path: Path) -> None:
    """Each option of twistd that plaitd does not have, with what to do instead."""
    path = tmp_path / "plaitd.1"
    path.write_text(PAGES.make_page("plaitd"), encoding="utf-8")
    shown = render(path)
    dropped = [option for option in options_of("plaitd") if option.dropped]

    assert dropped
    for option in dropped:
        assert f"{option.flags[-1]}{' ' * bool(option.metavar)}{option.metavar}: {option.dropped}.\n" in shown


def test_the_lists_have_all_that_there_is() -> None:
    """No signal, and no command, is missing; exit statuses and files are there."""
    text = PAGES.make_page("plaitd")
    commands = PAGES.make_page("plait")

    assert {number.name for number in (*STOPPING, *OTHERS)} <= set(re.findall(r"SIG\w+", text))
    assert set(re.findall(r"^\.It Cm (\w+)$", commands, re.MULTILINE)) == set(COMMANDS)
    assert set(re.findall(r"^\.It (\d+)$", text, re.MULTILINE)) >= {"0", "2", "69", "70", "73", "75", "77", "78"}
    assert ".It Pa plaitd.pid\n" in text
    assert ".It Ev NOTIFY_SOCKET\n" in text


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("one. Two: three", ["one.", "Two: three"]),
        ("a `b-c` and *d*, [e](f.md#g)", ["a \\fBb\\-c\\fP and \\fId\\fP, e"]),
        ("a\\b", ["a\\eb"]),
    ],
)
def test_how_a_text_is_written(text: str, lines: list[str]) -> None:
    """A line for each sentence; what Markdown marks is marked; nothing is a macro by mistake."""
    assert list(PAGES.say(text)) == lines
