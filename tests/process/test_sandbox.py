"""What --allow means, what each version of Landlock is asked for, and what is said; the real one is in tests/system."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from plait.errors import UsageError
from plait.process import landlock
from plait.process.sandbox import explain_lack, explain_threads, read_permission


@pytest.mark.parametrize(
    ("text", "rights", "place", "port"),
    [
        ("read:/etc/shop", landlock.READING, "/etc/shop", -1),
        ("write:/srv/a:b,c", landlock.WRITING, "/srv/a:b,c", -1),
        ("exec:/opt/tools", landlock.RUNNING, "/opt/tools", -1),
        ("connect:5432", landlock.CONNECT_TCP, "", 5432),
        ("bind:0", landlock.BIND_TCP, "", 0),
        ("bind:65535", landlock.BIND_TCP, "", 65535),
    ],
)
def test_what_is_allowed(text: str, rights: int, place: str, port: int) -> None:
    """A word, a colon, and a path or a port."""
    permission = read_permission(text)
    assert (permission.rights, permission.place, permission.port, permission.text) == (rights, place, port, text)


def test_a_path_is_relative_to_where_it_was_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As every path of the command line is."""
    monkeypatch.chdir(tmp_path)
    assert read_permission("read:data").place == str(tmp_path / "data")


@pytest.mark.parametrize("text", ["", "read", "read:", "reed:/etc", "/etc", "READ:/etc", ":/etc"])
def test_what_is_none_of_the_forms_is_refused(text: str) -> None:
    """Exit code 2 and a sentence with all of them."""
    with pytest.raises(UsageError) as caught:
        read_permission(text)
    assert str(caught.value) == (f"--allow {text}: wanted read:PATH, write:PATH, exec:PATH, connect:PORT or bind:PORT")


@pytest.mark.parametrize("text", ["connect:", "connect:http", "bind:65536", "bind:-1", "connect:٣", "bind:1.5"])
def test_what_is_no_port_is_refused(text: str) -> None:
    """Exit code 2 and a sentence about ports."""
    with pytest.raises(UsageError) as caught:
        read_permission(text)
    assert str(caught.value) == f"--allow {text}: wanted a port from 0 to 65535"


#: What ``landlock(7)`` says: the rights of files and of ports, and the scopes, that each version knows.
VERSIONS = [
    (1, 0x1FFF, 0, 0),
    (2, 0x3FFF, 0, 0),
    (3, 0x7FFF, 0, 0),
    (4, 0x7FFF, 3, 0),
    (5, 0xFFFF, 3, 0),
    (6, 0xFFFF, 3, 3),
    (7, 0xFFFF, 3, 3),
    (99, 0xFFFF, 3, 3),
]


@pytest.mark.parametrize(("abi", "files", "ports", "scopes"), VERSIONS)
def test_each_version_is_asked_for_what_it_knows(abi: int, files: int, ports: int, scopes: int) -> None:
    """More would be refused by its kernel, less would leave something open."""
    assert landlock.handled(abi) == (files, ports, scopes)
    head = landlock.encode_ruleset(files, ports, scopes)
    assert head == struct.pack("<QQQ", files, ports, scopes)[: len(head)]
    assert len(head) == (24 if scopes else 16 if ports else 8)


def test_rules_are_as_the_kernel_reads_them() -> None:
    """``struct landlock_path_beneath_attr`` is packed, and has 12 bytes."""
    assert landlock.encode_path_rule(0x1FFF, 7) == bytes.fromhex("ff1f000000000000 07000000")
    assert landlock.encode_port_rule(3, 443) == bytes.fromhex("0300000000000000 bb01000000000000")


def test_every_right_is_in_some_word() -> None:
    """What no word gives could never be allowed; devices cannot be made at all."""
    given = landlock.WRITING | landlock.RUNNING
    assert landlock.handled(7)[0] & ~given == landlock.MAKE_CHAR | landlock.MAKE_BLOCK
    assert landlock.READING & landlock.WRITING == landlock.READING


@pytest.mark.parametrize(
    ("abi", "sentences"),
    [
        (
            0,
            [
                "--sandbox: this system has no Landlock, so nothing is closed but setuid programs: "
                "use Linux 6.7 or later, with lsm=landlock"
            ],
        ),
        (
            1,
            [
                "--sandbox: this system has version 1 of Landlock, which does not close truncating files and "
                "TCP ports: use Linux 6.7 or later"
            ],
        ),
        (
            3,
            [
                "--sandbox: this system has version 3 of Landlock, which does not close TCP ports: "
                "use Linux 6.7 or later"
            ],
        ),
        (4, []),
        (7, []),
    ],
)
def test_what_a_version_leaves_open_is_said(abi: int, sentences: list[str]) -> None:
    """One sentence, for the log."""
    assert explain_lack(abi) == sentences


def test_threads_outside_of_it_are_said() -> None:
    """A sandbox holds the thread that closes it, and what comes of that."""
    assert explain_threads(1) == []
    assert explain_threads(5) == [
        "--sandbox: 4 other threads ran already and are not in it: "
        "start threads in a service, not while the application loads"
    ]


def test_asking_for_the_version_changes_nothing() -> None:
    """It is a number, whatever this kernel has."""
    assert landlock.read_abi() >= 0
    assert os.listdir("/")
