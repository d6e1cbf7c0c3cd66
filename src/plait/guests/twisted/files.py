"""
Running a ``.tac`` file as twistd runs it.
"""

from __future__ import annotations

from typing import Any

from plait import ConfigurationError

VARIABLE = "application"


def run_file(path: str) -> Any:
    """
    Run the file at *path* in a namespace that holds its ``__file__`` alone; return what it calls ``application``.

    Raises `ConfigurationError` with the line of the file where it fails, and lets ``sys.exit`` pass.
    """
    try:
        with open(path, encoding="utf-8") as file:
            source = file.read()
        code = compile(source, path, "exec", dont_inherit=True)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror}): give the path of a Python file") from None
    except SyntaxError as error:
        raise ConfigurationError(f"{path}:{error.lineno}: {error.msg}: correct the file") from error
    except ValueError as error:
        raise ConfigurationError(f"{path}: is no Python source ({error}): give the path of a Python file") from error
    names: dict[str, Any] = {"__file__": path}
    try:
        exec(code, names)  # noqa: S102 - running that file is what was asked for
    except Exception as error:
        raise _failed(path, error) from error
    if VARIABLE not in names:
        raise ConfigurationError(
            f"{path}: defines no variable `{VARIABLE}`: write {VARIABLE} = service.Application(...)"
        )
    return names[VARIABLE]


def _failed(path: str, error: Exception) -> ConfigurationError:
    trace, line = error.__traceback__, 0
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == path:
            line = trace.tb_lineno
        trace = trace.tb_next
    text = " ".join(str(error).split())
    return ConfigurationError(f"{path}:{line}: {type(error).__name__}: {text}: correct the file")
