"""Event loops by name: what each name makes, and what is said when it makes nothing."""

from __future__ import annotations

import asyncio
import select
import selectors
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from plait import ConfigurationError
from plait.runner.reactors import KNOWN, describe_reactors, loop_factory
from plait.runner.settings import REACTORS


def made(name: str) -> tuple[str, str]:
    """Return the module of the loop that *name* makes, and its selector if it has one."""
    loop = loop_factory(name)()
    try:
        selector = getattr(loop, "_selector", None)
        return type(loop).__module__.partition(".")[0], type(selector).__name__ if selector is not None else ""
    finally:
        loop.close()


def refusal(name: str) -> str:
    """Return why *name* makes no loop."""
    with pytest.raises(ConfigurationError) as caught:
        loop_factory(name)()
    assert caught.value.exit_code == 78
    return str(caught.value)


def test_each_name_makes_its_loop() -> None:
    """The selectors are those that were named; auto is uvloop, which is installed here."""
    best = type(selectors.DefaultSelector()).__name__
    assert {name: made(name) for name in KNOWN if name != "rloop"} == {
        "auto": ("uvloop", ""),
        "asyncio": ("asyncio", best),
        "uvloop": ("uvloop", ""),
        "epoll": ("asyncio", "EpollSelector"),
        "poll": ("asyncio", "PollSelector"),
        "select": ("asyncio", "SelectSelector"),
    }
    assert loop_factory("rloop").__module__ == "rloop"  # making one would leave its descriptors: it never closes them


def test_the_settings_know_the_same_names() -> None:
    """They must not load all this to read one."""
    assert tuple(KNOWN) == REACTORS


def test_no_policy_is_changed() -> None:
    """What asyncio makes for others stays what it was."""
    loop_factory("uvloop")
    loop_factory("select")
    loop = asyncio.new_event_loop()
    loop.close()
    assert type(loop).__module__.startswith("asyncio.")


@pytest.mark.parametrize("name", ["uvloop", "rloop"])
def test_one_that_is_not_installed_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """By the extra; auto takes asyncio then."""
    monkeypatch.setitem(sys.modules, name, None)
    assert refusal(name) == f"--reactor={name}: is not installed here: pip install plait[{name}], or take asyncio"
    assert made("auto")[0] == ("asyncio" if name == "uvloop" else "uvloop")


def test_one_that_is_broken_says_what_is_broken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An extension that does not load has a reason, and auto takes asyncio."""
    (tmp_path / "uvloop.py").write_text("raise ImportError('libuv.so.1:\\n  cannot open shared object file')\n")
    monkeypatch.delitem(sys.modules, "uvloop", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert refusal("uvloop") == (
        "--reactor=uvloop: uvloop cannot be loaded (ImportError: libuv.so.1: cannot open shared object file): "
        "install it anew, or take asyncio"
    )
    assert made("auto")[0] == "asyncio"
    (tmp_path / "uvloop.py").write_text("import no_such_module\n")
    assert refusal("uvloop") == (
        "--reactor=uvloop: uvloop cannot be loaded (ModuleNotFoundError: No module named 'no_such_module'): "
        "install it anew, or take asyncio"
    )


def test_one_that_the_system_has_not_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """epoll is Linux's."""
    monkeypatch.delattr(select, "epoll")
    assert refusal("epoll") == "--reactor=epoll: this system has no epoll: take asyncio, which finds what it has"


def test_a_name_that_there_is_not_says_the_nearest() -> None:
    """And where they are listed."""
    listed = "see plaitd --help-reactors"
    assert refusal("epol") == f"--reactor=epol: there is no such event loop, did you mean epoll?: {listed}"
    assert refusal("gtk3") == f"--reactor=gtk3: there is no such event loop: {listed}"


# What packages offer --------------------------------------------------------------------------------------------------

OFFERED = '''
import asyncio

def plain():
    """
    The plain one, offered again

    More of it.
    """
    return asyncio.SelectorEventLoop()

def breaks():
    raise OSError("no ring\\n to be had")

def other():
    return 3

text = "no function"
'''


@pytest.fixture
def offer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Install a package that offers loops: each name stands for an object of its module ``loops_of_acme``."""

    def install(**points: str) -> None:
        (tmp_path / "loops_of_acme.py").write_text(OFFERED)
        info = tmp_path / "acme_loops-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-loops\nVersion: 1.0\n")
        lines = [f"{name} = {value}" for name, value in points.items()]
        (info / "entry_points.txt").write_text("\n".join(["[plait.reactors]", *lines, ""]))
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, "loops_of_acme", raising=False)

    return install


def test_a_package_offers_a_loop(offer: Callable[..., None]) -> None:
    """By its name, in any case; what is known here keeps its name."""
    offer(Acme="loops_of_acme:plain", uvloop="loops_of_acme:plain")
    assert made("acme")[0] == "asyncio"
    assert made("uvloop")[0] == "uvloop"
    assert refusal("acne") == (
        "--reactor=acne: there is no such event loop, did you mean acme?: see plaitd --help-reactors"
    )


def test_a_package_that_offers_nothing_of_use_is_told(offer: Callable[..., None]) -> None:
    """Each way to fail has its sentence, with the name of the package."""
    offer(
        absent="no_such_module:plain",
        text="loops_of_acme:text",
        breaks="loops_of_acme:breaks",
        other="loops_of_acme:other",
    )
    assert refusal("absent") == (
        "--reactor=absent: acme-loops cannot be loaded (ModuleNotFoundError: No module named 'no_such_module'): "
        "install it anew, or take asyncio"
    )
    assert refusal("text") == (
        "--reactor=text: acme-loops offers loops_of_acme:text, which is no function: tell its author, or take asyncio"
    )
    assert refusal("breaks") == (
        "--reactor=breaks: acme-loops cannot make its event loop (OSError: no ring to be had): take asyncio"
    )
    assert refusal("other") == (
        "--reactor=other: acme-loops made int, which is no event loop: tell its author, or take asyncio"
    )


def test_two_packages_that_offer_the_same_name_are_told(offer: Callable[..., None], tmp_path: Path) -> None:
    """Chance is not to decide."""
    offer(acme="loops_of_acme:plain")
    (tmp_path / "other_loops-1.0.dist-info").mkdir()
    (tmp_path / "other_loops-1.0.dist-info" / "METADATA").write_text("Name: other-loops\n")
    (tmp_path / "other_loops-1.0.dist-info" / "entry_points.txt").write_text("[plait.reactors]\nACME = other:make\n")
    refused = "is offered by other-loops and acme-loops: uninstall one of them, or take asyncio"
    assert refusal("acme") == f"--reactor=acme: {refused}"


def test_nothing_is_searched_for_a_name_that_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """To look for entry points costs as much as all the rest of a start."""
    monkeypatch.setitem(sys.modules, "importlib.metadata", None)
    monkeypatch.setitem(sys.modules, "plait.runner.entry_points", None)
    for name in KNOWN:
        loop_factory(name)


# Help -----------------------------------------------------------------------------------------------------------------


def test_help_lists_what_can_be_used_and_why_the_rest_cannot(
    offer: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line each, in the words of those who offer it."""
    offer(acme="loops_of_acme:plain", absent="no_such_module:plain")
    monkeypatch.setitem(sys.modules, "rloop", None)
    monkeypatch.delattr(select, "epoll")
    assert (
        describe_reactors()
        == """\
Event loops for --reactor=NAME that can be used here:

  auto     uvloop where it is installed, else asyncio
  asyncio  the standard library's, with the best selector of the system
  uvloop   made of libuv, the fastest of these
  poll     the standard library's with poll: for systems and sandboxes without epoll
  select   the standard library's with select: below 1024 descriptors only
  acme     The plain one, offered again

and those that cannot:

  epoll    this system has no epoll: take asyncio, which finds what it has
  rloop    is not installed here: pip install plait[rloop]
  absent   acme-loops cannot be loaded (ModuleNotFoundError: No module named 'no_such_module'): install it anew
"""
    )
