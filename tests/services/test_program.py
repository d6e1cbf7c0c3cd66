"""What a `Program` refuses, says about itself, and does with lines."""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import pickle
import signal
from pathlib import Path
from typing import Any

import pytest

from plait import ConfigurationError, Program
from plait.services.output import LONGEST_LINE, Output
from plait.services.spawn import explain


@pytest.mark.parametrize(
    ("command", "options", "sentence"),
    [
        ("sleep 5", {}, "Program program: command='sleep 5': wanted a list of words: split it with shlex.split()"),
        ([], {"name": "x"}, "Program x: command=[]: wanted at least the name of a program"),
        ([1], {}, "Program program: command=[1]: wanted a list of words, each a str"),
        (["a\0b"], {}, "Program program: command=['a\\x00b']: wanted a list of words, each a str without NUL"),
        (
            ["sleep"],
            {"grace": 10.0},
            "Program sleep: grace=10.0: wanted less than stop_timeout=10",
        ),
        (["sleep"], {"grace": -1}, "Program sleep: grace=-1: wanted a number of seconds from 0"),
        (
            ["sleep"],
            {"signal": "STOPP"},
            "Program sleep: signal='STOPP': wanted a signal, such as signal.SIGINT or \"INT\"",
        ),
        (
            ["sleep"],
            {"ready_line": "("},
            "Program sleep: ready_line='(': wanted a regular expression"
            " (missing ), unterminated subpattern at position 0)",
        ),
        (
            ["sleep"],
            {"ready_line": "up", "notify": True},
            "Program sleep: notify=True: wanted either this or ready_line, not both",
        ),
    ],
)
def test_refuses_what_it_could_not_do(command: Any, options: dict[str, Any], sentence: str) -> None:
    """What cannot work is refused at construction, with the field named."""
    with pytest.raises(ConfigurationError) as caught:
        Program(command, **options)
    assert str(caught.value) == sentence


def test_is_named_after_its_program() -> None:
    """Without a name it is called as the program, without the folder."""
    assert Program(["/usr/local/bin/imageproxy", "-v"]).name == "imageproxy"
    assert Program([Path("/bin/sh")]).command == ("/bin/sh",)


def test_is_a_value() -> None:
    """Equal, hashable, picklable, replaceable, and printed as a person would write it."""
    one = Program(["sleep", "5"], name="nap", environment={"A": "1"}, signal="int", grace=1)
    assert one == Program(("sleep", "5"), name="nap", environment={"A": "1"}, signal=signal.SIGINT, grace=1.0)
    assert hash(one) == hash(dataclasses.replace(one))
    assert pickle.loads(pickle.dumps(one)) == one
    assert dataclasses.replace(one, grace=2.0) != one
    assert repr(Program(["sleep", "5"])) == "Program(['sleep', '5'])"


def lines_of(*pieces: bytes) -> list[str]:
    """Return the lines that an output tells for these readings."""
    lines: list[str] = []

    async def main() -> None:
        output = Output(lines.append)
        for piece in pieces:
            output.feed(piece)
        output.finish()
        output.close()

    asyncio.run(main())
    return lines


def test_lines_are_whole_whatever_the_readings() -> None:
    """A line may come in pieces; a last one without an end is told too, and none is made up at the end."""
    assert lines_of(b"one\ntw", b"o\r\n", b"\nthr", b"ee") == ["one", "two", "", "three"]
    assert lines_of(b"one\n") == ["one"]


def test_bytes_that_are_no_text_become_escapes() -> None:
    """Undecodable bytes are shown, not lost."""
    assert lines_of(b"caf\xc3\xa9 \xff\n") == ["café \\xff"]


def test_endless_lines_are_cut_between_characters() -> None:
    """A line beyond 64 KiB comes in pieces, none of them cut inside a character."""
    whole = "x" + "é" * LONGEST_LINE
    pieces = lines_of(*(whole.encode()[at : at + 8192] for at in range(0, len(whole.encode()), 8192)), b"\nnext\n")
    assert pieces[-1] == "next"
    assert "".join(pieces[:-1]) == whole
    assert all(len(piece.encode()) <= LONGEST_LINE for piece in pieces)
    assert len(pieces) == 4
    at_once = lines_of(whole.encode() + b"\nnext\n")
    assert "".join(at_once[:-1]) == whole


@pytest.mark.parametrize(
    ("command", "directory", "error", "sentence"),
    [
        (
            "imageproxy",
            None,
            FileNotFoundError(errno.ENOENT, "No such file or directory", "imageproxy"),
            "shop/images: cannot run 'imageproxy' (No such file or directory): give the full path, or install it",
        ),
        (
            "/opt/gone",
            None,
            FileNotFoundError(errno.ENOENT, "No such file or directory", "/opt/gone"),
            "shop/images: cannot run '/opt/gone' (No such file or directory): look at the path, or install it",
        ),
        (
            "/etc/passwd",
            None,
            PermissionError(errno.EACCES, "Permission denied", "/etc/passwd"),
            "shop/images: cannot run '/etc/passwd' (Permission denied): make it executable (chmod +x)",
        ),
        (
            "./tool",
            None,
            OSError(errno.ENOEXEC, "Exec format error", "./tool"),
            "shop/images: cannot run './tool' (Exec format error): begin it with a line such as #!/bin/sh",
        ),
        (
            "sh",
            "/nowhere",
            FileNotFoundError(errno.ENOENT, "No such file or directory", "/nowhere"),
            "shop/images: cannot run in directory '/nowhere' (No such file or directory):"
            " create it, or change directory=",
        ),
    ],
)
def test_says_why_it_cannot_run(command: str, directory: str | None, error: OSError, sentence: str) -> None:
    """A program that cannot be run is said in one sentence: where, what, what to do."""
    assert explain("shop/images", (command,), directory, error) == sentence
