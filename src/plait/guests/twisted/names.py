"""
The names of Twisted services in the tree
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any


def name_of(service: Any) -> str:
    """Return the name of a Twisted service, or that of its class."""
    return word(service.name) if service.name else word(type(service).__name__)


def word(text: object) -> str:
    """Return *text* as a name in plait's tree may be."""
    name = "".join("-" if sign in "/ " or not sign.isprintable() else sign for sign in str(text)).lstrip(".")
    return name or "twisted"


def unique(name: str, taken: Collection[str]) -> str:
    """Return *name*, numbered if it is *taken*: with the first free number, where the lower ones are taken."""
    if name not in taken:
        return name
    free = 2
    while f"{name}-{free}" in taken:
        free *= 2
    used = free // 2
    # Among ten thousand of one class, asking for each number would take half a minute.
    while free - used > 1:
        middle = (used + free) // 2
        if f"{name}-{middle}" in taken:
            used = middle
        else:
            free = middle
    return f"{name}-{free}"
