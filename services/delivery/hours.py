"""When people may be written to: quiet hours where the recipient lives, or may live."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import phonenumbers
from phonenumbers.timezone import time_zones_for_number

from shared.wall_time import instant, zone


def zones_of(number: str, own_zone: str) -> list[ZoneInfo]:
    """Give every zone in which a number may be, by its prefix; the card's own zone where the prefix tells nothing.

    Parameters:
        number: in E.164.
    """
    names = time_zones_for_number(phonenumbers.parse(number))
    known = [name for name in names if name != "Etc/Unknown"]
    return [zone(name) for name in known] or [zone(own_zone)]


def quiet_until(now: datetime, window: str, zones: Iterable[ZoneInfo]) -> datetime | None:
    """Say when it is quiet nowhere any more; None when it is quiet nowhere now.

    Parameters:
        now: aware.
        window: such as ``21:00-08:00``; it may pass midnight. Empty: never quiet.
    """
    places, at = list(zones), now
    if not window:
        return None
    # Each step leaves one zone's quiet; zones that are never awake together would go round for ever.
    for _ in range(4 * len(places)):
        ends = [end for place in places if (end := _end_of_quiet(at, window, place))]
        if not ends:
            return at if at > now else None
        at = max(ends)
    return at


def _end_of_quiet(now: datetime, window: str, place: ZoneInfo) -> datetime | None:
    start, end = (time.fromisoformat(part) for part in window.split("-"))
    local = now.astimezone(place)
    clock = local.time()
    quiet = start <= clock or clock < end if start > end else start <= clock < end
    if not quiet:
        return None
    day = local.date() + timedelta(days=1 if clock >= end else 0)
    return instant(datetime.combine(day, end), place).astimezone(UTC)
