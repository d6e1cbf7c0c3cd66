"""How a wheel gets its manual pages: they are made when it is built, from the options as they are then."""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ManualPages(BuildHookInterface[Any]):
    """Makes the pages before a wheel is built, and takes them away behind it."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Make the pages, and tell where a wheel has them."""
        spec = importlib.util.spec_from_file_location("pages", Path(self.root, "docs", "man", "pages.py"))
        assert spec is not None
        assert spec.loader is not None
        pages = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(pages)
        self.folder = Path(tempfile.mkdtemp(prefix="plait-man-"))
        for name in pages.PAGES:
            path = self.folder / f"{name}.1"
            path.write_text(pages.make_page(name), encoding="utf-8")
            build_data["shared_data"][str(path)] = f"share/man/man1/{path.name}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Take the pages away."""
        shutil.rmtree(self.folder)
