"""Credentials: what is read, what is refused with which words, and that the content is shown nowhere."""

from __future__ import annotations

import copy
import logging
import os
import pickle
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from plait import ConfigurationError, Secret, credential

CANARY = "cAnArY-7f3a"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one credential, which the manager is said to have made."""
    (tmp_path / "password").write_text(f"{CANARY}\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    return tmp_path


def test_a_credential_is_what_is_in_its_file(folder: Path) -> None:
    """As text without the newline at its end, and as bytes to the last one."""
    secret = credential("password")
    assert (secret.name, secret.reveal(), secret.reveal_bytes()) == ("password", CANARY, f"{CANARY}\n".encode())
    (folder / "password").write_bytes(b" two lines \r\nand more \r\n")
    assert credential("password").reveal() == " two lines \r\nand more "
    (folder / "password").write_bytes(b"")
    assert credential("password").reveal() == ""


def test_it_is_read_when_it_is_asked_for(folder: Path) -> None:
    """What becomes of the file afterwards, or of the right to read it, is of no interest."""
    secret = credential("password")
    (folder / "password").unlink()
    assert secret.reveal() == CANARY


def test_a_link_is_followed(folder: Path) -> None:
    """Kubernetes mounts what may change behind links."""
    (folder / "link").symlink_to("password")
    assert credential("link").reveal() == CANARY


def test_a_secret_is_a_value(folder: Path) -> None:
    """Two of the same content are equal: a reload that finds the same password changes nothing."""
    secret = credential("password")
    assert secret == credential("password") == copy.copy(secret) == copy.deepcopy([secret])[0]
    assert hash(secret) == hash(credential("password"))
    assert secret != Secret("password", b"other")
    assert secret != CANARY
    assert secret != f"{CANARY}\n".encode()


SHOWN: dict[str, Callable[[Secret], str]] = {
    "repr": repr,
    "str": str,
    "format": lambda secret: f"{secret}{secret!r}{secret!s}{secret!a}",
    "percent": lambda secret: "%s %r" % (secret, secret),  # noqa: UP031
    "in a list": lambda secret: str([secret]),
    "attributes": lambda secret: repr(getattr(secret, "__dict__", "")),
    "an error": lambda secret: repr(ValueError("no luck", secret)),
    "a record": lambda secret: logging.makeLogRecord({"msg": "%s", "args": (secret,)}).getMessage(),
}


@pytest.mark.promise(55)
@pytest.mark.parametrize("how", SHOWN)
def test_it_shows_its_name_only(folder: Path, how: str) -> None:
    """However it is printed."""
    shown = SHOWN[how](credential("password"))
    assert CANARY not in shown
    assert ("<Secret 'password'>" in shown) == (how != "attributes")


def test_it_is_not_pickled(folder: Path) -> None:
    """Its content would be in the file, or go to another process, without anybody having said so."""
    with pytest.raises(TypeError) as raised:
        pickle.dumps(credential("password"))
    assert str(raised.value) == (
        "<Secret 'password'>: is not pickled: pass its name, and call credential('password') there"
    )


@pytest.mark.promise(55)
def test_a_traceback_with_variables_does_not_have_it(folder: Path) -> None:
    """Not when it is used, nor in an error of reading it, nor in the errors behind that."""

    def fail() -> None:
        secret = credential("password")
        (folder / "password").write_bytes(CANARY.encode() + b"\xff")
        credential(secret.name).reveal()

    with pytest.raises(ConfigurationError) as raised:
        fail()
    assert str(raised.value) == "credential 'password': is not UTF-8: take reveal_bytes(), or write it as text"
    assert raised.value.__context__ is None
    text = "".join(traceback.TracebackException.from_exception(raised.value, capture_locals=True).format())
    assert "secret = <Secret 'password'>" in text
    assert CANARY not in text


@pytest.mark.promise(55)
def test_no_variable_of_ours_holds_it(folder: Path) -> None:
    """In no line of reading it, seen as a debugger or a profiler sees it."""
    seen = []

    def look(frame: object, event: str, argument: object) -> object:
        variables = getattr(frame, "f_locals")  # noqa: B009 - what the type checker calls a frame
        code = getattr(frame, "f_code")  # noqa: B009
        if code.co_filename.endswith("credentials.py") and code.co_name != "__init__":
            seen.append(code.co_name)
            assert CANARY not in repr(variables)
        return look

    before = sys.gettrace()
    sys.settrace(look)  # type: ignore[arg-type]
    try:
        credential("password")
    finally:
        sys.settrace(before)
    assert {"credential", "_read", "_open"} <= set(seen)


def make(name: str, content: bytes | None = None) -> Callable[[Path], None]:
    """Return what puts a file, or without content a folder, into the place of the credentials."""

    def build(folder: Path) -> None:
        if content is None:
            (folder / name).mkdir()
        else:
            (folder / name).write_bytes(content)

    return build


def nothing(folder: Path) -> None:
    """Build nothing."""


ELSEWHERE = "write LoadCredential=database:FILE in the unit"
PLAIN = "is no plain file name: give what stands in LoadCredential= before the colon"

#: What is asked for, what the variable says, what is built, and the words.
REFUSED: dict[str, tuple[str, str | None, Callable[[Path], None], str]] = {
    "not set": (
        "database",
        None,
        nothing,
        f"$CREDENTIALS_DIRECTORY is not set: {ELSEWHERE}, or set it to a folder that has that file",
    ),
    "empty": (
        "database",
        "",
        nothing,
        f"$CREDENTIALS_DIRECTORY is not set: {ELSEWHERE}, or set it to a folder that has that file",
    ),
    "relative": ("database", "secrets", nothing, "$CREDENTIALS_DIRECTORY is 'secrets': write an absolute path"),
    "no folder": (
        "database",
        "{folder}/nowhere",
        nothing,
        "$CREDENTIALS_DIRECTORY is '{folder}/nowhere', and there is no such folder: make it, or correct the variable",
    ),
    "missing": ("database", "{folder}", nothing, f"is not in {{folder}}: {ELSEWHERE}, or put the file there"),
    "misspelt": (
        "database",
        "{folder}",
        make("databse", b"x"),
        f"is not in {{folder}}, did you mean 'databse'?: {ELSEWHERE}, or put the file there",
    ),
    "a folder": ("database", "{folder}", make("database"), "{folder}/database cannot be read (Is a directory)"),
    "too long": (
        "database",
        "{folder}",
        make("database", b"x" * (1024 * 1024 + 1)),
        "{folder}/database has 1048577 bytes: write at most 1048576, or read it yourself",
    ),
    "a FIFO": (
        "database",
        "{folder}",
        lambda folder: os.mkfifo(folder / "database"),
        "{folder}/database is not a file: put a file there",
    ),
    "a path": ("../database", "{folder}", nothing, PLAIN),
    "an absolute path": ("/etc/passwd", "{folder}", nothing, PLAIN),
    "the folder itself": (".", "{folder}", nothing, PLAIN),
    "no name": ("", "{folder}", nothing, PLAIN),
    "a colon": ("database:x", "{folder}", nothing, PLAIN),
    "a NUL": ("data\0base", "{folder}", nothing, PLAIN),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_refused_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """With what was asked for, what is wrong, and what to do; its exit code is that of a configuration."""
    name, variable, build, words = REFUSED[kind]
    build(tmp_path)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    if variable is not None:
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", variable.format(folder=tmp_path))
    with pytest.raises(ConfigurationError) as raised:
        credential(name)
    said = str(raised.value)
    assert said.startswith(f"credential {name!r}: {words.format(folder=tmp_path)}")
    assert said.endswith(words.format(folder=tmp_path)) or kind == "a folder"
    assert raised.value.exit_code == 78
    assert "\n" not in said
