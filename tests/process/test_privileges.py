"""Whom --uid and --gid mean; what becomes of them is in tests/system."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path

import pytest

from plait.errors import ConfigurationError, UsageError
from plait.process.prepare import enter
from plait.process.privileges import find_identity


def test_nothing_asked_is_nobody_to_become() -> None:
    """Both empty: stay."""
    assert find_identity("", "") is None


def test_a_user_brings_its_group_and_groups() -> None:
    """Without --gid it is the user's own group, with --gid that one; the groups are those of the user."""
    entry = pwd.getpwnam("daemon")
    identity = find_identity("daemon", "")
    assert identity is not None
    assert (identity.uid, identity.gid, identity.shown) == (entry.pw_uid, entry.pw_gid, "--uid daemon")
    assert identity.groups == os.getgrouplist("daemon", entry.pw_gid)
    other = grp.getgrnam("nogroup").gr_gid
    identity = find_identity("daemon", "nogroup")
    assert identity is not None
    assert (identity.gid, identity.shown) == (other, "--uid daemon --gid nogroup")
    assert identity.groups == os.getgrouplist("daemon", other)


def test_a_number_is_as_good_as_a_name() -> None:
    """The number of a user who has an entry brings the same."""
    entry = pwd.getpwnam("daemon")
    named, numbered = find_identity("daemon", ""), find_identity(str(entry.pw_uid), "")
    assert named is not None
    assert numbered is not None
    assert (named.uid, named.gid, named.groups) == (numbered.uid, numbered.gid, numbered.groups)


def test_numbers_without_an_entry_are_fine() -> None:
    """As in containers: no entry, no supplementary groups."""
    identity = find_identity("54321", "54322")
    assert identity is not None
    assert (identity.uid, identity.gid, identity.groups) == (54321, 54322, [])
    identity = find_identity("", "54322")
    assert identity is not None
    assert (identity.uid, identity.gid, identity.groups) == (None, 54322, [])


@pytest.mark.parametrize(
    ("uid", "gid", "sentence"),
    [
        ("nobdy", "", "--uid nobdy: no such user: give a name of the passwd database, or a number"),
        ("-1", "", "--uid -1: no such user: give a name of the passwd database, or a number"),
        ("4294967295", "", "--uid 4294967295: no such user: give a name of the passwd database, or a number"),
        ("a\0b", "", "--uid a\0b: no such user: give a name of the passwd database, or a number"),
        ("", "nogrp", "--gid nogrp: no such group: give a name of the group database, or a number"),
        ("", "4294967295", "--gid 4294967295: no such group: give a name of the group database, or a number"),
        ("54321", "", "--uid 54321: has no passwd entry that says its group: give --gid too"),
    ],
)
def test_an_unknown_user_or_group_is_a_mistake_of_the_configuration(uid: str, gid: str, sentence: str) -> None:
    """Exit code 78 and a sentence; the number that means "leave it" to the system is none."""
    with pytest.raises(ConfigurationError) as caught:
        find_identity(uid, gid)
    assert str(caught.value) == sentence
    assert caught.value.exit_code == 78


def test_only_the_effective_numbers_are_about_somebody() -> None:
    """--euid says so in its sentences; alone it means nothing."""
    identity = find_identity("54321", "54322", effective=True)
    assert identity is not None
    assert (identity.effective, identity.is_final, identity.shown) == (True, False, "--euid --uid 54321 --gid 54322")
    with pytest.raises(UsageError) as caught:
        find_identity("", "", effective=True)
    assert str(caught.value) == "--euid: says how to become somebody else: give --uid or --gid too"


@pytest.mark.parametrize(
    ("uid", "gid", "is_final"), [("54321", "54322", True), ("0", "", False), ("root", "54322", False)]
)
def test_who_stays_root_gives_up_nothing(uid: str, gid: str, is_final: bool) -> None:
    """Only who becomes an ordinary user has no way back."""
    identity = find_identity(uid, gid)
    assert identity is not None
    assert identity.is_final is is_final


def test_the_directory_and_the_mask_are_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mask None changes nothing; a directory that cannot be entered is a sentence."""
    monkeypatch.chdir(".")
    before = os.umask(0o022)
    try:
        enter(str(tmp_path), None)
        assert Path.cwd() == tmp_path
        assert os.umask(0o022) == 0o022
        enter(".", 0o027)
        assert os.umask(0o022) == 0o027
        with pytest.raises(ConfigurationError) as caught:
            enter("no", None)
        assert (
            str(caught.value) == "no: cannot be entered (No such file or directory): make it, or give another --rundir"
        )
    finally:
        os.umask(before)
