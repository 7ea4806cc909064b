"""The SQL door: a job is there exactly if the caller's transaction commits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from shared.enqueue import cancel, enqueue, reschedule
from shared.messages import DeliverGiftCard, ExpireGiftCard, PruneHistory, SendExpiryReminder, SendGiftCardEmail, hint
from tests.kinds import JobOf, Sql

CARD = uuid4()
SOON = datetime.now(UTC) + timedelta(hours=1)
STATES = ("scheduled", "queued", "running", "succeeded", "skipped", "failed", "rejected", "cancelled")


@pytest.fixture
def upstream(database: str) -> Iterator[psycopg.Connection]:
    """Give an upstream's own connection, in which nothing is committed for it."""
    with psycopg.connect(database) as connection:
        yield connection
        connection.rollback()


@pytest.fixture(params=["session", "connection", "psycopg"])
def transaction(request: pytest.FixtureRequest, database: str) -> Iterator[Any]:
    """Give each kind of transaction that a caller may have."""
    engine = create_engine(database.replace("postgresql://", "postgresql+psycopg://", 1))
    if request.param == "session":
        with Session(engine) as session:
            yield session
    elif request.param == "connection":
        with engine.connect() as connection:
            yield connection
    else:
        with psycopg.connect(database) as plain:
            yield plain
    engine.dispose()


def test_a_job_is_there_once_its_caller_commits(transaction: Any, sql: Sql, job: JobOf) -> None:
    job_id = enqueue(transaction, ExpireGiftCard(gift_card_id=CARD), priority="urgent", source="orders", run_at=SOON)
    assert sql("SELECT * FROM jobs") == []

    transaction.commit()

    row = job(job_id)
    assert (row["name"], row["queue"], row["state"]) == ("expire_gift_card", "gift-card-expiry", "scheduled")
    assert (row["priority"], row["source"], row["run_at"]) == (0, "orders", SOON)
    assert row["gift_card_id"] == CARD
    assert row["data"] == {"gift_card_id": str(CARD)}


def test_a_cursor_will_do(upstream: psycopg.Connection) -> None:
    with upstream.cursor() as cursor:
        job_id = enqueue(cursor, PruneHistory())

        assert cancel(cursor, job_id) == "cancelled"


def test_a_job_goes_with_its_callers_rollback(transaction: Any, sql: Sql) -> None:
    enqueue(transaction, PruneHistory(), dedupe_key="nightly")

    transaction.rollback()

    assert sql("SELECT id FROM jobs") == []
    assert sql("SELECT job_id FROM job_keys") == []


def test_a_repeated_key_gives_the_first_jobs_id(transaction: Any, sql: Sql) -> None:
    ids = [enqueue(transaction, SendExpiryReminder(gift_card_id=CARD), dedupe_key="r:1") for _ in range(2)]
    transaction.commit()

    assert ids[0] == ids[1]
    assert [row["id"] for row in sql("SELECT id FROM jobs")] == [ids[0]]


def test_the_same_key_from_two_callers_at_once_makes_one_job(database: str, sql: Sql) -> None:
    with psycopg.connect(database) as first, psycopg.connect(database) as second:
        winner = enqueue(first, PruneHistory(), dedupe_key="k")
        second.execute("SET lock_timeout = '50ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            enqueue(second, PruneHistory(), dedupe_key="k")  # it waits for the first to end
        second.rollback()
        first.commit()

        assert enqueue(second, PruneHistory(), dedupe_key="k") == winner


@pytest.mark.parametrize(
    "other", [SendExpiryReminder(gift_card_id=CARD, days_before=1), ExpireGiftCard(gift_card_id=CARD), PruneHistory()]
)
def test_the_same_key_with_other_data_is_an_error_that_says_so(upstream: psycopg.Connection, other: Any) -> None:
    enqueue(upstream, SendExpiryReminder(gift_card_id=CARD), dedupe_key="r:1")

    with pytest.raises(psycopg.errors.UniqueViolation, match="dedupe_key 'r:1' is already used by another send_expiry"):
        enqueue(upstream, other, dedupe_key="r:1")


def test_a_key_outlives_its_job(upstream: psycopg.Connection, sql: Sql) -> None:
    first = enqueue(upstream, PruneHistory(), dedupe_key="k")
    upstream.execute("DELETE FROM jobs")

    assert enqueue(upstream, PruneHistory(), dedupe_key="k") == first
    assert sql("SELECT id FROM jobs") == []


def enqueue_sql(upstream: psycopg.Connection, arguments: str, *values: object) -> UUID:
    row = upstream.execute(f"SELECT enqueue_job({arguments})", values).fetchone()
    assert row is not None
    return UUID(str(row[0]))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("'expire_giftcard'", "no message is called 'expire_giftcard': use one of cancel_delivery, check_"),
        ("'expire_gift_card'", "expire_gift_card needs the field gift_card_id"),
        ("'expire_gift_card', '[]'", "data of expire_gift_card must be a JSON object"),
        ("'expire_gift_card', NULL", "data of expire_gift_card must be a JSON object"),
        ("'expire_gift_card', '{\"gift_card_id\": \"42\"}'", "gift_card_id of expire_gift_card must be a UUID"),
        ("'prune_history', priority => 'high'", "priority 'high' is not one of urgent, normal, bulk"),
        ("'prune_history', jsonb_build_object('x', repeat('x', 60000))", "under 60 kB"),
    ],
)
def test_what_is_wrong_is_refused_with_the_way_out(upstream: psycopg.Connection, arguments: str, says: str) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=says):
        enqueue_sql(upstream, arguments)


def test_any_language_may_call_it_with_two_arguments(upstream: psycopg.Connection, job: JobOf) -> None:
    job_id = enqueue_sql(upstream, "'send_expiry_reminder', jsonb_build_object('gift_card_id', %s::text)", CARD)
    upstream.commit()

    row = job(job_id)
    assert row["data"] == {"gift_card_id": str(CARD), "days_before": 7}
    assert row["source"] == "sql"


@pytest.mark.parametrize(
    "address", ["Ada@Example.com", " ada@example.com ", "STRASSE@EXAMPLE.COM", "straße@example.de", "İÉ@example.com"]
)
def test_both_doors_make_the_same_fingerprint_of_an_address(
    upstream: psycopg.Connection, job: JobOf, address: str
) -> None:
    data = "jsonb_build_object('gift_card_id', %s::text, 'recipient_email', %s::text)"
    job_id = enqueue_sql(upstream, f"'send_gift_card_email', {data}", CARD, address)
    same = SendGiftCardEmail(gift_card_id=CARD, recipient_email=address)
    upstream.commit()

    assert job(job_id)["data"]["recipient_email"] == same.recipient_email == hint(address)
    assert address.strip() not in str(job(job_id))


def test_both_doors_agree_on_what_is_the_same_job(upstream: psycopg.Connection) -> None:
    by_python = enqueue(upstream, SendExpiryReminder(gift_card_id=CARD), dedupe_key="r:1")
    by_sql = enqueue_sql(
        upstream,
        "'send_expiry_reminder', jsonb_build_object('gift_card_id', %s::text, 'expiry_version', NULL),"
        " dedupe_key => 'r:1'",
        CARD,
    )

    assert by_python == by_sql


def test_a_delivery_waits_for_its_time_through_this_door_too(upstream: psycopg.Connection, job: JobOf) -> None:
    at = DeliverGiftCard(gift_card_id=CARD, method="email", deliver_at=SOON)
    local = DeliverGiftCard(
        gift_card_id=CARD, method="sms", deliver_local=datetime(2026, 12, 25, 9), deliver_tz="America/New_York"
    )
    ids = [enqueue(upstream, at), enqueue(upstream, local), enqueue(upstream, at, run_at=SOON + timedelta(hours=1))]
    upstream.commit()

    assert [job(job_id)["run_at"] for job_id in ids] == [
        SOON,
        datetime(2026, 12, 25, 14, tzinfo=UTC),
        SOON + timedelta(hours=1),
    ]


def test_a_time_without_a_zone_is_refused(upstream: psycopg.Connection) -> None:
    naive = datetime(2026, 12, 25, 9)

    for ask in (
        lambda: enqueue(upstream, PruneHistory(), run_at=naive),
        lambda: enqueue(upstream, PruneHistory(), not_after=naive),
        lambda: reschedule(upstream, uuid4(), naive),
    ):
        with pytest.raises(ValueError, match="no time zone"):
            ask()


@pytest.fixture
def job_in(sql: Sql) -> Callable[[str], UUID]:
    """Make a job in a given state."""

    def make(state: str) -> UUID:
        done = state not in ("scheduled", "queued", "running")
        rows = sql(
            "INSERT INTO jobs (name, queue, state, epoch, finished_at)"
            " VALUES ('prune_history', 'maintenance', %s, 1, CASE WHEN %s THEN clock_timestamp() END) RETURNING id",
            state,
            done,
        )
        return UUID(str(rows[0]["id"]))

    return make


@pytest.mark.parametrize("state", STATES)
def test_cancelling_says_what_it_could_do(
    state: str, job_in: Callable[[str], UUID], upstream: psycopg.Connection, job: JobOf
) -> None:
    job_id = job_in(state)

    answer = cancel(upstream, job_id)
    upstream.commit()

    row = job(job_id)
    if state in ("scheduled", "queued"):
        assert (answer, row["state"], row["reason"]) == ("cancelled", "cancelled", "cancelled")
        assert row["finished_at"]
    elif state == "running":
        assert (answer, row["state"], row["cancel_requested"]) == ("cancelling", "running", True)
    else:
        assert (answer, row["state"]) == ("too_late", state)


@pytest.mark.parametrize("state", STATES)
def test_moving_says_what_it_could_do(
    state: str, job_in: Callable[[str], UUID], upstream: psycopg.Connection, job: JobOf
) -> None:
    job_id = job_in(state)
    before = job(job_id)

    answer = reschedule(upstream, job_id, SOON)
    upstream.commit()

    if state in ("scheduled", "queued"):
        assert answer == "moved"
        assert (job(job_id)["state"], job(job_id)["run_at"]) == ("scheduled", SOON)
    else:
        assert answer == "too_late"
        assert job(job_id) == before


def test_a_job_is_cancelled_and_moved_by_its_key(upstream: psycopg.Connection) -> None:
    enqueue(upstream, PruneHistory(), dedupe_key="nightly:2026-12-25")

    assert reschedule(upstream, "nightly:2026-12-25", SOON) == "moved"
    assert cancel(upstream, "nightly:2026-12-25") == "cancelled"
    assert cancel(upstream, "nightly:2026-12-25") == "too_late"


@pytest.mark.parametrize("name", ["nightly", "6f9619ff-8b86-4d01-b42d-00c04fc964ff"])
def test_a_job_that_does_not_exist_is_an_error(upstream: psycopg.Connection, name: str) -> None:
    with pytest.raises(psycopg.errors.NoDataFound, match=f"no job has the id or key '{name}'"):
        cancel(upstream, name)


@pytest.mark.parametrize("when", ["infinity", "-infinity", "1900-01-01", "9999-01-01"])
def test_a_time_that_nobody_can_mean_is_refused(when: str, sql: Any) -> None:
    with pytest.raises(psycopg.Error, match="years 2000 to 2200"):
        sql("SELECT enqueue_job('prune_history', run_at => %s::timestamptz)", when)
    with pytest.raises(psycopg.Error):
        sql("SELECT reschedule_job(enqueue_job('prune_history')::text, 'infinity')")


def test_a_command_about_a_time_runs_now(sql: Any) -> None:
    data = '{"gift_card_id": "6f1f9f0e-0000-4000-8000-000000000000", "deliver_at": "2031-01-01T00:00:00Z", '
    data += '"requested_by": "ops", "reason": "asked for"}'

    sql("SELECT enqueue_job('reschedule_delivery', %s::jsonb)", data)

    assert sql("SELECT FROM jobs WHERE run_at <= clock_timestamp()")
