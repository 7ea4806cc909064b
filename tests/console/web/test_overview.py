"""The first screen: what stands, what is held back, and the acts on whole queues."""

from __future__ import annotations

import pytest
from psycopg_pool import PoolTimeout

from shared import db
from shared.messages import QUEUES
from tests.console.conftest import Made
from tests.console.web.conftest import Browser
from tests.kinds import Sql


def test_page_and_api_show_the_same_counts(browser: Browser, made: Made) -> None:
    made("failed")
    client = browser("vera")

    page, data = client.get("/").text, client.get("/api/v1").json()

    [row] = [row for row in data["queues"] if row["queue"] == "gift-card-expiry"]
    assert (row["failed"], row["rate_per_s"]) == (1, 10000)
    assert all(queue in page for queue in QUEUES)
    assert '<td class="n bad">1</td>' in page


def test_whoever_only_views_sees_no_forms(browser: Browser) -> None:
    assert "/acts/" not in browser("vera").get("/").text
    assert "/acts/pause_queue" in browser("otto").get("/").text
    assert "/acts/pause_everything" not in browser("otto").get("/").text
    assert "/acts/pause_everything" in browser("ada").get("/").text


def test_a_queue_is_paused_and_resumed_by_forms_that_say_so(browser: Browser, sql: Sql) -> None:
    client = browser("otto")

    paused = client.post("/acts/pause_queue", data={"queue": "sms-delivery", "reason": "carrier filters us"})
    page = client.get("/").text
    client.post("/acts/resume_queue", data={"queue": "sms-delivery", "reason": "filter is off"})

    assert (paused.status_code, paused.headers["Location"]) == (303, "/")
    assert "sms-delivery is paused: what runs goes on" in page
    assert "by otto: carrier filters us" in page
    assert "is paused" not in client.get("/").text.replace("sms-delivery goes on", "")
    assert [(row["who"], row["action"]) for row in sql("SELECT who, action FROM audit ORDER BY id")] == [
        ("otto", "queue.paused"),
        ("otto", "queue.resumed"),
    ]


def test_all_queues_are_paused_and_resumed_at_once(browser: Browser, sql: Sql) -> None:
    client = browser("ada")

    client.post("/api/v1/acts/pause_everything", json={"reason": "broker is moved"})
    paused = sql("SELECT count(*) AS n FROM queue_controls WHERE paused_at IS NOT NULL")
    client.post("/api/v1/acts/resume_everything", json={"reason": "broker was moved"})

    assert paused == [{"n": len(QUEUES)}]
    assert sql("SELECT count(*) AS n FROM queue_controls WHERE paused_at IS NOT NULL") == [{"n": 0}]
    assert sql("SELECT count(*) AS n FROM audit") == [{"n": 2 * len(QUEUES)}]


def test_a_rate_is_set_and_given_back_to_the_settings(browser: Browser, sql: Sql) -> None:
    client = browser("otto")
    act = {"queue": "sms-delivery", "reason": "carrier filters us"}

    said = client.post("/api/v1/acts/limit_queue", json=act | {"rate_per_s": 2.5}).json()
    set_to = sql("SELECT rate_per_s FROM queue_controls")
    client.post("/api/v1/acts/limit_queue", json=act)

    assert said == {"said": "sms-delivery: 2.5 jobs a second"}
    assert set_to == [{"rate_per_s": 2.5}]
    assert sql("SELECT rate_per_s FROM queue_controls") == [{"rate_per_s": None}]


@pytest.mark.parametrize(
    ("reason", "why"),
    [("", "reason: "), ("   ", "say why"), ("asked by ada@example.com", "no @"), ("x" * 201, "at most 200")],
)
def test_no_act_without_a_reason_that_may_be_kept(browser: Browser, sql: Sql, reason: str, why: str) -> None:
    client, act = browser("otto"), {"queue": "sms-delivery", "reason": reason}

    by_form = client.post("/acts/pause_queue", data=act)
    by_program = client.post("/api/v1/acts/pause_queue", json=act)

    assert (by_form.status_code, by_program.status_code) == (303, 422)
    assert why in client.get("/").text
    assert why in by_program.json()["detail"]
    assert sql("SELECT FROM audit") == []


def test_an_act_that_is_refused_says_why_on_the_page_it_was_on_and_once(browser: Browser) -> None:
    client = browser("ada")
    token = client.headers.pop("X-CSRF-Token")

    answer = client.post("/acts/release_brake", data={"reason": "checked with finance", "back": "/?x=1", "csrf": token})

    assert (answer.status_code, answer.headers["Location"]) == (303, "/?x=1")
    assert "the brake is not pulled" in client.get("/").text
    assert "the brake is not pulled" not in client.get("/").text


def test_a_pulled_brake_is_shown_and_released(browser: Browser, sql: Sql) -> None:
    sql("""INSERT INTO brakes (name, details) VALUES ('expiry', '{"cards": 5000, "limit": "over 10 % of all"}')""")
    client = browser("ada")

    page = client.get("/").text
    client.post("/acts/release_brake", data={"reason": "checked with finance"})

    assert "5000 cards are due, over 10 % of all" in page
    assert sql("SELECT released_by, reason FROM brakes") == [{"released_by": "ada", "reason": "checked with finance"}]


def test_an_open_breaker_is_shown_and_probed(browser: Browser, sql: Sql) -> None:
    sql(
        "INSERT INTO breakers (provider, code, said, failures, probe_at)"
        " VALUES ('smtp:relay:587', '535', 'no such login', 3, '2199-01-01Z')"
    )
    client = browser("otto")

    page = client.get("/").text
    client.post("/acts/release_breaker", data={"provider": "smtp:relay:587", "reason": "new password is set"})

    assert "smtp:relay:587 refuses us" in page
    assert sql("SELECT probe_at < '2199-01-01Z' AS soon FROM breakers") == [{"soon": True}]


def test_the_database_away_is_said_with_the_way_out(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    client = browser("vera")

    def away() -> None:
        raise PoolTimeout

    monkeypatch.setattr(db, "transaction", away)

    answer = client.get("/")
    assert answer.status_code == 503
    assert "the database does not answer" in answer.text
    assert client.get("/livez").status_code == 200
