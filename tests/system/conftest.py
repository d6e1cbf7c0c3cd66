"""What several judges of whole programs need."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.system.places import peer as peer
from tests.system.places import place as place
from tests.system.places import public as public

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "tests" / "plugin_package"


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an environment with nothing but plait and the package with the plugin; return its folder."""
    folder = tmp_path_factory.mktemp("fresh")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(folder)]
    subprocess.run([*build, str(ROOT), str(PACKAGE)], check=True, timeout=50)
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    install = [*pip, "--python", str(folder / "venv"), "install", "--no-index", "--find-links", str(folder)]
    subprocess.run([*install, "plait-greeter"], check=True, timeout=50)
    return folder / "venv"
