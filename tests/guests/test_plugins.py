"""Twisted's plugins under plaitd: found without a cache, run with their own options, told when they are broken."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.system.daemon import PLAITD, Ended, Place

#: A drop-in of the name "shop"; what stands between its class and its maker is what a test adds.
HEAD = """
from zope.interface import implementer
from twisted.application.service import IServiceMaker, Service
from twisted.internet import reactor
from twisted.plugin import IPlugin
from twisted.python import usage

class Options(usage.Options):
    optFlags = [["verbose", "v", "say more"]]
    optParameters = [["port", "p", 8080, "where", int]]
    def postOptions(self):
        if self["port"] == 1:
            raise usage.UsageError("port 1 is\\nnot for you")
        if self["port"] == 2:
            print("stopped")
            raise SystemExit(5)

@implementer(IPlugin, IServiceMaker)
class Maker:
    tapname = "shop"
    description = "Sells things."
    options = Options
    def makeService(self, options):
        if options["port"] == 3:
            return options["nothing"]
        if options["port"] == 4:
            raise usage.UsageError("four")
        print("sells at", options["port"], options["verbose"])
        made = Service()
        made.startService = lambda: reactor.callLater(0, reactor.stop)
        return made

maker = Maker()
"""

BROKEN = "import nowhere_at_all  # for the {name}\n"


@pytest.fixture
def place(place: Place) -> Iterator[Place]:
    """One with a folder for plugins, where no cache of them may be left either."""
    (place.folder / "twisted" / "plugins").mkdir(parents=True)
    place.allow("twisted")
    yield place
    left = [path.name for path in (place.folder / "twisted" / "plugins").iterdir() if path.suffix != ".py"]
    assert [name for name in left if name != "__pycache__"] == []


def add(place: Place, source: str, name: str = "shop_dropin") -> None:
    (place.folder / "twisted" / "plugins" / f"{name}.py").write_text(source)


def run(place: Place, *arguments: str, **options: object) -> Ended:
    return place.run(*arguments, environment={"PYTHONPATH": str(place.folder)}, **options)


# Found ----------------------------------------------------------------------------------------------------------------


def test_one_of_somebody_elses_runs(place: Place) -> None:
    """With its options, which Twisted parses; its module may import the reactor, it is the one that runs."""
    add(place, HEAD)
    ended = run(place, "-n", "shop", "-v", "--port=99")
    assert (ended.code, ended.errors) == (0, "")
    assert "sells at 99 1" in ended.output
    assert "runs shop" in ended.output


def test_one_of_twisteds_own_runs(place: Place) -> None:
    """`plaitd web` is what `twistd web` is."""
    add(place, HEAD)
    ended = run(place, "web", "--help")
    assert (ended.code, ended.errors) == (0, "")
    assert ended.output.startswith("Usage: plaitd [options] web [web options]")
    assert "--resource-script=" in ended.output


def test_plaits_own_have_their_names_first(place: Place) -> None:
    """`--twisted` reaches the one of Twisted that has the same."""
    ours = run(place, "procmon", "--help")
    theirs = run(place, "--twisted", "procmon", "--help")
    assert (ours.code, theirs.code) == (0, 0)
    assert "when plaitd is stopped" in " ".join(ours.output.split()).lower()
    assert theirs.output.startswith("Usage: plaitd [options] procmon [procmon options] commandline")


def test_a_name_that_is_made_up_as_it_runs_is_found(place: Place) -> None:
    """Only importing it tells; what else lies there and fails is no matter."""
    add(place, HEAD.replace('"shop"', '"sh" + "op"'))
    add(place, BROKEN, "a_broken")
    add(place, "raise SystemExit(9)", "b_ends")
    assert "sells at 8080 0" in run(place, "-n", "shop").output


def test_none_but_the_chosen_one_gives_its_options(place: Place) -> None:
    """Their getter may import what is not there."""
    other = HEAD.replace('tapname = "shop"', 'tapname = "shopping"').replace(
        "    options = Options", "    options = property(lambda self: open('/nonexistent/options'))"
    )
    add(place, other, "a_other")
    add(place, HEAD)
    assert run(place, "-n", "shop").code == 0


def test_a_broken_one_is_in_nobodys_way(place: Place) -> None:
    """Even if it speaks of the name, as long as another one has it."""
    add(place, BROKEN.format(name="shop"), "a_broken")
    add(place, HEAD)
    ended = run(place, "-n", "shop")
    assert (ended.code, ended.errors) == (0, "")


def test_a_broken_one_is_told_when_nothing_else_has_the_name(place: Place) -> None:
    """As the one that may have it, with its line."""
    add(place, BROKEN.format(name="shop"))
    ended = run(place, "-n", "shop")
    assert ended.code == 78
    line = f"{place.folder}/twisted/plugins/shop_dropin.py:1"
    assert ended.errors == (
        f"plaitd: plugin shop of Twisted: {line}: ModuleNotFoundError: No module named 'nowhere_at_all': "
        "twisted.plugins.shop_dropin may have it, for it speaks of the name: correct it, then start again\n"
    )


def test_a_folder_with_an_init_is_none(place: Place) -> None:
    """As with Twisted: that would be another package of the name."""
    add(place, HEAD)
    add(place, "", "__init__")
    ended = run(place, "-n", "shop")
    assert ended.code == 2
    assert "shop: no such plugin" in ended.errors


# Lists ----------------------------------------------------------------------------------------------------------------


def test_the_list_imports_nothing(place: Place) -> None:
    """Names and descriptions are read off the sources."""
    add(place, HEAD + "print('imported')\n")
    add(place, "syntax error", "broken")
    ended = run(place, "--twisted", "--help")
    assert (ended.code, ended.errors) == (0, "")
    plugins = ended.output.partition("\nplugins:\n")[2]
    assert "  shop                        Sells things\n" in plugins
    assert "  web                         A general-purpose web server" in plugins
    assert "imported" not in ended.output


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["shp"], "shp: no such plugin, did you mean shop?: see plaitd --help"),
        (["procmn"], "procmn: no such plugin, did you mean procmon?: see plaitd --help"),
        (["--twisted", "shp"], "shp: no such plugin of Twisted, did you mean shop?: see plaitd --twisted --help"),
        (["--twisted", "zzz"], "zzz: no such plugin of Twisted: see plaitd --twisted --help"),
        (["zzz"], "zzz: no such plugin: see plaitd --help, or give an application such as zzz:application"),
    ],
)
def test_an_unknown_name_is_said(place: Place, words: list[str], sentence: str) -> None:
    """With the nearest that there is, of either kind."""
    add(place, HEAD)
    ended = run(place, "-n", *words)
    assert (ended.code, ended.output, ended.errors) == (2, "", f"plaitd: {sentence}\n")


# What goes wrong ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["--colour"], 2, "shop: option --colour not recognized: see plaitd shop --help"),
        (["-p", "x"], 2, "shop: Parameter type enforcement failed: "),
        (["more"], 2, "shop: Wrong number of arguments.: see plaitd shop --help"),
        (["-p", "1"], 2, "shop: port 1 is not for you: see plaitd shop --help"),
        (["-p", "3"], 78, "shop_dropin.py:25: KeyError: 'nothing': correct it, then start again"),
        (["-p", "4"], 2, "shop: four: see plaitd shop --help"),
    ],
)
def test_what_a_plugin_refuses_is_told(place: Place, words: list[str], code: int, sentence: str) -> None:
    """In its words, in one sentence; nothing was started, and there is no pidfile."""
    add(place, HEAD)
    ended = run(place, "shop", *words)
    assert (ended.code, ended.output) == (code, "")
    assert sentence in ended.errors
    assert ended.errors.count("\n") == 1


def test_one_whose_module_lacks_something_says_what(place: Place) -> None:
    """It is named by a line of text, as most are: what is missing is told when it is chosen, and the list has it."""
    add(
        place,
        "from twisted.application.service import ServiceMaker as Maker\nfrom twisted.application import service\n"
        "shop = service.ServiceMaker('Shop', 'shop_tap', 'Sells things.', 'shop')\n",
    )
    (place.folder / "shop_tap.py").write_text("import nowhere_at_all")
    place.allow("shop_tap.py", "__pycache__")
    ended = run(place, "-n", "shop")
    assert (ended.code, ended.output) == (78, "")
    line = f"{place.folder}/shop_tap.py:1"
    assert ended.errors == (
        f"plaitd: plugin shop of Twisted: {line}: ModuleNotFoundError: No module named 'nowhere_at_all': "
        "install what has the module 'nowhere_at_all'\n"
    )
    assert "  shop                        Sells things\n" in run(place, "--twisted", "--help").output


def test_the_first_folder_on_the_path_wins(place: Place) -> None:
    """Of two plugins with the same name."""
    add(place, HEAD)
    other = place.aside / "twisted" / "plugins"
    other.mkdir(parents=True)
    (other / "a_dropin.py").write_text(HEAD.replace("sells at", "other"))
    path = {"PYTHONPATH": f"{place.folder}{os.pathsep}{place.aside}"}
    assert "sells at" in place.run("-n", "shop", environment=path).output


def test_a_plugin_may_end_it(place: Place) -> None:
    """As those do that have a verb "stop": what it prints is seen, and its status is that of plaitd."""
    add(place, HEAD)
    ended = run(place, "shop", "-p", "2")
    assert (ended.code, ended.output, ended.errors) == (5, "stopped\n", "")


@pytest.mark.parametrize("flag", ["--help", "--version"])
def test_what_is_shown_ends_with_0(place: Place, flag: str) -> None:
    """By the plugin's own class of options."""
    add(place, HEAD)
    ended = run(place, "shop", flag)
    assert (ended.code, ended.errors) == (0, "")
    assert ended.output.startswith("Usage: plaitd [options] shop [options]" if flag == "--help" else "Twisted version")


def test_without_twisted(place: Place) -> None:
    """It is said what to install; an unknown name stays what it was."""
    (place.folder / "hide").mkdir()
    (place.folder / "hide" / "sitecustomize.py").write_text(
        "import sys\n"
        "class Hide:\n"
        "    def find_spec(name, path=None, target=None):\n"
        "        if name.partition('.')[0] == 'twisted':\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "import importlib.util\n"
        "real = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, package=None: None if name == 'twisted' else real(name, package)\n"
        "sys.meta_path.insert(0, Hide)\n"
    )
    place.allow("hide", "shop.tac")
    (place.folder / "shop.tac").write_text("from twisted.application import service\n")
    without = {"PYTHONPATH": str(place.folder / "hide")}
    told = "is for twisted, and the module 'twisted' is not installed here: pip install plait[twisted]\n"
    ended = place.run("-n", "--twisted", "web", environment=without)
    assert (ended.code, ended.errors) == (78, f"plaitd: web: {told}")
    ended = place.run("-ny", "shop.tac", environment=without)
    assert (ended.code, ended.errors) == (78, f"plaitd: shop.tac: {told}")
    ended = place.run("-n", "web", environment=without)
    assert (ended.code, ended.errors) == (
        2,
        "plaitd: web: no such plugin: see plaitd --help, or give an application such as web:application, or, for a "
        "plugin of Twisted, pip install plait[twisted]\n",
    )
    (place.folder / "own.py").write_text("from plait.guests.twisted import TwistedService\n")
    place.allow("own.py", "__pycache__")
    ended = place.run("-n", "own:application", environment=without)
    assert (ended.code, ended.errors) == (
        78,
        f"plaitd: {place.folder}/own.py:1: plait.guests.twisted: needs the package twisted: pip install "
        "plait[twisted]\n",
    )


def test_check_looks_at_a_plugin(place: Place) -> None:
    """Its service stands in the tree; nothing is started."""
    add(place, HEAD)
    ended = run(place, "shop", program=(os.path.join(os.path.dirname(PLAITD), "plait"), "check"))
    assert (ended.code, ended.errors) == (0, "")
    assert ended.output.splitlines()[1].startswith("shop")
