"""The values of plait are frozen dataclasses, and what they ask of dataclasses is cheap."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass, field, fields, is_dataclass, replace
from typing import Any

import pytest

import plait
from plait.values import _OFTEN, OpenValue, Value, _Inspect, value


def run(code: str) -> Any:
    """Return what *code* prints in a fresh interpreter, as JSON."""
    return json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


#: What is large, and what --help or a slip in a command line can do without.
LARGE = ["argparse", "ast", "asyncio", "email", "importlib.metadata", "inspect", "shutil", "textwrap", "tomllib"]


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="dataclasses of 3.14 import inspect in other ways")
@pytest.mark.parametrize(("arguments", "code"), [(["--help"], 0), (["--version"], 0), (["--umask=x"], 2)])
def test_who_asks_for_help_waits_for_nothing_large(arguments: list[str], code: int) -> None:
    """Neither does who made a slip, whose nearest correct spelling is looked for."""
    found, ended = run(
        "import contextlib, io, json, sys\n"
        "from plait.cli.plaitd import main\n"
        "nowhere = io.StringIO()\n"
        "with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):\n"
        "    try:\n"
        f"        code = main({arguments})\n"
        "    except SystemExit as end:\n"
        "        code = end.code\n"
        f"print(json.dumps([[name for name in {LARGE} if name in sys.modules], code]))\n"
    )

    assert (found, ended) == ([], code)


def test_dataclasses_of_others_are_as_ever() -> None:
    """One without a docstring has its signature for it, and everybody else imports the real inspect."""
    doc, name, real = run(
        "import json, plait.values\n"
        "from dataclasses import dataclass\n"
        "@dataclass\n"
        "class Point:\n"
        "    x: int = 0\n"
        "import inspect\n"
        "print(json.dumps([Point.__doc__, inspect.__name__, hasattr(inspect, '__file__')]))\n"
    )

    assert doc == "Point(x: int = 0)"
    assert (name, real) == ("inspect", True)


def test_annotations_are_those_of_inspect() -> None:
    """Of a class with some, with none, and with inherited ones only."""

    class Some:
        x: int
        y: str = ""

    class Inherited(Some):
        pass

    class Nothing:
        pass

    for each in (Some, Inherited, Nothing):
        assert _Inspect.get_annotations(each) == inspect.get_annotations(each)
    assert _Inspect("inspect").signature is inspect.signature


@value
class Pair(Value):
    """What can be pickled."""

    first: int
    second: str = "b"


def make_class(decorate: Callable[[type[Any]], type[Any]], base: Any = object) -> type[Any]:
    """Return a new class, with all that a field can be, of which *decorate* makes a dataclass."""

    class Made(base):  # type: ignore[misc]
        first: int
        second: str = "b"
        third: list[int] = field(default_factory=list, compare=False)
        fourth: tuple[int, ...] = field(default=(), kw_only=True, repr=False)
        fifth: float = field(default=0.5, kw_only=True, hash=False)
        sixth: int = field(default=6, init=False)

    Made.__qualname__ = "Made"
    return decorate(Made)


#: The same as dataclasses makes it.
Written = make_class(dataclass(frozen=True))


Arguments = tuple[tuple[Any, ...], dict[str, Any]]

GOOD: list[Arguments] = [
    ((1,), {}),
    ((1, "x"), {}),
    ((1, "x", [9]), {}),
    ((1, "x", [3]), {"fifth": 1.5}),
    ((), {"first": 1, "fourth": (2,)}),
    ((1,), {"third": [7], "second": "y"}),
]
BAD: list[Arguments] = [
    ((), {}),
    ((), {"second": "x"}),
    ((1,), {"frist": 2}),
    ((), {"frist": 2}),
    ((1,), {"first": 2}),
    ((1, "x", [], ()), {}),
    ((1, "x", [], ()), {"fourth": ()}),
    ((1,), {"sixth": 7}),
]


def made_of(cls: type[Any], arguments: Arguments) -> Any:
    return cls(*arguments[0], **arguments[1])


def often(cls: type[Any], make: Callable[[], Any]) -> None:
    """Let *cls* make so many values that its ``__init__`` is compiled."""
    before = cls.__init__
    for _ in range(_OFTEN + 1):
        make()
    assert cls.__init__ is not before


@pytest.fixture(params=["at first", "later"])
def made(request: pytest.FixtureRequest) -> type[Any]:
    """Give a value class like `Written`, before and after its ``__init__`` is compiled."""
    cls = make_class(value, Value)
    if request.param == "later":
        often(cls, lambda: cls(1))
    return cls


@pytest.mark.parametrize("arguments", GOOD)
def test_a_value_takes_what_a_dataclass_takes(made: type[Any], arguments: Arguments) -> None:
    """By place and by name, with its defaults; and is shown, compared and hashed like one."""
    one, like = made_of(made, arguments), made_of(Written, arguments)

    assert one.__dict__ == like.__dict__
    assert repr(one) == repr(like)
    assert hash(one) == hash(like)
    for other in GOOD:
        assert (one == made_of(made, other)) == (like == made_of(Written, other))
    assert one != like
    assert one.third is not made(1).third


@pytest.mark.parametrize("arguments", BAD)
def test_what_a_value_does_not_take_is_said_in_pythons_words(made: type[Any], arguments: Arguments) -> None:
    """In those of a dataclass, to the letter."""
    with pytest.raises(TypeError) as refused:
        made_of(made, arguments)
    with pytest.raises(TypeError) as like:
        made_of(Written, arguments)

    assert str(refused.value) == str(like.value)


def test_a_value_is_a_dataclass(made: type[Any]) -> None:
    """For all that asks: its fields, its signature, replace, match, copy and pickle."""
    assert is_dataclass(made)
    assert [item.name for item in fields(made)] == [item.name for item in fields(Written)]
    assert inspect.signature(made) == inspect.signature(Written)
    assert made.__match_args__ == Written.__match_args__
    one = made(1, fifth=2.5)
    assert replace(one, second="z").__dict__ == {**one.__dict__, "second": "z"}
    assert copy.deepcopy(one) == one
    assert pickle.loads(pickle.dumps(Pair(1, "x"))) == Pair(1, "x")
    for change in (lambda: setattr(one, "first", 2), lambda: setattr(one, "new", 2), lambda: delattr(one, "first")):
        with pytest.raises(FrozenInstanceError):
            change()
    with pytest.raises(AttributeError):
        inspect.getattr_static(one, "__signature__").__get__(one, made)


def test_the_plain_class_has_no_signature_of_a_value() -> None:
    """Nor has one with an ``__init__`` of its own."""

    @value
    class Own(Value):
        first: int

        def __init__(self, text: str) -> None:
            object.__setattr__(self, "first", int(text))

    assert not hasattr(Value, "__signature__")
    assert str(inspect.signature(Own)) == "(text: 'str') -> 'None'"
    assert Own("3").first == 3


def test_the_compiled_init_checks_as_the_other_does() -> None:
    """What is refused first is refused later; a subclass that is not decorated has the init of its parent."""

    @value
    class Checked(Value):
        first: int

        def __post_init__(self) -> None:
            if self.first < 0:
                raise ValueError(self.first)

    class Unchecked(Pair):
        def __post_init__(self) -> None:
            raise AssertionError("a dataclass would not call this")

    for _ in range(2):
        assert Unchecked(1) == Unchecked(1)
        with pytest.raises(ValueError, match="-1"):
            Checked(-1)
        often(Checked, lambda: Checked(1)) if _ == 0 else None


def test_an_init_of_a_subclass_may_call_that_of_its_parent() -> None:
    """That takes the fields of the parent, however often it was called."""

    @value
    class Base(OpenValue):
        name: str = ""

    @value
    class Child(Base):
        size: int = 0

        def __init__(self, size: int) -> None:
            super().__init__(f"of {size}")
            object.__setattr__(self, "size", size)

    for _ in range(_OFTEN + 2):
        assert (Child(3).name, Child(3).size) == ("of 3", 3)


def test_people_subclass_a_service_as_they_like() -> None:
    """With a frozen dataclass, with a value, and one of the other."""

    @dataclass(frozen=True)
    class Frozen(plait.Task[None]):
        size: int = field(default=1, kw_only=True)

    @value
    class Again(Frozen):
        more: int = field(default=2, kw_only=True)

    @dataclass(frozen=True)
    class Last(Again):
        last: int = field(default=3, kw_only=True)

    async def work() -> None: ...

    for cls in (Frozen, Again, Last):
        one = cls(work, restart="always")
        assert (one.name, one.restart, one.size) == ("work", "always", 1)
        with pytest.raises(FrozenInstanceError):
            one.size = 2  # type: ignore[misc]
        with pytest.raises(plait.ConfigurationError, match="restart"):
            cls(work, restart="sometimes")  # type: ignore[arg-type]
    assert Last(work, more=5).more == 5


def test_values_of_one_field_or_none_compare_as_a_dataclass_does() -> None:
    """What is itself is equal to itself, even if it says that it is not."""

    @value
    class One(Value):
        first: float

    @value
    class Nothing(Value):
        pass

    never = float("nan")
    assert One(never) == One(never)
    assert One(1.0) != One(2.0)
    assert hash(One(1.0)) == hash((1.0,))
    assert (Nothing(), hash(Nothing())) == (Nothing(), hash(()))


def test_an_order_of_fields_that_cannot_be_is_refused() -> None:
    """As dataclasses does, in its words."""

    @value
    class Wrong(Value):
        first: int = 1
        second: int  # type: ignore[misc]

    with pytest.raises(TypeError, match="non-default argument 'second' follows default argument"):
        Wrong(1, 2)
