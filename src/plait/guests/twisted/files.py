"""
Running a ``.tac`` file as twistd runs it.
"""

from __future__ import annotations

from typing import Any

from plait import ConfigurationError

VARIABLE = "application"


def run_file(path: str, source: bytes) -> Any:
    """
    Run *source*, which is in the file at *path*, in a namespace that holds its ``__file__`` alone.

    Returns what it calls ``application``.  What fails in it passes, and so does ``sys.exit``.  Raises
    `ConfigurationError` when it defines no such variable.
    """
    code = compile(source, path, "exec", dont_inherit=True)
    names: dict[str, Any] = {"__file__": path}
    exec(code, names)  # noqa: S102 - running that file is what was asked for
    if VARIABLE not in names:
        import difflib

        near = difflib.get_close_matches(VARIABLE, names, n=1)
        but = f" (but `{near[0]}`)" if near else ""
        raise ConfigurationError(
            f"{path}: defines no variable `{VARIABLE}`{but}: write {VARIABLE} = service.Application(...)"
        )
    return names[VARIABLE]
