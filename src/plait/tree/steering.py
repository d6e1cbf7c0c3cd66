"""
What a person, or a new value, may ask of a group while it lives.

The plain functions are handled in the supervisor's inbox, like all else it hears; the coroutines put something into it
and wait for what comes of it.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from plait.errors import PlaitError
from plait.events import State
from plait.tree.child import Child
from plait.tree.sweep import Sweep

if TYPE_CHECKING:
    from plait.tree.application import Group
    from plait.tree.service import Service
    from plait.tree.supervisor import Supervisor


def stop_by_hand(supervisor: Supervisor, child: Child) -> None:
    """Stop *child*, and keep it stopped."""
    child.held = True
    sweep, child.sweep = child.sweep, None
    if child.state is State.WAITING:
        supervisor.drop_timer(child)
        child.move(State.STOPPED)
    if sweep is not None:
        supervisor.advance(sweep)
    if child.task is not None and supervisor.final is None:
        supervisor.run(Sweep((child,), ()))
    elif child.task is not None and child.state is not State.STOPPING:
        supervisor.ask(child)  # everything stops, and its turn has come


def start_by_hand(supervisor: Supervisor, child: Child) -> None:
    """Start *child* unless it lives; if it is waiting to start again, start it now, if it is stopping, after that."""
    if supervisor.final is not None or (child.task is not None and child.state is not State.STOPPING):
        return
    if child.task is not None:
        child.held = False
        supervisor.run(Sweep((child,), (child,)))
        return
    supervisor.drop_timer(child)
    child.held = False
    sweep = Sweep((), (child,))
    sweep.by_hand = True
    supervisor.run(sweep)


def restart_by_hand(supervisor: Supervisor, child: Child) -> None:
    """Replace *child* as the strategy says."""
    if supervisor.final is None:
        child.held = False
        supervisor.replace(child, 0.0)


async def add(supervisor: Supervisor, service: Service[Any]) -> str:
    """Add *service* at the end and start it; see `Tree.add`."""
    if not supervisor.is_alive:
        raise PlaitError(f"{supervisor.path}: is {supervisor.child.state}: start it first")
    known = supervisor.children.get(service.name)
    if known is not None:
        raise PlaitError(f"{known.path}: is already there: give the new one another name=")
    child = Child(supervisor.tree, service, supervisor)
    child.dynamic = True
    await _insert(supervisor, child)
    return child.path


async def _insert(supervisor: Supervisor, child: Child) -> None:
    sweep = Sweep((), (child,))
    sweep.first = child
    sweep.done = supervisor.tree.loop.create_future()
    supervisor.children[child.service.name] = child
    supervisor.post(supervisor.run, sweep)
    try:
        await sweep.done
    except asyncio.CancelledError:
        if supervisor.is_alive:
            await remove(supervisor, child)
        raise
    except BaseException:
        supervisor.tree.release(child.service)
        raise


async def remove(supervisor: Supervisor, child: Child) -> None:
    """Stop *child* and forget it; see `Tree.remove`."""
    name = child.service.name
    await retire(supervisor, (name,))
    if not child.dynamic:
        _set_children(supervisor, tuple(service for service in supervisor.group if service.name != name))
    supervisor.tree.release(child.service)


def _set_children(supervisor: Supervisor, children: tuple[Service[Any], ...]) -> None:
    """Change the value of a group, and so of the groups above it: a restart of any of them must see it."""
    group = replace(supervisor.group, children=children)
    supervisor.child.service = group
    above = supervisor.child.group
    if above is not None:
        _set_children(above, tuple(group if service.name == group.name else service for service in above.group))


async def retire(supervisor: Supervisor, names: tuple[str, ...]) -> None:
    """Stop the children of these names, in reverse of their actual start order, and forget them."""
    gone = [supervisor.children[name] for name in names if name in supervisor.children]
    if not gone:
        return
    sweep = Sweep((), ())
    sweep.done = supervisor.tree.loop.create_future()
    supervisor.post(_retire, supervisor, sweep, gone)
    await sweep.done
    supervisor.leaving = [child for child in supervisor.leaving if child.task is not None]


def _retire(supervisor: Supervisor, sweep: Sweep, gone: list[Child]) -> None:
    for child in gone:
        supervisor.children.pop(child.service.name, None)
        supervisor.drop_timer(child)
        other, child.sweep = child.sweep, None
        if child.state is State.WAITING:
            child.move(State.STOPPED)
        if child.over:
            supervisor.set_over(child, False)
        if other is not None:
            supervisor.advance(other)
    supervisor.leaving += [child for child in gone if child.task is not None]
    sweep.stop(gone)
    supervisor.run(sweep)


def rewrite(supervisor: Supervisor, group: Group) -> None:
    """Take *group* as the new value: its settings, its order, and children that `enter` will start."""
    old = supervisor.group
    supervisor.child.service = group
    known, supervisor.children = supervisor.children, {}
    for service in group:
        child = known.pop(service.name, None)
        if child is None:
            child = Child(supervisor.tree, service, supervisor)
        elif child.supervisor is None:
            child.service = service  # equal to what it was
        supervisor.children[service.name] = child
    supervisor.children.update(known)  # added at run time: they stay, at the end
    for service in old:
        supervisor.tree.release(service)


async def enter(supervisor: Supervisor, names: tuple[str, ...]) -> None:
    """Start the children of these names, in order."""
    if not names or not supervisor.is_alive:
        return
    sweep = Sweep((), ())
    sweep.done = supervisor.tree.loop.create_future()
    supervisor.post(_enter, supervisor, sweep, names)
    await sweep.done


def _enter(supervisor: Supervisor, sweep: Sweep, names: tuple[str, ...]) -> None:
    sweep.start(supervisor.children[name] for name in names)
    supervisor.run(sweep)
