"""A card ends at the first instant after its last day, where it was sold: the database and Python agree on it."""

from __future__ import annotations

from datetime import date, datetime
from uuid import UUID
from zoneinfo import ZoneInfo

import psycopg
import pytest

from shared.messages import ExpireDueGiftCards
from shared.wall_time import end_of
from tests.kinds import Deliver, Issue, JobOf, Sql

# zone, last day, first instant after it in UTC
ENDS = [
    ("Pacific/Kiritimati", "2026-12-31", "2026-12-31T10:00Z"),
    ("Asia/Tokyo", "2026-12-31", "2026-12-31T15:00Z"),
    ("Asia/Kathmandu", "2026-12-31", "2026-12-31T18:15Z"),
    ("Europe/Berlin", "2026-12-31", "2026-12-31T23:00Z"),
    ("Europe/London", "2026-12-31", "2027-01-01T00:00Z"),
    ("America/New_York", "2026-12-31", "2027-01-01T05:00Z"),
    ("Pacific/Pago_Pago", "2026-12-31", "2027-01-01T11:00Z"),
    # The next day has no midnight: it begins at 01:00.
    ("Africa/Cairo", "2026-04-23", "2026-04-23T22:00Z"),
    ("America/Santiago", "2026-09-05", "2026-09-06T04:00Z"),
    ("Asia/Beirut", "2026-03-28", "2026-03-28T22:00Z"),
    ("America/Havana", "2026-03-07", "2026-03-08T05:00Z"),
    ("Atlantic/Azores", "2026-03-28", "2026-03-29T01:00Z"),
    # The next day has two midnights: the first one counts.
    ("America/Havana", "2026-10-31", "2026-11-01T04:00Z"),
    ("Atlantic/Azores", "2026-10-24", "2026-10-25T00:00Z"),
    # Leap day, and an alias that is kept.
    ("UTC", "2028-02-29", "2028-03-01T00:00Z"),
    ("Europe/Kiev", "2026-12-31", "2026-12-31T22:00Z"),
]


def test_the_end_of_a_card_is_the_end_of_its_day_in_its_zone(card: Issue, sql: Sql) -> None:
    ids = {card(expires_on=day, expires_tz=zone): end for zone, day, end in ENDS}

    derived = {row["id"]: row["expires_at"] for row in sql("SELECT id, expires_at FROM gift_cards")}

    assert derived == {card_id: datetime.fromisoformat(end) for card_id, end in ids.items()}


@pytest.mark.parametrize(("zone", "day", "end"), ENDS)
def test_python_says_the_same(zone: str, day: str, end: str) -> None:
    assert end_of(date.fromisoformat(day), ZoneInfo(zone)) == datetime.fromisoformat(end)


def test_of_cards_with_one_last_day_each_goes_when_its_own_place_has_passed_it(
    card: Issue, deliver: Deliver, job: JobOf, sql: Sql
) -> None:
    [now] = sql("SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date AS day, clock_timestamp() AS at")
    zones = ["Pacific/Kiritimati", "Asia/Kathmandu", "Europe/London", "Pacific/Pago_Pago"]
    ends: dict[UUID, datetime] = {}
    for zone in zones:
        for days in (-1, 0):
            last_day = date.fromordinal(now["day"].toordinal() + days)
            ends[card(expires_on=last_day, expires_tz=zone)] = end_of(last_day, ZoneInfo(zone))

    deliver(ExpireDueGiftCards())

    expired = {row["id"] for row in sql("SELECT id FROM gift_cards WHERE status = 'EXPIRED'")}
    assert expired == {card_id for card_id, end in ends.items() if end <= now["at"]}
    assert 0 < len(expired) < len(ends)


def test_a_card_in_no_known_zone_is_refused_when_it_is_issued(card: Issue) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="Mars/Phobos"):
        card(expires_tz="Mars/Phobos")
