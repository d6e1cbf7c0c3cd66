"""
TrioService: an async function of trio as a service
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypedDict, TypeVar, Unpack, overload

import trio

from plait import ConfigurationError, Context, Service, StopApplication, current, value
from plait.guests.trio.guest_run import only
from plait.guests.trio.life import Life

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

if TYPE_CHECKING:
    from plait import Backoff

    class Options(TypedDict, total=False):
        """The fields of every service."""

        name: str
        restart: Any
        start_timeout: float | None
        stop_timeout: float | None
        backoff: Backoff | None

    class Starting(Protocol[T_co]):
        """An async function that says itself when it has started, as for ``nursery.start``."""

        def __call__(self, *, task_status: trio.TaskStatus[T_co]) -> Awaitable[object]: ...


@value
class TrioService(Service[T]):
    """
    An async *function* of trio that runs for as long as the service lives.

    With a parameter called *task_status* it is one for ``nursery.start``: it says ``task_status.started(value)`` when
    it can serve, which publishes *value*.  Any other is ready as soon as it runs.

    All services of a loop share one run of trio, a task each.  When the function returns, the service is done; what it
    raises is a failure, and an exception group of one exception is that exception.  It is stopped by trio's
    cancellation; what it shields has *stop_timeout* seconds.
    """

    function: Callable[..., Awaitable[object]]

    if TYPE_CHECKING:  # what it publishes is seen from its function

        @overload
        def __init__(
            self: TrioService[None], function: Callable[[], Awaitable[object]], **options: Unpack[Options]
        ) -> None: ...
        @overload
        def __init__(self, function: Starting[T], **options: Unpack[Options]) -> None: ...
        def __init__(self, function: Any, **options: Any) -> None: ...

    def __post_init__(self) -> None:
        super().__post_init__()
        if not callable(self.function) or not _is_async(self.function) or _wants_more(self.function):
            raise ConfigurationError(
                f"TrioService {self.name}: function={_show(self.function)}: wanted an async function of no arguments,"
                " or of one, task_status"
            )

    def default_name(self) -> str:
        """Return the name of the function."""
        function = self.function
        while isinstance(function, functools.partial):
            function = function.func
        name = getattr(function, "__name__", type(function).__name__)
        return name if name.isidentifier() else name.strip("<>")

    def late_hint(self, waits: str) -> str:
        """Return what to do when it was not ready within *start_timeout*, as it may with *task_status* only."""
        return f"call task_status.started() in {self.default_name()}, or raise start_timeout="

    async def run(self, context: Context[T]) -> None:
        """Call the function in the loop's run of trio, and wait for its end."""
        function = self.function

        async def call() -> None:
            if "task_status" in _parameters(function):
                await function(task_status=_Status(context))
            else:
                context.ready()
                await function()

        life = Life(call, context.path)
        __plait_where__ = life.where  # noqa: F841 - read by plait.tree.stack
        __plait_stacks__ = life.stacks  # noqa: F841 - read by plait.runner.stacks
        await life.begin()
        cancellations = 0
        while not life.ended.is_set():
            try:
                await life.ended.wait()
            except asyncio.CancelledError:
                cancellations += 1
                if cancellations == 1:
                    life.stop()
                elif cancellations == 3:
                    # The second was the supervisor's last attempt, and to end then would say that the function did.
                    # This one is the end of the loop.
                    await life.give_up()
                    raise
        if life.error is not None:
            raise _as_failure(context, life.error)
        if cancellations:
            raise asyncio.CancelledError


class _Status(trio.TaskStatus[T], Generic[T]):
    """What a function says that it has started to: plait."""

    def __init__(self, context: Context[T]) -> None:
        self._context = context

    def started(self, value: T | None = None) -> None:
        """Say that it can serve."""
        self._context.ready(value)


async def need(service: Service[T]) -> T:
    """Return what *service* published, as ``plait.current().need`` does, but for trio to wait for."""
    context = current()
    told = trio.Event()
    task = asyncio.get_running_loop().create_task(context.need(service), name=f"{context.path} needs {service.name}")
    task.add_done_callback(lambda _: told.set())
    try:
        await told.wait()
    finally:
        task.cancel()
    return task.result()


def _as_failure(context: Context[Any], error: BaseException) -> BaseException:
    """Return what a function raised as that which its life ends with."""
    error = only(error)
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        return StopApplication(f"{context.path}: sys.exit({error.code!r})", code)
    return error


def _parameters(function: Callable[..., object]) -> dict[str, inspect.Parameter]:
    try:
        return dict(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return {}  # written in C: taken at its word


def _wants_more(function: Callable[..., object]) -> bool:
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = _parameters(function).values()
    others = [each for each in parameters if each.name != "task_status" and each.kind not in variable]
    return any(each.default is each.empty for each in others)


def _is_async(function: object) -> bool:
    while isinstance(function, functools.partial):
        function = function.func
    call = getattr(type(function), "__call__", None)  # noqa: B004 - looked into, not asked whether it is there
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)


def _show(value: object) -> str:
    return getattr(value, "__qualname__", None) or repr(value)
