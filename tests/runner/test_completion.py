"""What bash, zsh and fish offer behind plaitd and plait, asked as by somebody at a terminal."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.shells import SHELLS, ask, complete_lines

from plait.cli.plait import main
from plait.runner.command_line import COMMANDS
from plait.runner.completion import CommandLine, command_lines, find_plugins, make_script, value_of
from plait.runner.options import Option
from plait.runner.reactors import KNOWN
from plait.runner.settings import FORMATS, LEVELS, PROFILERS

Offered = dict[str, list[str]]


def all_lines() -> list[CommandLine]:
    return command_lines(find_plugins())


@pytest.fixture(scope="module", params=SHELLS)
def offered(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Offered:
    """What each shell offers, in a folder with some files."""
    folder = tmp_path_factory.mktemp(request.param)
    for name in ("a b.py", "shop.py", "shop.tac", "shop.toml"):
        (folder / name).touch()
    (folder / "site").mkdir()
    options = [f"{line.name} {begun}" for line in all_lines() for begun in ("-", "--")]
    return ask(request.param, make_script(request.param), [*ANSWERS, *options], folder)


def behind(offered: Offered, line: str) -> set[str]:
    """Return what is offered behind *line*, without what each shell adds: marks, and what stands there already."""
    typed = line.rpartition(" ")[2]
    begun = typed[: typed.rindex("=") + 1] if "=" in typed else ""
    words = {word.removeprefix(begun).replace("\\ ", " ").rstrip("/") for word in offered[line]}
    return {word for word in words if not word.startswith(".")}


@pytest.mark.parametrize("line", all_lines(), ids=lambda line: line.name)
def test_every_option_is_offered_behind_its_program(line: CommandLine, offered: Offered) -> None:
    """Short and long, also those of plugins; and nothing that is none, or that is answered with a sentence only."""
    flags = {flag for option in line.options for flag in option.flags}
    found = {word for begun in ("-", "--") for word in offered[f"{line.name} {begun}"]}

    assert found == flags
    assert flags >= {"--help"}


FILES = {"a b.py", "shop.py", "shop.tac", "shop.toml", "site"}
SCRIPTS = FILES - {"shop.toml"}
PLUGINS = {"portforward", "procmon"}

#: What is asked, and what every shell has to say to it.
ANSWERS: dict[str, set[str]] = {
    "plait ": set(COMMANDS),
    "plait c": {"check", "completion"},
    "plait completion ": set(SHELLS),
    "plait export ": {"toml"},
    "plait export toml ": {*PLUGINS, "shop.tac", "shop.toml", "site"},
    "plait export toml -y ": SCRIPTS,
    "plaitd ": {*PLUGINS, "shop.tac", "shop.toml", "site"},
    "plait run ": {*PLUGINS, "shop.tac", "shop.toml", "site"},
    "plaitd -n -l log ": {*PLUGINS, "shop.tac", "shop.toml", "site"},
    "plaitd -- port": {"portforward"},
    "plaitd procmon ": FILES,
    "plaitd --log-level ": set(LEVELS),
    "plaitd --log-level=": set(LEVELS),
    "plaitd --log-level=de": {"debug"},
    "plaitd --log-level shop=w": {"warning"},
    "plaitd --log-level=shop=w": {"warning"},
    "plaitd --log-format ": set(FORMATS),
    "plait run --log-format=j": {"json"},
    "plait check --profiler ": set(PROFILERS),
    "plaitd -r ": set(KNOWN),
    "plait run --reactor=e": {"epoll"},
    "plaitd -y ": SCRIPTS,
    "plaitd -ny ": SCRIPTS,
    "plaitd -noy s": SCRIPTS - {"a b.py"},
    "plaitd --python=": SCRIPTS,
    "plaitd --python=a": {"a b.py"},
    "plaitd -f ": {"shop.toml", "site"},
    "plaitd --config s": {"shop.toml", "site"},
    "plaitd --pidfile a": {"a b.py"},
    "plaitd -d ": {"site"},
    "plaitd --chroot=s": {"site"},
    "plaitd -u roo": {"root"},
    "plaitd --gid=roo": {"root"},
    "plaitd --title ": set(),
    # Which command it is.
    "plaitd --prefix portforward --log-f": {"--log-format"},
    "plaitd -l procmon --log-f": {"--log-format"},
    "plaitd shop:app --log-f": {"--log-format"},
    "plaitd -n portforward --log-f": set(),
    "plaitd -n portforward --lis": {"--listen"},
    "plait run --log-format text procmon --th": {"--threshold"},
    "/opt/shop/bin/plaitd --log-f": {"--log-format"},
}


@pytest.mark.parametrize("line", ANSWERS)
def test_what_is_offered(line: str, offered: Offered) -> None:
    """Values, files by their kind, users, commands, plugins: in the same places in each shell."""
    assert behind(offered, line) == ANSWERS[line]


def test_a_line_is_completed_as_it_is_to_be_typed(tmp_path: Path) -> None:
    """With what a shell wants for a space in a name, behind a sign of equality, and in the middle of a path."""
    (tmp_path / "a b.py").touch()
    (tmp_path / "si te").mkdir()
    (tmp_path / "si te" / "x:y.py").touch()
    lines = {
        "plaitd --log-fo": "plaitd --log-format ",
        "plaitd --log-format=j": "plaitd --log-format=json ",
        "plaitd --log-level=shop=w": "plaitd --log-level=shop=warning ",
        "plaitd -ny a": "plaitd -ny a\\ b.py ",
        "plaitd --python=a": "plaitd --python=a\\ b.py ",
        "plaitd -d s": "plaitd -d si\\ te/",
        "plaitd -y si\\ te/": "plaitd -y si\\ te/x\\:y.py ",
        'plaitd -y "a': 'plaitd -y "a b.py" ',
        "plait com": "plait completion ",
    }

    assert complete_lines(make_script("bash"), lines, tmp_path) == list(lines.values())


def test_every_kind_of_value_is_asked_for() -> None:
    """No option has a kind of value that the table above leaves out."""
    kinds = {value_of(option)[0] for line in all_lines() for option in line.options}

    assert kinds == {"", "words", "file", "folder", "user", "group", "any"}


def test_every_option_with_choices_is_a_word_list() -> None:
    """What may be chosen comes from the option."""
    option = Option("mode", flags=("--mode",), metavar="MODE", choices=("fast", "slow"), completes="file")

    assert value_of(option) == ("words", ("fast", "slow"))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "no shell: give bash, zsh, fish"),
        (["zhs"], "zhs: no such shell, did you mean zsh?: give bash, zsh, fish"),
        (["bash", "zsh"], "zsh: no such argument: give bash, zsh, fish"),
        (["--bash"], "--bash: no such option"),
    ],
)
def test_a_slip_is_said(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    """On standard error, where no shell takes it for a script; exit code 2."""
    assert main(["completion", *arguments]) == 2
    assert capsys.readouterr() == ("", f"plait completion: {sentence}: see plait completion --help\n")


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_printed(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """And nothing else."""
    assert main(["completion", shell]) == 0
    assert capsys.readouterr() == (make_script(shell), "")


def test_help_says_how_a_shell_takes_it(capsys: pytest.CaptureFixture[str]) -> None:
    """For each of the shells."""
    assert main(["completion", "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("usage: plait completion SHELL\n")
    assert all(f"plait completion {shell}" in " ".join(shown.split()) for shell in SHELLS)
