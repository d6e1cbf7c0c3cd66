"""What packages offer, read from the folders where they lie."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from plait.runner.entry_points import EntryPoint, normalize, scan

GROUP = "plait.plugins"


def install(folder: Path, directory: str, text: str) -> None:
    """Put the metadata of a package into *folder*."""
    (folder / directory).mkdir(parents=True)
    (folder / directory / "entry_points.txt").write_text(text)


def test_reads_what_packages_list_under_the_group(tmp_path: Path) -> None:
    """Wheels and eggs, with or without a version; other groups, comments and extras do not matter."""
    install(
        tmp_path,
        "plait_web-1.0.post1.dist-info",
        "# a comment\n[console_scripts]\nweb = a:b\n\n[ plait.plugins ]\n; web = no:no\nweb=web.plugin:serve [fast]\n"
        "dns = web.dns : serve\n[other]\nnot = me:me\n",
    )
    install(tmp_path, "mail.egg-info", "[plait.plugins]\r\nmail = mail:serve\r\n")
    install(tmp_path, "other-1.0.dist-info", "[plait.reactors]\nrloop = rloop:new\n")
    (tmp_path / "bare-1.0.dist-info").mkdir()
    folder = str(tmp_path)

    assert scan(GROUP, [folder]) == [
        EntryPoint("dns", "web.dns:serve", "plait-web", folder),
        EntryPoint("mail", "mail:serve", "mail", folder),
        EntryPoint("web", "web.plugin:serve", "plait-web", folder),
    ]
    assert [each.name for each in scan("plait.reactors", [folder])] == ["rloop"]


def test_of_a_package_that_is_there_twice_the_first_counts(tmp_path: Path) -> None:
    """As for imports, whatever the spelling of its name."""
    install(tmp_path / "first", "Plait_Web-2.0.dist-info", "[plait.plugins]\nweb = new:serve\n")
    install(tmp_path / "second", "plait.web-1.0.dist-info", "[plait.plugins]\nweb = old:serve\nftp = old:ftp\n")
    path = [str(tmp_path / "first"), str(tmp_path / "second")]

    assert [each.target for each in scan(GROUP, path)] == ["new:serve"]
    assert [each.target for each in scan(GROUP, path[::-1])] == ["old:ftp", "old:serve"]
    assert normalize("Plait__Web") == normalize("plait.web") == "plait-web"


def test_what_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    """A folder that is none, an archive, bytes that are no text."""
    install(tmp_path, "odd-1.0.dist-info", "")
    (tmp_path / "odd-1.0.dist-info" / "entry_points.txt").write_bytes(b"[plait.plugins]\nodd = \xff:serve\nbare\n")
    (tmp_path / "file").touch()

    found = scan(GROUP, [str(tmp_path / "gone"), str(tmp_path / "file"), str(tmp_path), str(tmp_path)])
    assert [each.name for each in found] == ["odd"]


def test_an_empty_entry_of_the_path_is_the_present_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for imports."""
    install(tmp_path, "here.egg-info", "[plait.plugins]\nhere = here:serve\n")
    monkeypatch.chdir(tmp_path)

    assert [each.name for each in scan(GROUP, [""])] == ["here"]


def test_an_archive_is_asked_when_nothing_else_has_the_name(tmp_path: Path) -> None:
    """What only importlib.metadata finds is found, by name."""
    archive = tmp_path / "packed-1.0-py3-none-any.whl"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("packed-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: packed\nVersion: 1.0\n")
        file.writestr("packed-1.0.dist-info/entry_points.txt", "[plait.plugins]\npacked = packed:serve\n")
    # In a process of its own: importlib.metadata keeps archives open.
    code = (
        "from plait.runner.entry_points import find, scan\n"
        "print([each.name for each in scan('plait.plugins') if each.package == 'packed'])\n"
        "print(find('plait.plugins', 'packed'), find('plait.plugins', 'nothing'))"
    )
    environment = os.environ | {"PYTHONPATH": str(archive)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)

    assert done.stdout == f"[]\n{[EntryPoint('packed', 'packed:serve', 'packed')]} []\n"
