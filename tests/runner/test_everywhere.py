"""Every option of plaitd is in every place where somebody may look for it, because all of them read the same fields."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.docs.test_manual import PAGES, find_option, render
from tests.shells import SHELLS, ask

from plait.runner.command_line import options_of
from plait.runner.completion import make_script
from plait.runner.environment import read_environment
from plait.runner.help import make_help
from plait.runner.options import Option, option_fields
from plait.runner.settings import Settings
from plait.runner.sources import read_file

#: What ends the program at once is no setting; what says where settings are cannot stand among them.
NO_SETTING = {"help", "version", "help_reactors"}
NOT_IN_A_FILE = NO_SETTING | {"config", "set"}

OPTIONS = [option for option in options_of("plaitd") if not option.dropped]


@pytest.fixture(scope="module")
def manual(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("man") / "plaitd.1"
    path.write_text(PAGES.make_page("plaitd"), encoding="utf-8")
    return render(path)


@pytest.fixture(scope="module", params=SHELLS)
def completed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    found = ask(request.param, make_script(request.param), ["plaitd -", "plaitd --"], tmp_path_factory.mktemp("shell"))
    return {word for words in found.values() for word in words}


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_it_is_in_help(option: Option) -> None:
    """Under the heading of its purpose, with each spelling and what it is for."""
    shown = make_help(options_of("plaitd"), "plaitd")
    section = re.split(r"^(\w.*):$", shown, flags=re.MULTILINE)
    under = section[section.index(option.group or "help") + 1]

    spelt = f"{', '.join(option.flags)} {option.metavar}".strip()
    assert f"\n  {spelt}" in under
    assert option.help in " ".join(under.split())


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_it_is_in_the_manual_page(option: Option, manual: str) -> None:
    """With its names in the environment and in plait.toml."""
    assert find_option(option, manual)


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_it_is_completed(option: Option, completed: set[str]) -> None:
    """In each shell, in each spelling."""
    assert set(option.flags) <= completed


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_it_is_in_the_environment_and_in_the_file(option: Option, tmp_path: Path) -> None:
    """A variable of its name, and a key of its name, are taken; tests/runner/test_sources.py has what for."""
    known = {each.name: each for each in option_fields(Settings)}
    words = {
        "umask": "022",
        "stop_timeout": "1",
        "log_level": "info",
        "log_format": "text",
        "log_rotate": "daily",
        "logger": "shop:make",
        "profiler": "cprofile",
        "reactor": "poll",
    }
    text = words.get(option.name, "yes")
    if option.name in NO_SETTING:
        assert (option.places, option.name in known) == ((), False)
        return
    assert set(read_environment(known.values(), {option.variable: text})) == {option.name}
    if option.name in NOT_IN_A_FILE:
        assert option.places == ("env",)
        return
    path = tmp_path / "plait.toml"
    path.write_text(f"[plaitd]\n{option.name} = {'true' if option.is_flag else repr(text)}\n")
    assert set(read_file(known, (str(path), ""))[0]) == {option.name}


@pytest.mark.parametrize("program", ["plaitd", "plait run", "plait check"])
def test_help_fits_every_screen(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From 60 columns to 200; a wide screen gets no lines that are too long to read."""
    for width in range(60, 201):
        monkeypatch.setenv("COLUMNS", str(width))
        shown = make_help(
            options_of(program), f"{program} [options]", "What it does. " * 20, [("plugin", "word " * 50)]
        )
        longest = max(map(len, shown.splitlines()))
        assert longest <= width
        assert longest > min(width, 100) * 0.8
