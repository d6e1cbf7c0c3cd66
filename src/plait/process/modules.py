"""
Which folders of modules the user that was become cannot read.

A module that is imported later would just not be found there: better said at the start, with the reason.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable


def find_folders() -> list[str]:
    """Return the absolute paths from which this process can import modules: those that exist."""
    packages = [path for module in list(sys.modules.values()) for path in _strings(getattr(module, "__path__", None))]
    found = dict.fromkeys(os.path.abspath(path) for path in (*sys.path, *packages))
    return [path for path in found if os.path.exists(path)]


def find_unreadable(folders: Iterable[str]) -> dict[str, list[str]]:
    """
    Return those of *folders* that this process cannot read, by the topmost place that is closed to it.

    Folders inside another one of them are left out.
    """
    closed: dict[str, list[str]] = {}
    for folder in folders:
        if not os.access(folder, os.R_OK | (os.X_OK if os.path.isdir(folder) else 0), effective_ids=True):
            closed.setdefault(_find_barrier(folder), []).append(folder)
    return {
        barrier: [path for path in paths if not any(path.startswith(other + os.sep) for other in paths)]
        for barrier, paths in closed.items()
    }


def explain_unreadable(folders: Iterable[str], where: str) -> list[str]:
    """Return a sentence, beginning with *where*, about each place that keeps this process from *folders*."""
    sentences = []
    for barrier, paths in find_unreadable(folders).items():
        shown = f"{paths[0]} and {len(paths) - 1} more" if len(paths) > 1 else paths[0]
        reason = "cannot be read" if barrier == paths[0] else f"cannot be reached through {barrier}"
        sentences.append(
            f"{where}: modules in {shown} {reason}, so none is found there from now on: "
            f"make {barrier} readable, or import at the top of the application what it needs later"
        )
    return sentences


def _find_barrier(folder: str) -> str:
    """Return the topmost folder on the way to *folder* that this process may not enter, or else *folder*."""
    parts = folder.split(os.sep)
    for count in range(1, len(parts)):
        place = os.sep.join(parts[:count]) or os.sep
        if not os.access(place, os.X_OK, effective_ids=True):
            return place
    return folder


def _strings(paths: object) -> list[str]:
    try:
        return [path for path in paths if isinstance(path, str)]  # type: ignore[attr-defined]
    except TypeError:
        return []
