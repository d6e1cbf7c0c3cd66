"""
A log handler of people's own: what `--logger package.module:factory` names
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from logging import LogRecord
from typing import Any

from plait.errors import ConfigurationError
from plait.runner.names import failed, find, show_type


def find_factory(name: str) -> Callable[[], Any]:
    """
    Import *name*, ``package.module:factory`` or as twistd has it ``package.module.factory``; raises ConfigurationError.

    It is looked for from the folder of the start too, as an application is.
    """
    target = name if ":" in name else ":".join(name.rsplit(".", 1))
    try:
        factory = find(target, "shop.logs:make_handler")
    except ConfigurationError as error:
        raise ConfigurationError(f"--logger: {error}") from error
    if not callable(factory):
        raise ConfigurationError(
            f"--logger: {name}: is {show_type(factory)}: name a callable that returns a logging.Handler"
        )
    return factory  # type: ignore[no-any-return]


def make_handler(name: str, path_of: Callable[[], str]) -> logging.Handler:
    """
    Call the factory *name* and return its handler; raises ConfigurationError when it gives none.

    It may give a log observer of a framework whose application runs.
    Each record that the handler gets has the attribute ``plait_path``, the path of the service that it comes from.
    """
    factory = find_factory(name)
    try:
        handler = factory()
    except (Exception, SystemExit) as error:
        raise ConfigurationError(f"--logger: {failed(name, error)}") from error
    if not isinstance(handler, logging.Handler):
        from plait.runner.guests import make_handler as make_guests

        guests = make_guests(handler, f"--logger: {name}", path_of)
        if guests is not None:
            return guests
        raise ConfigurationError(
            f"--logger: {name}: returned {show_type(handler)}: return an instance of logging.Handler"
        )

    def mark(record: LogRecord) -> bool:
        record.plait_path = path_of()
        return True

    handler.addFilter(mark)
    return handler
