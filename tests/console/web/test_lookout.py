"""What lies ahead is counted now and then, by one console at a time, and read without counting."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from services.console import lookout
from shared import db
from tests.console.conftest import Made
from tests.console.web.conftest import Browser
from tests.kinds import Issue, Sql

SCHEDULED = "INSERT INTO jobs (name, queue, state, run_at) VALUES ('prune_history', 'maintenance', 'scheduled', %s)"
NOON = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)


def strip(browser: Browser, days: int = 30) -> dict[str, Any]:
    found: dict[str, Any] = browser("vera").get(f"/api/v1/forecast?days={days}").json()
    return found


def test_before_the_first_count_the_page_says_so(browser: Browser) -> None:
    page = browser("vera").get("/forecast")

    assert page.status_code == 200
    assert "Nothing was counted yet" in page.text


def test_what_was_counted_is_shown_by_day_with_money_and_when_it_was(
    browser: Browser,
    sql: Sql,
    card: Issue,
) -> None:
    card("1000.00", expires_on=(NOON + timedelta(days=3)).date(), recipient_email=None)
    for days in (-2, 1, 1, 30, 31):
        sql(SCHEDULED, NOON + timedelta(days=days))

    lookout.look()
    found = strip(browser)

    jobs = {row["at"][:10]: row["count"] for row in found["rows"] if row["what"] == "prune_history"}
    today, tomorrow, last = (str((NOON + timedelta(days=n)).date()) for n in (0, 1, 30))
    assert jobs == {today: 1, tomorrow: 2, last: 1}
    [expiry] = [row for row in found["rows"] if row["what"] == "cards expire"]
    assert (expiry["count"], float(expiry["money"]), expiry["currency"]) == (1, 1000, "EUR")
    assert len(found["days"]) == 31
    assert datetime.now(UTC) - datetime.fromisoformat(found["as_of"]) < timedelta(minutes=1)
    assert "as counted at" in browser("vera").get("/forecast").text


def test_it_is_counted_anew_when_it_is_old_and_not_before(sql: Sql, browser: Browser) -> None:
    assert lookout.look() >= lookout.LEAST_S
    sql(SCHEDULED, NOON)

    assert 0 < lookout.look() <= lookout.LEAST_S
    young = strip(browser)["rows"]
    sql("UPDATE forecast SET as_of = as_of - interval '61 seconds'")
    lookout.look()

    assert young == []
    assert len(strip(browser)["rows"]) == 1


def test_the_longer_counting_takes_the_rarer_it_is(sql: Sql) -> None:
    lookout.look()
    sql("UPDATE forecast SET took_s = 30, as_of = as_of - interval '61 seconds'")

    assert 500 < lookout.look() < 600


def test_of_two_consoles_one_counts(sql: Sql, made: Made) -> None:
    made("scheduled")
    with db.transaction() as another:
        another.execute(lookout.DUE)

        assert lookout.look() == lookout.LEAST_S

    assert sql("SELECT as_of FROM forecast") == [{"as_of": None}]


def test_reading_it_reads_no_job_and_no_card_that_is_not_held(sql: Sql) -> None:
    with db.transaction() as connection:
        rows = connection.execute("EXPLAIN " + lookout.COUNTED, (NOON,)).fetchall()

    plan = "\n".join(row["QUERY PLAN"] for row in rows)
    assert "on forecast" in plan
    assert "jobs" not in plan
    assert "gift_cards" not in plan
