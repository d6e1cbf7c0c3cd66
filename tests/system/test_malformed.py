"""Whatever is wrong with what plaitd is given: one sentence, the right exit code, and plait check says the same."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.system.daemon import PATIENCE, Ended, wait_for_end
from tests.system.malformed import KEPT, Malformed, take

#: Of each generator: enough to meet each way once, and the figure of the promise.
SHORT, LONG = 25, 400
LONGEST = 600  # characters in one sentence


def run(program: str, case: Malformed, folder: Path) -> Ended:
    """Run *program* as a process would, without what it costs to start an interpreter; fail if it comes to serve."""
    folder.mkdir()
    for name, content in case.files.items():
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    before = set(os.listdir(folder))
    with open(f"{folder}.out", "w+b") as output, open(f"{folder}.err", "w+b") as errors:
        pid = os.fork()
        if not pid:
            _be(program, case, folder, output.fileno(), errors.fileno())
        if not wait_for_end(pid, PATIENCE):
            os.kill(pid, signal.SIGKILL)
        status = os.waitpid(pid, 0)[1]
        output.seek(0)
        errors.seek(0)
        ended = Ended(os.waitstatus_to_exitcode(status), output.read().decode(), errors.read().decode())
    assert set(os.listdir(folder)) - {"__pycache__"} == before, "something was left behind"
    return ended


def _be(program: str, case: Malformed, folder: Path, output: int, errors: int) -> None:
    code = 70
    try:
        os.dup2(output, 1)
        os.dup2(errors, 2)
        sys.stdout = os.fdopen(1, "w", closefd=False)
        sys.stderr = os.fdopen(2, "w", errors="backslashreplace", closefd=False)
        sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr
        os.chdir(folder)
        for name in [name for name in os.environ if name.startswith(("PLAIT_", "NOTIFY_", "LISTEN_", "COLUMNS"))]:
            del os.environ[name]
        os.environ.update(case.environment)
        signal.alarm(2)  # what comes to serve is stopped, and found by its exit code
        from plait.cli import plait, plaitd

        code = plaitd.main(case.arguments) if program == "plaitd" else plait.main(["check", *case.arguments])
        sys.stdout.flush()
        sys.stderr.flush()
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def judge(case: Malformed, folder: Path) -> list[str]:
    """Return what is wrong with what is said about *case*."""
    folder.mkdir()
    started, checked = run("plaitd", case, folder / "start"), run("plait check", case, folder / "check")
    faults = []
    lines = started.errors.splitlines()
    if started.code != case.code:
        faults.append(f"ended with {started.code} instead of {case.code}")
    if len(lines) != 1 or not started.errors.endswith("\n"):
        faults.append("did not say one sentence")
    if "Traceback" in started.errors + started.output:
        faults.append("showed a traceback")
    if started.output:
        faults.append(f"wrote to standard output: {started.output!r}")
    if not started.errors.startswith("plaitd: ") or ": " not in started.errors[8:]:
        faults.append("did not say where and what")
    if not all(sign.isprintable() or sign == "\n" for sign in started.errors):
        faults.append("wrote what steers a terminal")
    if len(started.errors) > LONGEST:
        faults.append(f"said {len(started.errors)} characters")
    here = os.fspath(folder)
    lines = [line.replace(f"{here}/start", here) for line in lines]
    said = [
        line.replace(f"{here}/check", here)
        .replace("plait check: ", "plaitd: ")
        .replace("plait check --help", "plaitd --help")
        for line in checked.errors.splitlines()
    ]
    if checked.code != started.code or lines[:1] != said[:1]:
        faults.append(f"plait check ended with {checked.code}: {checked.errors!r}")
    return [f"{case.name}: {fault}\n  {case.arguments} {case.environment}\n  {started.errors!r}" for fault in faults]


@pytest.mark.parametrize("case", KEPT, ids=lambda case: case.name.encode("ascii", "backslashreplace").decode())
def test_a_slip_is_one_sentence(case: Malformed, tmp_path: Path) -> None:
    """With the exit code that it deserves; and plait check says it, too."""
    assert judge(case, tmp_path / "case") == []


@pytest.mark.time_limit(600)
@pytest.mark.parametrize("count", [SHORT, pytest.param(LONG, marks=pytest.mark.long)])
def test_generated_slips_are_one_sentence_each(count: int, tmp_path: Path) -> None:
    """Made of the options and the forms that there are: nobody has to think of them."""
    begin = time.monotonic()
    faults = [fault for number, case in enumerate(take(count)) for fault in judge(case, tmp_path / str(number))]
    assert faults == [], f"{len(faults)} in {time.monotonic() - begin:.0f} s"


def test_there_are_two_hundred() -> None:
    """Of those that are kept and those that are made, without --long."""
    assert len(KEPT) + len(take(SHORT)) >= 200
