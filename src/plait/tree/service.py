"""
Service and Context: the contract of one life.

A `Service` is a value that describes; `Service.run` is one life of it; the `Context` is what that life may ask of the
tree it lives in.  What happens between two lives is not decided here but by the supervisor.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import Context as Variables
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, overload

from plait.errors import ConfigurationError, PlaitError
from plait.tree.policy import RESTARTS, Backoff, Restart
from plait.values import OpenValue, field, fields, value

if TYPE_CHECKING:
    import asyncio
    import socket

    from plait.endpoints import Endpoint
    from plait.events import Event
    from plait.tree.function import FunctionService

T = TypeVar("T")


class Host(Protocol):
    """What stands behind a `Context`: the child whose life it is.  *life* tells its lives apart."""

    path: str

    def say_ready(self, life: int, value: Any) -> None: ...
    def need(self, life: int, service: Service[Any]) -> Awaitable[Any]: ...
    def open_sockets(self, endpoint: Endpoint) -> tuple[socket.socket, ...]: ...
    def publish(self, event: Event) -> None: ...
    def supervise(self, children: Iterable[Service[Any]] | None, **options: Any) -> Awaitable[None]: ...
    def add(self, service: Service[Any]) -> Awaitable[str]: ...
    def remove(self, name: str) -> Awaitable[None]: ...
    def ask(self, name: str) -> None: ...
    def begin_again(self, name: str) -> None: ...
    def at_end(self, function: Callable[[], Awaitable[object]]) -> None: ...
    def stop(self, reason: str, exit_code: int) -> None: ...
    @property
    def is_ending(self) -> bool: ...
    @property
    def time_left(self) -> float: ...


class Context(Generic[T]):
    """
    What one life of a service may ask of the tree it lives in.

    It is handed to ``run``, and is ``plait.current()`` in whatever that life runs: its tasks, connection handlers,
    periodic functions and threads.
    """

    __slots__ = ("_host", "_life")

    def __init__(self, host: Host, life: int) -> None:
        self._host = host
        self._life = life

    @property
    def path(self) -> str:
        """Where the service is in the tree, such as ``shop/web/api``."""
        return self._host.path

    @property
    def log(self) -> logging.Logger:
        """The logger of this service: its path with dots, so that levels can be set for a branch."""
        return logging.getLogger(self._host.path.replace("/", "."))

    def ready(self, value: T | None = None) -> None:
        """
        Say that the service can serve, and publish *value* to those who need it.

        Later siblings start only after this.  It is said once in a life; a second time raises `PlaitError`.  A service
        that returns without having said it counts as ready.
        """
        self._host.say_ready(self._life, value)

    async def need(self, service: Service[U]) -> U:
        """
        Return what *service* published with ``ready``, as soon as it is ready.

        It waits while that service is starting or waiting to start again, and raises `NeedError` at once when it could
        never come: not in this tree, failed or stopped for good, starting only after the asker, or waiting for it.
        """
        return await self._host.need(self._life, service)  # type: ignore[no-any-return]

    def sockets(self, endpoint: Endpoint) -> tuple[socket.socket, ...]:
        """
        Return duplicates of the open sockets of *endpoint*; the caller closes them.

        The sockets themselves stay open between lives, so clients wait instead of being refused.  Raises `BindError`
        when they were not opened before and cannot be opened now.
        """
        return self._host.open_sockets(endpoint)

    def publish(self, event: Event) -> None:
        """Tell *event* to all who watch the tree.  A watcher that raises is logged and harms nobody."""
        self._host.publish(event)

    def stop(self, reason: str, exit_code: int = 0) -> None:
        """Stop the whole application in order, as `StopApplication` does; for callbacks, which nobody hears raise."""
        self._host.stop(reason, exit_code)

    @property
    def time_left(self) -> float:
        """How many seconds its stop, when asked for, may take before it is left behind; infinite without a limit."""
        return self._host.time_left

    @property
    def is_ending(self) -> bool:
        """Whether the whole application is about to stop, and not only this service."""
        return self._host.is_ending

    async def supervise(
        self,
        children: Iterable[Service[Any]] | None = None,
        *,
        failing: asyncio.Future[Any] | None = None,
        when_ready: Callable[[], T | None] = lambda: None,
        when_stopping: Callable[[], object] = lambda: None,
    ) -> None:
        """
        Keep *children* alive as the services of a group; this is what the ``run`` of a `Group` does.

        For a subclass of `Group` that does something of its own before and after: its ``run`` awaits this once in a
        life.  Without *children* they are those of the value.  The group is ready when they are; *when_ready* is called
        just before, and what it returns is published.  It comes back when all have stopped, and *when_stopping* is
        called once, before the first of them is asked to; raises what ended the group badly, and what *failing* gets as
        its exception, after stopping them.

        A group that stops its children itself returns a future from *when_stopping*.  They are not asked to stop then
        until that is done, but as `stop_child` says.
        """
        await self._host.supervise(children, failing=failing, when_ready=when_ready, when_stopping=when_stopping)

    async def add(self, service: Service[Any]) -> str:
        """Add *service* to this group and start it, as `Tree.add` does; for another task of a group's life."""
        return await self._host.add(service)

    async def remove(self, name: str) -> None:
        """Stop and forget the service *name* of this group, as `Tree.remove` does."""
        await self._host.remove(name)

    def stop_child(self, name: str) -> None:
        """
        Ask the service *name* of this group to stop, as `Tree.stop` does, without waiting for its end.

        Raises `NotFound` unless the group keeps a service of that name.
        """
        self._host.ask(name)

    def start_child(self, name: str) -> None:
        """Start the service *name* of this group unless it lives, as `Tree.start` does, without waiting for it."""
        self._host.begin_again(name)

    def variables_of(self, name: str) -> Variables:
        """Return context variables for what this group does for its service *name*, as that service: in its place."""
        variables = copy_context()
        variables.run(_current.set, Context(_Part(self._host, name), self._life))
        return variables

    def at_end(self, function: Callable[[], Awaitable[object]]) -> None:
        """
        Await *function* when all services of the application have stopped, before the tree has ended.

        Of several the last comes first.  All together they may take the application's ``end_timeout``.
        """
        self._host.at_end(function)

    def __repr__(self) -> str:
        return f"<Context of {self.path}>"


U = TypeVar("U")

_current: ContextVar[Context[Any]] = ContextVar("plait.context")


def current() -> Context[Any]:
    """Return the `Context` of the service that this code runs for; outside of one, raise `PlaitError`."""
    try:
        return _current.get()
    except LookupError:
        msg = "plait.current(): no service runs here: call it from a service, or from what a service started"
        raise PlaitError(msg) from None


def current_path() -> str:
    """Return the path of the service that this code runs for, or an empty string outside of one."""
    context = _current.get(None)
    return "" if context is None else context.path


def path_in(variables: Variables) -> str:
    """Return the path of the service that runs with these context *variables*, or an empty string."""
    context = variables.get(_current)
    return "" if context is None else context.path


class _Part:
    """The service *name* of the group whose life *host* has, for what is done in its place."""

    def __init__(self, host: Host, name: str) -> None:
        self._host = host
        self.path = f"{host.path}/{name}"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._host, name)


class _Subject:
    """Whom something is said about, in the place of a child."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path


@contextmanager
def speaking_of(path: str) -> Iterator[None]:
    """Let what is logged inside belong to the service at *path*, whoever's code it is that runs."""
    token = _current.set(Context(_Subject(path), 0))  # type: ignore[arg-type]
    try:
        yield
    finally:
        _current.reset(token)


@value
class Service(OpenValue, Generic[T]):
    """
    The description of something that lives: subclass it and write ``run``.

    A service is a frozen value: what one life needs to remember is a local variable of ``run``.  ``Service[T]``
    publishes a *T* with ``context.ready``.

    The rules of ``run``, complete:

    1. It is called once per life, in a task named after its path.
    2. ``context.ready(value)`` is said once, when it can serve.  Returning also counts as ready.  Not ready within
       *start_timeout* seconds is a failure.
    3. Return: done.  Raise: failed.  What happens then is *restart* and the group's strategy.
    4. ``CancelledError``: asked to stop.  Clean up in ``finally``, in at most *stop_timeout* seconds; then it is
       cancelled once more, and left behind.
    5. Being cancelled without having been asked to stop is a failure.
    6. No signals, no ``sys.exit``, no globals.  To stop the whole application raise `StopApplication`.

    *restart* is ``"always"``, ``"on-failure"`` (the default) or ``"never"``.  A time-out of None waits for ever.
    *backoff* overrides the group's.  *name* is unique in its group; without one, a service names itself after what it
    runs.
    """

    name: str = field(default="", kw_only=True)
    restart: Restart = field(default="on-failure", kw_only=True)
    start_timeout: float | None = field(default=30.0, kw_only=True)
    stop_timeout: float | None = field(default=10.0, kw_only=True)
    backoff: Backoff | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.default_name())
        check_name(self)
        if self.restart not in RESTARTS:
            refuse(self, "restart", f"wanted one of {', '.join(RESTARTS)}")
        if self.start_timeout is not None and not self.start_timeout > 0:
            refuse(self, "start_timeout", "wanted a number of seconds above 0, or None")
        if self.stop_timeout is not None and not self.stop_timeout >= 0:
            refuse(self, "stop_timeout", "wanted a number of seconds from 0, or None")

    def default_name(self) -> str:
        """Return the name of a service that was given none: its class in lower case."""
        return type(self).__name__.lower()

    async def run(self, context: Context[T]) -> None:
        """Live once.  See the rules in the class."""
        raise NotImplementedError(f"{type(self).__name__} has no run(): write async def run(self, context)")

    def late_hint(self, waits: str) -> str:
        """Return what to do when it was not ready within *start_timeout*; *waits* is what it waited for, or at."""
        return "call context.ready() in run(), or raise start_timeout="

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return where it listens: opened before privileges are dropped, kept open between its lives."""
        return ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(describe_fields(self))})"


def describe_fields(service: Service[Any]) -> list[str]:
    """Return the fields of *service* that differ from their defaults, as a person would write them."""
    texts = []
    for item in sorted(fields(service), key=lambda item: item.kw_only is True):
        value = getattr(service, item.name)
        if not item.repr or (item.kw_only and value == item.default):
            continue
        if item.name == "name" and item.kw_only and value == service.default_name():
            continue
        text = show(value)
        texts.append(f"{item.name}={text}" if item.kw_only else text)
    return texts


def show(value: object) -> str:
    """Return *value* as a person would write it: a function or class by its name, an endpoint as its string."""
    if type(value).__module__ == "plait.endpoints":
        return repr(str(value))
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(show(item) for item in value) + "]"
    name = getattr(value, "__qualname__", None)
    return name if isinstance(name, str) else repr(value)


def check_name(service: Service[Any]) -> None:
    """Refuse a name that could not be part of a path."""
    name = service.name
    if not isinstance(name, str) or "/" in name or not name.isprintable() or " " in name or name.startswith("."):
        refuse(service, "name", "wanted a word without '/', spaces or a leading dot")


def refuse(service: Service[Any], name: str, wanted: str) -> None:
    """Raise `ConfigurationError` about the field *name* of *service*."""
    value = getattr(service, name)
    where = f" {service.name}" if name != "name" else ""
    raise ConfigurationError(f"{type(service).__name__}{where}: {name}={show(value)}: {wanted}")


Function = Callable[[Context[T]], Awaitable[None]]


@overload
def service(function: Function[T], /) -> FunctionService[T]: ...
@overload
def service(**options: Any) -> Callable[[Function[T]], FunctionService[T]]: ...
def service(function: Function[T] | None = None, /, **options: Any) -> Any:
    """
    Make a service of an async function that takes a `Context`.

    Use it plain, ``@service``, or with the fields of `Service`: ``@service(restart="always")``.
    """
    from plait.tree.function import FunctionService

    if function is None:
        return lambda function: FunctionService(function, **options)
    return FunctionService(function, **options)
