"""What applications are made of in these tests: all of it has a name, or is meant to have none."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import enum
import functools
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plait import Context, Endpoint, Group, Resource, Service, service


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None: ...
async def prepare(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None: ...
async def work() -> None: ...
async def follow(context: Context[None]) -> None: ...
def crunch(stop: object) -> None: ...
def sweep() -> None: ...


class EchoProtocol(asyncio.Protocol):
    """A protocol, with something callable inside."""

    @classmethod
    def make(cls) -> EchoProtocol:
        return cls()

    @staticmethod
    async def sit() -> None: ...

    def method(self) -> None: ...


@contextlib.asynccontextmanager
async def open_pool(*arguments: object) -> AsyncIterator[tuple[object, ...]]:
    yield arguments


@service
async def ticker(context: Context[None]) -> None: ...


@service(restart="always", stop_timeout=None)
async def clock(context: Context[None]) -> None: ...


class Colour(enum.Enum):
    red = 1
    green = "g"


@dataclass(frozen=True)
class Options:
    """A dataclass in a field."""

    depth: int = 1
    words: tuple[str, ...] = ()
    colour: Colour | None = None


@dataclass(frozen=True)
class Site(Service[None]):
    """A service of somebody's own, with fields of every kind."""

    root: Path
    options: Options = Options()
    flag: bool = False
    ratio: float | None = None
    tags: frozenset[str] = frozenset()
    table: Mapping[str, int] = field(default_factory=dict, hash=False)
    since: datetime.date | datetime.datetime | None = None
    pause: datetime.timedelta = datetime.timedelta(0)
    hook: Callable[..., Any] | None = None
    upstream: Endpoint | None = None
    database: Resource[Any] | None = None
    anything: Any = None
    label: str | None = "label"

    async def run(self, context: Context[None]) -> None: ...


@dataclass(frozen=True)
class Team(Group):
    """A group of somebody's own."""

    size: int = field(default=1, kw_only=True)


@dataclass(frozen=True)
class Typed(Service[None]):
    """A service with a field that is called as what TOML says first."""

    type: str = ""


# What does not know its name, and has one here.
bound = functools.partial(sweep)
unnamed = lambda: None  # noqa: E731 - its own name is "<lambda>"
echo = EchoProtocol()


def make_inner() -> Callable[[], None]:
    def inner() -> None: ...

    return inner


made = make_inner()


def hidden() -> None: ...


lost = [hidden]


def hidden() -> None: ...  # type: ignore[no-redef]
