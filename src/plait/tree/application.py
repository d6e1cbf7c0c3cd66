"""
Group and Application: order, names.

Both are values.  The order of the children is the order in which they start; the reverse of the order in which they
really started is the order in which they stop.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from plait.errors import ConfigurationError
from plait.tree.policy import STRATEGIES, Backoff, Limit, Strategy
from plait.tree.service import Context, Service, refuse, show
from plait.values import field, value

if TYPE_CHECKING:
    from plait.endpoints import Endpoint
    from plait.tree.hosting import Hosting


@value
class Group(Service[Any]):
    """
    Services that live and are kept alive together; itself a service, so groups nest.

    *children* start in order, each after the one before is ready, and stop in reverse.  When one fails and is to run
    again, *strategy* says who else is replaced: ``"one_for_one"`` nobody, ``"rest_for_one"`` those after it,
    ``"one_for_all"`` all.  Needing more restarts than *limit* allows, the group stops its children and fails, and its
    own parent decides.  *backoff* is the wait before a restart, for children that bring none of their own.

    A group has no time-outs of its own unless you give them: its children have theirs.  What the ``run`` of a subclass
    does after its children have stopped may take *end_timeout* seconds.
    """

    name: str = ""
    children: Iterable[Service[Any]] = ()
    strategy: Strategy = field(default="one_for_one", kw_only=True)
    limit: Limit = field(default=Limit(), kw_only=True)
    backoff: Backoff = field(default=Backoff(), kw_only=True)
    start_timeout: float | None = field(default=None, kw_only=True)
    stop_timeout: float | None = field(default=None, kw_only=True)
    #: Is it one service, that has others in it?  Then it is replaced when it is changed, where in another group the
    #: changed children are; and its time-outs bound what it does itself, not what its children do.
    is_one: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            children = tuple(self.children)
        except TypeError:
            refuse(self, "children", "wanted a list of services")
        object.__setattr__(self, "children", children)
        names = set()
        for child in children:
            if not isinstance(child, Service):
                hint = ": decorate the function with @service" if callable(child) else ""
                raise ConfigurationError(f"{self.name}: children: {show(child)} is not a service{hint}")
            if isinstance(child, Application):
                raise ConfigurationError(f"{self.name}: children: {child.name!r} is an Application: make it a Group")
            if child.name in names:
                raise ConfigurationError(f"{self.name}: children: two services are called {child.name!r}: give name=")
            names.add(child.name)
        if self.strategy not in STRATEGIES:
            refuse(self, "strategy", f"wanted one of {', '.join(STRATEGIES)}")
        if not isinstance(self.limit, Limit):
            refuse(self, "limit", "wanted a Limit, such as Limit(restarts=5, seconds=60)")
        if not isinstance(self.backoff, Backoff):
            refuse(self, "backoff", "wanted a Backoff, such as Backoff(base=0.5, cap=60)")

    async def run(self, context: Context[Any]) -> None:
        """Keep the children alive: the supervisor of this group is its life."""
        await context.supervise()

    def late_hint(self, waits: str) -> str:
        """Return what to do when it was not ready within *start_timeout*: it is when its services are."""
        return f"it waits {waits}: let that take less time, or raise start_timeout="

    @property
    def end_timeout(self) -> float:
        """How many seconds its life may go on when its children have stopped."""
        return 10.0

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return where its services listen, in order."""
        return tuple(endpoint for child in self for endpoint in child.endpoints())

    def __iter__(self) -> Iterator[Service[Any]]:
        return iter(self.children)

    def __len__(self) -> int:
        return len(self.children)  # type: ignore[arg-type]

    def __bool__(self) -> bool:
        return True

    def walk(self, path: str = "") -> Iterator[tuple[str, Service[Any]]]:
        """Yield the path and the value of this group and of everything in it, parents first."""
        path = f"{path}/{self.name}" if path else self.name
        yield path, self
        for child in self:
            if isinstance(child, Group):
                yield from child.walk(path)
            else:
                yield f"{path}/{child.name}", child

    def __str__(self) -> str:
        return draw(self)


@value
class Application(Group):
    """
    Everything a running server is: the root of a tree of services.

    *stop_timeout* bounds the stop of the whole tree, in seconds; what still runs then is left behind, by name.
    """

    stop_timeout: float | None = field(default=30.0, kw_only=True)

    def hosting(self) -> Hosting | None:
        """Return what ``plaitd`` is to do for it besides running the tree; None but for a guest's."""
        return None

    def __post_init__(self) -> None:
        super().__post_init__()
        seen = set()
        for endpoint in self.endpoints():
            if endpoint in seen:
                raise ConfigurationError(
                    f"{self.name}: two services listen on {endpoint}: give one of them another, or make them one"
                )
            seen.add(endpoint)


def draw(group: Group, note: Any = None) -> str:
    """Return a picture of *group* in lines; ``note(path)`` may say something about each service."""
    lines: list[str] = []

    def add(service: Service[Any], path: str, lead: str, indent: str) -> None:
        path = f"{path}/{service.name}" if path else service.name
        text = f"{lead}{service.name}"
        if note is not None:
            text += f"  {note(path)}"
        elif isinstance(service, Group) and (len(service) or not service.is_one):
            text += "" if service.strategy == "one_for_one" else f"  ({service.strategy})"
        else:
            text += f"  {service!r}"
        lines.append(text)
        if isinstance(service, Group):
            last = len(service) - 1
            for number, child in enumerate(service):
                end = number == last
                add(child, path, indent + ("└── " if end else "├── "), indent + ("    " if end else "│   "))

    add(group, "", "", "")
    return "\n".join(lines)
