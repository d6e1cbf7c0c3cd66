"""
Load all of plait that may be needed later, before another user is become.

Python may lie where that user cannot read, in somebody's home for example; what is loaded by then works none the less.
"""

from __future__ import annotations

import os
from importlib import import_module

from plait import __path__

PACKAGES = ("", "tree", "services", "process", "runner")


def preload() -> None:
    """Import every module of these packages; one that needs an extra which is not installed is left out."""
    for package in PACKAGES:
        for name in sorted(os.listdir(os.path.join(__path__[0], package))):
            stem, kind = os.path.splitext(name)
            if kind == ".py" and stem not in ("__init__", "__main__", "preload"):
                try:
                    import_module(".".join(part for part in ("plait", package, stem) if part))
                except ImportError:
                    pass
    import encodings.idna  # noqa: F401 - names of hosts
    import linecache  # noqa: F401 - tracebacks
