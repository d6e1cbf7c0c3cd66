"""
Opening what the log goes to: a file, a stream, the journal, syslog
"""

from __future__ import annotations

import os
from collections.abc import Callable

from plait.errors import CannotCreate
from plait.runner.formats import Format, Text
from plait.runner.log_settings import LogSettings
from plait.runner.sinks import STREAMS, Sink, open_log_file, open_stream
from plait.runner.writer import Taker
from plait.values import Value, value


@value
class Place(Value):
    """
    An open place for records: what takes them, what to call it, whether it is a standard stream.

    *format* is the one that the place itself wants, or None where the settings decide.
    """

    taker: Taker
    name: str
    is_stream: bool = False
    format: Format | None = None

    @property
    def descriptor(self) -> int:
        """The number of what is open; it must stay open when a daemon closes what it inherited."""
        return self.taker.descriptor


def open_place(settings: LogSettings, *, descriptor: int = -1) -> Place:
    """
    Open where *settings* say that records go, all but a ``logger``; the caller closes it, or gives it to ``open_logs``.

    *descriptor* is the file, if it was opened before because it is out of reach now, and cannot be opened again.
    Raises CannotCreate.
    """
    if settings.journal or settings.syslog:
        return _open_socket(settings)
    stream = STREAMS.get(settings.file)
    name = stream[1] if stream else settings.file
    if stream and settings.format == "auto" and "JOURNAL_STREAM" in os.environ:
        from plait.runner.journal import find_journal

        if taker := find_journal(stream[0], os.environ["JOURNAL_STREAM"]):
            return _journal(taker, settings.prefix, is_stream=True)
    # A service may change the folder; the log stays where it was meant to be.
    path = "" if stream else os.path.abspath(settings.file)
    outside = "it lies outside of --chroot" if descriptor >= 0 else ""
    open_sink: Callable[[int, str, str], Sink] = Sink
    rotation = None if stream or outside else settings.rotation()
    if rotation is not None:
        from plait.runner.rotation import rotating

        open_sink = rotating(rotation, name)
    try:
        if descriptor < 0:
            descriptor = open_stream(stream[0]) if stream else open_log_file(path)
    except OSError as error:
        raise CannotCreate(
            f"{name}: cannot be written ({error.strerror}): give another place with --logfile"
        ) from error
    return Place(open_sink(descriptor, "" if outside else path, outside), name, is_stream=bool(stream))


def choose_format(format: str, *, for_people: bool, terminal: bool) -> Format:
    """The format for what is asked, see ``open_logs``; ``colour`` is coloured whatever the terminal says."""
    if format == "json" or (format == "auto" and for_people and not terminal):
        from plait.runner.json_lines import JSONLines  # `json` costs a start that needs none of it

        return JSONLines()
    if format == "text-ms":
        from plait.runner.formats import PreciseText

        return PreciseText()
    plain = os.environ.get("NO_COLOR", "") != "" or os.environ.get("TERM") == "dumb"
    return Text(colours=format == "colour" or (format == "auto" and for_people and not plain))


def _open_socket(settings: LogSettings) -> Place:
    if settings.journal:
        from plait.runner.journal import ADDRESS, open_journal

        try:
            return _journal(open_journal(), settings.prefix)
        except OSError as error:
            raise CannotCreate(
                f"--journal: {ADDRESS}: cannot be written ({error.strerror}): "
                "run it where systemd-journald does, or leave --journal out"
            ) from error
    from plait.runner.syslog_daemon import SyslogLines, open_syslog

    address = settings.syslog_address
    try:
        return Place(open_syslog(address), address, format=SyslogLines(settings.prefix))
    except OSError as error:
        raise CannotCreate(
            f"--syslog: {address}: cannot be written ({error.strerror}): start a syslog daemon, or leave --syslog out"
        ) from error


def _journal(taker: Taker, prefix: str, *, is_stream: bool = False) -> Place:
    from plait.runner.journal import JournalEntries

    return Place(taker, "the journal", is_stream=is_stream, format=JournalEntries(prefix))
