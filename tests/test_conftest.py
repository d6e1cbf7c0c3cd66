"""
The oracle around every test finds what a test leaves behind: proven by tests that leave something.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BAD = {
    "a thread": (
        "threading.Thread(target=threading.Event().wait, name='lost', daemon=True).start()",
        r"left a thread running: 'lost' \(daemon\)",
    ),
    "a child": (
        "subprocess.Popen(['sleep', '60']).returncode = 0",
        r"left a child process: \d+ \(sleep 60\)",
    ),
    "a zombie": (
        "os.posix_spawnp('true', ['true'], {}); os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)",
        r"left a child process: \d+ \(zombie, nobody waited for it: true\)",
    ),
    "a descriptor": ("os.dup(0)", r"left a descriptor open: \d+ \(/dev/null\)"),
    "a closed descriptor": ("os.close(KEPT)", r"closed a descriptor that is not its own: \d+ \(/dev/zero\)"),
    "a socket in a cycle": (
        "cycle = [socket.socket()]; cycle.append(cycle)",
        r"ResourceWarning: unclosed <socket.socket",
    ),
    "a signal handler": (
        "signal.signal(signal.SIGUSR1, signal.SIG_IGN)",
        r"left a signal handler: SIGUSR1 was 0, is 1",
    ),
    "another directory": ("os.chdir('/')", r"left the working directory changed: it was .+, is /"),
    "a log record": (
        "logging.getLogger('shop').warning('broken %d', 7)",
        r'logged unexpectedly, declare it with @pytest\.mark\.logs\("regex"\): WARNING shop: broken 7',
    ),
    "no end": ("time.sleep(60)", r"TimeoutError: not done after 0\.3 s: make it faster, or give it @pytest\.mark\."),
}
GOOD = {
    "its own end": "thread = threading.Thread(target=time.sleep, args=(0.2,)); thread.start()",
    "a declared record": "logging.getLogger('shop').warning('declared')",
    "a record that is no warning": "logging.getLogger('shop').info('all is well')",
    "a closed file": "open('/dev/null').close()",
}


def run_pytest(folder: Path, *options: str) -> str:
    """Return what pytest says about the tests in *folder*, with the conftest of this suite."""
    shutil.copy(Path(__file__).with_name("conftest.py"), folder)
    settings = "-q -rfEs --strict-markers -p no:cacheprovider -p no:hypothesispytest"
    (folder / "pytest.ini").write_text(
        f"[pytest]\naddopts = {settings}\nfilterwarnings = error\n"
        "markers =\n    root: x\n    long: x\n    logs(x): x\n    time_limit(x): x\n",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "pytest", *options]
    return subprocess.run(
        command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    ).stdout


@pytest.fixture(scope="module")
def verdict(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What pytest says about a test for each of the lines above."""
    lines = [
        "import logging, os, signal, socket, subprocess, threading, time",
        "import pytest",
        "KEPT = os.open('/dev/zero', os.O_RDONLY)",
    ]
    for number, text in enumerate([*GOOD.values(), *(text for text, _ in BAD.values())]):
        limit = 0.3 if "sleep(60)" in text else 30
        lines += [
            "@pytest.mark.logs('^WARNING shop: declared$')",
            f"@pytest.mark.time_limit({limit})",
            f"def test_{number}():",
            f"    {text}",
        ]
    folder = tmp_path_factory.mktemp("oracle")
    (folder / "test_it.py").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return run_pytest(folder)


@pytest.mark.parametrize("what", BAD)
def test_what_is_left_behind_is_found(verdict: str, what: str) -> None:
    """A test that leaves this behind fails, and the sentence says what it is."""
    assert re.search(BAD[what][1], verdict)


def test_what_is_put_away_is_in_nobodys_way(verdict: str) -> None:
    """As many tests fail as leave something behind, and no more."""
    failed = set(re.findall(r"^(?:FAILED|ERROR) test_it\.py::test_(\d+)", verdict, re.MULTILINE))

    assert failed == {str(number) for number in range(len(GOOD), len(GOOD) + len(BAD))}


def test_a_test_that_was_not_run_says_so(tmp_path: Path) -> None:
    """What needs root or time is skipped with the reason in the summary, and runs when there is root or time."""
    (tmp_path / "test_it.py").write_text(
        "import pytest\n@pytest.mark.long\ndef test_l(): pass\n@pytest.mark.root\ndef test_r(): pass\n",
        encoding="utf-8",
    )
    short, long = run_pytest(tmp_path), run_pytest(tmp_path, "--long")

    assert "NOT RUN: the full figure of a promise: give --long" in short
    assert "NOT RUN: the full figure" not in long
    assert ("NOT RUN: needs to be root: run scripts/test as root" in short) is (os.geteuid() != 0)
