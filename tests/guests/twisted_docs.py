"""
Twisted's own documentation, with its examples: fetched once, kept in ``build/``, never in the repository.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import pytest

VERSION = "26.10.0"
DIGEST = "5f0355403e507fc23ceea85e9dbb4bc59335aabde41dd324e8b8cea180dd38de"

KEPT = Path(__file__).parents[2] / "build" / "guests"


def fetch() -> Path:
    """Return the folder ``docs`` of Twisted's source distribution; skip the test, loudly, when it cannot be fetched."""
    docs = KEPT / f"twisted-{VERSION}" / "docs"
    if docs.is_dir():
        return docs
    KEPT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=KEPT) as name:
        folder = Path(name)
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "download", "--no-deps"]
        # pip asks each source distribution for its metadata, by building it: what that takes is in the environment.
        command += ["--no-build-isolation", "--no-binary", ":all:", "--dest", name, f"twisted=={VERSION}"]
        try:
            subprocess.run(command, capture_output=True, text=True, check=True, timeout=200)
        except subprocess.SubprocessError as error:
            said = str(getattr(error, "stderr", "") or error)
            pytest.skip(f"NOT RUN: Twisted's source distribution cannot be fetched: {said[-500:].strip()}")
        (archive,) = folder.glob("*.tar.gz")
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        assert digest == DIGEST, f"{archive.name} is not what it was: {digest}"
        with tarfile.open(archive) as file:
            file.extractall(folder, filter="data")
        # By one rename, so that a run that is ended meanwhile leaves no half of it.
        shutil.rmtree(KEPT / f"twisted-{VERSION}", ignore_errors=True)
        os.rename(folder / f"twisted-{VERSION}", KEPT / f"twisted-{VERSION}")
    return docs
