"""
Applications that Twisted saved: loaded by its own loader, and saved again when they have stopped.
"""

from __future__ import annotations

import logging
import os
import stat
from dataclasses import replace
from typing import Any

from twisted.application.service import IService, loadApplication
from twisted.persisted.sob import IPersistable

from plait import CannotCreate, ConfigurationError
from plait.guests.twisted.application import TwistedApplication, host
from plait.guests.twisted.reactor import install

log = logging.getLogger("plait")


def load(path: str, style: str, *, saves: bool) -> TwistedApplication:
    """
    Return the application that is saved in the file at *path* as *style*, ``pickle`` or ``source``.

    When it has run, and *saves*, it is saved as ``NAME-shutdown.tap`` or ``.tas`` in the folder it ran in.
    """
    try:
        if stat.S_ISFIFO(os.stat(path).st_mode):
            raise OSError(0, "it is a pipe")
        source = loadApplication(path, style)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror}): give the path of a saved file") from error
    except Exception as error:
        if style == "source" and isinstance(error, ValueError) and "needs to define an 'app'" in str(error):
            raise ConfigurationError(
                f"{path}: is Python, but nothing that was saved: give it with -y {path}"
            ) from error
        text = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConfigurationError(
            f"{path}: cannot be loaded ({text}): it needs the classes that it was saved with: set PYTHONPATH"
        ) from error
    if IService(source, None) is None:
        kind = type(source).__qualname__
        article = "an" if kind[:1].lower() in "aeiou" else "a"
        raise ConfigurationError(f"{path}: holds {article} {kind}, which is no application: save one of Twisted's")
    application = host(source, "application")
    hosting = application.asked

    def begin() -> None:
        hosting.begin()
        log.warning("%s: loading it has run what is written in it: see to it that nobody else can write it", path)

    def finish() -> None:
        try:
            if saves:
                save(source)
        finally:
            hosting.finish()

    return replace(application, asked=replace(hosting, begin=begin, finish=finish))


def save(source: Any) -> None:
    """Save *source* as it is now, if it has run; raises `CannotCreate`."""
    if not install().has_served:
        return
    persistable: Any = IPersistable(source)
    stem, end = f"{persistable.name}-shutdown", "tas" if persistable.style == "source" else "tap"
    try:
        persistable.save("shutdown")
    except Exception as error:
        try:
            os.unlink(f"{stem}-2.{end}")  # what it wrote up to there
        except OSError:
            pass  # it did not come so far
        text = " ".join(f"{type(error).__name__}: {error}".split())
        raise CannotCreate(f"{stem}.{end}: cannot be saved ({text}): leave it out with --no-save") from error
