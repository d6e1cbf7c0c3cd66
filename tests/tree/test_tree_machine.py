"""The tree machine: thousands of random operations agree with the model."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from plait import Application, Backoff, Group, Limit, PlaitError, State, Tree
from plait.testing import Trace, VirtualClockLoop, run
from plait.tree.policy import RESTARTS, STRATEGIES
from tests.tree.model import Node
from tests.tree.probe import Probe, probe

NO_WAIT = Backoff(base=0)
LONG = 10_000.0


def make(chance: random.Random, size: int, parent: Node | None = None, depth: int = 0) -> tuple[Any, Node]:
    """Draw a tree of about *size* nodes: the value, and its model."""
    strategy = chance.choice(STRATEGIES)
    limit = chance.choice([None, 0, 1, 3])
    name = "app" if parent is None else f"g{chance.randrange(10**6)}"
    restart = "on-failure" if parent is None else chance.choice(RESTARTS)
    model = Node(name, parent, restart=restart, strategy=strategy, limit=limit)
    children: list[Any] = []
    while size > 0:
        if depth < 3 and size > 2 and chance.random() < 0.3:
            part = chance.randrange(1, size)
            child, node = make(chance, part, model, depth + 1)
            size -= part
        else:
            child, node = make_leaf(chance, model)
            size -= 1
        children.append(child)
        model.children.append(node)
    kind: Any = Group
    if parent is None:
        # An application ends when all of its services have: one of them never does.
        node = Node("anchor", model, restart="always")
        children.append(probe("anchor", restart="always"))
        model.children.append(node)
        kind = Application
    options: dict[str, Any] = {"restart": restart} if parent is not None else {}
    return kind(name, children, strategy=strategy, limit=Limit(limit, LONG * 1e6), backoff=NO_WAIT, **options), model


def make_leaf(chance: random.Random, parent: Node) -> tuple[Probe, Node]:
    """Draw a leaf."""
    name = f"s{chance.randrange(10**9)}"
    restart = chance.choice(RESTARTS)
    return probe(name, restart=restart, stop_timeout=3.0), Node(name, parent, restart=restart)


def test_start_and_stop_of_random_trees_follow_the_model(request: pytest.FixtureRequest) -> None:
    """Children start in order when the one before is ready, and stop in exact reverse: 1,000 trees of up to 50."""
    chance = random.Random(1)

    async def main() -> None:
        for _ in range(1000 if request.config.getoption("--long", default=False) else 200):
            application, model = make(chance, chance.randrange(1, 50))
            tree = Tree(application)
            trace = Trace(tree)
            await tree.open()
            await tree.close()

            starts, readies, stops, ends = [], [], [], []

            def expect(node: Node) -> None:
                starts.append(node.path)  # noqa: B023
                for child in node.children:
                    expect(child)
                readies.append(node.path)  # noqa: B023
                stops.insert(0, node.path)  # noqa: B023

            expect(model)
            ends = list(reversed(starts))
            assert starts == trace.paths(State.STARTING)
            assert readies == trace.paths(State.READY)
            assert stops == trace.paths(State.STOPPING)
            assert ends == trace.paths(State.STOPPED)

    run(main())


class TreeMachine(RuleBasedStateMachine):
    """Does the same to a tree and to its model, and compares."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualClockLoop()
        self.chance = random.Random(0)

    @initialize(seed=st.integers(0, 2**32), size=st.integers(1, 12))
    def open(self, seed: int, size: int) -> None:
        self.chance = random.Random(seed)
        application, self.model = make(self.chance, size)
        self.probes: dict[str, Probe] = {
            path: service for path, service in application.walk() if isinstance(service, Probe)
        }

        async def begin() -> None:
            self.tree = Tree(application)
            await self.tree.open()

        self.loop.run_until_complete(begin())
        assert self.model.begin()

    def do(self, action: Any = None) -> BaseException | None:
        """Let *action* happen, and all that follows from it; return its error."""

        async def main() -> BaseException | None:
            error = None
            if action is not None:
                try:
                    await action
                except (PlaitError, BaseExceptionGroup) as caught:
                    error = caught
            await asyncio.sleep(LONG)
            return error

        return self.loop.run_until_complete(main())

    def pick(self, number: int, *, leaf: bool | None = None, alive: bool | None = None) -> Node | None:
        nodes = [
            node
            for node in self.model.walk()
            if node.parent is not None
            and node.name != "anchor"
            and node.parent.alive
            and all(up.alive for up in _above(node))
            and (leaf is None or leaf is not bool(node.strategy))
            and (alive is None or alive is node.alive)
        ]
        return nodes[number % len(nodes)] if nodes else None

    @property
    def over(self) -> bool:
        return not self.model.alive

    @rule(number=st.integers(0, 99), how=st.sampled_from(["fail", "return", "kill"]))
    def end(self, number: int, how: str) -> None:
        node = None if self.over else self.pick(number, leaf=True, alive=True)
        if node is None:
            return
        if node.hangs and how == "kill":
            how = "fail"  # it would swallow that too
        self.probes[node.path].hand.order(how)
        self.do()
        node.ended(failed=how != "return")

    @rule(number=st.integers(0, 99), times=st.integers(1, 3))
    def fail_next_starts(self, number: int, times: int) -> None:
        node = None if self.over else self.pick(number, leaf=True)
        if node is not None:
            hand = self.probes[node.path].hand
            hand.fail_from, hand.fail_starts, node.fail_starts = 0, times, times

    @rule(number=st.integers(0, 99), hangs=st.booleans())
    def hang(self, number: int, hangs: bool) -> None:
        node = None if self.over else self.pick(number, leaf=True)
        if node is not None:
            self.probes[node.path].hand.swallow = 3 if hangs else 0
            node.hangs = hangs
            self.probes[node.path].hand.hangs = hangs  # type: ignore[attr-defined]

    @rule(number=st.integers(0, 99), word=st.sampled_from(["stop", "start", "restart"]))
    def steer(self, number: int, word: str) -> None:
        node = None if self.over else self.pick(number)
        if node is None:
            return
        if word == "stop":
            self.do(self.tree.stop(node.path))
            node.stop_by_hand()
        elif word == "start":
            error = self.do(self.tree.start(node.path))
            assert (error is None) is node.start_by_hand()
        else:
            self.do(self.tree.restart(node.path))
            node.restart_by_hand()

    @rule(number=st.integers(0, 99), fails=st.booleans(), seed=st.integers(0, 2**32))
    def add(self, number: int, fails: bool, seed: int) -> None:
        group = None if self.over else self.pick(number, leaf=False, alive=True) or self.model
        if group is None:
            return
        service, node = make_leaf(random.Random(seed), group)
        if any(child.name == node.name for child in group.children):
            return
        service.hand.fail_starts = node.fail_starts = int(fails)
        error = self.do(self.tree.add(service, group.path))
        assert (error is not None) is fails
        if node.begin():
            node.dynamic = True
            group.children.append(node)
            self.probes[node.path] = service

    @rule(number=st.integers(0, 99))
    def remove(self, number: int) -> None:
        node = None if self.over else self.pick(number)
        if node is None:
            return
        self.do(self.tree.remove(node.path))
        node.stop()
        assert node.parent is not None
        node.parent.children.remove(node)

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "tree"):
            return
        assert self.over is self.tree.has_ended
        for node in self.model.walk():
            child = self.tree.find(node.path)
            where = f"{node.path}: model {node.state}, life {node.lives}; tree {child.state}, life {child.life}"
            assert node.lives == child.life, where
            if not self.over:
                assert node.state is child.state, where
        if not self.over:
            assert {node.path for node in self.model.walk()} == set(self.tree.states())
        for each in self.probes.values():
            if getattr(each.hand, "hangs", False):
                each.hand.swallow = 3

    def teardown(self) -> None:
        try:
            self._close()
        finally:
            self._release()

    def _close(self) -> None:
        if hasattr(self, "tree") and not self.tree.has_ended:
            trace = Trace(self.tree)
            expected = [node.path for node in sorted(self.model.walk(), key=_start_order) if node.alive]
            expected = [path for path in expected if all(up.alive for up in _above(self._node(path)))]
            self.do(self.tree.close())
            stopping = trace.paths(State.STOPPING)
            assert _in_reverse(stopping, self.model), (stopping, expected)
            assert set(expected) == set(stopping)

    def _release(self) -> None:
        for each in self.probes.values() if hasattr(self, "tree") else ():
            each.hand.swallow = 0

        async def release() -> None:
            while rest := asyncio.all_tasks() - {asyncio.current_task()}:
                for task in rest:
                    task.cancel()
                await asyncio.wait(rest, timeout=1)

        self.loop.run_until_complete(release())
        self.loop.close()

    def _node(self, path: str) -> Node:
        return next(node for node in self.model.walk() if node.path == path)


def _start_order(node: Node) -> int:
    return node.order


def _above(node: Node) -> list[Node]:
    above = []
    while node.parent is not None:
        node = node.parent
        above.append(node)
    return above


def _in_reverse(stopping: list[str], model: Node) -> bool:
    """Whether, within each group, those that stopped did so in reverse of their actual start order."""
    for group in model.walk():
        order = {child.path: child.order for child in group.children}
        numbers = [order[path] for path in stopping if path in order]
        if numbers != sorted(numbers, reverse=True):
            return False
    return True


def test_random_operations_agree_with_the_model(request: pytest.FixtureRequest) -> None:
    """{crash, return, kill, add, remove, stop, start, restart, hang, fail-start}: states and lives are the model's."""
    long = request.config.getoption("--long", default=False)
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        TreeMachine,
        settings=settings(
            max_examples=400 if long else 100,
            stateful_step_count=40,
            deadline=None,
            derandomize=not long,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_a_seed_replays_identically(request: pytest.FixtureRequest) -> None:
    """Jittered back-offs, crashes and all: the same seed gives the same trace, to the last digit of its times."""

    async def live(seed: int) -> list[tuple[float, str]]:
        chance = random.Random(seed)
        application, _ = make(chance, 20)
        tree = Tree(application, chance=random.Random(seed))
        trace = Trace(tree)
        await tree.open()
        leaves = [
            service for _, service in application.walk() if isinstance(service, Probe) and service.name != "anchor"
        ]
        for _ in range(20):
            leaf = chance.choice(leaves)
            if tree.has_ended:
                break
            if leaf.hand.task is not None and not leaf.hand.task.done():
                leaf.hand.order(chance.choice(["fail", "return"]))
            await asyncio.sleep(chance.random())
        tree.stop_soon()
        await asyncio.wait([asyncio.ensure_future(tree.wait())])
        return [(event.at, str(event)) for event in trace.events]

    for seed in range(3):
        first = run(live(seed))
        for _ in range(100 if request.config.getoption("--long", default=False) else 10):
            assert first == run(live(seed))
