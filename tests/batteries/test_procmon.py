"""procmon: what its options mean."""

from __future__ import annotations

from typing import Any

import pytest

from plait import Application, Backoff, Limit, Program, UsageError
from plait.batteries.procmon import procmon


def test_its_options_become_the_words_of_a_program() -> None:
    """The defaults are twistd's: 1 s, 5 s, 1 s, an hour; it never gives up."""
    (program,) = application = procmon("/usr/bin/imageproxy", "-v")
    assert application == Application(
        "procmon",
        [
            Program(
                ["/usr/bin/imageproxy", "-v"],
                name="imageproxy",
                restart="always",
                grace=5.0,
                stop_timeout=10.0,
                backoff=Backoff(base=1.0, cap=3600.0, jitter=0.0, quiet=1.0),
            )
        ],
        limit=Limit(None),
        stop_timeout=15.0,
    )
    (program,) = procmon("a", threshold=2.0, killtime=60.0, minrestartdelay=3.0, maxrestartdelay=4.0)
    assert isinstance(program, Program)
    assert (program.grace, program.backoff) == (60.0, Backoff(base=3.0, cap=4.0, jitter=0.0, quiet=2.0))


def test_a_program_that_dies_at_once_is_started_less_and_less_often() -> None:
    """The waits double up to the longest; a program that ran for *threshold* seconds begins anew, at once."""
    (program,) = procmon("a", minrestartdelay=1.0, maxrestartdelay=5.0)
    backoff = program.backoff
    assert backoff is not None
    assert [backoff.delay(failures, 0.5) for failures in range(1, 6)] == [0.0, 1.0, 2.0, 4.0, 5.0]
    assert backoff.delay(backoff.failures(4, ready_seconds=1.0), 0.5) == 0.0


MISTAKES: dict[str, tuple[tuple[str, ...], dict[str, float], str]] = {
    "nothing": ((), {}, "the command is missing: give the program and its arguments, after --"),
    "negative": (("a",), {"killtime": -1.0}, "--killtime -1: wanted a number of seconds from 0"),
    "waits": (("a",), {"maxrestartdelay": 0.5}, "--maxrestartdelay 0.5: wanted at least --minrestartdelay 1"),
}


@pytest.mark.parametrize(("command", "options", "words"), MISTAKES.values(), ids=MISTAKES)
def test_what_cannot_be_is_refused(command: tuple[str, ...], options: dict[str, Any], words: str) -> None:
    """Each in its words."""
    with pytest.raises(UsageError) as caught:
        procmon(*command, **options)
    assert str(caught.value) == words
