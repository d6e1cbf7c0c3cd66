"""
How a log record is made: as the standard library makes it, in half the time.

Most of what a log call costs is the search for the caller and the ``LogRecord``, not the line that is written.  While
logs are open, ordinary loggers make the same record, attribute by attribute, on a shorter way; whatever is out of the
ordinary (an exception, ``stack_info``, ``stacklevel``, a record factory of somebody's own, a subclass) takes the
standard library's way.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from logging import CRITICAL, DEBUG, ERROR, INFO, WARNING, LogRecord, getLevelName, getLogRecordFactory
from sys import _getframe, modules
from threading import current_thread, get_ident
from time import time
from types import FunctionType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from logging import _ArgsType, _ExcInfoType

_SPECIMEN = LogRecord("", 0, "", 0, "", (), None)

STANDARD: tuple[str, ...] = tuple(_SPECIMEN.__dict__)
"""The attributes that each record of this Python has, in their order; what a user adds comes after them."""

RESERVED = frozenset(STANDARD) | {"message", "asctime", "taskName"}
"""Attributes that the standard library uses on a record: never a user's field."""

_new = object.__new__
_have_none_of = RESERVED.isdisjoint
_TASKS = sys.version_info >= (3, 12)
# fmt: off
_KNOWN = [
    "name", "msg", "args", "levelname", "levelno", "pathname", "filename", "module", "exc_info", "exc_text",
    "stack_info", "lineno", "funcName", "created", "msecs", "relativeCreated", "thread", "threadName", "processName",
    "process", *(["taskName"] if _TASKS else []),
]
# fmt: on
_START = _SPECIMEN.created - _SPECIMEN.relativeCreated / 1000
_LOGGING_FILE = logging.addLevelName.__code__.co_filename
_WAY = (_LOGGING_FILE, (lambda: None).__code__.co_filename)  # the files between a caller and its record
# A process has as many source files as it has: what os.path makes of each is kept for good.
_file_names: dict[str, tuple[str, str]] = {}
# A system call for each record is a fiftieth of it; the number changes in a fork only.
_pid = os.getpid()


class Logger(logging.Logger):
    """The standard library's logger with a shorter way to the same record; nothing is missing from it."""

    # The standard library's five take **kwargs and hand them on, which costs as much as a third of the record.

    def debug(
        self,
        msg: object,
        *args: object,
        exc_info: _ExcInfoType | None = None,
        stack_info: bool = False,
        stacklevel: int = 1,
        extra: Mapping[str, object] | None = None,
    ) -> None:
        if self.isEnabledFor(DEBUG):
            self._log(DEBUG, msg, args, exc_info, extra, stack_info, stacklevel)

    def info(
        self,
        msg: object,
        *args: object,
        exc_info: _ExcInfoType | None = None,
        stack_info: bool = False,
        stacklevel: int = 1,
        extra: Mapping[str, object] | None = None,
    ) -> None:
        if self.isEnabledFor(INFO):
            self._log(INFO, msg, args, exc_info, extra, stack_info, stacklevel)

    def warning(
        self,
        msg: object,
        *args: object,
        exc_info: _ExcInfoType | None = None,
        stack_info: bool = False,
        stacklevel: int = 1,
        extra: Mapping[str, object] | None = None,
    ) -> None:
        if self.isEnabledFor(WARNING):
            self._log(WARNING, msg, args, exc_info, extra, stack_info, stacklevel)

    def error(
        self,
        msg: object,
        *args: object,
        exc_info: _ExcInfoType | None = None,
        stack_info: bool = False,
        stacklevel: int = 1,
        extra: Mapping[str, object] | None = None,
    ) -> None:
        if self.isEnabledFor(ERROR):
            self._log(ERROR, msg, args, exc_info, extra, stack_info, stacklevel)

    def critical(
        self,
        msg: object,
        *args: object,
        exc_info: _ExcInfoType | None = None,
        stack_info: bool = False,
        stacklevel: int = 1,
        extra: Mapping[str, object] | None = None,
    ) -> None:
        if self.isEnabledFor(CRITICAL):
            self._log(CRITICAL, msg, args, exc_info, extra, stack_info, stacklevel)

    def _log(
        self,
        level: int,
        msg: object,
        args: _ArgsType,
        exc_info: _ExcInfoType | None = None,
        extra: Mapping[str, object] | None = None,
        stack_info: bool = False,
        stacklevel: int = 1,
    ) -> None:
        if (
            exc_info
            or stack_info
            or stacklevel != 1
            or (extra and (type(extra) is not dict or not _have_none_of(extra)))
            or type(self) is not Logger
            or getLogRecordFactory() is not LogRecord
        ):
            super()._log(level, msg, args, exc_info, extra, stack_info, stacklevel)
            return
        frame: Any = _getframe(1)
        code = frame.f_code
        while code.co_filename in _WAY and (caller := frame.f_back) is not None:
            frame = caller
            code = frame.f_code
        if args and len(args) == 1 and isinstance(args, tuple) and isinstance(args[0], Mapping) and args[0]:
            args = args[0]
        path = code.co_filename
        names = _file_names.get(path) or _name_file(path)
        now = time()
        # Attributes in the standard library's order, without its __init__: see STANDARD.
        record: LogRecord = _new(LogRecord)
        record.name = self.name
        record.msg = msg
        record.args = args
        record.levelname = getLevelName(level)
        record.levelno = level
        record.pathname = path
        record.filename = names[0]
        record.module = names[1]
        record.exc_info = None
        record.exc_text = None
        record.stack_info = None
        record.lineno = frame.f_lineno
        record.funcName = code.co_name
        record.created = now
        record.msecs = (now - now // 1) * 1000 // 1
        record.relativeCreated = (now - _START) * 1000
        if logging.logThreads:
            record.thread = get_ident()
            record.threadName = current_thread().name
        else:
            record.thread = record.threadName = None
        if logging.logMultiprocessing:
            record.processName = "MainProcess" if "multiprocessing" not in modules else _process_name()
        else:
            record.processName = None
        record.process = _pid if logging.logProcesses else None
        if _TASKS:
            record.taskName = _task_name()
        if extra:
            record.__dict__.update(extra)
        if self.filters:
            self.handle(record)
        elif not self.disabled:
            self.callHandlers(record)

    def findCaller(self, stack_info: bool = False, stacklevel: int = 1) -> tuple[str, int, str, str | None]:  # noqa: N802
        frame: Any = _getframe()
        ours = 0  # frames that the standard library takes for the caller's
        while frame is not None and frame.f_code.co_filename in _WAY:
            ours += frame.f_code.co_filename == _WAY[1]
            frame = frame.f_back
        return super().findCaller(stack_info, stacklevel + ours)


_GONE_AROUND = ("debug", "info", "warning", "error", "critical", "_log", "findCaller", "makeRecord", "handle")


def use_quick_loggers() -> None:
    """Let ordinary loggers, those there are and those to come, make their records on the shorter way."""
    # A Python whose records have something that we do not know, a tracer that wrapped what we go around: rather slow
    # than incomplete.
    if list(STANDARD) != _KNOWN or not all(map(_is_original, _GONE_AROUND)):
        return
    if logging.getLoggerClass() is logging.Logger:
        logging.setLoggerClass(Logger)
    _turn(logging.Logger, Logger)


def use_standard_loggers() -> None:
    """Undo ``use_quick_loggers``."""
    if logging.getLoggerClass() is Logger:
        logging.setLoggerClass(logging.Logger)
    _turn(Logger, logging.Logger)


def _is_original(name: str) -> bool:
    method = vars(logging.Logger)[name]
    return type(method) is FunctionType and method.__code__.co_filename == _LOGGING_FILE


def _turn(old: type[logging.Logger], new: type[logging.Logger]) -> None:
    # Loggers are made when modules are imported, long before logs are opened; only their class tells the two apart.
    for logger in list(logging.root.manager.loggerDict.values()):
        if type(logger) is old:
            logger.__class__ = new


def _learn_pid() -> None:
    global _pid
    _pid = os.getpid()


os.register_at_fork(after_in_child=_learn_pid)


def _name_file(path: str) -> tuple[str, str]:
    name = os.path.basename(path)
    names = _file_names[path] = (name, os.path.splitext(name)[0])
    return names


def _process_name() -> str:
    try:
        return str(modules["multiprocessing"].current_process().name)
    except Exception:  # it is half imported
        return "MainProcess"


def _task_name() -> str | None:
    asyncio = modules.get("asyncio")
    if asyncio is None or not getattr(logging, "logAsyncioTasks", True):
        return None
    try:
        task = None if asyncio._get_running_loop() is None else asyncio.current_task()
    except Exception:  # it is half imported
        return None
    return None if task is None else task.get_name()
