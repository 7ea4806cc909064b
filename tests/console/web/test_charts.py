"""The last hour and the coming days, as numbers and as bars that nobody has to run a script for."""

from __future__ import annotations

import pytest

from services.console import lookout
from services.console.web import charts, pages
from tests.console.conftest import Made
from tests.console.web.conftest import Browser
from tests.kinds import Issue, Sql


def test_the_last_hour_is_told_minute_by_minute(browser: Browser, made: Made, sql: Sql) -> None:
    for state, waited in (("succeeded", 1), ("succeeded", 3), ("failed", 9)):
        job = made(state)
        sql(
            "UPDATE jobs SET run_at = at - make_interval(secs => %s), enqueued_at = at - interval '1 day',"
            " started_at = at, finished_at = at FROM (SELECT date_trunc('minute', clock_timestamp())"
            " - interval '30 seconds' AS at) latest WHERE id = %s",
            waited,
            job,
        )

    found = browser("vera").get("/api/v1").json()

    latest = found["minutes"][-1]
    del latest["minute"]
    assert len(found["minutes"]) == 60
    assert latest == {"completed": 2, "failed": 1, "wait_median_s": 3.0, "wait_p95_s": 9.0}
    assert [row["last_minute"]["failed"] for row in found["queues"] if row["queue"] == "gift-card-expiry"] == [1]


def test_a_count_stops_where_nobody_needs_it(browser: Browser, sql: Sql, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.console.web.overview.MOST", 5)
    sql("SELECT enqueue_job('expire_due_gift_cards', '{}'::jsonb, run_at => '2199-01-01Z') FROM generate_series(1, 9)")

    assert '<td class="n">5+</td>' in browser("vera").get("/").text


def test_the_forecast_shows_each_coming_day_with_its_money(browser: Browser, card: Issue) -> None:
    card(balance="25.00", expires_on="2000-01-01", expired=True)
    client = browser("vera")

    lookout.look()
    found, page = client.get("/api/v1/forecast?days=7").json(), client.get("/forecast?days=7").text

    assert len(found["days"]) == 8
    assert found["days"][0]["money"] == {"EUR": "25.0000"}
    assert "cards expire" in page
    assert "25.00 EUR" in page


@pytest.mark.parametrize("days", ["0", "93", "soon"])
def test_a_forecast_of_no_days_is_refused_in_words(browser: Browser, days: str) -> None:
    answer = browser("vera").get(f"/forecast?days={days}")

    assert answer.status_code == 422
    assert "days: " in answer.text


def test_bars_fill_the_height_and_what_is_not_nothing_is_seen() -> None:
    chart = charts.stacked([{"a": 1000, "b": 0}, {"a": 0, "b": 1}], ["a", "b"])

    assert [(bar["part"], bar["x"], bar["height"]) for bar in chart["bars"]] == [("a", 27.0, 64.0), ("b", 207.0, 1.5)]
    assert chart["sum"] == 1001


def test_a_line_breaks_where_there_is_nothing() -> None:
    rows: list[dict[str, float | None]] = [{"s": 1.0}, {"s": None}, {"s": 0.0}, {"s": 1.0}]

    assert charts.line(rows, "s", 1.0) == ["13.5,2.0 76.5,2.0", "225.0,62.0 315.0,2.0"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, ""), (0.25, "250 ms"), (40, "40 s"), (125, "2 min 5 s"), (3600, "1 h"), (273_600, "3 d 4 h")],
)
def test_a_length_of_time_is_said_in_two_units(seconds: float | None, words: str) -> None:
    assert pages.span(seconds) == words
