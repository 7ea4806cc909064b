"""Rescue: what went silent comes back, and what kills its worker does not come back for ever."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from services.scheduler.rescue import rescue
from shared import metrics
from tests.kinds import Issue, JobOf, Setting, Sql

RUNNING = """
INSERT INTO jobs (name, queue, state, epoch, attempt, max_attempts, stalls, cancel_requested, worker, lease_until)
VALUES ('prune_history', 'maintenance', 'running', 1, %s, 4, %s, %s, 'host:1', clock_timestamp() + %s::interval)
RETURNING id
"""
QUEUED = """
INSERT INTO jobs (name, queue, state, publishes, queued_at)
VALUES ('prune_history', 'maintenance', 'queued', %s, clock_timestamp() - %s::interval) RETURNING id
"""


def test_a_job_whose_lease_holds_is_left_alone(sql: Sql, job: JobOf) -> None:
    (row,) = sql(RUNNING, 1, 0, False, "1 minute")

    assert rescue() == 0
    assert job(row["id"])["state"] == "running"


def test_a_silent_job_comes_back_counted(sql: Sql, job: JobOf) -> None:
    (row,) = sql(RUNNING, 1, 0, False, "-1 second")
    counter = metrics.stalled.labels("maintenance", "prune_history")
    before: float = counter._value.get()

    assert rescue() == 1

    after = job(row["id"])
    assert (after["state"], after["reason"], after["stalls"], after["attempt"]) == ("scheduled", "stalled", 1, 1)
    assert (after["lease_until"], after["finished_at"]) == (None, None)
    assert counter._value.get() == before + 1


@pytest.mark.parametrize(("attempt", "stalls", "why"), [(1, 2, "the third stall"), (4, 0, "the last attempt")])
def test_a_job_that_goes_silent_again_and_again_is_failed(
    sql: Sql, job: JobOf, attempt: int, stalls: int, why: str
) -> None:
    (row,) = sql(RUNNING, attempt, stalls, False, "-1 second")

    rescue()

    after = job(row["id"])
    assert (after["state"], after["reason"]) == ("failed", "stalled"), why
    assert after["finished_at"]


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize(
    ("was", "cancelled", "becomes", "told"),
    [
        ("queued", False, ("failed", "stalled"), ["stalled"]),
        ("scheduled", False, ("failed", "stalled"), ["stalled"]),
        ("sending", False, ("unconfirmed", "held"), ["held"]),  # it may have arrived
        ("unconfirmed", False, ("unconfirmed", "held"), ["held"]),
        ("queued", True, ("cancelled", "cancelled"), []),
        ("sending", True, ("unconfirmed", "held"), ["held"]),
        ("sent", False, ("sent", None), []),
    ],
)
def test_the_delivery_of_a_job_that_is_given_up_does_not_wait_for_ever(
    named: bool, was: str, cancelled: bool, becomes: tuple[str, str | None], told: list[str], card: Issue, sql: Sql
) -> None:
    card_id = card()
    (delivery,) = sql(
        "INSERT INTO deliveries (dedupe_key, gift_card_id, kind, channel, recipient_version, state)"
        " VALUES ('k', %s, 'gift', 'email', 1, %s) RETURNING id",
        card_id,
        was,
    )
    (row,) = sql(RUNNING, 1, 2, cancelled, "-1 second")
    sql("UPDATE jobs SET gift_card_id = %s WHERE id = %s", card_id, row["id"])
    if named:
        sql("UPDATE jobs SET data = jsonb_build_object('delivery_id', %s::text)", str(delivery["id"]))
    else:
        sql("UPDATE deliveries SET job_id = %s", row["id"])

    rescue()

    (after,) = sql("SELECT state, reason FROM deliveries")
    assert (after["state"], after["reason"]) == becomes
    facts = sql("SELECT type, data ->> 'reason' AS reason FROM events WHERE type LIKE 'delivery.%'")
    assert [fact["reason"] for fact in facts] == told
    assert {fact["type"] for fact in facts} <= {"delivery.held" if told == ["held"] else "delivery.failed"}
    assert len(sql("SELECT FROM events WHERE type = 'job.failed' AND subject = %s", card_id)) == (not cancelled)


def test_the_delivery_of_a_job_that_comes_back_is_left_to_it(card: Issue, sql: Sql) -> None:
    (row,) = sql(RUNNING, 1, 0, False, "-1 second")
    card_id = card()
    sql("UPDATE jobs SET gift_card_id = %s", card_id)
    sql(
        "INSERT INTO deliveries (dedupe_key, gift_card_id, kind, channel, recipient_version, state, job_id)"
        " VALUES ('k', %s, 'gift', 'email', 1, 'sending', %s)",
        card_id,
        row["id"],
    )

    rescue()

    assert [after["state"] for after in sql("SELECT state FROM deliveries")] == ["sending"]


def test_a_silent_job_that_was_cancelled_is_cancelled(sql: Sql, job: JobOf) -> None:
    (row,) = sql(RUNNING, 1, 0, True, "-1 second")

    rescue()

    assert (job(row["id"])["state"], job(row["id"])["reason"]) == ("cancelled", "cancelled")


@pytest.mark.parametrize(
    ("publishes", "silent_for", "state"),
    [
        (1, "59 seconds", "queued"),
        (1, "61 seconds", "scheduled"),
        (2, "61 seconds", "queued"),
        (2, "121 seconds", "scheduled"),
        (50, "1900 seconds", "queued"),
        (50, "1930 seconds", "scheduled"),
    ],
)
def test_a_published_job_that_nobody_starts_is_published_again_after_a_growing_while(
    sql: Sql, job: JobOf, publishes: int, silent_for: str, state: str
) -> None:
    (row,) = sql(QUEUED, publishes, silent_for)

    rescue()

    assert job(row["id"])["state"] == state


@pytest.mark.parametrize("state", ["running", "succeeded", "skipped"])
@pytest.mark.parametrize(
    ("started", "publishes", "comes_again"),
    [
        ("3 minutes", 1, False),  # the queue has not come to ours yet
        ("90 seconds", 1, True),  # it has, and ours was not there
        ("90 seconds", 2, False),  # a copy, which may stand anywhere: it waits behind the one of three minutes
    ],
)
def test_a_queue_that_moves_has_lost_what_was_overtaken_and_nothing_else(
    sql: Sql, job: JobOf, state: str, started: str, publishes: int, comes_again: bool
) -> None:
    (row,) = sql(QUEUED, 1, "2 minutes")
    for queued, times in (("3 minutes", 1), (started, publishes)):
        sql(
            "INSERT INTO jobs (name, queue, state, epoch, publishes, queued_at, started_at, finished_at, lease_until)"
            " SELECT 'prune_history', 'maintenance', s, 1, %s, now() - %s::interval, now(),"
            " CASE WHEN s <> 'running' THEN now() END, CASE WHEN s = 'running' THEN now() + interval '1 hour' END"
            " FROM unnest(ARRAY[%s]) s",
            times,
            queued,
            state,
        )

    rescue()

    assert job(row["id"])["state"] == ("scheduled" if comes_again else "queued")


def test_what_was_overtaken_by_urgent_work_only_is_not_lost(sql: Sql, job: JobOf) -> None:
    (row,) = sql(QUEUED, 1, "2 minutes")
    (behind,) = sql(QUEUED, 1, "3 minutes")
    sql("UPDATE jobs SET state = 'succeeded', started_at = now(), finished_at = now() WHERE id = %s", behind["id"])
    (urgent,) = sql(QUEUED, 1, "1 second")
    sql(
        "UPDATE jobs SET state = 'succeeded', priority = 0, started_at = now(), finished_at = now() WHERE id = %s",
        urgent["id"],
    )

    rescue()

    assert job(row["id"])["state"] == "queued"


def test_two_schedulers_rescue_each_job_once(sql: Sql) -> None:
    for _ in range(50):
        sql(RUNNING, 1, 0, False, "-1 second")

    with ThreadPoolExecutor() as threads:
        rescued: list[Any] = list(threads.map(lambda _: rescue(), range(4)))

    assert sum(rescued) == 50
    assert sql("SELECT DISTINCT stalls FROM jobs") == [{"stalls": 1}]


def test_a_job_that_its_worker_is_just_finishing_is_left_to_it(sql: Sql, job: JobOf, database: str) -> None:
    (row,) = sql(RUNNING, 1, 0, False, "-1 second")
    with psycopg.connect(database) as worker:
        worker.execute(
            "UPDATE jobs SET state = 'succeeded', finished_at = clock_timestamp() WHERE id = %s", (row["id"],)
        )
        assert rescue() == 0

    assert job(row["id"])["state"] == "succeeded"


def test_the_number_of_stalls_is_a_setting(sql: Sql, job: JobOf, setting: Setting) -> None:
    setting(max_stalls=1)
    (row,) = sql(RUNNING, 1, 0, False, "-1 second")

    rescue()

    assert job(row["id"])["state"] == "failed"
