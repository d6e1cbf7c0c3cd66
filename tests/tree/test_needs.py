"""context.need: a service gets what another published, waits for it, or hears at once that it can never come."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any

import pytest

from plait import Application, Backoff, Context, Group, NeedError, Service, StartFailed, State, Tree
from plait.testing import Trace, reached, run
from tests.tree.probe import Probe, probe
from tests.tree.test_supervisor import NO_WAIT, living, settle


@dataclass(frozen=True)
class Asker(Service[None]):
    """Needs others, and remembers what it got."""

    wanted: tuple[Service[Any], ...] = ()
    first_ready: bool = False
    got: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "got", [])

    async def run(self, context: Context[None]) -> None:
        if self.first_ready:
            context.ready()
        for other in self.wanted:
            self.got.append(await context.need(other))
        if not self.first_ready:
            context.ready()
        await asyncio.Event().wait()


def asker(name: str, *wanted: Service[Any], first_ready: bool = False, **options: Any) -> Asker:
    return Asker(wanted, first_ready, name=name, **options)


def test_what_was_published_is_handed_over_across_groups() -> None:
    """Wherever both are in the tree."""
    database = probe("database")
    user = asker("user", database)

    async def body(tree: Tree, trace: Trace) -> None:
        assert user.got == [1]

    living(Application("app", [Group("stores", [Group("deep", [database])]), Group("web", [user])]), body)


def test_it_waits_while_the_other_is_on_its_way() -> None:
    """While it starts for the first time, and while it waits to start again."""
    database = probe("database", fail_from=2, fail_starts=2)
    early = asker("early", database, first_ready=True)
    application = Application("app", [early, database], backoff=Backoff(base=5, jitter=0))

    async def body(tree: Tree, trace: Trace) -> None:
        await settle()
        assert early.got == [1]
        database.hand.order("fail")
        await settle()
        late = asker("late", database)
        await tree.add(late)

        assert (late.got, asyncio.get_running_loop().time()) == ([4], 15.0)

    living(application, body)


def refusal(application: Application) -> str:
    """Return why *application* does not start, at time 0."""

    async def main() -> str:
        tree = Tree(application)
        with pytest.raises(StartFailed) as caught:
            await tree.open()
        assert asyncio.get_running_loop().time() == 0.0
        assert isinstance(caught.value.__cause__, NeedError)
        return str(caught.value.__cause__)

    return run(main())


DATABASE = probe("database")


@pytest.mark.parametrize(
    ("children", "text"),
    [
        ([asker("user", DATABASE)], "app/user: needs database, which is not in this tree: add it before app/user"),
        (
            [asker("user", DATABASE), DATABASE],
            "app/user: needs app/database, which starts only after it: put database before user",
        ),
        (
            [Group("web", [asker("user", DATABASE)]), Group("stores", [DATABASE])],
            "app/web/user: needs app/stores/database, which starts only after it: put database before web",
        ),
        (
            [Group("one", [DATABASE]), Group("two", [DATABASE]), asker("user", DATABASE)],
            "app/user: needs database, which is in the tree more than once (app/one/database, app/two/database)",
        ),
    ],
)
def test_what_can_never_come_is_said_at_once(children: list[Any], text: str) -> None:
    """Not in the tree; only after the asker; more than one of it."""
    assert text == refusal(Application("app", children))


def test_the_nearest_of_equal_services_is_meant() -> None:
    """In its own group before elsewhere."""
    near = asker("user", DATABASE)

    async def body(tree: Tree, trace: Trace) -> None:
        assert near.got == [1] or near.got == [2]

    living(Application("app", [Group("one", [probe("database")]), Group("two", [probe("database"), near])]), body)


def test_a_service_cannot_need_itself() -> None:
    """Nor the group that it is in."""

    @dataclass(frozen=True)
    class Narcissus(Service[None]):
        async def run(self, context: Context[None]) -> None:
            await context.need(self)

    assert refusal(Application("app", [Narcissus()])) == "app/narcissus: needs app/narcissus, which is itself"


def test_two_that_wait_for_each_other_are_told() -> None:
    """The second to ask hears it."""
    one, two = probe("one"), probe("two")
    first = asker("first", probe("second"))
    second = replace(first, name="second", wanted=(first,))
    first = replace(first, wanted=(second,))
    object.__setattr__(second, "wanted", (first,))
    application = Application(
        "app", [Group("g", [first]), Group("h", [second])], strategy="one_for_one", backoff=NO_WAIT
    )
    assert one != two
    text = refusal(application)

    assert text.startswith("app/g/first: needs app/h/second, which starts only after it")


@pytest.mark.parametrize(
    ("end", "text"),
    [
        ("stop", "app/user: needs app/database, which is stopped: start it first"),
        ("fail", "app/user: needs app/database, which failed and does not run again (Boom: life 1)"),
    ],
)
def test_what_has_ended_for_good_is_not_waited_for(end: str, text: str) -> None:
    """Stopped by hand, or failed without a restart."""
    database = probe("database", restart="never")

    async def body(tree: Tree, trace: Trace) -> None:
        if end == "stop":
            await tree.stop("app/database")
        else:
            database.hand.order("fail")
            await settle()
        with pytest.raises(StartFailed) as caught:
            await tree.add(asker("user", database))

        assert text == str(caught.value.__cause__)

    living(Application("app", [database, probe("other")]), body)


def test_one_who_waits_hears_when_it_will_not_come_after_all() -> None:
    """Stopping the other by hand wakes it."""
    database = probe("database", fail_from=2, fail_starts=99)
    user = asker("user", database, first_ready=True, restart="never")

    async def body(tree: Tree, trace: Trace) -> None:
        database.hand.order("fail")
        await reached(tree, "app/database", State.WAITING)
        await tree.add(user)
        await settle()
        await tree.stop("app/database")
        await settle()

        assert State.FAILED is tree.state("app/user")
        assert str(tree.find("app/user").error) == "app/user: needs app/database, which is stopped: start it first"

    living(Application("app", [database, probe("other")], backoff=Backoff(base=100, immediate=False)), body)


def test_what_has_done_its_work_satisfies_need() -> None:
    """A one-shot that returned is done, and that is what was needed."""
    migrate = probe("migrate")
    user = asker("user", migrate)

    async def body(tree: Tree, trace: Trace) -> None:
        migrate.hand.order("return")
        await settle()
        await tree.add(user)

        assert user.got == [1]

    living(Application("app", [migrate, probe("other")]), body)


@pytest.mark.parametrize(("strategy", "lives"), [("one_for_one", 1), ("rest_for_one", 2), ("one_for_all", 2)])
def test_dependants_in_other_groups_are_replaced_where_the_strategy_above_says_so(strategy: str, lives: int) -> None:
    """A value of an earlier life is of no use to them."""
    database: Probe = probe("database")
    user = asker("user", database)
    application = Application(
        "app",
        [Group("stores", [database], backoff=NO_WAIT), Group("web", [probe("x"), user], backoff=NO_WAIT)],
        strategy=strategy,  # type: ignore[arg-type]
    )

    async def body(tree: Tree, trace: Trace) -> None:
        database.hand.order("fail")
        await settle()

        assert lives == tree.find("app/web/user").life
        assert list(range(1, lives + 1)) == user.got
        assert tree.find("app/web/x").life == 1

    living(application, body)


def test_after_a_reload_an_old_description_still_finds_its_service() -> None:
    """The same name and kind is the same service, though its settings changed."""
    old = probe("database")
    user = asker("user", old)

    async def body(tree: Tree, trace: Trace) -> None:
        await tree.apply(Application("app", [probe("database", restart="always"), probe("other")]))
        await tree.add(user)

        assert user.got == [1]

    living(Application("app", [old, probe("other")]), body)
