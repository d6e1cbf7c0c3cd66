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
    """Return *name*, numbered if it is *taken*."""
    number = 1
    found = name
    while found in taken:
        number += 1
        found = f"{name}-{number}"
    return found
