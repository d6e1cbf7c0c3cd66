"""
Event loops by name: how each is made, which can be used here, and why the others cannot.

An event loop is made by a function, a *factory*, that the runner calls once, when the process is prepared.  Nothing
here changes what ``asyncio`` makes for others.  A package offers loops through the entry-point group
``plait.reactors``: a name, and a function without arguments that returns an event loop; the first line of its docstring
describes it.  What is installed is searched only for names that are not known here.
"""

from __future__ import annotations

import asyncio
import select
import selectors
from collections.abc import Callable, Iterator
from functools import reduce
from importlib import import_module
from typing import TYPE_CHECKING, Any

from plait.errors import ConfigurationError
from plait.runner.options import nearest

if TYPE_CHECKING:
    from plait.runner.entry_points import EntryPoint

Factory = Callable[[], asyncio.AbstractEventLoop]

#: The entry-point group of packages that offer loops.
GROUP = "plait.reactors"

#: What each name that is known here stands for, for people.
KNOWN = {
    "auto": "uvloop where it is installed, else asyncio",
    "asyncio": "the standard library's, with the best selector of the system",
    "uvloop": "made of libuv, the fastest of these",
    "epoll": "the standard library's with epoll",
    "poll": "the standard library's with poll: for systems and sandboxes without epoll",
    "select": "the standard library's with select: below 1024 descriptors only",
    "rloop": "made of Rust's mio; young: no TLS, and no connections to unix sockets",
}
#: Loops of packages of their own, each in an extra of the same name.
EXTRAS = ("uvloop", "rloop")
#: The selectors by the names of their loops, and what a system must have for them.
SELECTORS = {"epoll": "EpollSelector", "poll": "PollSelector", "select": "SelectSelector"}


def loop_factory(name: str) -> Factory:
    """
    Return what makes the event loop *name*; ``auto`` is uvloop where that can be loaded, else asyncio.

    Raises `ConfigurationError` for a name that there is not, and for a loop that cannot be used here, with the reason.
    What is returned raises it when no loop comes of it.
    """
    if name == "auto":
        try:
            return _find("uvloop")
        except ConfigurationError:
            return asyncio.new_event_loop
    try:
        return _find(name)
    except ConfigurationError as error:
        raise ConfigurationError(f"--reactor={name}: {error}") from error.__cause__


def describe_reactors() -> str:
    """Return what ``--help-reactors`` prints: the loops that can be used here, and the others, with the reasons."""
    usable: list[tuple[str, str]] = []
    others: list[tuple[str, str]] = []
    for name, says in _all():
        try:
            factory = loop_factory(name) if name == "auto" else _find(name)
        except ConfigurationError as error:
            others.append((name, str(error).removesuffix(", or take asyncio")))
        else:
            usable.append((name, says or _first_line(factory)))
    width = max(len(name) for name, _ in usable + others)
    lines = ["Event loops for --reactor=NAME that can be used here:", ""]
    lines += [f"  {name:<{width}}  {says}".rstrip() for name, says in usable]
    if others:
        lines += ["", "and those that cannot:", ""]
        lines += [f"  {name:<{width}}  {why}" for name, why in others]
    return "\n".join(lines) + "\n"


def _find(name: str) -> Factory:
    """Return the factory of *name*, or raise `ConfigurationError` that says why there is none."""
    if name == "asyncio":
        return asyncio.new_event_loop
    if name in EXTRAS:
        try:
            module = import_module(name)
        except ModuleNotFoundError as error:
            if error.name not in (name, None):
                raise _broken(name, error) from error
            raise ConfigurationError(f"is not installed here: pip install plait[{name}], or take asyncio") from None
        except Exception as error:
            raise _broken(name, error) from error
        factory: Factory = module.new_event_loop
        return factory
    if name in SELECTORS:
        if not hasattr(select, name):
            raise ConfigurationError(f"this system has no {name}: take asyncio, which finds what it has")
        selector: Callable[[], selectors.BaseSelector] = getattr(selectors, SELECTORS[name])
        return lambda: asyncio.SelectorEventLoop(selector())
    return _offered(name)


def _broken(package: str, error: BaseException) -> ConfigurationError:
    return ConfigurationError(f"{package} cannot be loaded ({_describe(error)}): install it anew, or take asyncio")


def _describe(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


# What packages offer ------------------------------------------------------------------------------------------------


def _all() -> Iterator[tuple[str, str]]:
    """Yield each name, and what it says of itself if that is known here."""
    from plait.runner.entry_points import scan

    yield from KNOWN.items()
    yield from ((name, "") for name in sorted({each.name.lower() for each in scan(GROUP)} - KNOWN.keys()))


def why_unknown(name: str) -> str:
    """Return the sentence about a *name* that no event loop has, here or in a package; empty if one has it."""
    if name in KNOWN or _offers(name):
        return ""
    near = nearest(name, [known for known, _ in _all()])
    return f"there is no such event loop{near}: see plaitd --help-reactors"


def _offers(name: str) -> list[EntryPoint]:
    from plait.runner.entry_points import find, scan

    return [each for each in scan(GROUP) if each.name.lower() == name] or find(GROUP, name)


def _offered(name: str) -> Factory:
    """Return the factory that a package offers by this *name*."""
    found = _offers(name)
    if not found:
        raise ConfigurationError(why_unknown(name))
    if len(found) > 1:
        packages = " and ".join(each.package for each in found)
        raise ConfigurationError(f"is offered by {packages}: uninstall one of them, or take asyncio")
    package, target = found[0].package, found[0].target
    module, _, attribute = target.partition(":")
    try:
        offered: Any = reduce(getattr, attribute.split("."), import_module(module))
    except Exception as error:
        raise _broken(package, error) from error
    if not callable(offered):
        raise ConfigurationError(f"{package} offers {target}, which is no function: tell its author, or take asyncio")

    def make() -> asyncio.AbstractEventLoop:
        try:
            loop = offered()
        except Exception as error:
            raise ConfigurationError(
                f"--reactor={name}: {package} cannot make its event loop ({_describe(error)}): take asyncio"
            ) from error
        if not isinstance(loop, asyncio.AbstractEventLoop):
            raise ConfigurationError(
                f"--reactor={name}: {package} made {type(loop).__name__}, which is no event loop: "
                "tell its author, or take asyncio"
            )
        return loop

    make.__doc__ = offered.__doc__
    return make


def _first_line(factory: Factory) -> str:
    return (factory.__doc__ or "").strip().partition("\n")[0].strip()
