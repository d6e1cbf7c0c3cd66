"""
Measure everything: each row of the table, one after the other, and a summary of what was wanted and what was found.

``python -m benchmarks --quick`` shows in a few minutes that all of it runs; without ``--quick`` it takes about an hour.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

HERE = Path(__file__).parent
ROWS = [
    "startup",
    "help",
    "daemonize",
    "memory",
    "echo",
    "services",
    "periodic",
    "restart",
    "program_restart",
    "reconnect",
    "log_record",
    "stop",
    "accept",
    "guest_startup",
    "guest_echo",
    "guest_log",
]
PEERS = [
    "twisted",
    "uvloop",
    "aiorun",
    "aiomisc",
    "mode-streaming",
    "anyio",
    "uvicorn",
    "gunicorn",
    "supervisor",
    "circus",
    "structlog",
    "python-json-logger",
    "orjson",
]


def describe_machine() -> str:
    """Return where this was measured, and against which versions."""
    system = os.uname()
    peers = []
    for name in ["plait", *PEERS]:
        try:
            peers.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            peers.append(f"{name} not installed")
    return (
        f"CPython {platform.python_version()}, {system.sysname} {system.release}, {os.cpu_count()} processors, "
        f"load {os.getloadavg()[0]:.1f} at the beginning.\n\n{', '.join(peers)}."
    )


def measure(row: str, arguments: list[str], folder: Path) -> str:
    """Run one row, which prints its own tables, and return them."""
    target = folder / f"{row}.md"
    print(f"\n{row}", file=sys.stderr, flush=True)
    command = [sys.executable, str(HERE / f"{row}.py"), *arguments, "--markdown", str(target)]
    ended = subprocess.run(command, check=False)
    if ended.returncode or not target.exists():
        return f"## {row}\n\nfailed: it ended with {ended.returncode}.\n"
    return target.read_text(encoding="utf-8")


def collect(text: str) -> list[str]:
    """Return the lines of the tables of wants in *text*, each with its row's title."""
    lines, title, inside = [], "", False
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("## "):
            title = line[3:]
        if cells == ["want", "measured", "verdict"]:
            inside = True
        elif not line.startswith("|"):
            inside = False
        elif inside and cells[0].strip("-"):
            lines.append(f"| {title} | {' | '.join(cells)} |")
    return lines


def main() -> int:
    """Measure and print; return 1 if a row could not be run at all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure plait beside its peers.")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"which rows (default all): {', '.join(ROWS)}")
    parser.add_argument("--rounds", type=int, help="how many rounds of each row (default: each row knows)")
    parser.add_argument("--quick", action="store_true", help="few and short rounds: does it run at all?")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write everything to FILE as well")
    given = parser.parse_args()
    for row in given.rows:
        if row not in ROWS:
            parser.error(f"there is no row {row!r}: wanted one of {', '.join(ROWS)}")
    arguments = ["--quick"] * given.quick + (["--rounds", str(given.rounds)] if given.rounds else [])
    machine = describe_machine()
    with tempfile.TemporaryDirectory(prefix="plait-bench-") as folder:
        sections = [measure(row, arguments, Path(folder)) for row in given.rows or ROWS]
    wants = [line for section in sections for line in collect(section)]
    head = ["## Summary", "", "| row | want | measured | verdict |", "| --- | --- | --- | --- |"]
    summary = "\n".join([*head, *wants, ""])
    print(f"{machine}\n\n{summary}", flush=True)
    if given.markdown:
        given.markdown.write_text("\n".join([f"# Benchmarks\n\n{machine}\n", summary, *sections]), encoding="utf-8")
    return int(any("failed: it ended with" in section for section in sections))


if __name__ == "__main__":
    sys.exit(main())
