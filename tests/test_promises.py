"""
Each promise has its judge: tests that carry ``@pytest.mark.promise(number)``.

`PROMISES` are those that must have one, in a few words; a promise once true stays so by its tests.  Where the full
figure takes long, a short form runs by default and the figure with ``--long``.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parent

PROMISES = {
    32: "a daemon's starter exits with 0 only when every listener accepts, else it says why: 20 kinds of failure",
    33: "a daemon has no session to lead, no terminal, no descriptor of its starter's (50 planted), an empty mask",
    34: "under NOTIFY_SOCKET, s6 or as process 1 it does not fork unless told to",
    35: "50 starts at once, 200 times: one winner each, the losers name it and exit with 75",
    36: "a stale pidfile whose number is somebody else's does not block; a held lock does",
    37: "sampled at 1 kHz, the pidfile of a plaitd that serves is there, whole, and names it",
    38: "the pidfile is removed only if it is still the same file",
    39: "a check binds nothing, writes nothing, and agrees with the start on 200 configurations",
    40: "signals act as documented, also at 100 random instants of the start",
    41: "10,000 HUP and USR1 in 10 s: no crash, no growth, a clean end",
    42: "each way to end has its exit code",
    53: "journald entries come back as they were written",
    55: "what a credential holds is shown nowhere",
    61: "each record is one valid line of JSON, whatever it holds",
    79: "after the drop every thread has exactly the target's numbers and capabilities",
    80: "there is no way back to root, and one that worked would end it",
    81: "a drop that fails is fatal before a listener accepts",
    82: "low ports work, and no capability but the one asked for is left",
    83: "a module that the target user cannot read is reported at the start",
    84: "planted files at the place of pidfile, log or socket are refused and left as they are",
    85: "neither reopening nor chown goes through a path that the service's user can change",
    88: "in the sandbox everything outside of the list is refused",
    96: "the fields of the log are those of its schema",
}

#: Those that nobody judges yet.
OWED: set[int] = set()


def find_marks() -> Iterator[tuple[int, str]]:
    """Yield each promise that a test carries, and the name of the test."""
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                for decorator in node.decorator_list:
                    if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.promise":
                        for argument in decorator.args:
                            yield int(ast.literal_eval(argument)), f"{path.name}::{node.name}"


def test_each_promise_has_its_judge() -> None:
    """Each has a test, but for those that are owed."""
    judged = {number for number, _ in find_marks()}
    assert sorted(PROMISES.keys() - judged - OWED) == []
    assert PROMISES.keys() >= OWED


def test_a_mark_names_a_promise_and_stands_at_a_test() -> None:
    """What is marked is a test, which pytest runs."""
    assert [name for number, name in find_marks() if not 1 <= number <= 100] == []
    assert [name for _, name in find_marks() if not name.rpartition("::")[2].startswith("test_")] == []
