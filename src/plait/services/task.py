"""
Task, Thread, Resource: a callable as a service
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, Unpack, overload

from plait.errors import ConfigurationError
from plait.services.thread import ThreadHost, as_failure, where_is
from plait.tree.service import Context, Service, _current, refuse, show
from plait.values import field, value

T = TypeVar("T")

if TYPE_CHECKING:
    from plait.tree.policy import Backoff, Restart

    class Options(TypedDict, total=False):
        """The fields of every service."""

        name: str
        restart: Restart
        start_timeout: float | None
        stop_timeout: float | None
        backoff: Backoff | None


_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def name_of(function: object) -> str:
    """Return the name that a service takes from *function*."""
    function = getattr(function, "func", function)  # functools.partial
    name = getattr(function, "__name__", type(function).__name__)
    return name if name.isidentifier() else name.strip("<>")


def count_wanted(service: Service[Any], name: str, most: int, wanted: str) -> int:
    """Return how many arguments the function in the field *name* must get; refuse one that needs over *most*."""
    function = getattr(service, name)
    if not callable(function):
        refuse(service, name, wanted)
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return 0  # written in C: taken at its word
    needed = [item for item in parameters if item.default is item.empty]
    positional = [item for item in needed if item.kind in _POSITIONAL]
    if len(positional) > most or any(item.kind is item.KEYWORD_ONLY for item in needed):
        refuse(service, name, wanted)
    return len(positional)


def is_async(function: object) -> bool:
    """Say whether calling *function* gives a coroutine."""
    call = getattr(type(function), "__call__", None)  # noqa: B004 - looked into, not asked whether it is there
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)


@value
class Task(Service[T]):
    """
    An async *function* that runs for as long as the service lives.

    Without parameters it is ready at once.  With one it gets the `Context` and says ``context.ready(value)`` itself.
    When it returns, the service is done; what it raises is a failure; it is stopped by cancellation.
    """

    function: Callable[..., Awaitable[object]]

    if TYPE_CHECKING:  # what it publishes is seen from its function

        @overload
        def __init__(
            self: Task[None], function: Callable[[], Awaitable[object]], **options: Unpack[Options]
        ) -> None: ...
        @overload
        def __init__(self, function: Callable[[Context[T]], Awaitable[object]], **options: Unpack[Options]) -> None: ...
        def __init__(self, function: Any, **options: Any) -> None: ...

    def __post_init__(self) -> None:
        super().__post_init__()
        wanted = "wanted an async function of no arguments, or of one, the context"
        count_wanted(self, "function", 1, wanted)
        if not is_async(self.function):
            refuse(self, "function", f"{wanted}: a blocking one belongs in a Thread")

    def default_name(self) -> str:
        """Return the name of the function."""
        return name_of(self.function)

    async def run(self, context: Context[T]) -> None:
        """Call the function."""
        function: Any = self.function
        if count_wanted(self, "function", 1, ""):
            await function(context)
        else:
            context.ready()
            await function()


@value
class Resource(Service[T]):
    """
    Something that is opened, used by others, and closed: any async context manager.

    ``factory(*arguments)`` gives it, for example a function under ``contextlib.asynccontextmanager``.  What it is
    entered as is published: ``pool = await context.need(database)``.  It is left when the service stops, without an
    exception, which is after all who started later have ended.
    """

    factory: Callable[..., AbstractAsyncContextManager[T]]
    arguments: tuple[Any, ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        made_already = hasattr(self.factory, "__aenter__") and not inspect.isclass(self.factory)
        if made_already or not callable(self.factory):
            refuse(self, "factory", "wanted a function that returns an async context manager, not one itself")
        object.__setattr__(self, "arguments", tuple(self.arguments))

    def default_name(self) -> str:
        """Return the name of the factory."""
        return name_of(self.factory)

    def late_hint(self, waits: str) -> str:
        """Return what to do when it was not ready within *start_timeout*: it is when it has been entered."""
        return f"it is still being entered, {waits}: let that take less time, or raise start_timeout="

    async def run(self, context: Context[T]) -> None:
        """Open it, publish it, close it when cancelled."""
        manager = self.factory(*self.arguments)
        if not hasattr(manager, "__aenter__"):
            if inspect.iscoroutine(manager):
                manager.close()
            raise ConfigurationError(
                f"{context.path}: {show(self.factory)} returned a {type(manager).__name__}, which is no async context"
                " manager: decorate it with contextlib.asynccontextmanager"
            )
        async with manager as value:
            context.ready(value)
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                pass  # a stop is no error to the manager: it is left as at the end of a block
        raise asyncio.CancelledError


@value
class Thread(Service[T]):
    """
    A blocking *function* in a thread of its own.

    Its first parameter is a `threading.Event` that is set when it is to end: ``def crunch(stop)``.  A second one is the
    `Context`, which may be used from the thread (but for ``need``); such a function says ``context.ready(value)``
    itself, any other is ready at once.  ``plait.current()`` and the context variables are there as in a task.

    A function without parameters cannot be told to end: its stop waits for it.  A thread cannot be killed either; one
    that does not end within *stop_timeout* is left behind, with the line on which it hangs, and does not keep the
    process from ending.
    """

    function: Callable[..., object]

    if TYPE_CHECKING:

        @overload
        def __init__(
            self: Thread[None],
            function: Callable[[], object] | Callable[[threading.Event], object],
            **options: Unpack[Options],
        ) -> None: ...
        @overload
        def __init__(
            self, function: Callable[[threading.Event, Context[T]], object], **options: Unpack[Options]
        ) -> None: ...
        def __init__(self, function: Any, **options: Any) -> None: ...

    def __post_init__(self) -> None:
        super().__post_init__()
        wanted = "wanted a function of up to two arguments: the event that tells it to stop, and the context"
        count_wanted(self, "function", 2, wanted)
        if is_async(self.function):
            refuse(self, "function", "wanted a blocking function: an async one belongs in a Task")

    def default_name(self) -> str:
        """Return the name of the function."""
        return name_of(self.function)

    async def run(self, context: Context[T]) -> None:
        """Run the function in a new thread and wait for its end."""
        wanted = count_wanted(self, "function", 2, "")
        stop = threading.Event()
        host = ThreadHost(context, speaks=wanted == 2)
        thread_context: Context[T] = Context(host, context._life)
        variables = contextvars.copy_context()
        variables.run(_current.set, thread_context)
        ended = asyncio.Event()
        errors: list[BaseException] = []

        def live() -> None:
            try:
                variables.run(self.function, *(stop, thread_context)[:wanted])
            except BaseException as error:
                errors.append(error)
            try:
                host.loop.call_soon_threadsafe(ended.set)
            except RuntimeError:
                pass  # left behind, and the loop has closed since

        # No executor: its threads would keep asyncio.run, and the process, from ending.
        thread = threading.Thread(target=live, name=context.path, daemon=True)
        __plait_where__ = lambda: where_is(thread)  # noqa: E731, F841 - read by plait.tree.stack
        thread.start()
        if not host.speaks:
            context.ready()
        cancellations = 0
        while not ended.is_set():
            try:
                await ended.wait()
            except asyncio.CancelledError:
                stop.set()
                cancellations += 1
                # The second one is the supervisor's last attempt: to end now would say that the thread did.  The third
                # is the end of the loop.
                if cancellations == 3:
                    raise
        if errors:
            raise as_failure(context.path, errors.pop())
        if cancellations:
            raise asyncio.CancelledError
