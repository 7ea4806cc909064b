"""The forecast: what will fire, by hour or day, queue and currency, with the money at stake; fast on big tables."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta

import pytest

from services.console import ahead
from services.console.forecasting import bar
from shared import db
from shared.messages import PlanExpiryReminders
from tests.console.conftest import Cli, Read
from tests.kinds import Deliver, Issue, Setting, Sql

IN_TWO_DAYS = datetime.now(UTC).replace(hour=9, minute=30, second=0, microsecond=0) + timedelta(days=2)


def scheduled(sql: Sql, name: str, at: datetime, priority: str = "normal", **data: object) -> None:
    sql("SELECT enqueue_job(%s, %s::jsonb, run_at => %s, priority => %s)", name, json.dumps(data), at, priority)


def test_scheduled_jobs_are_counted_by_hour_queue_and_currency_with_their_cards_money(
    card: Issue, sql: Sql, read: Read
) -> None:
    for balance, currency in (("10.00", "EUR"), ("15.50", "EUR"), ("40.00", "USD")):
        given = {"gift_card_id": str(card(balance, currency=currency)), "method": "email"}
        scheduled(sql, "deliver_gift_card", IN_TWO_DAYS, "urgent" if currency == "USD" else "normal", **given)
    scheduled(sql, "prune_history", IN_TWO_DAYS + timedelta(hours=1))
    scheduled(sql, "prune_history", IN_TWO_DAYS + timedelta(days=30))

    rows = read("forecast")["rows"]

    hour = IN_TWO_DAYS.replace(minute=0)
    assert [(row["at"], row["what"], row["currency"], row["count"], row["money"]) for row in rows] == [
        (hour.isoformat(), "deliver_gift_card", "EUR", 2, "25.5000"),
        (hour.isoformat(), "deliver_gift_card", "USD", 1, "40.0000"),
        ((hour + timedelta(hours=1)).isoformat(), "prune_history", None, 1, None),
    ]
    assert {row["queue"] for row in rows} == {"scheduled-delivery", "maintenance"}


def test_what_is_overdue_fires_in_this_hour(sql: Sql, read: Read) -> None:
    scheduled(sql, "prune_history", datetime.now(UTC) - timedelta(days=2))

    [row] = read("forecast")["rows"]

    assert datetime.fromisoformat(row["at"]) > datetime.now(UTC) - timedelta(hours=2)


def test_days_begin_where_they_are_asked_for(sql: Sql, read: Read) -> None:
    scheduled(sql, "prune_history", IN_TWO_DAYS.replace(hour=23))
    scheduled(sql, "prune_history", IN_TWO_DAYS.replace(hour=3))

    utc = read("forecast", "--by", "day")["rows"]
    tokyo = read("forecast", "--by", "day", "--zone", "Asia/Tokyo")["rows"]

    assert [row["count"] for row in utc] == [2]
    assert [row["count"] for row in tokyo] == [1, 1]
    assert datetime.fromisoformat(tokyo[0]["at"]).hour == 15


def test_reminders_yet_to_be_planned_are_foreseen_where_the_owner_lives_and_planned_ones_counted_once(
    card: Issue, deliver: Deliver, read: Read, setting: Setting
) -> None:
    setting(reminder_days="[7, 1]")
    card("20.00", expires_on=date.today() + timedelta(days=9), time_zone="Asia/Tokyo")
    card("5.00", expires_on=date.today() + timedelta(days=9), recipient_email=None)

    def reminders() -> list[tuple[str, int, str]]:
        rows = [row for row in read("forecast", "--days", 20)["rows"] if row["queue"] == "expiry-reminders"]
        return [(row["what"], row["count"], row["at"][11:16]) for row in rows]

    assert reminders() == [("reminder, 7 days before", 1, "00:00"), ("reminder, 1 days before", 1, "00:00")]

    setting(reminder_days="[9, 7]")
    deliver(PlanExpiryReminders())  # of the coming day only
    assert [(what, count) for what, count, _ in reminders() if "7" in what] == [("reminder, 7 days before", 1)]


def test_a_reminder_that_is_planned_is_a_job_and_nothing_more(
    card: Issue, deliver: Deliver, read: Read, setting: Setting
) -> None:
    tomorrow = datetime.now(UTC) + timedelta(hours=20)
    setting(reminder_days="[3]", reminder_hour=tomorrow.hour)
    import services.expiry.actors  # noqa: F401  # registers the planner

    card(expires_on=tomorrow.date() + timedelta(days=3))
    before = [row["what"] for row in read("forecast", "--days", 3)["rows"]]
    deliver(PlanExpiryReminders())
    after = [row["what"] for row in read("forecast", "--days", 3)["rows"]]

    assert (before, after) == (["reminder, 3 days before"], ["send_expiry_reminder"])


def test_expiring_cards_are_counted_with_their_money_and_held_ones_apart(card: Issue, read: Read, cli: Cli) -> None:
    soon = date.today() + timedelta(days=3)
    card("1000.00", expires_on=soon, recipient_email=None)
    card("234.50", expires_on=soon, recipient_email=None)
    card("8.00", expired=True, expiry_hold="unreached")
    card("99.00", expires_on=soon, status="CANCELLED")

    found = read("forecast", "--by", "day", "--days", 10)

    [row] = found["rows"]
    assert (row["what"], row["count"], row["money"]) == ("cards expire", 2, "1234.5000")
    assert row["at"][:10] == (soon + timedelta(days=1)).isoformat()
    assert found["held"] == [{"currency": "EUR", "count": 1, "money": "8.0000"}]
    output = cli("forecast", "--by", "day", "--days", 10).output
    assert "1,234.50" in output
    assert "█" * 20 in output
    assert "held, their gift reached nobody (1 EUR cards): 8.00 EUR" in output


def test_an_empty_forecast_says_so_and_a_wrong_one_is_refused(cli: Cli) -> None:
    assert "nothing will fire" in cli("forecast").output
    assert "no span is called 'week'" in cli("forecast", "--by", "week").stderr
    assert "unknown time zone" in cli("forecast", "--zone", "Mars/Phobos").stderr


@pytest.mark.parametrize(("share", "drawn"), [(1.0, "█" * 20), (0.5, "█" * 10), (0.0001, "▏"), (0.05, "█")])
def test_a_bar_shows_a_share_and_something_for_anything(share: float, drawn: str) -> None:
    assert bar(share) == drawn


def test_no_statement_of_the_forecast_reads_a_whole_table_of_jobs_cards_or_keys(card: Issue, sql: Sql) -> None:
    sql(
        "INSERT INTO gift_cards (currency, balance, code_encrypted, code_last4, expires_on, recipient_email)"
        " SELECT 'EUR', 0, 'x', 'WXYZ', current_date + 300 + n % 900, 'a@example.com' FROM generate_series(1, 30000) n"
    )
    sql(
        "INSERT INTO jobs (name, queue, state, run_at, finished_at) SELECT 'prune_history', 'maintenance',"
        " CASE WHEN n % 10 = 0 THEN 'scheduled' ELSE 'succeeded' END, clock_timestamp() + n * interval '1 hour',"
        " clock_timestamp() FROM generate_series(1, 30000) n"
    )
    sql("INSERT INTO job_keys SELECT n::text, gen_random_uuid(), 'prune_history', '' FROM generate_series(1, 30000) n")
    sql("ANALYZE jobs, gift_cards, job_keys")
    [span] = sql("SELECT clock_timestamp() AS now, clock_timestamp() + interval '30 days' AS until")

    with db.transaction() as connection:
        for statement in (ahead.JOBS, ahead.REMINDERS, ahead.EXPIRING, ahead.HELD):
            given = ahead.parameters(span, "hour", "UTC")
            rows = connection.execute("EXPLAIN " + statement, given).fetchall()
            plan = "\n".join(row["QUERY PLAN"] for row in rows)
            assert "Seq Scan on" not in plan, plan
