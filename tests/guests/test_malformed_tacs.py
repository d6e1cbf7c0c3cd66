"""Whatever is wrong with what Twisted is to run: one sentence, the right exit code, and plait check says the same."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guests.malformed_tacs import APPLICATION, HEAD, KEPT, Malformed
from tests.guests.zygote import Zygote
from tests.system.daemon import PATIENCE, PLAITD, Ended, Foreground, Place, wait_for_end

PLAIT = os.path.join(os.path.dirname(PLAITD), "plait")
LONGEST = 600  # characters in one sentence


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    """What is forked for each program."""
    with Zygote() as zygote:
        yield zygote


def build(case: Malformed, folder: Path) -> None:
    """Make the files of *case* in *folder*."""
    folder.mkdir(parents=True)
    for name, content in case.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    if case.kind == "folder":
        (folder / "shop.tac").mkdir()
    elif case.kind == "pipe":
        os.mkfifo(folder / "shop.tac")


def run(zygote: Zygote, program: str, arguments: tuple[str, ...], case: Malformed, folder: Path) -> Ended:
    """Run *program* with *arguments* where the files of *case* are; fail if it leaves something behind."""
    build(case, folder)
    before = look_at(folder)
    code = zygote.run(program, arguments, folder, int(PATIENCE))
    assert look_at(folder) == before, "something was left behind"
    texts = [Path(f"{folder}.{name}").read_text().replace(str(folder), ".") for name in ("out", "err")]
    return Ended(code, *texts)


def look_at(folder: Path) -> set[str]:
    """Return what is in *folder*, but for byte code."""
    return {str(path) for path in folder.rglob("*") if "__pycache__" not in path.parts and path.name != "gone"}


def faults_of(case: Malformed, ended: Ended) -> list[str]:
    """Return what is wrong with what is said about *case*."""
    faults = []
    if ended.code != case.code:
        faults.append(f"ended with {ended.code} instead of {case.code}")
    if case.says not in ended.errors:
        faults.append(f"did not say {case.says!r}")
    if (
        (len(ended.errors.splitlines()) != 1 or not ended.errors.endswith("\n"))
        if case.says
        else ended.errors[1:].count("\n") > 1
    ):
        faults.append("did not say one sentence")
    if case.says and case.code in (2, 69, 73, 78) and not re.match(r"plaitd: .+: .+", ended.errors):
        faults.append("did not say where, what, and what to do")
    if "Traceback" in ended.errors + ended.output:
        faults.append("showed a traceback")
    if ended.output:
        faults.append(f"wrote to standard output: {ended.output!r}")
    if not all(sign.isprintable() or sign == "\n" for sign in ended.errors):
        faults.append("wrote what steers a terminal")
    if len(ended.errors) > LONGEST:
        faults.append(f"said {len(ended.errors)} characters")
    return faults


def as_start(checked: str) -> str:
    """Return the first of the sentences of plait check as plaitd would have said it."""
    first = (checked.splitlines() or [""])[0]
    return re.sub(
        "while calling a Python object|while decoding.*?object", "", first.replace("plait check: ", "plaitd: ", 1)
    )


@pytest.mark.parametrize("case", KEPT, ids=lambda case: case.name.encode("ascii", "backslashreplace").decode())
def test_a_slip_is_one_sentence(case: Malformed, zygote: Zygote, tmp_path: Path) -> None:
    """With the exit code that it deserves, nothing is left behind; and plait check says it, too."""
    started = run(zygote, PLAITD, case.arguments, case, tmp_path / "start")
    checked = run(zygote, PLAIT, ("check", *case.arguments), case, tmp_path / "check")
    assert faults_of(case, started) == [], started
    assert (checked.code, as_start(checked.errors)) == (started.code, as_start(started.errors))


#: Of each kind of trouble one, for what is started in other ways.
FEW = {
    "application: None": "shop.tac: application: is NoneType",
    "raise ValueError('no luck')": "shop.tac:3: ValueError: no luck",
    "raise KeyboardInterrupt": "stopped by SIGINT before anything was started",
    "raise BaseException('no luck')": "shop.tac:3: BaseException: no luck",
    "import sys; sys.exit(3)": "",
    "x = (": "shop.tac:3: '(' was never closed",
}
CODES = {"raise KeyboardInterrupt": -signal.SIGINT, "import sys; sys.exit(3)": 3}


@pytest.mark.parametrize("source", FEW)
@pytest.mark.parametrize(
    "words",
    ["plaitd -y shop.tac", "plaitd -n -r poll -y shop.tac", "plaitd -n -r uvloop -y shop.tac", "plait run -y shop.tac"],
)
def test_whoever_starts_it_is_told_the_same(source: str, words: str, zygote: Zygote, tmp_path: Path) -> None:
    """As a daemon, under every loop, and for the developer: one sentence, and nothing is left behind."""
    if "uvloop" in words:
        pytest.importorskip("uvloop")
    program, *arguments = words.split()
    text = source.replace(": ", " = ") if source.startswith("application") else source
    case = Malformed(source, CODES.get(source, 78), FEW[source], files={"shop.tac": f"{HEAD}{text}\n"})
    ended = run(zygote, f"/{program}", tuple(arguments), case, tmp_path / "shop")
    said = ended.errors.replace("plait run: ", "plaitd: ")
    assert faults_of(case, Ended(ended.code, ended.output, said)) == []


#: What fails when the application is there: while it is started, or, before that, in the part with privileges.
STARTS = {
    "raise ValueError('no luck')": ("shop/S: did not start: ValueError: no luck", 70),
    "raise BaseException('no luck')": ("shop/S: did not start: BaseException: no luck", 70),
    "raise Bad": ("shop/S: did not start: Bad", 70),
    "return defer.fail(ValueError('no luck'))": ("shop/S: did not start: ValueError: no luck", 70),
    "raise StopIteration": ("shop/S: did not start: ", 70),
}
SERVICE = (
    APPLICATION
    + """\
class Bad(Exception):
    def __str__(self):
        raise ValueError

class S(service.Service):
    def {method}(self):
        {body}

S().setServiceParent(application)
"""
)


@pytest.mark.parametrize("body", STARTS)
@pytest.mark.parametrize("method", ["privilegedStartService", "startService"])
@pytest.mark.parametrize(
    "words", ["plaitd -n -l log -y shop.tac", "plaitd -l log -y shop.tac"], ids=["foreground", "daemon"]
)
def test_what_fails_in_a_start_is_told(body: str, method: str, words: str, zygote: Zygote, tmp_path: Path) -> None:
    """On standard error in a sentence, whoever waits for it; its pidfile is gone, and the log has the line."""
    says, code = STARTS[body]
    source = SERVICE.format(method=method, body=body)
    case = Malformed(body, code, says, files={"shop.tac": source, "log": ""})
    ended = run(zygote, PLAITD, tuple(words.split()[1:]), case, tmp_path / "shop")
    assert faults_of(case, ended) == []
    log = (tmp_path / "shop/log").read_text()
    line = source.splitlines().index(f"        {body}") + 1
    assert f'shop.tac", line {line}, in {method}' in log or "return" in body
    assert "cli/plaitd.py" not in log


# Odd, and right ------------------------------------------------------------------------------------------------------

ODD: dict[str, str | bytes] = {
    "a BOM": b"\xef\xbb\xbf" + APPLICATION.encode(),
    "lines of DOS": APPLICATION.replace("\n", "\r\n"),
    "lines of an old Macintosh": APPLICATION.replace("\n", "\r"),
    "no last newline": APPLICATION.rstrip(),
    "latin-1": b"# -*- coding: latin-1 -*-\nassert '\xe9' == '\\xe9'\n" + APPLICATION.encode(),
    "latin-1 in a comment": b"# caf\xe9\n" + APPLICATION.encode(),
    "a million characters": "# shop\n" * 150_000 + APPLICATION,
    "names": APPLICATION
    + "for name in ['a/b', '', '.', '..', ' ', 'caf\\u00e9', 'a\\nb', '\\x1b[31m', '\\udcff', 'x' * 5000, b'x', 3]:\n"
    "    each = service.Service(); each.setName(name); each.setServiceParent(application)\n",
    "an odd name": APPLICATION.replace('"shop"', "'a/b c\\n\\udcff'"),
    "no name": APPLICATION.replace('"shop"', "None"),
    "one service twice": APPLICATION
    + "one = service.Service()\nservice.IServiceCollection(application).services = [one, one]\n",
    "a thousand": APPLICATION + "for _ in range(1_000): service.Service().setServiceParent(application)\n",
    "a service": HEAD + "application = service.Service()\n",
    "no process": APPLICATION + "application.unsetComponent(service.IProcess)\n",
    "a long title": APPLICATION + "service.IProcess(application).processName = 'x' * 5000 + '\\n\\udcff'\n",
    "no output": APPLICATION + "import sys; sys.stdout = sys.stderr = None\n",
    "closed output": APPLICATION + "import sys; sys.stdout.close()\n",
    "no path": APPLICATION + "import sys; sys.path[:] = []\n",
    "no modules": APPLICATION
    + "import sys\nfor name in list(sys.modules):\n    if name.startswith('twisted.internet'): del sys.modules[name]\n",
    "an observer that raises": APPLICATION
    + "from twisted.logger import ILogObserver\ndef fail(event): raise ValueError('no log')\n"
    "application.setComponent(ILogObserver, fail)\n",
    "an observer that is none": APPLICATION
    + "from twisted.logger import ILogObserver\napplication.setComponent(ILogObserver, 3)\n",
}


@pytest.mark.parametrize("name", ODD)
def test_what_is_odd_runs(name: str, tmp_path: Path) -> None:
    """As under twistd: it comes to serve, a check agrees, and it stops with 0."""
    with Place(tmp_path) as place:
        content = ODD[name]
        (place.folder / "shop.tac").write_bytes(content.encode() if isinstance(content, str) else content)
        place.allow("shop.tac")
        running = place.daemonize("-l", str(place.aside / "log"), name="shop.tac")
        running.send(signal.SIGTERM)
        assert wait_for_end(running.pid)
        code = os.waitstatus_to_exitcode(os.waitpid(running.pid, 0)[1])
        log = place.aside / "log"
        text = log.read_text() if log.exists() else ""
        assert code == 0, text[-2000:]
        assert "plait/cli/" not in text
        place.assert_nothing_left()
        if "output" in name:
            return  # a check has nobody to tell
        checked = place.run("check", "-y", "shop.tac", program=(PLAIT,))
        assert checked.code == 0
        assert "\nlistens on nothing that is declared: " in checked.output
        place.assert_nothing_left()


def test_a_pipe_of_the_shell_is_read(tmp_path: Path) -> None:
    """``plaitd -y <(make-it)``: once, to its end."""
    with Place(tmp_path) as place:
        words = ("bash", "-c", 'exec "$0" -n --twisted -y <(printf "%s" "$1")', PLAITD, APPLICATION)
        with open(place.root / "errors", "wb") as errors:
            process = place.popen(program=words, stdout=-1, stderr=errors)
        assert Foreground(place, process).ready().stop().code == 0


OPENS = "from twisted.internet import reactor\nreactor.listenUNIX('shop.sock', protocol.Factory())\n"


@pytest.mark.parametrize("words", [("-n",), ()], ids=["foreground", "daemon"])
def test_what_a_file_opened_before_it_failed_is_closed(words: tuple[str, ...], zygote: Zygote, tmp_path: Path) -> None:
    """A unix socket is a file, which would stay."""
    case = Malformed("", 78, "no luck", files={"shop.tac": f"{HEAD}{OPENS}raise ValueError('no luck')\n"})
    assert faults_of(case, run(zygote, PLAITD, (*words, "-y", "shop.tac"), case, tmp_path / "shop")) == []


@pytest.mark.parametrize("words", [("-n",), ()], ids=["foreground", "daemon"])
def test_what_was_opened_with_privileges_is_closed(words: tuple[str, ...], zygote: Zygote, tmp_path: Path) -> None:
    """Where the process cannot be prepared afterwards."""
    opens = "internet.UNIXServer('shop.sock', protocol.Factory()).setServiceParent(application)\n"
    case = Malformed("", 73, "nowhere/log: cannot be written", files={"shop.tac": f"{APPLICATION}{opens}"})
    arguments = (*words, "-l", "nowhere/log", "-y", "shop.tac")
    assert faults_of(case, run(zygote, PLAITD, arguments, case, tmp_path / "shop")) == []
