"""Shells that are asked, as by somebody at a terminal who presses the key for completion."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import termios
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

SHELLS = ("bash", "zsh", "fish")
PATIENCE = 30.0

#: What is offered goes to a file, and nothing of it to the line.
BASH = r"""
bind 'set bell-style none'
bind 'set enable-bracketed-paste off'
bind '"\t": complete'
answer() {
    _plait "$@"
    { printf '%s' "$COMP_LINE"; printf '\t%s' "${COMPREPLY[@]}"; printf '\n'; } >> "$ANSWERS"
    COMPREPLY=()
}
complete -F answer plaitd plait
PS1='ready'
"""

#: What becomes of the line, which is then thrown away.
BASH_LINE = r"""
bind 'set bell-style none'
bind 'set enable-bracketed-paste off'
bind '"\t": complete'
bind -x '"\C-t": printf "%s\n" "$READLINE_LINE" >> "$ANSWERS"'
PS1='ready'
"""

#: The same: what is added for somebody is written down on the way.
ZSH = r"""
compadd() {
    if [[ " $* " == *" -"[OAD]" "* ]]; then
        builtin compadd "$@"
        return
    fi
    local -a asked_matches
    builtin compadd -O asked_matches "$@"
    asked_found+=($asked_matches)
    builtin compadd "$@"
}
collect() {
    _main_complete "$@"
    compstate[list]=""
    compstate[insert]=""
}
zle -C collect complete-word collect
answer() {
    local asked_line
    while IFS= read -r asked_line; do
        asked_found=()
        BUFFER=$asked_line
        CURSOR=$#BUFFER
        zle collect
        print -r -- "$asked_line"$'\t'"${(pj:\t:)asked_found}" >> "$ANSWERS"
    done < "$QUESTIONS"
    exit
}
# No key: at the first line that somebody could type.
zle -N zle-line-init answer
"""


#: It has a word for it.
FISH = r"""
for line in (cat $QUESTIONS)
    printf '%s' $line >> $ANSWERS
    for found in (complete -C $line | string replace -r '\t.*' '')
        printf '\t%s' $found >> $ANSWERS
    end
    printf '\n' >> $ANSWERS
end
"""


def ask(shell: str, setup: str, lines: Iterable[str], folder: Path, **environment: str) -> dict[str, list[str]]:
    """
    Return what *shell* offers behind each of *lines*, in *folder*, when it was taught by *setup*.

    A test that needs a shell that is not installed is skipped, loudly.
    """
    lines = list(dict.fromkeys(lines))
    program = shutil.which(shell) or pytest.skip(f"NOT RUN: needs {shell}")
    answers, questions, script = folder / ".answers", folder / ".questions", folder / ".setup"
    answers.write_text("")
    questions.write_text("".join(f"{line}\n" for line in lines))
    around = os.environ | {
        "ANSWERS": str(answers),
        "QUESTIONS": str(questions),
        "TERM": "dumb",
        "HOME": str(folder),
        "ZDOTDIR": str(folder),
        **environment,
    }
    if shell == "bash":
        script.write_text(setup + BASH)
        typed = "".join(f"{line}\t\x15" for line in lines) + "exit\n"
        run_at_terminal([program, "--norc", "--noprofile", "-i"], typed, folder, around)
    elif shell == "zsh":
        script.write_text("autoload -Uz compinit && compinit -D -u\n" + setup + ZSH)
        run_at_terminal([program, "-f", "-i"], "", folder, around)
    else:
        script.write_text(setup + FISH)
        command = [program, script.name]
        ended = subprocess.run(
            command, cwd=folder, env=around, capture_output=True, text=True, timeout=PATIENCE, check=True
        )
        assert ended.stdout + ended.stderr == ""
    rows = [line.split("\t") for line in answers.read_text().splitlines()]
    return {row[0]: [word for word in row[1:] if word] for row in rows}


def complete_lines(setup: str, lines: Iterable[str], folder: Path) -> list[str]:
    """Return what bash makes of each of *lines*, in *folder*, at the key for completion, when taught by *setup*."""
    program = shutil.which("bash") or pytest.skip("NOT RUN: needs bash")
    answers = folder / ".answers"
    answers.write_text("")
    (folder / ".setup").write_text(setup + BASH_LINE)
    typed = "".join(f"{line}\t\x14\x15" for line in lines) + "exit\n"
    around = {**os.environ, "ANSWERS": str(answers), "TERM": "dumb", "HOME": str(folder)}
    run_at_terminal([program, "--norc", "--noprofile", "-i"], typed, folder, around)
    return answers.read_text().splitlines()


def run_at_terminal(command: Sequence[str], typed: str, folder: Path, environment: dict[str, str]) -> None:
    """Run *command* at a terminal of its own: let it read its setup, and type *typed* when it is ready."""
    ours, theirs = pty.openpty()
    try:
        modes = termios.tcgetattr(theirs)
        modes[3] &= ~termios.ECHO
        termios.tcsetattr(theirs, termios.TCSANOW, modes)
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
        )
    finally:
        os.close(theirs)
    shown = b""
    end = time.monotonic() + PATIENCE
    try:
        os.write(ours, b"source ./.setup\n")
        is_ready = False
        while select.select([ours], [], [], max(0.0, end - time.monotonic()))[0]:
            try:
                data = os.read(ours, 65536)
            except OSError:  # nobody has the other side any more
                break
            shown += data
            if not is_ready and b"ready" in shown:
                is_ready = True
                os.write(ours, typed.encode())
        process.wait(1)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(ours)
    assert process.returncode == 0, shown.decode(errors="replace")
