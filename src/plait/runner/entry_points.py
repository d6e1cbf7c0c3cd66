"""
What installed packages offer under the name of a group, found without importing any of them.

`importlib.metadata` knows more places, and costs 30 ms to import and to ask; this reads the one small file of each
package that lies in a folder of ``sys.path``.  `find` asks both, in this order.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator

from plait.values import Value, value


@value
class EntryPoint(Value):
    """What *package* offers as *name*: *target*, ``module:attribute``.  *folder* is where the package was found."""

    name: str
    target: str
    package: str
    folder: str = ""


def scan(group: str, path: Iterable[str] | None = None) -> list[EntryPoint]:
    """
    Return what is offered under *group* by the packages in the folders of *path* (``sys.path``), sorted by name.

    Of a package that is there twice the first counts, as it does for imports.  What cannot be read is left out.
    """
    found: list[EntryPoint] = []
    seen: set[str] = set()
    for folder in dict.fromkeys(sys.path if path is None else path):
        for package, file in _find_files(folder or os.curdir):
            key = normalize(package)
            if key not in seen:
                seen.add(key)
                found += [EntryPoint(name, target, package, folder) for name, target in _read(file, group)]
    return sorted(found, key=lambda each: (each.name, each.package))


def find(group: str, name: str) -> list[EntryPoint]:
    """Return all that is offered under *group* as *name*, wherever Python can find a package."""
    found = [each for each in scan(group) if each.name == name]
    if found:
        return found
    from importlib.metadata import entry_points  # archives, and whatever has a finder of its own

    return [
        EntryPoint(each.name, each.value, each.dist.name if each.dist else "")
        for each in entry_points(group=group, name=name)
    ]


def normalize(package: str) -> str:
    """Return the name of a package as names are compared: ``Plait.Web`` and ``plait_web`` are the same."""
    return "-".join(part for part in package.lower().replace("_", "-").replace(".", "-").split("-") if part)


def _find_files(folder: str) -> Iterator[tuple[str, str]]:
    """Yield the name of each package in *folder*, with the path of the file that would list what it offers."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if entry.name.endswith((".dist-info", ".egg-info")))
    except OSError:
        return  # no folder: an archive, or nothing at all
    for name in names:
        # "plait_web-1.0.dist-info", and without a version for what is installed from where it is written.
        package = name.rpartition(".")[0].partition("-")[0].replace("_", "-")
        yield package, os.path.join(folder, name, "entry_points.txt")


def _read(file: str, group: str) -> Iterator[tuple[str, str]]:
    """Yield the names and targets that *file* lists under *group*."""
    try:
        with open(file, "rb") as opened:
            data = opened.read()
    except OSError:
        return  # it offers nothing
    if group.encode() not in data:
        return
    section = ""
    for line in data.decode("utf-8", "replace").splitlines():
        line = line.strip()
        if line.startswith("["):
            section = line.strip("[]").strip()
        elif section == group and "=" in line and not line.startswith(("#", ";")):
            name, _, target = line.partition("=")
            yield name.strip(), target.partition("[")[0].replace(" ", "")
