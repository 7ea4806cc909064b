"""Wall-clock times become instants, and Python and PostgreSQL agree which."""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from uuid import UUID
from zoneinfo import ZoneInfo

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared import db
from shared.enqueue import enqueue
from shared.messages import DeliverGiftCard
from shared.wall_time import end_of, instant, zone
from tests.kinds import Issue, Sql

# Zone, wall-clock time, UTC. A gap moves forward, a fold means the first.
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
        after = at + timedelta(days=5)  # nowhere are two changes so close
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
        for year in range(2024, 2041, 4)
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


ZONES = list(usable_zones())
YEARS = range(2024, 2041)
changes_of = cache(lambda tz, year: list(changes(tz, year)))


@st.composite
def wishes(draw: st.DrawFn) -> tuple[ZoneInfo, datetime]:
    """Give a zone and a wall-clock time in it; half of them near a change of its clocks, if it has any that year."""
    tz, year = draw(st.sampled_from(ZONES)), draw(st.sampled_from(YEARS))
    found = changes_of(tz, year) if draw(st.booleans()) else []
    if not found:
        return tz, draw(st.datetimes(datetime(year, 1, 1), datetime(year, 12, 31, 23, 59, 59)))
    at, before, after = draw(st.sampled_from(found))
    wall = (at + draw(st.sampled_from([before, after]))).replace(tzinfo=None)
    return tz, wall + timedelta(seconds=draw(st.integers(-3 * 3600, 3 * 3600)))


def readings(at: datetime, tz: ZoneInfo, wall: datetime) -> list[datetime]:
    """Give every instant within a day of ``at`` at which a clock in the zone shows ``wall``, in order."""
    offsets = {(at + timedelta(hours=hours)).astimezone(tz).utcoffset() or timedelta() for hours in range(-24, 25)}
    instants = sorted(wall.replace(tzinfo=UTC) - offset for offset in offsets)
    return [instant for instant in instants if local(instant, tz) == wall]


def local(at: datetime, tz: ZoneInfo) -> datetime:
    return at.astimezone(tz).replace(tzinfo=None)


@given(wishes())
@settings(max_examples=1500, deadline=None, derandomize=True)
def test_a_gift_is_due_when_the_clock_there_first_shows_the_wished_time_and_never_before(
    wish: tuple[ZoneInfo, datetime],
) -> None:
    tz, wall = wish

    at = DeliverGiftCard(gift_card_id=UUID(int=1), method="email", deliver_local=wall, deliver_tz=tz.key).due_at()

    assert at is not None
    if shown := readings(at, tz, wall):
        assert at == shown[0]
    else:  # the clock never shows it: later by what was skipped
        before, after = ((at + timedelta(hours=h)).astimezone(tz).utcoffset() or timedelta() for h in (-24, 24))
        assert local(at, tz) - wall == after - before > timedelta()


@given(st.sampled_from(ZONES), st.dates(date(2024, 1, 1), date(2040, 12, 31)))
@settings(max_examples=1500, deadline=None, derandomize=True)
def test_a_card_is_good_to_the_last_moment_of_its_day_and_no_longer(tz: ZoneInfo, day: date) -> None:
    end = end_of(day, tz)

    assert local(end, tz).date() > day
    assert local(end - timedelta(microseconds=1), tz).date() <= day


@given(st.lists(wishes(), min_size=40, max_size=40))
@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_python_and_postgresql_agree_on_any_wish(database: str, some: list[tuple[ZoneInfo, datetime]]) -> None:
    walls = [wall for _, wall in some] + [datetime.combine(wall.date() + timedelta(days=1), time()) for _, wall in some]
    zones = [tz.key for tz, _ in some] * 2

    with db.transaction() as connection:
        found = connection.execute(
            "SELECT wall_instant(wall, tz) AS at FROM unnest(%s::text[], %s::timestamp[]) AS t (tz, wall)",
            (zones, walls),
        ).fetchall()

    wished, ends = [instant(wall, tz) for tz, wall in some], [end_of(wall.date(), tz) for tz, wall in some]
    assert [row["at"] for row in found] == wished + ends


@given(wishes())
@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_both_doors_make_the_same_time_of_a_wish(database: str, wish: tuple[ZoneInfo, datetime]) -> None:
    tz, wall = wish
    message = DeliverGiftCard(gift_card_id=UUID(int=1), method="email", deliver_local=wall, deliver_tz=tz.key)

    with db.transaction() as connection:
        job_id = enqueue(connection, message)
        row = connection.execute("SELECT run_at FROM jobs WHERE id = %s", (job_id,)).fetchone()

    assert row is not None
    assert row["run_at"] == message.due_at()


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
