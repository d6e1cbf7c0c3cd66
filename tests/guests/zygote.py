"""
A process that has loaded plait and Twisted, and forks for each program that it is told to be.

So a start costs no import.  No reactor is installed in it.  It is told in lines of JSON, and answers each with the
status of what ended.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any


class Zygote:
    """The process, from outside."""

    def __enter__(self) -> Zygote:
        root = Path(__file__).parents[2]
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root, text=True
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.communicate()

    def run(self, program: str, arguments: tuple[str, ...], folder: Path, seconds: int) -> int:
        """Be *program* in *folder*; return its exit code.  What it writes is in ``folder.out`` and ``folder.err``."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = {"program": program, "arguments": arguments, "folder": os.fspath(folder), "seconds": seconds}
        print(json.dumps(order), file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline())


def serve() -> None:
    """Obey until the input ends."""
    import plait.cli.plait
    import plait.cli.plaitd
    import plait.runner.check
    import plait.runner.preload

    plait.runner.preload.preload()

    assert not {"twisted.internet.reactor", "twisted.plugins"} & sys.modules.keys()
    for line in sys.stdin:
        order: dict[str, Any] = json.loads(line)
        pid = os.fork()
        if not pid:
            _be(**order)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def _be(program: str, arguments: list[str], folder: str, seconds: int) -> None:
    code: Any = 70
    try:
        for number, name, flags in (
            (0, os.devnull, os.O_RDONLY),
            (1, f"{folder}.out", os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
            (2, f"{folder}.err", os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
        ):
            opened = os.open(name, flags)
            os.dup2(opened, number)
            os.close(opened)
        sys.stdout = os.fdopen(1, "w", closefd=False)
        sys.stderr = os.fdopen(2, "w", errors="backslashreplace", closefd=False)
        sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr  # type: ignore[misc]
        os.chdir(folder)
        sys.path[0] = os.path.dirname(program)
        sys.path.insert(1, folder)  # as PYTHONPATH would have it
        sys.argv[0] = program
        for name in [name for name in os.environ if name.startswith(("PLAIT_", "NOTIFY_", "LISTEN_", "COLUMNS"))]:
            del os.environ[name]
        signal.alarm(seconds)  # what comes to serve is ended, and found by its exit code
        from plait.cli import plait, plaitd

        name = os.path.basename(program)
        sys.exit(plaitd.main(arguments) if name == "plaitd" else plait.main(arguments))
    except SystemExit as leaving:
        # As Python ends by it.
        if leaving.code is not None and not isinstance(leaving.code, int):
            print(leaving.code, file=sys.stderr)
        code = int(leaving.code is not None) if not isinstance(leaving.code, int) else leaving.code & 0xFF
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None and not stream.closed:
                stream.flush()
        os._exit(code)


if __name__ == "__main__":
    serve()
