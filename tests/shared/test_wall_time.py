"""Wall-clock times become instants, and Python and PostgreSQL agree which."""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import psycopg
import pytest

from shared.wall_time import end_of, instant, zone
from tests.kinds import Issue, Sql

# What reference/delivery-facts.md lists: zone, wall-clock time, UTC. A gap moves forward, a fold means the first.
CASES = [
    ("America/New_York", "2026-03-08T02:30", "2026-03-08T07:30"),
    ("Europe/London", "2026-03-29T01:30", "2026-03-29T01:30"),
    ("Australia/Lord_Howe", "2026-10-04T02:15", "2026-10-03T15:45"),
    ("America/Nuuk", "2026-03-28T23:30", "2026-03-29T01:30"),
    ("America/New_York", "2026-11-01T01:30", "2026-11-01T05:30"),
    ("Europe/Berlin", "2026-10-25T02:30", "2026-10-25T00:30"),
    ("Africa/Casablanca", "2026-02-15T02:00", "2026-02-15T01:00"),
    ("Europe/Berlin", "2026-12-25T09:00", "2026-12-25T08:00"),
    ("Asia/Kathmandu", "2026-12-25T09:00", "2026-12-25T03:15"),
    ("Europe/Kiev", "2026-12-25T09:00", "2026-12-25T07:00"),
]
# Zone, last day, and the first instant after it: also where that midnight does not exist, or comes twice.
LAST_DAYS = [
    ("Pacific/Kiritimati", "2026-12-31", "2026-12-31T10:00"),
    ("Asia/Tokyo", "2026-12-31", "2026-12-31T15:00"),
    ("Asia/Kathmandu", "2026-12-31", "2026-12-31T18:15"),
    ("Europe/Berlin", "2026-12-31", "2026-12-31T23:00"),
    ("Europe/London", "2026-12-31", "2027-01-01T00:00"),
    ("America/New_York", "2026-12-31", "2027-01-01T05:00"),
    ("Pacific/Pago_Pago", "2026-12-31", "2027-01-01T11:00"),
    ("Africa/Cairo", "2026-04-23", "2026-04-23T22:00"),
    ("America/Santiago", "2026-09-05", "2026-09-06T04:00"),
    ("Asia/Beirut", "2026-03-28", "2026-03-28T22:00"),
    ("America/Havana", "2026-03-07", "2026-03-08T05:00"),
    ("Atlantic/Azores", "2026-03-28", "2026-03-29T01:00"),
    ("America/Havana", "2026-10-31", "2026-11-01T04:00"),
    ("Atlantic/Azores", "2026-10-24", "2026-10-25T00:00"),
]


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(("name", "wall", "expected"), CASES)
def test_a_wall_clock_time_is_one_instant(name: str, wall: str, expected: str) -> None:
    assert instant(datetime.fromisoformat(wall), zone(name)) == utc(expected)


@pytest.mark.parametrize(("name", "day", "expected"), LAST_DAYS)
def test_a_card_ends_at_the_first_instant_after_its_last_day(name: str, day: str, expected: str) -> None:
    assert end_of(date.fromisoformat(day), zone(name)) == utc(expected)


def test_postgresql_finds_the_same_instants(sql: Sql) -> None:
    found = [sql("SELECT wall_instant(%s::timestamp, %s) AS at", wall, name)[0]["at"] for name, wall, _ in CASES]

    assert found == [utc(expected) for _, _, expected in CASES]


def test_postgresql_ends_a_card_at_the_same_instant(card: Issue, sql: Sql) -> None:
    ids = [card(expires_on=date.fromisoformat(day), expires_tz=name) for name, day, _ in LAST_DAYS]

    ends = {row["id"]: row["expires_at"] for row in sql("SELECT id, expires_at FROM gift_cards")}
    assert [ends[card_id] for card_id in ids] == [utc(expected) for _, _, expected in LAST_DAYS]


def usable_zones() -> Iterator[ZoneInfo]:
    for name in sorted(zoneinfo.available_timezones()):
        try:
            yield zone(name)
        except ValueError:
            continue


def changes(tz: ZoneInfo, year: int) -> Iterator[tuple[datetime, timedelta, timedelta]]:
    """Give each change of a zone's offset in a year: when (to the minute), and the offsets before and after."""
    at = datetime(year, 1, 1, tzinfo=UTC)
    while at.year == year:
        after = at + timedelta(hours=24)
        before_offset, after_offset = (t.astimezone(tz).utcoffset() or timedelta() for t in (at, after))
        if before_offset != after_offset:
            low, high = at, after
            while high - low > timedelta(minutes=1):
                middle = low + (high - low) / 2
                low, high = (middle, high) if middle.astimezone(tz).utcoffset() == before_offset else (low, middle)
            yield high.replace(second=0, microsecond=0), before_offset, after_offset
        at = after


def test_python_and_postgresql_agree_around_every_change_of_every_zone(database: str) -> None:
    times = [
        (tz, (at + offset).replace(tzinfo=None) + timedelta(minutes=minutes))
        for tz in usable_zones()
        for year in (2026, 2031)
        for at, *offsets in changes(tz, year)
        for offset in offsets
        for minutes in (-90, -45, -15, 0, 15, 45, 90)
    ]
    times += [(tz, datetime(2026, month, 1)) for tz in usable_zones() for month in (1, 7)]

    with psycopg.connect(database, options="-c timezone=UTC") as connection:
        names, walls = [tz.key for tz, _ in times], [wall for _, wall in times]
        found = connection.execute(
            "SELECT wall_instant(wall, tz) FROM unnest(%s::text[], %s::timestamp[]) AS t (tz, wall)", (names, walls)
        ).fetchall()

    differing = [(tz.key, wall) for (tz, wall), (at,) in zip(times, found, strict=True) if instant(wall, tz) != at]
    assert len(times) > 3000
    assert differing == []


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "EST",
        "CET",
        "localtime",
        "Factory",
        "Mars/Phobos",
        "../etc/passwd",
        "/etc/passwd",
        "Europe",
        "x\0",
        "ü",
    ],
)
def test_what_is_no_place_is_refused_with_an_example(name: str) -> None:
    with pytest.raises(ValueError, match="use an IANA name such as 'Europe/Berlin'"):
        zone(name)


@pytest.mark.parametrize("column", ["time_zone", "expires_tz"])
@pytest.mark.parametrize("name", ["", "EST", "cet", "Mars/Phobos", "UTC+3", "<+03>-3"])
def test_no_card_is_sold_in_a_zone_that_is_no_place(card: Issue, column: str, name: str) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=r"time zone .*"):
        card(**{column: name})  # type: ignore[arg-type]  # a column's name


def test_a_name_that_was_renamed_still_works(card: Issue) -> None:
    assert zone("Europe/Kiev")
    assert card(time_zone="Asia/Calcutta", expires_tz="Japan")
