"""
A function as a service: what the decorator `service` makes.
"""

from __future__ import annotations

from typing import Any, TypeVar

from plait.tree.service import Context, Function, Service
from plait.values import fields, value

T = TypeVar("T")


@value
class FunctionService(Service[T]):
    """A service whose ``run`` is a function; made by `service`."""

    function: Function[T]

    def default_name(self) -> str:
        """Return the name of the function."""
        return getattr(self.function, "__name__", "function")

    async def run(self, context: Context[T]) -> None:
        """Call the function."""
        waits = self.function(context)
        if not hasattr(waits, "__await__"):
            name = self.default_name()
            raise TypeError(f"{name} is not async: write async def {name}(context), without yield")
        await waits

    def __reduce__(self) -> tuple[Any, ...]:
        # Under its decorator the function's own name means this service, so pickle cannot find the function by name:
        # travel as "the service of that name, with these fields".
        function = self.function
        given = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "function"}
        return _rebuild, (function.__module__, getattr(function, "__qualname__", ""), given)


def _rebuild(module: str, name: str, given: dict[str, Any]) -> FunctionService[Any]:
    import importlib

    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return FunctionService(found.function if isinstance(found, FunctionService) else found, **given)
