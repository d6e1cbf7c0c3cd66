"""
What plaitd does differently where it is called twistd: so that programs that start twistd find what they start.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from plait.values import replace

if TYPE_CHECKING:
    from plait.runner.options import Option
    from plait.runner.settings import Settings

    Given = tuple[Option, str, str]

#: What twistd runs when nothing is named.
DEFAULT_FILE = "twistd.tap"


def without_dropped(given: Iterable[Given]) -> list[Given]:
    """Return what was *given* without the options that plaitd does not have, each of which it says it leaves out."""
    kept: list[Given] = []
    for option, flag, text in given:
        if option.dropped:
            _warn(f"{flag}: left out: {option.dropped}")
        else:
            kept.append((option, flag, text))
    return kept


def adapt(settings: Settings) -> Settings:
    """Return *settings* as twistd would understand them."""
    settings = replace(settings, called="twistd")
    named = (settings.target, settings.python, settings.file, settings.source)
    if not any(named) and os.path.exists(DEFAULT_FILE):
        settings = replace(settings, file=DEFAULT_FILE)
    if settings.syslog and not os.path.exists(settings.syslog_address):
        _warn(f"--syslog: left out: there is no syslog daemon at {settings.syslog_address}")
        settings = replace(settings, syslog=False)
    return settings


def _warn(text: str) -> None:
    print(f"plaitd: {text}", file=sys.stderr)
