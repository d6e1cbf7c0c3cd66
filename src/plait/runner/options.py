"""
What an option is: its spellings, how its text is read, its help; and a command line made of options.

Every option of the two programs, and of each plugin, is such a value.  Whatever asks for options (the command line, the
environment, ``plait.toml``, ``--help``, the manual pages, completion, the reference) reads these, and no second list.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from plait.errors import UsageError
from plait.values import Value, fields, value

YES = ("1", "true", "yes", "on")
NO = ("0", "false", "no", "off")


@value
class Option(Value):
    """
    One thing that can be said to a program.

    *flags* are its spellings, the first of the long ones being its name for people; none is an argument by position.
    Without a *metavar* it takes no value.  *read* makes a value of a text and raises `UsageError` with what was wanted.
    *choices* and *completes* (``file``, ``folder``, ``user``, ``group``) are what a shell may offer, of files those of
    some *patterns* first.  *repeats* means that it may be given again, and that its value is a tuple.  *only* are the
    programs that take it, all if empty.  *dropped* is the sentence that answers who gives an option of twistd that
    plaitd does not have.  *places* are where else than on the command line it may be given: ``env``, ``toml``.
    """

    name: str
    default: Any = None
    flags: tuple[str, ...] = ()
    help: str = ""
    metavar: str = ""
    read: Callable[[str], Any] = str
    group: str = ""
    choices: tuple[str, ...] = ()
    completes: str = ""
    patterns: tuple[str, ...] = ()
    repeats: bool = False
    only: tuple[str, ...] = ()
    dropped: str = ""
    places: tuple[str, ...] = ("env", "toml")

    @property
    def is_flag(self) -> bool:
        """Whether it takes no value."""
        return not self.metavar

    @property
    def spelling(self) -> str:
        """Return how a person would name it: its first long spelling, or what stands in its place."""
        long = [flag for flag in self.flags if flag.startswith("--")]
        return long[0] if long else self.flags[0] if self.flags else self.metavar

    @property
    def variable(self) -> str:
        """Return its name in the environment."""
        return f"PLAIT_{self.name.upper()}"


def option_fields(cls: type) -> list[Option]:
    """Return the options that the fields of the dataclass *cls* declare in their metadata, in order."""
    return [Option(item.name, item.default, **item.metadata) for item in fields(cls) if item.metadata]


# How texts are read -------------------------------------------------------------------------------------------------


def one_of(*choices: str) -> Callable[[str], str]:
    """Return a reader that takes one of *choices*, in any case."""

    def read(text: str) -> str:
        if text.lower() not in choices:
            raise UsageError(f"{text!r}: wanted one of {', '.join(choices)}{nearest(text.lower(), choices)}")
        return text.lower()

    return read


def read_flag(text: str) -> bool:
    """Read yes or no."""
    if text.lower() not in (*YES, *NO):
        raise UsageError(f"{text!r}: wanted yes or no")
    return text.lower() in YES


def read_umask(text: str) -> int:
    """Read an octal mask, with or without a leading ``0o``."""
    try:
        mask = int(text, 8)
    except ValueError:
        mask = -1
    if not 0 <= mask <= 0o777:
        raise UsageError(f"{text!r}: wanted an octal mask such as 022")
    return mask


def read_seconds(text: str) -> float:
    """Read a number of seconds from 0."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e9:
        raise UsageError(f"{text!r}: wanted a number of seconds, such as 30")
    return seconds


# A command line -----------------------------------------------------------------------------------------------------


class Words:
    """A command line, taken apart: each option as it was *given*, the *words* between them, the *rest* left alone."""

    # No tuple with names: to define one costs a hundredth of a start.
    def __init__(self, rest: list[str]) -> None:
        self.given: list[tuple[Option, str, str]] = []
        self.words: list[str] = []
        self.rest = rest


def split(
    program: str,
    options: Iterable[Option],
    arguments: Sequence[str],
    *,
    ends: Callable[[str], bool] = lambda word: False,
    preferred: Iterable[str] = (),
    outer: Iterable[Option] = (),
) -> Words:
    """
    Take *arguments* apart; raises `UsageError` for what is no option, or is one without its value.

    Options may stand before, between and behind other words, up to ``--`` or a word that *ends* it: what comes behind
    that is somebody else's.  A long option may be shortened as long as it means one; of several that it could mean, a
    single one that is *preferred* wins.  An option of *outer* stands before the last word of *program*, and what is
    said of one that does not says so.
    """
    # getopt rather than argparse on the way to serving: it reads the same lines, as twistd's own parser does, and
    # costs a tenth to load.
    getopt = _import_getopt()
    known = {flag: option for option in options for flag in option.flags}
    short = "".join(flag[1] + ("" if option.is_flag else ":") for flag, option in known.items() if flag[1] != "-")
    long = [flag[2:] + ("" if option.is_flag else "=") for flag, option in known.items() if flag[1] == "-"]
    result = Words(list(arguments))
    while result.rest:
        left = result.rest[:]
        try:
            found, rest = getopt.getopt(left, short, long)
        except getopt.GetoptError as error:
            meant = _preferred(f"--{error.opt}", known, preferred) if "unique" in error.msg else ""
            if not meant:
                what = _explain(error.msg, error.opt, known, program, outer)
                raise UsageError(f"{what}: see {program} --help") from None
            result.rest[:] = _spell_out(left, f"--{error.opt}", meant)
            continue
        result.given.extend((known[flag], flag, text) for flag, text in found)
        is_over = len(rest) < len(left) and left[-len(rest) - 1] == "--" and [text for _, text in found[-1:]] != ["--"]
        if is_over:
            result.words.extend(rest)
            rest = []
        elif rest:
            result.words.append(rest.pop(0))
            if ends(result.words[-1]):
                result.rest[:] = rest
                break
        result.rest[:] = rest
    return result


def _import_getopt() -> Any:
    """Import getopt without gettext, which it can do without and which takes longer to load than all of it."""
    missing = object()
    gettext = sys.modules.get("gettext", missing)
    sys.modules["gettext"] = None  # type: ignore[assignment]  # importing it fails now, which getopt expects
    try:
        import getopt
    finally:
        if gettext is missing:
            del sys.modules["gettext"]
        else:
            sys.modules["gettext"] = gettext  # type: ignore[assignment]
    return getopt


def _preferred(prefix: str, known: dict[str, Option], preferred: Iterable[str]) -> str:
    """Return the one flag that *prefix* means among those that could be meant, or nothing."""
    for flags in (known, preferred):
        # Spellings of one option are one meaning.
        found = {known[flag]: flag for flag in flags if flag.startswith(prefix) and flag in known}
        if len(found) == 1:
            return next(iter(found.values()))
    return ""


def _spell_out(arguments: list[str], prefix: str, flag: str) -> list[str]:
    """Return *arguments* with the first use of *prefix* in full."""
    for index, argument in enumerate(arguments):
        name, equals, text = argument.partition("=")
        if name == prefix:
            return [*arguments[:index], f"{flag}{equals}{text}", *arguments[index + 1 :]]
    return arguments


def _explain(message: str, given: str, known: Iterable[str], program: str, outer: Iterable[Option]) -> str:
    """Say what getopt found wrong in the words of this program."""
    flag = f"--{given}" if message.startswith("option --") else f"-{given}"
    if "not recognized" in message:
        if any(flag in option.flags for option in outer):
            whose, _, name = program.rpartition(" ")
            return f"{flag}: is an option of {whose}: give it before {name}"
        return f"{flag}: no such option{nearest(flag, list(known))}"
    if "not a unique prefix" in message:
        return f"{flag}: could be one of {', '.join(name for name in known if name.startswith(flag))}"
    if "requires argument" in message:
        return f"{flag}: wants a value"
    return f"{flag}: takes no value"


def read_given(program: str, given: Iterable[tuple[Option, str, str]]) -> dict[str, Any]:
    """Return the values that were *given* on a command line, the last one for each option, all of one that repeats."""
    values: dict[str, Any] = {}
    for option, flag, text in given:
        if option.dropped:
            raise UsageError(f"{flag}: {option.dropped}: see {program} --help")
        try:
            read = True if option.is_flag else option.read(text)
        except UsageError as error:
            see = "" if ": see " in str(error) else f": see {program} --help"
            raise UsageError(f"{flag}: {error}{see}") from None
        values[option.name] = (*values.get(option.name, ()), read) if option.repeats else read
    return values


def nearest(given: str, known: Sequence[str]) -> str:
    """Return ``, did you mean ...?`` for the nearest of *known*, or nothing."""
    import difflib

    found = difflib.get_close_matches(given, known, n=1, cutoff=0.6)
    return f", did you mean {found[0]}?" if found else ""
