"""Applications are plain Python values."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any

import pytest

from plait import Application, Backoff, ConfigurationError, Context, Group, Limit, Service, StopApplication, service
from plait.tree.difference import difference
from tests.tree.probe import probe


@service
async def ticker(context: Context[None]) -> None:
    context.ready()


@service(name="clock", restart="always")
async def other(context: Context[None]) -> None:
    context.ready()


SHOP = Application("shop", [ticker, Group("web", [other], strategy="rest_for_one", limit=Limit(1, 2))], stop_timeout=9)


def test_they_are_equal_hashable_and_picklable() -> None:
    """Made twice, they are the same; so are a copy and what comes out of a pickle."""
    again = Application(
        "shop", (ticker, Group("web", (other,), strategy="rest_for_one", limit=Limit(1, 2))), stop_timeout=9
    )
    thawed = pickle.loads(pickle.dumps(SHOP))

    assert SHOP == again == thawed
    assert hash(SHOP) == hash(again) == hash(thawed)
    assert len({SHOP, again, thawed}) == 1
    assert dataclasses.replace(SHOP, stop_timeout=8) != SHOP


def test_they_can_be_replaced_in_part() -> None:
    """dataclasses.replace gives another value, and leaves the first."""
    changed = dataclasses.replace(SHOP, children=[ticker], name="kiosk")

    assert ("kiosk", (ticker,), 9) == (changed.name, changed.children, changed.stop_timeout)
    assert SHOP.name == "shop"


def test_they_are_frozen() -> None:
    """No field can be set."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        SHOP.name = "x"  # type: ignore[misc]


def test_repr_shows_what_differs_from_the_defaults() -> None:
    """As a person would write it."""
    assert repr(SHOP) == (
        "Application('shop', [FunctionService(ticker), Group('web', [FunctionService(other, name='clock',"
        " restart='always')], strategy='rest_for_one', limit=Limit(restarts=1, seconds=2))], stop_timeout=9)"
    )


def test_str_draws_the_tree() -> None:
    """One line a service, in order."""
    assert str(SHOP) == (
        "shop\n"
        "├── ticker  FunctionService(ticker)\n"
        "└── web  (rest_for_one)\n"
        "    └── clock  FunctionService(other, name='clock', restart='always')"
    )


def test_walk_gives_every_path() -> None:
    """Parents first."""
    assert [path for path, _ in SHOP.walk()] == ["shop", "shop/ticker", "shop/web", "shop/web/clock"]


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Group("g", [ticker, ticker]), "g: children: two services are called 'ticker': give name="),
        (lambda: Group("g", [1]), "g: children: 1 is not a service"),
        (lambda: Group("g", [print]), "g: children: print is not a service: decorate the function with @service"),
        (lambda: Group("g", 1), "Group g: children=1: wanted a list of services"),
        (lambda: Group("g", [SHOP]), "g: children: 'shop' is an Application: make it a Group"),
        (
            lambda: Group("g", strategy="all"),
            "Group g: strategy='all': wanted one of one_for_one, rest_for_one, one_for_all",
        ),
        (lambda: Group("g", limit=3), "Group g: limit=3: wanted a Limit, such as Limit(restarts=5, seconds=60)"),
        (lambda: Group("g", backoff=3), "Group g: backoff=3: wanted a Backoff, such as Backoff(base=0.5, cap=60)"),
        (lambda: Group("a/b"), "Group: name='a/b': wanted a word without '/', spaces or a leading dot"),
        (lambda: Group("a b"), "Group: name='a b': wanted a word without '/', spaces or a leading dot"),
        (lambda: Group("a\n"), "Group: name='a\\n': wanted a word without '/', spaces or a leading dot"),
        (lambda: probe("p", restart="yes"), "Probe p: restart='yes': wanted one of always, on-failure, never"),
        (
            lambda: probe("p", start_timeout=0),
            "Probe p: start_timeout=0: wanted a number of seconds above 0, or None",
        ),
        (lambda: probe("p", stop_timeout=-1), "Probe p: stop_timeout=-1: wanted a number of seconds from 0, or None"),
    ],
)
def test_what_cannot_be_is_refused_with_its_field(make: Any, text: str) -> None:
    """At construction, in one sentence."""
    with pytest.raises(ConfigurationError) as caught:
        make()

    assert text == str(caught.value)


@pytest.mark.parametrize("kind", [Group, Application, Service, Limit, Backoff])
def test_unknown_fields_are_refused_by_name(kind: Any) -> None:
    """As Python does it."""
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        kind(colour="red")


def test_difference_names_what_to_stop_and_to_start() -> None:
    """Equal children appear nowhere; groups are looked into."""
    a, b, c = probe("a"), probe("b"), probe("c")
    old = Application("app", [a, b, Group("g", [c])])
    new = Application("app", [dataclasses.replace(b, restart="always"), Group("g", []), a, c])
    found = difference(old, new)

    assert (found.stop, found.start, found.inside) == (("b",), ("b", "c"), ("g",))
    assert not difference(old, Application("app", [a, b, Group("g", [c])]))


def test_a_service_without_run_says_so() -> None:
    """Not before it is run: the class may be abstract."""
    with pytest.raises(NotImplementedError, match="Service has no run"):
        Service(name="x").run(None).send(None)  # type: ignore[arg-type]


def test_stop_application_is_picklable() -> None:
    """It may cross a process."""
    again = pickle.loads(pickle.dumps(StopApplication("enough", 3)))

    assert (again.reason, again.exit_code) == ("enough", 3)
