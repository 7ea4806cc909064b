"""Token cleanup: nothing that anybody can still use, or that shows a theft, is deleted; the rest is, once per date."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest

from services.cleanup import retention
from services.scheduler.timetable import Timetable
from shared.messages import CleanupExpiredTokens
from shared.publisher import Publisher
from shared.wire import Envelope
from tests.cleanup.conftest import NO_TIMETABLE, Token
from tests.kinds import Deliver, Eventually, Forsake, JobOf, Setting, Sql, StartProcess, StartWorker


def left(sql: Sql) -> set[UUID]:
    return {row["id"] for row in sql("SELECT id FROM refresh_tokens")}


def test_tokens_that_expired_longer_ago_than_the_grace_are_deleted_and_no_others(
    token: Token, deliver: Deliver, sql: Sql
) -> None:
    live, revoked_live = token("1 second"), token("30 days", revoked=True)
    in_grace, revoked_in_grace = token("-23 hours"), token("-23 hours", revoked=True)
    token("-25 hours")
    token("-25 hours", revoked=True)

    deliver(CleanupExpiredTokens())

    assert left(sql) == {live, revoked_live, in_grace, revoked_in_grace}


def test_the_grace_is_a_setting(token: Token, deliver: Deliver, sql: Sql, setting: Setting) -> None:
    setting(token_grace_s=60)
    young = token("-30 seconds")
    token("-90 seconds")

    deliver(CleanupExpiredTokens())

    assert left(sql) == {young}


def test_a_live_token_outlives_its_expired_parent(token: Token, deliver: Deliver, sql: Sql) -> None:
    grandparent = token("-3 days", revoked=True)
    parent = token("-2 days", revoked=True, parent=grandparent)
    child = token("7 days", parent=parent)

    deliver(CleanupExpiredTokens())

    assert sql("SELECT id, parent_id FROM refresh_tokens") == [{"id": child, "parent_id": None}]


def test_a_revoked_parent_that_has_not_expired_is_still_recognised(token: Token, deliver: Deliver, sql: Sql) -> None:
    parent = token("1 day", revoked=True)
    child = token("7 days", parent=parent)

    deliver(CleanupExpiredTokens())

    assert {row["id"]: row["parent_id"] for row in sql("SELECT * FROM refresh_tokens")} == {parent: None, child: parent}


def test_many_tokens_go_in_slices(
    token: Token, deliver: Deliver, sql: Sql, setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting(slice_rows=3)
    slices: list[str] = []
    monkeypatch.setattr(retention, "failpoint", slices.append)
    for _ in range(8):
        token("-2 days")

    deliver(CleanupExpiredTokens())

    assert left(sql) == set()
    assert len(slices) == 4  # 3, 3, 2, and the look that finds nothing more


def test_a_token_that_is_being_renewed_is_left_alone(token: Token, deliver: Deliver, sql: Sql, database: str) -> None:
    held = token("-2 days")
    token("-2 days")

    with psycopg.connect(database) as shop:
        shop.execute(
            "UPDATE refresh_tokens SET expires_at = clock_timestamp() + interval '1 day' WHERE id = %s", [held]
        )
        deliver(CleanupExpiredTokens())

    assert left(sql) == {held}


def test_a_date_is_cleaned_once_however_many_jobs_ask_for_it(
    token: Token, deliver: Deliver, job: JobOf, sql: Sql
) -> None:
    token("-2 days")
    envelope = Envelope(CleanupExpiredTokens())
    deliver(envelope, envelope)
    late = token("-2 days")

    [again] = deliver(CleanupExpiredTokens())

    assert (job(again)["state"], job(again)["reason"]) == ("skipped", "already_run")
    assert left(sql) == {late}


def test_two_cleanups_at_once_are_one(token: Token, deliver: Deliver, job: JobOf, sql: Sql) -> None:
    for _ in range(20):
        token("-2 days")

    ids = deliver(*[CleanupExpiredTokens() for _ in range(4)])

    assert left(sql) == set()
    assert sorted(job(i)["reason"] or "" for i in ids) == ["", "already_run", "already_run", "already_run"]


def test_another_date_is_another_run_and_looks_back_from_there(token: Token, deliver: Deliver, sql: Sql) -> None:
    token("-10 days")
    expired_later = token("-4 days")

    deliver(CleanupExpiredTokens(as_of=datetime.now(UTC) - timedelta(days=5)))
    assert left(sql) == {expired_later}
    deliver(CleanupExpiredTokens())

    assert left(sql) == set()


def test_a_date_in_the_future_deletes_no_live_token(token: Token, deliver: Deliver, sql: Sql) -> None:
    live = token("1 hour")

    deliver(CleanupExpiredTokens(as_of=datetime.now(UTC) + timedelta(days=30)))

    assert left(sql) == {live}


def test_a_date_whose_run_failed_is_cleaned_by_the_next_run(
    token: Token, deliver: Deliver, job: JobOf, sql: Sql
) -> None:
    token("-2 days")
    sql("ALTER TABLE refresh_tokens RENAME TO away")
    failed = Envelope(CleanupExpiredTokens())
    for _ in range(4):
        deliver(failed)
        sql("UPDATE jobs SET run_at = clock_timestamp()")
    sql("ALTER TABLE away RENAME TO refresh_tokens")
    assert (job(failed.id)["state"], job(failed.id)["reason"]) == ("failed", "retries_exhausted")

    deliver(CleanupExpiredTokens())

    assert left(sql) == set()


@pytest.mark.parametrize("service", [None])  # another service's part is played, too
def test_after_days_of_downtime_one_run_catches_up(token: Token, deliver: Deliver, job: JobOf, sql: Sql) -> None:
    for days in range(2, 7):
        token(f"-{days} days")
    sql("INSERT INTO schedules VALUES ('cleanup_expired_tokens', clock_timestamp() - interval '5 days')")

    Timetable().fire()
    [made] = sql("SELECT * FROM jobs WHERE name = 'cleanup_expired_tokens'")
    deliver(Envelope(CleanupExpiredTokens(), id=made["id"], dedupe_key=made["dedupe_key"]))

    assert job(made["id"])["state"] == "succeeded"
    assert left(sql) == set()


def test_a_cleanup_killed_between_slices_goes_on_where_it_stopped(
    token: Token,
    process: StartProcess,
    worker: StartWorker,
    publisher: Publisher,
    job: JobOf,
    sql: Sql,
    setting: Setting,
    eventually: Eventually,
    forsake: Forsake,
) -> None:
    setting(slice_rows=2, timetable=NO_TIMETABLE)
    live = token("1 day")
    for _ in range(5):
        token("-2 days")

    job_id = publisher.send(CleanupExpiredTokens())
    process("cleanup", failpoints="slice=kill").communicate(timeout=60)
    assert len(left(sql)) == 4
    forsake()
    process("scheduler")
    worker("cleanup-tokens")
    eventually(lambda: job(job_id)["state"] == "succeeded")

    assert left(sql) == {live}
