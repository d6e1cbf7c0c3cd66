"""
The public names, and nothing else.

Each is imported from its module when it is first used, so ``import plait`` costs next to nothing, and a program pays
only for the kinds of service that it names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from plait.credentials import Secret as Secret
    from plait.credentials import credential as credential
    from plait.endpoints import Endpoint as Endpoint
    from plait.errors import AlreadyRunning as AlreadyRunning
    from plait.errors import BindError as BindError
    from plait.errors import CannotCreate as CannotCreate
    from plait.errors import ConfigurationError as ConfigurationError
    from plait.errors import EndpointError as EndpointError
    from plait.errors import GaveUp as GaveUp
    from plait.errors import LeftBehind as LeftBehind
    from plait.errors import NeedError as NeedError
    from plait.errors import NotFound as NotFound
    from plait.errors import PlaitError as PlaitError
    from plait.errors import PrivilegeError as PrivilegeError
    from plait.errors import ProgramFailed as ProgramFailed
    from plait.errors import StartFailed as StartFailed
    from plait.errors import StopApplication as StopApplication
    from plait.errors import UsageError as UsageError
    from plait.events import Event as Event
    from plait.events import State as State
    from plait.events import StateChanged as StateChanged
    from plait.runner.description import from_data as from_data
    from plait.runner.runner import run as run
    from plait.services.connection import Connection as Connection
    from plait.services.connection_life import Connected as Connected
    from plait.services.connection_life import ConnectFailed as ConnectFailed
    from plait.services.connection_life import Disconnected as Disconnected
    from plait.services.line import connect as connect
    from plait.services.link import Link as Link
    from plait.services.listener import Listener as Listener
    from plait.services.program import Program as Program
    from plait.services.runs import RunFailed as RunFailed
    from plait.services.schedule import Cron as Cron
    from plait.services.schedule import Periodic as Periodic
    from plait.services.task import Resource as Resource
    from plait.services.task import Task as Task
    from plait.services.task import Thread as Thread
    from plait.tree.application import Application as Application
    from plait.tree.application import Group as Group
    from plait.tree.hosting import Hosting as Hosting
    from plait.tree.patience import StopWaits as StopWaits
    from plait.tree.policy import Backoff as Backoff
    from plait.tree.policy import Limit as Limit
    from plait.tree.running import running as running
    from plait.tree.service import Context as Context
    from plait.tree.service import Service as Service
    from plait.tree.service import current as current
    from plait.tree.service import service as service
    from plait.tree.tree import Tree as Tree
    from plait.values import value as value

#: Where each public name lives.  A test holds this against the imports above.
_HOMES = {
    "credentials": "Secret credential",
    "endpoints": "Endpoint",
    "errors": (
        "AlreadyRunning BindError CannotCreate ConfigurationError EndpointError GaveUp LeftBehind NeedError NotFound "
        "PlaitError PrivilegeError ProgramFailed StartFailed StopApplication UsageError"
    ),
    "events": "Event State StateChanged",
    "runner.description": "from_data",
    "runner.runner": "run",
    "services.connection": "Connection",
    "services.connection_life": "ConnectFailed Connected Disconnected",
    "services.line": "connect",
    "services.link": "Link",
    "services.listener": "Listener",
    "services.program": "Program",
    "services.runs": "RunFailed",
    "services.schedule": "Cron Periodic",
    "services.task": "Resource Task Thread",
    "tree.application": "Application Group",
    "tree.hosting": "Hosting",
    "tree.patience": "StopWaits",
    "tree.policy": "Backoff Limit",
    "tree.running": "running",
    "tree.service": "Context Service current service",
    "tree.tree": "Tree",
    "values": "value",
}
_MODULES = {name: f"plait.{module}" for module, names in _HOMES.items() for name in names.split()}

__all__ = ["__version__", *sorted(_MODULES)]


def __getattr__(name: str) -> object:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module 'plait' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]
