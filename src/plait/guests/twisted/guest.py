"""
What plaitd asks of this guest: to load the files, plugins and objects of Twisted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from twisted.application.service import IService

from plait import Application, ConfigurationError, Service
from plait.guests.twisted import early, logs, reactor
from plait.guests.twisted.application import host
from plait.guests.twisted.files import run_file


class Guest:
    """Twisted, as ``plait.runner.guests`` describes a guest."""

    def install(self) -> None:
        """Install the reactor."""
        reactor.install()
        early.make_when_asked()

    def load_file(self, path: str, source: bytes, given: Mapping[str, Any]) -> Service[Any]:
        """
        Run *source*, which is in the file at *path*, as twistd runs it.

        Returns the application that it defines, or service of plait.
        """
        self.install()
        try:
            found = run_file(path, source)
        except BaseException:
            reactor.install().abandon()
            raise
        reactor.install()  # it may have put another one in its place
        if isinstance(found, Service):
            return found
        application = self.adopt(found, path, given)
        if application is None:
            raise ConfigurationError(
                f"{path}: application: is {type(found).__qualname__}, which is no application: make it "
                "twisted.application.service.Application(name)"
            )
        return application

    def load_saved(self, path: str, kind: str, given: Mapping[str, Any]) -> Application:
        """Return the application that was saved in the file at *path*, as a ``pickle`` or as ``source``."""
        self.install()
        from plait.guests.twisted import saved

        return saved.load(path, kind, saves=not given.get("no_save"))

    def load_plugin(
        self,
        name: str,
        arguments: Sequence[str],
        given: Mapping[str, Any],
        failed: Callable[[str, BaseException, str], Exception],
    ) -> Application | None:
        """Return the application of the plugin *name*, or None if there is none of that name."""
        self.install()  # before any plugin is imported, which may import a reactor
        from plait.guests.twisted import plugins

        maker, broken = plugins.find_maker(name)
        if maker is None:
            for drop_in, error in broken:
                advice = f"{drop_in} may have it, for it speaks of the name: correct it, then start again"
                raise failed(drop_in, error, advice) from error
            return None
        from plait.guests.twisted import options  # not for who slips in the name

        source, insists = options.make(maker, arguments, given)
        application = host(source, name)
        return replace(application, asked=replace(application.asked, insists=insists))

    def list_plugins(self) -> list[tuple[str, str]]:
        """Return the name and the description of each plugin; imports none."""
        from plait.guests.twisted import plugins

        return plugins.list_plugins()

    def adopt(self, found: Any, where: str, given: Mapping[str, Any]) -> Application | None:
        """Return the application that *found* stands for, or None."""
        if IService(found, None) is None:
            return None
        return host(found, "application")

    def make_handler(self, made: Any, path_of: Callable[[], str]) -> logging.Handler | None:
        """Return a handler for the log observer *made*, or None if it is none."""
        return logs.make_handler(made, path_of)


guest = Guest()
