"""Retention: finished jobs go by age or number, failed ones by age, open ones never; their keys stay."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import psycopg
import pytest

from shared.messages import PruneHistory
from tests.cleanup.conftest import Finished
from tests.kinds import Deliver, JobOf, Setting, Sql


def kept(sql: Sql) -> set[UUID]:
    return {row["id"] for row in sql("SELECT id FROM jobs WHERE name <> 'prune_history'")}


def test_completed_jobs_go_after_an_hour_and_failed_ones_after_a_day(
    finished: Finished, deliver: Deliver, sql: Sql
) -> None:
    young = {finished("59 minutes", state) for state in ("succeeded", "skipped", "cancelled")}
    young |= {finished("23 hours", state) for state in ("failed", "rejected")}
    for state in ("succeeded", "skipped", "cancelled"):
        finished("61 minutes", state)
    for state in ("failed", "rejected"):
        finished("25 hours", state)

    deliver(PruneHistory())

    assert kept(sql) == young


def test_a_job_stays_until_the_copy_of_its_message_has_been_read(
    finished: Finished, deliver: Deliver, sql: Sql
) -> None:
    job_id = finished("2 hours")
    sql("UPDATE wiretap SET settled_until = (SELECT enqueued_at FROM jobs WHERE id = %s)", job_id)
    deliver(PruneHistory())
    assert kept(sql) == {job_id}

    sql("UPDATE wiretap SET settled_until = settled_until + interval '61 seconds'")
    deliver(PruneHistory())
    assert kept(sql) == set()


def test_of_completed_jobs_a_number_per_queue_is_kept_however_young_they_are(
    finished: Finished, deliver: Deliver, sql: Sql, setting: Setting
) -> None:
    setting(keep_completed_count=3, slice_rows=2)
    for n in range(10, 17):
        finished(f"{n} minutes")
    newest = {finished(f"{n} minutes", state) for n, state in enumerate(("succeeded", "skipped", "cancelled"))}
    other_queue = {finished("50 minutes", queue="email-delivery") for _ in range(3)}
    failed = {finished("5 hours", "failed") for _ in range(5)}

    deliver(PruneHistory())

    assert kept(sql) == newest | other_queue | failed


def test_jobs_that_ended_in_one_instant_are_counted_one_by_one(
    finished: Finished, deliver: Deliver, sql: Sql, setting: Setting
) -> None:
    setting(keep_completed_count=3)
    for _ in range(5):
        finished("1 minute")
    sql("UPDATE jobs SET finished_at = date_trunc('minute', clock_timestamp()) WHERE state = 'succeeded'")

    deliver(PruneHistory())

    assert len(kept(sql)) == 3


@pytest.mark.parametrize("state", ["scheduled", "queued", "running"])
def test_an_unfinished_job_is_never_deleted(deliver: Deliver, sql: Sql, setting: Setting, state: str) -> None:
    setting(keep_completed_count=0, keep_completed_s=0, keep_failed_s=0)
    sql("SELECT enqueue_job('expire_due_gift_cards', run_at => clock_timestamp() - interval '90 days')")
    sql("UPDATE jobs SET state = %s, enqueued_at = enqueued_at - interval '90 days'", state)

    deliver(PruneHistory())

    assert len(kept(sql)) == 1


def test_the_key_of_a_deleted_job_stays_so_that_it_is_not_made_again(
    finished: Finished, deliver: Deliver, sql: Sql
) -> None:
    job_id = finished("2 hours", key="sweep:once")
    deliver(PruneHistory())

    [again] = sql("SELECT enqueue_job('expire_due_gift_cards', dedupe_key => 'sweep:once') AS id")

    assert again["id"] == job_id
    assert kept(sql) == set()


def test_a_failed_job_that_an_operator_is_just_retrying_is_not_deleted(
    finished: Finished, deliver: Deliver, sql: Sql, database: str
) -> None:
    retried = finished("25 hours", "failed")
    finished("25 hours", "failed")

    with psycopg.connect(database) as operator:
        operator.execute("UPDATE jobs SET state = 'scheduled', finished_at = NULL WHERE id = %s", [retried])
        deliver(PruneHistory())

    assert kept(sql) == {retried}


def test_facts_go_a_month_after_they_were_published_and_never_before(deliver: Deliver, sql: Sql) -> None:
    for kind, published in (("old", "31 days"), ("young", "29 days"), ("unpublished", None)):
        sql(
            "INSERT INTO events (type, subject, created_at, published_at) VALUES (%s, gen_random_uuid(),"
            " clock_timestamp() - interval '90 days', clock_timestamp() - %s::interval)",
            kind,
            published,
        )

    deliver(PruneHistory())

    assert {row["type"] for row in sql("SELECT type FROM events")} == {"young", "unpublished"}


def test_pruning_with_nothing_to_do_says_so(deliver: Deliver, job: JobOf) -> None:
    [job_id] = deliver(PruneHistory())

    row: dict[str, Any] = job(job_id)
    assert (row["state"], row["reason"]) == ("skipped", "nothing_due")


def test_bulk_actions_go_with_their_jobs_after_thirty_days_and_unconfirmed_ones_after_one(
    deliver: Deliver, sql: Sql, setting: Setting
) -> None:
    setting(slice_rows=2)
    for state, age in (("done", 31), ("done", 29), ("prepared", 2), ("prepared", 0), ("running", 40), ("aborted", 31)):
        sql(
            "WITH b AS (INSERT INTO bulk_actions (act, search, state, per_s, prepared_by, started_by, reason, next_at,"
            " prepared_at, ended_at) SELECT 'retry', '{}', %s, 100, 'ada', 'ada', 'x', now(), at, at"
            " FROM (SELECT now() - %s * interval '1 day' AS at) age RETURNING id)"
            " INSERT INTO bulk_action_items SELECT id, gen_random_uuid() FROM b, generate_series(1, 3)",
            state,
            age,
        )

    deliver(PruneHistory())

    left = sql("SELECT state, round(extract(epoch FROM now() - prepared_at) / 86400)::int AS age FROM bulk_actions")
    assert sorted((row["state"], row["age"]) for row in left) == [("done", 29), ("prepared", 0), ("running", 40)]
    assert sql("SELECT count(*) FROM bulk_action_items") == [{"count": 9}]
