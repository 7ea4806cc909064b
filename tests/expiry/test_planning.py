"""Planning of reminders: at their hour where the owner lives, once, late ones together, none before the card itself."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, TypeAlias
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from shared.messages import PlanExpiryReminders, SendExpiryReminder
from shared.wire import Envelope
from tests.kinds import Deliver, Issue, JobOf, Setting, Sql

At: TypeAlias = Callable[..., UUID]


@pytest.fixture
def at(card: Issue, setting: Setting) -> At:
    """Issue a card whose reminder, so many days before its end, falls on the full hour of ``moment`` in a zone."""

    def issue(moment: datetime, days_before: int = 7, zone: str = "UTC", **fields: Any) -> UUID:
        local = moment.astimezone(ZoneInfo(zone))
        setting(reminder_hour=local.hour)
        long_ago = datetime.now(UTC) - timedelta(days=100)
        expires_on = local.date() + timedelta(days=days_before)
        given: dict[str, Any] = {"created_at": long_ago, "expires_on": expires_on, "time_zone": zone} | fields
        return card(**given)

    return issue


def hours(number: float) -> datetime:
    return datetime.now(UTC) + timedelta(hours=number)


def planned(sql: Sql) -> list[dict[str, Any]]:
    return sql("SELECT * FROM jobs WHERE name = 'send_expiry_reminder' ORDER BY run_at, dedupe_key")


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu", "Pacific/Kiritimati", "Pacific/Pago_Pago"])
@pytest.mark.parametrize("days", [30, 7, 1])
def test_a_reminder_is_planned_for_its_hour_where_the_owner_lives(
    at: At, deliver: Deliver, sql: Sql, days: int, zone: str
) -> None:
    moment = hours(3)
    card_id = at(moment, days, zone, expires_tz=zone)

    deliver(PlanExpiryReminders())

    [job] = planned(sql)
    [card] = sql("SELECT * FROM gift_cards")
    hour = moment.astimezone(ZoneInfo(zone)).hour
    wall = datetime.combine(card["expires_on"] - timedelta(days=days), time(hour), ZoneInfo(zone))
    assert (job["state"], job["run_at"], job["not_after"]) == ("scheduled", wall, card["expires_at"])
    assert job["dedupe_key"] == f"reminder:{card_id}:v1:d{days}"
    assert job["data"] == {"gift_card_id": str(card_id), "days_before": days, "expiry_version": 1}


def test_planning_again_and_at_once_plans_nothing_twice(
    at: At, deliver: Deliver, job: JobOf, sql: Sql, setting: Setting
) -> None:
    for _ in range(7):
        at(hours(3))
    setting(slice_rows=2)

    deliver(*[PlanExpiryReminders() for _ in range(4)])
    [again] = deliver(PlanExpiryReminders())

    assert len(planned(sql)) == 7
    assert job(again)["reason"] == "nothing_due"


@pytest.mark.parametrize(
    "fields",
    [
        {"status": "REDEEMED"},
        {"status": "CANCELLED"},
        {"status": "PENDING"},
        {"status": "EXPIRED"},
        {"balance": "0"},
        {"recipient_email": None},
    ],
)
def test_nothing_is_planned_for_a_card_that_deserves_no_reminder(
    at: At, deliver: Deliver, sql: Sql, fields: dict[str, Any]
) -> None:
    at(hours(3), **fields)

    deliver(PlanExpiryReminders())

    assert planned(sql) == []


def test_a_reminder_that_lies_further_ahead_is_planned_when_its_day_comes(at: At, deliver: Deliver, sql: Sql) -> None:
    at(hours(27))

    deliver(PlanExpiryReminders())

    assert planned(sql) == []


def test_a_card_issued_later_than_an_offset_gets_no_reminder_for_it(at: At, deliver: Deliver, sql: Sql) -> None:
    at(hours(-2), created_at=hours(-0.5))

    deliver(PlanExpiryReminders())

    assert planned(sql) == []


def test_a_reminder_missed_by_up_to_three_days_is_caught_up_and_due_at_once(at: At, deliver: Deliver, sql: Sql) -> None:
    late, too_late = at(hours(-49)), at(hours(-97))

    deliver(PlanExpiryReminders())

    [job] = planned(sql)
    assert job["gift_card_id"] == late != too_late
    assert job["run_at"] < datetime.now(UTC)


def test_of_several_late_reminders_only_the_one_nearest_to_the_end_remains(
    at: At, deliver: Deliver, sql: Sql, setting: Setting
) -> None:
    card_id = at(hours(-2), days_before=3)
    setting(reminder_days="[5, 4, 3, 2]")

    deliver(PlanExpiryReminders())

    assert [job["dedupe_key"] for job in planned(sql)] == [f"reminder:{card_id}:v1:d3", f"reminder:{card_id}:v1:d2"]


def test_a_reminder_after_the_cards_own_end_is_not_planned(
    at: At, deliver: Deliver, sql: Sql, setting: Setting
) -> None:
    at(hours(3), days_before=0, zone="Pacific/Pago_Pago", expires_tz="Pacific/Kiritimati")
    setting(reminder_days="[0]")

    deliver(PlanExpiryReminders())

    assert planned(sql) == []


def test_an_extended_card_is_reminded_of_its_new_end_and_not_of_its_old_one(
    at: At, deliver: Deliver, job: JobOf, sql: Sql
) -> None:
    card_id = at(hours(3), days_before=7)
    deliver(PlanExpiryReminders())
    [old] = planned(sql)

    sql("UPDATE gift_cards SET expires_on = expires_on + 23")
    deliver(PlanExpiryReminders())
    sql("SELECT reschedule_job(%s, clock_timestamp())", str(old["id"]))
    deliver(Envelope(SendExpiryReminder(**old["data"]), id=old["id"]))

    assert (job(old["id"])["state"], job(old["id"])["reason"]) == ("skipped", "extended")
    assert [row["dedupe_key"] for row in planned(sql)] == [
        f"reminder:{card_id}:v1:d7",
        f"reminder:{card_id}:v2:d30",
    ]


def test_a_planned_reminder_that_comes_after_the_end_is_worthless(
    at: At, deliver: Deliver, job: JobOf, sql: Sql
) -> None:
    at(hours(3))
    deliver(PlanExpiryReminders())
    [row] = planned(sql)

    sql("UPDATE jobs SET run_at = clock_timestamp(), not_after = clock_timestamp() WHERE id = %s", row["id"])
    deliver(Envelope(SendExpiryReminder(**row["data"]), id=row["id"]))

    assert (job(row["id"])["state"], job(row["id"])["reason"]) == ("skipped", "too_late")


def test_the_offsets_are_a_setting(at: At, deliver: Deliver, sql: Sql, setting: Setting) -> None:
    card_id = at(hours(3), days_before=14)
    setting(reminder_days="[14]")

    deliver(PlanExpiryReminders())

    assert [job["dedupe_key"] for job in planned(sql)] == [f"reminder:{card_id}:v1:d14"]


def test_planning_as_of_an_earlier_time_plans_what_was_due_then(at: At, deliver: Deliver, sql: Sql) -> None:
    card_id = at(hours(-24 * 6), days_before=30)

    deliver(PlanExpiryReminders())
    nothing = planned(sql)
    deliver(PlanExpiryReminders(as_of=hours(-24 * 5)))

    assert nothing == []
    assert [job["gift_card_id"] for job in planned(sql)] == [card_id]
    assert date.today() < sql("SELECT expires_on FROM gift_cards")[0]["expires_on"]
