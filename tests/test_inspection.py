"""What `plait check` can know of an endpoint without opening it, and that it then opens nothing."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from plait import inspection
from plait.endpoints import Endpoint


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def problems(text: str) -> list[str]:
    return Endpoint.listening(text).problems()


@pytest.mark.parametrize(
    "text", ["tcp:0", "tcp:8080:interface=127.0.0.1", "udp:5353", "unix:shop", "unix:@shop", "fd:9"]
)
def test_what_is_right_has_no_problems(folder: Path, text: str) -> None:
    """And no file is left."""
    assert problems(text) == []
    assert os.listdir(folder) == []


def test_a_port_in_use_is_not_known(folder: Path) -> None:
    """To know it would mean to bind; a check never does."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        assert problems(f"tcp:{holder.getsockname()[1]}:interface=127.0.0.1") == []


def test_a_socket_that_is_in_use_or_stale_is_no_problem(folder: Path) -> None:
    """The server to be replaced may be using it; a stale one is replaced."""
    with socket.socket(socket.AF_UNIX) as holder:
        holder.bind("shop")
        assert problems("unix:shop") == []


def test_paths_that_cannot_be_bound_are_said(folder: Path) -> None:
    """In the words of the start."""
    (folder / "file").write_text("precious")
    assert problems("unix:file") == [
        "unix:file: cannot be opened (File exists): what is there is not a socket: move it away, or choose another path"
    ]
    assert problems("unix:no/shop") == [
        f"unix:no/shop: cannot be opened (No such file or directory): make the directory {folder}/no, "
        "or choose another path"
    ]
    assert problems("unix:file/shop") == [
        f"unix:file/shop: cannot be opened (Not a directory): make the directory {folder}/file, or choose another path"
    ]


def test_a_low_port_without_the_right_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Root, the capability, or a system that has no low ports make it right."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(inspection, "first_free_port", lambda: 1024)
    monkeypatch.setattr(inspection, "has_capability", lambda number: False)
    assert problems("tcp:80") == [
        "tcp:80: cannot be opened (Permission denied): ports under 1024 need root or CAP_NET_BIND_SERVICE"
    ]
    assert problems("tcp:1024") == problems("tcp:0") == []
    monkeypatch.setattr(inspection, "has_capability", lambda number: number == 10)
    assert problems("tcp:80") == []
    monkeypatch.setattr(inspection, "has_capability", lambda number: False)
    monkeypatch.setattr(inspection, "first_free_port", lambda: 80)
    assert problems("tcp:80") == []


def test_the_rights_of_this_process_are_read() -> None:
    """From the kernel: a process that is root has them all, unless some were taken from it."""
    assert 0 <= inspection.first_free_port() <= 65536
    effective = next(line for line in Path("/proc/self/status").read_text().splitlines() if "CapEff:" in line)
    assert inspection.has_capability(10) == bool(int(effective.split()[1], 16) & 1 << 10)


def test_certificates_are_tried() -> None:
    """For both sides."""
    sentence = (
        "no.pem: the certificate cannot be read (No such file or directory): "
        "check the path, and that this user may read it"
    )
    assert problems("ssl:8443:certKey=no.pem") == [sentence]
    endpoint = Endpoint.connecting("tls:h:443:certificate=no.pem:verify=0")
    assert endpoint.problems() == [sentence]
    assert Endpoint.connecting("h:1").problems() == []
