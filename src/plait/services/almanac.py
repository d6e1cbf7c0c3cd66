"""
When a cron expression is due next, in a time zone.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo

from cronsim import CronSim, CronSimError

NEVER = float("inf")


class Unusable(Exception):
    """The value of *field* cannot be used; *wanted* says what can."""

    def __init__(self, field: str, wanted: str) -> None:
        super().__init__(field, wanted)
        self.field = field
        self.wanted = wanted


class LocalZone(tzinfo):
    """
    The machine's own time zone, with its changes.

    ``datetime.astimezone()`` only gives the offset of one moment, and ``zoneinfo`` does not know which zone is ours:
    the C library knows both.
    """

    def utcoffset(self, moment: datetime | None) -> timedelta | None:
        """Return how far it is from UTC at this local time; ``fold`` tells two equal ones apart."""
        return None if moment is None else moment.replace(tzinfo=None).astimezone().utcoffset()

    def dst(self, moment: datetime | None) -> timedelta | None:
        """Return None: not known apart from the offset."""
        return None

    def tzname(self, moment: datetime | None) -> str | None:
        """Return its name at this local time."""
        return None if moment is None else moment.replace(tzinfo=None).astimezone().tzname()

    def fromutc(self, moment: datetime) -> datetime:
        """Return the local time of a moment of UTC."""
        return datetime.fromtimestamp(moment.replace(tzinfo=UTC).timestamp()).replace(tzinfo=self)


class Almanac:
    """Knows when *expression* is due in *timezone* (None: the machine's own).  Raises `Unusable`."""

    __slots__ = ("_expression", "_zone")

    def __init__(self, expression: str, timezone: str | None) -> None:
        self._zone = _find_zone(timezone)
        self._expression = expression
        try:
            simulation = CronSim(expression, datetime.now(self._zone))
        except CronSimError as error:
            # Its errors read "Bad minute" and "Wrong number of fields".
            text = str(error)
            raise Unusable(
                "expression", f"{text[:1].lower()}{text[1:]}: wanted minute, hour, day, month and weekday"
            ) from None
        except (AttributeError, TypeError):
            raise Unusable("expression", "wanted a text such as '0 3 * * *'") from None
        if next(simulation, None) is None:
            raise Unusable("expression", "never comes: wanted a date that exists")

    def after(self, moment: float) -> float:
        """Return the first time that is due after *moment*; both are seconds since 1970."""
        start = datetime.fromtimestamp(moment, UTC).astimezone(self._zone)
        for due in CronSim(self._expression, start):
            stamp = due.timestamp()
            # In the hour that comes twice, a job of a fixed hour is due in the first pass, which may be over.
            if stamp > moment:
                return stamp
        return NEVER


def _find_zone(timezone: str | None) -> tzinfo:
    if timezone is None:
        return LocalZone()
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(timezone)
    except (KeyError, ValueError, OSError, TypeError):
        raise Unusable("timezone", "there is no such time zone: wanted a name such as 'Europe/Berlin'") from None
