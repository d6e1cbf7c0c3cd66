"""
Completion for zsh: the options as ``_arguments`` takes them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from shlex import quote

from plait.runner.completion import CommandLine, value_of
from plait.runner.options import Option

HEAD = """\
#compdef plaitd plait
# What can be typed behind plaitd and plait, the plugins included that are installed here.
# For this shell alone, behind compinit:  eval "$(plait completion zsh)"

_plait() {
  local at=${words[1]:t} word
  local -i index
  # Which command this is: its own words begin with its name.
  for (( index = 2; index < CURRENT; index++ )); do
    word=$words[index]
    case "$at $word" in"""

FOOT = """
if (( $+functions[compdef] )); then
  compdef _plait plaitd plait
fi
"""

#: What completes the value of each kind.
ACTIONS = {"folder": "_files -/", "user": "_users", "group": "_groups", "file": "_files", "any": " "}


def make_script(lines: Iterable[CommandLine]) -> str:
    """Return the script for *lines*."""
    lines = list(lines)
    script = [HEAD]
    valued = [
        quote(f"{line.name} {flag}")
        for line in lines
        for option in line.options
        if not option.is_flag
        for flag in option.flags
    ]
    inner = [quote(f"{line.name} {word}") for line in lines for word, _ in line.words]
    script += ["      (" + "|".join(valued) + ") (( index++ )) ;;"]
    script += [
        "      (" + "|".join(inner) + ")",
        '        at+=" $word"',
        '        words=("$word" "${(@)words[index+1,-1]}")',
        "        (( CURRENT -= index - 1, index = 1 ))",
        "        ;;",
        "    esac",
        "  done",
        "  case $at in",
    ]
    for line in lines:
        script += [f"    ({quote(line.name)})", "      _arguments -s -S : \\"]
        script += [f"        {spec} \\" for option in line.options for spec in _option(option)]
        script += [f"        {spec} \\" for spec in _arguments(line)]
        script[-1] = script[-1].removesuffix(" \\")
        script += ["      ;;"]
    script += ["  esac", "}"]
    for line in lines:
        if line.words:
            script += [
                "",
                f"{_function(line)}() {{",
                "  local -a found=(",
                *(f"    {quote(_plain(word) + ':' + summary)}" for word, summary in line.words),
                "  )",
                f"  _describe -t commands {'command' if line.argument is None else 'plugin'} found",
                *([f"  {_action(line.argument)}"] if line.argument else []),
                "}",
            ]
    return "\n".join(script) + "\n" + FOOT


def _option(option: Option) -> Iterator[str]:
    """Yield the specification of each spelling of *option*; one that was given is not offered again, in any."""
    others = "*" if option.repeats else f"({' '.join(option.flags)})"
    help = re.sub(r"([\\\[\]])", r"\\\1", option.help)
    for flag in option.flags:
        if option.is_flag:
            yield quote(f"{others}{flag}[{help}]")
        else:
            joint = "=" if flag.startswith("--") else "+"
            yield quote(f"{others}{flag}{joint}[{help}]:{_plain(option.metavar)}:{_action(option)}")


def _arguments(line: CommandLine) -> Iterator[str]:
    if line.words:
        yield quote(f"1: :{_function(line)}")
    elif line.argument:
        yield quote(f"*:{_plain(line.argument.metavar)}:{_action(line.argument)}")


def _action(option: Option) -> str:
    kind, words = value_of(option)
    if kind == "words":
        listed = " ".join(words)
        # Of [NAME=]LEVEL, the level.
        return f'{{compset -P "*="; compadd - {listed}}}' if "=" in option.metavar else f"({listed})"
    if words:
        return f'_files -g "{" ".join(words)}"'
    return ACTIONS[kind]


def _plain(text: str) -> str:
    return text.replace("\\", "\\\\").replace(":", "\\:")


def _function(line: CommandLine) -> str:
    return "_plait_behind_" + re.sub(r"\W", "_", line.name)
