"""Applications that Twisted saved run, and are saved again when they have stopped."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess

import pytest

from tests.guests.tac import PYTHON
from tests.system.daemon import Ended, Place

#: The classes of the application, which must be importable when it is loaded.
CLASSES = """
import os
from twisted.application import service
from twisted.internet import reactor

class Counter(service.Service):
    lives = 0
    name = "counter"
    def startService(self):
        super().startService()
        self.lives += 1
        print("life", self.lives)
        reactor.callLater(0, reactor.stop)

class Stuck(Counter):
    def startService(self):
        super().startService()
        self.what = lambda: None

class Failing(Counter):
    def startService(self):
        raise ValueError("not today")
"""

SAVE = """
import counting
from twisted.application import service
from twisted.persisted import sob
application = service.Application("shop")
counting.{name}().setServiceParent(application)
for style in ("pickle", "source"):
    sob.IPersistable(application).setStyle(style)
    sob.IPersistable(application).save()
"""

BOTH = pytest.mark.parametrize("given", [("-f", "shop.tap"), ("-s", "shop.tas")], ids=["pickle", "source"])


def save(place: Place, name: str = "Counter") -> dict[str, str]:
    """Save an application in either way, and return the environment that it can be loaded in."""
    (place.aside / "counting.py").write_text(CLASSES)
    path = {"PYTHONPATH": str(place.aside)}
    subprocess.run(
        [PYTHON, "-c", SAVE.format(name=name)], cwd=place.folder, env=os.environ | path, check=True, timeout=20
    )
    place.allow("shop.tap", "shop.tas")
    return path


def run(place: Place, environment: dict[str, str], *words: str) -> Ended:
    return place.run("-n", *words, environment=environment)


@BOTH
def test_it_runs_and_is_saved_again(place: Place, given: tuple[str, str]) -> None:
    """In the same way, under another name, and what was saved runs too."""
    environment = save(place)
    ended = run(place, environment, *given)
    assert (ended.code, ended.errors) == (0, "")
    assert "life 1" in ended.output
    assert f"{given[1]}: loading it has run what is written in it" in ended.output
    saved = given[1].replace("shop", "shop-shutdown")
    place.allow(saved)
    again = run(place, environment, given[0], saved)
    assert (again.code, again.errors) == (0, "")
    assert "life 2" in again.output


@BOTH
@pytest.mark.parametrize("flag", ["-o", "--no_save", "--no-save"])
def test_it_is_not_saved_if_that_is_said(place: Place, given: tuple[str, str], flag: str) -> None:
    """There is no file."""
    ended = run(place, save(place), flag, *given)
    assert (ended.code, ended.errors) == (0, "")


def test_it_is_saved_where_it_ran(place: Place) -> None:
    """In the folder of --rundir; by a daemon too."""
    environment = save(place)
    (place.folder / "run").mkdir()
    ended = run(place, environment, "-d", "run", "-f", "shop.tap")
    assert ended.code == 0
    assert [path.name for path in (place.folder / "run").iterdir()] == ["shop-shutdown.tap"]
    shutil.rmtree(place.folder / "run")


@pytest.mark.parametrize("name", ["shop.tap", "shop.tas"])
def test_its_name_is_enough(place: Place, name: str) -> None:
    """The end of it says what it is."""
    assert "life 1" in run(place, save(place), "-o", name).output


def test_a_pickle_of_any_name_runs(place: Place) -> None:
    """By what is in it."""
    environment = save(place)
    (place.folder / "shop.tap").rename(place.folder / "shop")
    place.allow("shop")
    assert run(place, environment, "-of", "shop").code == 0


def test_a_table_stays_ours(place: Place) -> None:
    """`-f FILE.toml` is what it was."""
    (place.folder / "shop.toml").write_text("name = 'shop'\n[[services]]\ntype = 'Nothing'\n")
    place.allow("shop.toml")
    assert "Nothing" in run(place, {}, "-f", "shop.toml").errors


def test_what_cannot_be_saved_is_told(place: Place) -> None:
    """In the log, with its reason, by the exit status; and nothing half is left."""
    ended = run(place, save(place, "Stuck"), "-f", "shop.tap")
    assert ended.code == 73
    assert "[plait#error] shop-shutdown.tap: cannot be saved (" in ended.output
    assert ": leave it out with --no-save" in ended.output
    assert ended.last_line.endswith("exit status 73")


def test_what_has_not_started_is_not_saved(place: Place) -> None:
    """As under twistd."""
    ended = run(place, save(place, "Failing"), "-f", "shop.tap")
    assert ended.code == 70
    assert "not today" in ended.output


@BOTH
def test_without_its_classes_it_is_not_loaded(place: Place, given: tuple[str, str]) -> None:
    """It says what is missing, and what to do."""
    save(place)
    ended = run(place, {}, *given)
    assert (ended.code, ended.output) == (78, "")
    assert ended.errors == (
        f"plaitd: {given[1]}: cannot be loaded (ModuleNotFoundError: No module named 'counting'): "
        "it needs the classes that it was saved with: set PYTHONPATH\n"
    )


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (None, "cannot be read (No such file or directory): give the path of a saved file"),
        (b"", "cannot be loaded (EOFError: Ran out of input): it needs "),
        (b"garbage", "cannot be loaded (UnpicklingError: "),
        (pickle.dumps([1]), "holds a list, which is no application: save one of Twisted's"),
    ],
)
def test_what_is_no_application_is_told(place: Place, data: bytes | None, sentence: str) -> None:
    """In one sentence."""
    if data is not None:
        (place.folder / "shop.tap").write_bytes(data)
        place.allow("shop.tap")
    ended = run(place, {}, "-f", "shop.tap")
    assert (ended.code, ended.output, ended.errors.count("\n")) == (78, "", 1)
    assert ended.errors.startswith(f"plaitd: shop.tap: {sentence}")


def test_python_that_was_not_saved_is_told(place: Place) -> None:
    """A `.tac` that is given in the wrong way."""
    place.write("application = 1", "shop.tac")
    ended = run(place, {}, "-s", "shop.tac")
    assert ended.code == 78
    assert ended.errors == "plaitd: shop.tac: is Python, but nothing that was saved: give it with -y shop.tac\n"


def test_two_ways_at_once_are_refused(place: Place) -> None:
    """As with any two applications."""
    ended = run(place, {}, "-f", "shop.tap", "-s", "shop.tas")
    assert (ended.code, ended.errors) == (
        2,
        "plaitd: -f shop.tap: is given beside -s shop.tas: give one of them\n",
    )
