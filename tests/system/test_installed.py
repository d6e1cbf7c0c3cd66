"""What a wheel brings besides programs: manual pages, and completion in three shells, plugins of others included."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.shells import SHELLS, ask


@pytest.mark.time_limit(120)
@pytest.mark.parametrize("name", ["plaitd", "plait"])
def test_man_finds_the_page_of_a_program_that_is_found(fresh: Path, name: str) -> None:
    """Where the shell finds the program, ``man`` finds its page, without being told where."""
    if not shutil.which("man"):
        pytest.skip("NOT RUN: needs man")
    environment = {**os.environ, "PATH": f"{fresh / 'bin'}:{os.environ['PATH']}", "MANPATH": "", "LC_ALL": "C.UTF-8"}
    environment.pop("MANPATH")

    def man(*arguments: str) -> str:
        command = ["man", *arguments, name]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=True).stdout

    assert man("-w") == f"{fresh}/share/man/man1/{name}.1\n"
    assert f"{name} — " in man("--pager=cat")


#: How each shell comes to the script: from the file in the wheel, and as the manual page says for one shell alone.
TAUGHT = {
    "bash": (
        "source {share}/bash-completion/completions/plaitd\n",
        'eval "$(plait completion bash)"\n',
    ),
    "zsh": (
        "fpath=({share}/zsh/site-functions $fpath)\ncompinit -D -u\n",
        'eval "$(plait completion zsh)"\n',
    ),
    "fish": (
        "",
        "plait completion fish | source\n",
    ),
}


@pytest.mark.time_limit(120)
@pytest.mark.parametrize("way", [0, 1], ids=["the file", "eval"])
@pytest.mark.parametrize("shell", SHELLS)
def test_a_plugin_of_another_package_is_completed(fresh: Path, tmp_path: Path, shell: str, way: int) -> None:
    """Its name, its options, their values; beside the plugins of plait, and one that is broken has no options."""
    broken = tmp_path / "broken"
    (broken / "noise-1.0.dist-info").mkdir(parents=True)
    (broken / "noise-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: noise\nVersion: 1.0\n")
    (broken / "noise-1.0.dist-info" / "entry_points.txt").write_text("[plait.plugins]\nnoise = noise:serve\n")
    (broken / "noise.py").write_text("print('complete --me')\nprint(1 / 0)\n")
    home = tmp_path / "home"
    home.mkdir()
    answers = {
        "plaitd --log-fo": {"--log-format"},
        "plait ru": {"run"},
        "plaitd -n g": {"greet"},
        "plaitd n": {"noise"},
        "plaitd greet --to": {"--tone"},
        "plaitd greet --tone ": {"plain", "warm"},
        "plait run greet --no-": {"--no-shout", "--no-newline"},
        "plaitd noise -": set(),
        "plaitd procmon --th": {"--threshold"},
    }

    found = ask(
        shell,
        TAUGHT[shell][way].format(share=fresh / "share"),
        answers,
        home,
        # fish offers nothing behind a program that it does not find; the others ask the plait beside the file.
        PATH=f"{fresh / 'bin'}:{os.environ['PATH']}" if way or shell == "fish" else os.environ["PATH"],
        XDG_DATA_DIRS=f"{fresh / 'share'}:/usr/share",  # where fish looks by itself
        PYTHONPATH=str(broken),
    )

    assert {line: {word for word in words if word[0] != "."} for line, words in found.items()} == answers
