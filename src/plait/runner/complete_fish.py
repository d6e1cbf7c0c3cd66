"""
Completion for fish: a line for each option.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from plait.runner.completion import CommandLine, value_of
from plait.runner.options import Option

HEAD = """\
# What can be typed behind plaitd and plait, the plugins included that are installed here.
# For this shell alone:  plait completion fish | source

# Whether this is the command line of the command that is given.
function __plait_at
    set -l words (commandline -opc)
    set -l at (string replace -r '.*/' '' -- $words[1])
    set -l is_value 0
    for word in $words[2..-1]
        if test $is_value = 1
            set is_value 0
            continue
        end
        switch "$at $word"
"""

MIDDLE = r"""        end
    end
    test "$at" = "$argv"
end

# Files with one of these suffixes, and folders; where there are none, any.
function __plait_files
    set -l typed (string replace -r '^--[^=]*=' '' -- (commandline -ct))
    set -l files (complete -C "__fish_command_without_completions $typed")
    set -l found (string match -r '^[^\t]*/(?:$|\t.*)' -- $files)
    for suffix in $argv
        set -a found (string match -- "*$suffix" $files)
    end
    test (count $found) -gt 0; or set found $files
    printf '%s\n' $found
end

# These words, behind what there is of [NAME=]LEVEL.
function __plait_levels
    set -l name (string replace -r '^--[^=]*=' '' -- (commandline -ct) | string match -r '^.*=')
    printf '%s\n' "$name"$argv
end

complete -c plaitd -f
complete -c plait -f
"""

#: What completes the value of each kind.
VALUES = {
    "file": ["-r", "-F"],
    "folder": ["-x", "-a '(__fish_complete_directories)'"],
    "user": ["-x", "-a '(__fish_complete_users)'"],
    "group": ["-x", "-a '(__fish_complete_groups)'"],
    "any": ["-x"],
    "": [],
}


def make_script(lines: Iterable[CommandLine]) -> str:
    """Return the script for *lines*."""
    lines = list(lines)
    script = [HEAD.rstrip()]
    for line in lines:
        valued = [
            quote(f"{line.name} {flag}") for option in line.options if not option.is_flag for flag in option.flags
        ]
        if valued:
            script += [f"            case {' '.join(valued)}", "                set is_value 1"]
        if line.words:
            inner = " ".join(quote(f"{line.name} {word}") for word, _ in line.words)
            script += [f"            case {inner}", '                set at "$at $word"']
    script.append(MIDDLE)
    for line in lines:
        begin = f"complete -c {line.program} -n {quote('__plait_at ' + line.name)}"
        script += [f"{begin} -a {quote(word)} -d {quote(summary)}" for word, summary in line.words]
        if line.argument:
            script.append(" ".join([begin, *_value(line.argument)[1:]]))  # it may be left out
        for option in line.options:
            words = [begin, *_flags(option), *_value(option), "-d", quote(option.help)]
            script.append(" ".join(words))
        script.append("")
    return "\n".join(script)


def _flags(option: Option) -> Iterator[str]:
    for flag in option.flags:
        yield f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}"


def _value(option: Option) -> list[str]:
    """Return that *option* wants a value, and what there is to choose from."""
    kind, words = value_of(option)
    if kind == "words":
        listed = " ".join(words)
        return ["-x", f"-a {quote(f'(__plait_levels {listed})' if '=' in option.metavar else listed)}"]
    if words:
        suffixes = " ".join(word.removeprefix("*") for word in words)
        return ["-x", f"-a {quote(f'(__plait_files {suffixes})')}"]
    return VALUES[kind]


def quote(text: str) -> str:
    """Return *text* as one word of fish."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
