"""
What holds for every test of a guest.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet import tcp

from tests.system.daemon import Place

# The first port that listens makes Twisted open a descriptor, which it keeps: no test is to be blamed for it.
tcp._reservedFD.reserve()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A folder to start plaitd in, where nothing may be left."""
    with Place(tmp_path) as place:
        yield place
        place.assert_nothing_left()


@pytest.fixture
def public() -> Iterator[Place]:
    """The same where everybody may write: pytest's own folders are closed to other users."""
    with tempfile.TemporaryDirectory() as root:
        os.chmod(root, 0o755)
        with Place(Path(root)) as place:
            place.folder.chmod(0o777)
            (place.root / "told").chmod(0o666)
            yield place
            place.assert_nothing_left()
