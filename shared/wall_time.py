"""Turn what people mean by a time (a day, nine o'clock where she lives) into an instant."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

# Names that ZoneInfo loads but that mean another thing on every machine, in PostgreSQL, or ignore daylight saving.
_NOT_A_PLACE = {"localtime", "Factory", "posixrules", "CET", "EET", "MET", "WET"}
_NOT_A_PLACE |= {"EST", "MST", "HST", "EST5EDT", "CST6CDT", "MST7MDT", "PST8PDT"}


def zone(name: str) -> ZoneInfo:
    """Load an IANA time zone.

    Raises:
        ValueError: for a name that is unknown, or that is not a place (``EST``, ``localtime``).
    """
    try:
        if name in _NOT_A_PLACE or not name.strip():
            raise ValueError(name)
        return ZoneInfo(name)
    except (ValueError, ZoneInfoNotFoundError, OSError):
        raise ValueError(f"unknown time zone {name!r}: use an IANA name such as 'Europe/Berlin'") from None


def instant(wall: datetime, tz: ZoneInfo) -> datetime:
    """Give the UTC instant of a wall-clock time in a zone.

    A time that daylight saving skips moves forward by the gap; one that comes twice means the first
    (PEP 495, ``fold=0``).
    """
    return wall.replace(tzinfo=tz, fold=0).astimezone(UTC)


def end_of(day: date, tz: ZoneInfo) -> datetime:
    """Give the first instant after an inclusive day in a zone, in UTC: when a card of that day has expired."""
    return instant(datetime.combine(day + timedelta(days=1), time()), tz)
