"""
What a service needs of another: finding it, waiting for it, knowing when it can never come.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plait.errors import NeedError
from plait.events import State, describe
from plait.tree.service import Service

if TYPE_CHECKING:
    from plait.tree.child import Child
    from plait.tree.supervisor import Supervisor

#: Out of these states a child comes only by a person's hand, or with its group.
_ENDED = frozenset({State.FAILED, State.STOPPED, State.LEFT_BEHIND, State.IDLE})


async def need(asker: Child, life: int, service: Service[Any]) -> Any:
    """Return what *service* published, waiting while it is on its way; raise `NeedError` when it can never come."""
    tree = asker.tree
    while True:
        # Found anew each time: while we waited, another application value may have been applied.
        provider = find(asker, service)
        if provider.state is State.READY or provider.state is State.DONE:
            if provider.dependants is None:
                provider.dependants = {}
            provider.dependants[asker] = life
            return provider.value
        reason = never(asker, provider)
        if reason:
            raise NeedError(f"{asker.path}: needs {provider.path}, which {reason}")
        waiter = provider.changed()
        tree.needs.add(waiter)
        asker.needs = provider
        try:
            await waiter
        finally:
            tree.needs.discard(waiter)
            asker.needs = None


def find(asker: Child, service: Service[Any]) -> Child:
    """
    Return the child that *service* describes, the nearest to *asker*.

    The same object comes first, then an equal value, then one of the same name and kind: after a reload a service may
    still hold the description of the time when it was made.
    """
    matches = (
        lambda value: value is service,
        lambda value: value == service,
        lambda value: type(value) is type(service) and value.name == service.name,
    )
    for match in matches:
        group = asker.group
        while group is not None:
            found = [child for child in group.walk() if match(child.service)]
            if len(found) > 1:
                paths = ", ".join(child.path for child in found[:3])
                raise NeedError(f"{asker.path}: needs {service.name}, which is in the tree more than once ({paths})")
            if found:
                return found[0]
            group = group.child.group
    raise NeedError(f"{asker.path}: needs {service.name}, which is not in this tree: add it before {asker.path}")


def never(asker: Child, provider: Child) -> str:
    """Return why *provider* can never become ready for *asker*, or an empty string while it may."""
    if provider is asker:
        return "is itself"
    above = _branches(asker)
    common = None
    branch = provider
    while branch.group is not None:
        if branch.group in above:
            common = branch.group
            break
        branch = branch.group.child
    if branch in above.values() or provider in above.values():
        return "contains it" if asker.state is State.STARTING else ""
    own = above[common] if common is not None else asker
    if asker.state is State.STARTING:
        # In one sweep each waits for those before it.
        if own.sweep is not None and branch.sweep is own.sweep and _not_begun(branch, own):
            return f"starts only after it: put {provider.service.name} before {own.service.name}"
        seen = provider
        while seen.needs is not None:
            seen = seen.needs
            if seen is asker:
                return "itself waits for it: one of the two must not need the other"
    # Is the provider, or a group that it is in, on its way?
    step: Child | None = provider
    while step is not None:
        if step.state is State.WAITING or (step.sweep is not None and step.state is not State.READY):
            return ""
        if step.state in (State.STARTING, State.STOPPING):
            return ""
        if step.state in _ENDED and (step.group is None or step.group.child.state is State.READY):
            if step is not provider:
                return f"is in {step.path}, which is {step.state}"
            if step.error is not None and step.state is State.FAILED:
                return f"failed and does not run again ({describe(step.error)})"
            return f"is {step.state}: start it first" if step.held else f"is {step.state}"
        step = step.group.child if step.group is not None else None
    return ""


def _branches(child: Child) -> dict[Supervisor, Child]:
    """Return, for each group above *child*, the branch of it that holds *child*."""
    branches = {}
    while child.group is not None:
        branches[child.group] = child
        child = child.group.child
    return branches


def _not_begun(branch: Child, own: Child) -> bool:
    return branch is not own and branch.task is None


def common_group(one: Child, other: Child) -> tuple[Supervisor, Child, Child] | None:
    """Return the lowest group above both, and the two branches of it."""
    above = _branches(one)
    while other.group is not None:
        if other.group in above:
            return other.group, above[other.group], other
        other = other.group.child
    return None
