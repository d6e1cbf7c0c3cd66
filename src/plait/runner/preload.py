"""
Load all of plait that may be needed later, before another user is become, or another root folder.

Python may lie where that user cannot read, in somebody's home for example; what is loaded by then works none the less.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module

from plait import __path__

PACKAGES = ("", "tree", "services", "process", "runner")
#: What is loaded before by those who want it, and brings much with it.
NOT = ("__init__", "__main__", "preload", "debugging")

#: What the standard library itself imports when it is used: tracebacks, names of hosts, files in another encoding, ...
LATER = (
    *(
        "concurrent.futures.thread",
        "difflib",
        "encodings.ascii",
        "encodings.charmap",
        "encodings.idna",
        "encodings.latin_1",
    ),
    "encodings.punycode",
    *("encodings.utf_8_sig", "linecache", "subprocess", "tempfile", "traceback", "_strptime"),
)


def preload() -> None:
    """
    Import every module of these packages, and of the guests that are loaded.

    One that needs an extra which is not installed is left out.
    """
    loaded = [name for name, module in sys.modules.items() if hasattr(module, "__path__")]
    guests = [name.removeprefix("plait.") for name in loaded if name.startswith("plait.guests.")]
    for package in (*PACKAGES, *guests):
        for name in sorted(os.listdir(os.path.join(__path__[0], *package.split(".")))):
            stem, kind = os.path.splitext(name)
            if kind == ".py" and stem not in NOT:
                try:
                    import_module(".".join(part for part in ("plait", package, stem) if part))
                except ImportError:
                    pass
    for name in LATER:
        import_module(name)
