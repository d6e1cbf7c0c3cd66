"""How a ``.tac`` file is run, line by line: what it finds, what it may do, and what it may be given as."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.guests.facts import NOTE, read
from tests.guests.tac import HEAD, IDLE, run, start, write
from tests.system.daemon import PLAITD, Place
from tests.system.places import FORMS


def write_bare(place: Place, source: str, name: str) -> Path:
    """Write the file *name* with *source* and no more."""
    path = place.folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(source)
    place.allow(name.partition("/")[0])
    return path


def read_found(place: Place) -> Any:
    """Return what a file wrote to ``found``."""
    place.allow("found")
    return json.loads((place.folder / "found").read_text())


# Its names ------------------------------------------------------------------------------------------------------------

BARE = """\
names = sorted(globals())
import json, pickle, sys
from twisted.application.service import Application
from twisted.logger import Logger

class Mine:
    log = Logger()

class Outer:
    pass

def pickled():
    try:
        pickle.dumps(Mine())
    except Exception as error:
        return type(error).__name__
    return "pickled"

application = Application("shop")
found = dict(
    names=names,
    file=__file__,
    name=__name__,
    module=Mine.__module__,
    namespace=Mine.log.namespace,
    plain=Logger().namespace,
    listed=[name for name, module in sys.modules.items() if getattr(module, "Mine", None) is Mine],
    pickled=pickled(),
    path=sys.path,
    argv=sys.argv,
)
with open("found", "w") as file:
    json.dump(found, file)
"""


@FORMS
def test_its_names_are_file_and_what_python_adds(place: Place, daemonize: bool) -> None:
    """`__file__` is as it was given; `__name__` is that of the builtins, and so is the module of its classes."""
    write_bare(place, BARE, "sub/shop.tac")
    assert start(place, daemonize, name="./sub/shop.tac").stop().code == 0
    found = read_found(place)
    assert found["names"] == ["__builtins__", "__file__"]
    assert found["file"] == "./sub/shop.tac"
    assert found["name"] == found["module"] == "builtins"
    assert found["namespace"] == "builtins.Mine"
    assert found["plain"] == "<unknown>"
    assert found["listed"] == []
    assert found["pickled"] == "PicklingError"


def test_it_sees_the_command_line_and_the_path_of_the_script(place: Place) -> None:
    """Neither the working folder nor that of the file is where modules are looked for: the scripts' folder is first."""
    write_bare(place, BARE, "sub/shop.tac")
    start(place, False, "--umask=022", name="sub/shop.tac").stop()
    found = read_found(place)
    assert found["argv"] == [PLAITD, "-n", "--umask=022", "-y", "sub/shop.tac"]
    assert found["path"][0] == os.path.dirname(PLAITD)
    assert not {"", ".", str(place.folder), str(place.folder / "sub")} & set(found["path"])


def test_a_module_beside_it_is_found_by_pythonpath_only(place: Place) -> None:
    """As the pages of those that need it say."""
    write_bare(place, "word = 'beside'\n", "beside.py")
    write(place, "import beside\nprint(beside.word)\n" + IDLE)
    place.allow("__pycache__")

    refused = place.run("-ny", "shop.tac")
    assert refused.code == 78
    line = place.line_of("import beside", "shop.tac")
    assert f"{line}: ModuleNotFoundError: No module named 'beside'" in refused.errors

    assert place.foreground(name="shop.tac", environment={"PYTHONPATH": "."}).ready().stop().code == 0


# When it is run -------------------------------------------------------------------------------------------------------

STEPS = (
    NOTE
    + """
note("load")

class Noting(service.Service):
    def privilegedStartService(self):
        note("privileged")

    def startService(self):
        note("start")

add(Noting())
"""
)


@FORMS
def test_it_is_run_where_and_as_whoever_started_it(place: Place, daemonize: bool) -> None:
    """Before the change of folder, before there is a pidfile, before the fork."""
    write(place, STEPS)
    place.allow("elsewhere")
    (place.folder / "elsewhere").mkdir()
    ended = start(place, daemonize, "--rundir=elsewhere", "--pidfile=plaitd.pid").stop()
    load, privileged, begin = read(ended.output)
    assert (load.step, load.folder, load.pidfile) == ("load", str(place.folder), None)
    assert (privileged.step, privileged.folder) == ("privileged", str(place.folder / "elsewhere"))
    assert privileged.pidfile == begin.pidfile == str(begin.pid)
    assert (load.pid == begin.pid) is (not daemonize)


@pytest.mark.root
def test_it_is_run_as_the_original_user(tmp_path: Path) -> None:
    """And its privileged start too; only then it becomes who it wants to be."""
    with Place(tmp_path) as place:
        write(place, STEPS + "service.IProcess(application).uid = 1\n")
        ended = start(place, False).stop()
        assert [(each.step, each.uid) for each in read(ended.output)] == [("load", 0), ("privileged", 0), ("start", 1)]
        place.assert_nothing_left()


# What it may be given as ----------------------------------------------------------------------------------------------


SPELLINGS = [["-ny"], ["-noy"], ["-n", "-o", "-y"], ["-n", "--no_save", "--python"], ["--nodaemon", "-y"]]
NAMES = ["shop.py", "shop", "shop.conf"]


@pytest.mark.parametrize(
    ("words", "name"),
    [*((words, "shop.tac") for words in SPELLINGS), *((["-ny"], name) for name in NAMES)],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_every_spelling_of_start_scripts(place: Place, words: list[str], name: str) -> None:
    """With any extension, and with none."""
    write(place, IDLE, name)
    with_file = [*words[:-1], f"--python={name}"] if words[-1] == "--python" else [*words, name]
    process = place.popen(*with_file)
    assert place.heard() == "runs"
    process.terminate()
    assert process.wait(20) == 0
    place.allow("__pycache__")


def test_a_python_file_may_need_the_reactor_first(place: Place) -> None:
    """A script that some programs write, called so, imports the reactor like a ``.tac`` file."""
    write(place, IDLE, "rootscript.py")
    ended = start(place, True, name="rootscript.py").stop()
    place.allow("__pycache__")
    assert ended.code == 0
    assert "first begins" in ended.output


# Its end --------------------------------------------------------------------------------------------------------------


@FORMS
def test_it_may_end_the_process(place: Place, daemonize: bool) -> None:
    """`sys.exit(7)` is the status, and nothing is left."""
    write(place, "print('not here')\nsys.exit(7)\n")
    ended = run(place, daemonize)
    assert ended.code == 7
    assert "Traceback" not in ended.errors


@FORMS
def test_the_name_is_application_and_no_other(place: Place, daemonize: bool) -> None:
    """It is said which variable is looked for."""
    write_bare(place, HEAD.replace("application =", "app ="), "shop.tac")
    ended = run(place, daemonize)
    assert ended.code == 78
    assert "plaitd: shop.tac: defines no variable `application`" in ended.errors


def test_an_error_named_application_is_told_as_the_error_that_it_is(place: Place) -> None:
    """A KeyError with that word says nothing of a missing variable."""
    write(place, "{}['application']\n")
    ended = run(place, False)
    assert ended.code == 78
    assert f"{place.line_of('{}[', 'shop.tac')}: KeyError: 'application'" in ended.errors
