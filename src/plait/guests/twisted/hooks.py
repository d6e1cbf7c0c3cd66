"""
Hooks: attributes of one service in the place of its methods, so that what others call is heard of
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Hook:
    """In the place of the method *name* of *service*: calls ``call(method, *arguments)``."""

    def __init__(self, service: Any, name: str, call: Callable[..., Any]) -> None:
        self._service = service
        self._name = name
        self._call = call
        self._own = getattr(service, "__dict__", {}).get(name)  # set before, by the application itself
        self.method = getattr(service, name)
        self.is_set = False
        try:
            setattr(service, name, self)
            self.is_set = getattr(service, name) is self
        except Exception:
            pass  # it takes no attributes: then it goes unwatched

    def remove(self) -> None:
        """Be in that place no more, unless somebody else has taken it meanwhile."""
        if not self.is_set or getattr(self._service, "__dict__", {}).get(self._name) is not self:
            return
        if self._own is not None:
            setattr(self._service, self._name, self._own)
        else:
            delattr(self._service, self._name)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self._call(self.method, *arguments, **options)

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy of the service, or one that was saved and loaded, has its own method again.
        return getattr, (self._service, self._name)

    def __repr__(self) -> str:
        return repr(self.method)
