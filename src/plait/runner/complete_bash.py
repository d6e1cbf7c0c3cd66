"""
Completion for bash: what is offered as tables of a script, and one function that reads them.
"""

from __future__ import annotations

from collections.abc import Iterable
from shlex import quote

from plait.runner.completion import CommandLine, value_of

HEAD = """\
# What can be typed behind plaitd and plait, the plugins included that are installed here.
# For this shell alone:  eval "$(plait completion bash)"
"""

FUNCTION = r"""
_plait() {
    local typed=${COMP_LINE:0:COMP_POINT} word kept="" breaks="" at options words argument value="" over="" letters
    local -a line=()
    # readline cuts words at = and : as well: what stands together belongs together.
    for word in "${COMP_WORDS[@]:0:COMP_CWORD+1}"; do
        if [[ ${#line[@]} == 0 || $typed == [[:space:]]* ]]; then
            line+=("$word")
        else
            line[${#line[@]}-1]+=$word
        fi
        typed=${typed#"${typed%%[![:space:]]*}"}
        typed=${typed#"$word"}
    done
    at=${line[0]##*/}
    _plait_offers "$at"
    # Which command this is, and whether an option waits for its value.
    for word in "${line[@]:1:${#line[@]}-2}"; do
        if [[ $value ]]; then
            value=""
        elif [[ $over || $word != -?* ]]; then
            if [[ " $words " == *" $word "* ]]; then
                at+=" $word"
                over=""
                _plait_offers "$at"
            else
                words=""
            fi
        elif [[ $word == -- ]]; then
            over=1
        elif [[ $word == --* ]]; then
            _plait_value "$at" "$word"
        else
            letters=${word#-}
            while [[ $letters && ! $value ]]; do
                _plait_value "$at" "-${letters:0:1}"
                letters=${letters:1}
            done
            [[ $letters ]] && value=""  # it has its value: -yshop.py
        fi
    done
    word=${line[${#line[@]}-1]}
    typed=$word
    COMPREPLY=()
    if [[ ! $value && ! $over && $word == --*=* ]]; then
        _plait_value "$at" "${word%%=*}"
        kept=${word%%=*}=
        word=${word#*=}
        [[ $value ]] || return
    elif [[ ! $value && ! $over && $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$word")
        return
    fi
    if [[ ! $value ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
        value=$argument
    fi
    case $value in
        words*)
            # Of [NAME=]LEVEL, the level.
            if [[ $word == *=* ]]; then
                kept+=${word%=*}=
                word=${word##*=}
            fi
            mapfile -t COMPREPLY < <(compgen -W "${value#words}" -- "$word")
            ;;
        file*)
            compopt -o filenames 2> /dev/null
            _plait_files "$word" "${value#file}"
            ;;
        folder)
            compopt -o filenames 2> /dev/null
            mapfile -t COMPREPLY < <(compgen -d -- "$word")
            ;;
        user) mapfile -t COMPREPLY < <(compgen -u -- "$word") ;;
        group) mapfile -t COMPREPLY < <(compgen -g -- "$word") ;;
    esac
    # readline replaces no more than what stands behind its last break.
    COMPREPLY=("${COMPREPLY[@]/#/$kept}")
    [[ $COMP_WORDBREAKS == *=* ]] && breaks+="="
    [[ $COMP_WORDBREAKS == *:* ]] && breaks+=":"
    if [[ $breaks && $typed == *[$breaks]* ]]; then
        kept=${typed%"${typed##*[$breaks]}"}
        COMPREPLY=("${COMPREPLY[@]#"$kept"}")
    fi
}

# Files of these patterns, and folders; where there are none, any.
_plait_files() {
    local pattern
    local -a patterns found=()
    read -ra patterns <<< "$2"
    for pattern in "${patterns[@]}"; do
        mapfile -t -O ${#found[@]} found < <(compgen -f -X "!$pattern" -- "$1")
    done
    mapfile -t -O ${#found[@]} found < <(compgen -d -- "$1")
    if [[ ${#patterns[@]} == 0 || ${#found[@]} == 0 ]]; then
        mapfile -t found < <(compgen -f -- "$1")
    fi
    COMPREPLY+=("${found[@]}")
}

complete -F _plait plaitd plait
"""


def make_script(lines: Iterable[CommandLine]) -> str:
    """Return the script for *lines*."""
    lines = list(lines)
    script = [HEAD, "# The options of a command, the words that may follow, and what else.", "_plait_offers() {"]
    script += ['    options="" words="" argument=""', "    case $1 in"]
    for line in lines:
        flags = " ".join(flag for option in line.options for flag in option.flags)
        words = " ".join(word for word, _ in line.words)
        argument = _spell(*value_of(line.argument)) if line.argument else ""
        script += [f"        {quote(line.name)})", f"            options={quote(flags)}"]
        script += [f"            words={quote(words)}", f"            argument={quote(argument)}", "            ;;"]
    script += ["    esac", "}", "", "# What the value of an option is; empty if it has none.", "_plait_value() {"]
    script += ['    value=""', '    case "$1 $2" in']
    for line in lines:
        for option in line.options:
            value = _spell(*value_of(option))
            if value:
                patterns = " | ".join(quote(f"{line.name} {flag}") for flag in option.flags)
                script.append(f"        {patterns}) value={quote(value)} ;;")
    return "\n".join([*script, "    esac", "}"]) + FUNCTION


def _spell(kind: str, words: Iterable[str]) -> str:
    return " ".join([kind, *words])
