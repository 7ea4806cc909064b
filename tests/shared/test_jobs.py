"""What becomes of a job: every change of state, the second delivery, and the race."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from services.scheduler.rescue import rescue
from shared import db, logs
from shared.actor import Outcome, Skipped, run
from shared.errors import PermanentError, Rejected, RetryLater, StaleJob, Transient
from shared.jobs import Job
from shared.leases import GIVE_BACK, leases
from shared.messages import ExpireGiftCard, Priority, SendGiftCardEmail
from shared.wire import Envelope
from tests.kinds import Deliver, Eventually, JobOf, Setting, Sql
from tests.shared.conftest import Acting

CANARY = "ada.canary@example.com"
EFFECT = "INSERT INTO events (type, subject) VALUES ('effect', %s)"


def envelope(**fields: Any) -> Envelope:
    return Envelope(ExpireGiftCard(gift_card_id=uuid4()), **fields)


def effect(message: ExpireGiftCard, job: Job) -> Outcome:
    job.transaction.execute(EFFECT, (job.id,))
    return None


def raising(error: Exception) -> Callable[[Any, Job], Outcome]:
    """Do the effect, then fail."""

    def function(message: ExpireGiftCard, job: Job) -> Outcome:
        effect(message, job)
        raise error

    return function


@pytest.fixture
def effects(sql: Sql) -> Callable[[], int]:
    """Count the effects that were kept."""
    return lambda: len(sql("SELECT id FROM events WHERE type = 'effect'"))


def make_due(sql: Sql, job_id: UUID) -> None:
    sql("UPDATE jobs SET run_at = clock_timestamp() WHERE id = %s", job_id)


def test_a_job_that_returns_has_succeeded(
    acting: Acting, deliver: Deliver, job: JobOf, effects: Callable[[], int]
) -> None:
    acting(effect)

    (job_id,) = deliver(envelope(source="orders", traceparent=f"00-{'a' * 32}-{'b' * 16}-01"))

    row = job(job_id)
    assert (row["state"], row["attempt"], row["epoch"], row["max_attempts"]) == ("succeeded", 1, 1, 4)
    assert row["started_at"] <= row["finished_at"]
    assert (row["lease_until"], row["reason"], row["error"], row["source"]) == (None, None, None, "orders")
    assert effects() == 1


def test_a_job_that_rightly_did_nothing_names_its_rule(acting: Acting, deliver: Deliver, job: JobOf) -> None:
    acting(lambda *_: Skipped("extended", "the card is at expiry version 2, not 1"))

    (job_id,) = deliver(envelope())

    row = job(job_id)
    assert (row["state"], row["reason"]) == ("skipped", "extended")
    assert row["error"] == "the card is at expiry version 2, not 1"


def test_a_second_delivery_does_nothing(
    acting: Acting, deliver: Deliver, job: JobOf, effects: Callable[[], int]
) -> None:
    acting(effect)
    message = envelope()

    deliver(message)
    before = job(message.id)
    deliver(message)

    assert job(message.id) == before
    assert effects() == 1


def test_many_workers_at_once_do_it_once(
    acting: Acting, deliver: Deliver, job: JobOf, effects: Callable[[], int]
) -> None:
    acting(effect)
    message = envelope()

    deliver(*[message] * 8)

    assert (job(message.id)["state"], job(message.id)["attempt"]) == ("succeeded", 1)
    assert effects() == 1


def test_a_copy_that_comes_while_the_job_runs_does_nothing(
    acting: Acting, deliver: Deliver, job: JobOf, effects: Callable[[], int]
) -> None:
    message, copies = envelope(), list[int]()

    def function(given: ExpireGiftCard, running: Job) -> None:
        copies.append(1)
        run([message])
        effect(given, running)

    acting(function)
    deliver(message)

    assert job(message.id)["state"] == "succeeded"
    assert len(copies) == effects() == 1


def test_an_error_is_retried_after_2_4_and_8_seconds_and_then_kept_as_failed(
    acting: Acting, deliver: Deliver, job: JobOf, sql: Sql, effects: Callable[[], int]
) -> None:
    acting(raising(ValueError("of no importance")))
    message = envelope()

    for wait_s in (2, 4, 8):
        deliver(message)
        row = job(message.id)
        assert (row["state"], row["reason"], row["error_type"]) == ("scheduled", "retry", "ValueError")
        assert wait_s <= (row["run_at"] - row["started_at"]).total_seconds() <= wait_s * 1.1 + 5
        deliver(message)
        assert job(message.id) == row, "its time has not come"
        make_due(sql, message.id)
    deliver(message)

    row = job(message.id)
    assert (row["state"], row["reason"], row["attempt"]) == ("failed", "retries_exhausted", 4)
    assert row["error_type"] == "ValueError"
    assert "tests/shared/test_jobs.py" in row["error"]
    assert row["finished_at"]
    assert effects() == 0


def test_an_error_may_ask_for_a_longer_wait(acting: Acting, deliver: Deliver, job: JobOf) -> None:
    acting(raising(Transient("greylisted", "the relay asked for time", after_s=300)))

    (job_id,) = deliver(envelope())

    row = job(job_id)
    assert (row["reason"], row["attempt"], row["error"]) == ("greylisted", 1, "the relay asked for time")
    assert (row["run_at"] - row["started_at"]).total_seconds() >= 300


def test_a_retry_that_succeeds_leaves_no_error_behind(acting: Acting, deliver: Deliver, job: JobOf, sql: Sql) -> None:
    message = envelope()
    acting(raising(OSError()))
    deliver(message)
    make_due(sql, message.id)

    acting(effect)
    deliver(message)

    row = job(message.id)
    assert (row["state"], row["attempt"]) == ("succeeded", 2)
    assert (row["reason"], row["error_type"], row["error"]) == (None, None, None)


def test_waiting_because_somebody_asked_burns_no_attempt(
    acting: Acting, deliver: Deliver, job: JobOf, sql: Sql, effects: Callable[[], int]
) -> None:
    acting(raising(RetryLater("rate_limited", after_s=30)))
    message = envelope()

    for _ in range(6):
        deliver(message)
        make_due(sql, message.id)

    row = job(message.id)
    assert (row["state"], row["reason"], row["attempt"], row["epoch"]) == ("scheduled", "rate_limited", 0, 6)
    assert effects() == 0


@pytest.mark.parametrize(
    ("error", "state"), [(PermanentError("no_such_plan", "make one"), "failed"), (Rejected("bad", "mend"), "rejected")]
)
def test_what_no_retry_can_mend_ends_at_once(
    acting: Acting, deliver: Deliver, job: JobOf, effects: Callable[[], int], error: Any, state: str
) -> None:
    acting(raising(error))

    (job_id,) = deliver(envelope())

    row = job(job_id)
    assert (row["state"], row["reason"], row["error"]) == (state, error.reason, error.detail)
    assert (row["attempt"], row["error_type"]) == (1, type(error).__name__)
    assert effects() == 0


def test_what_may_still_come_is_waited_for_and_then_rejected(
    acting: Acting, deliver: Deliver, job: JobOf, sql: Sql
) -> None:
    acting(raising(Rejected("card_not_found", "commit it first", grace_s=60)))
    message = envelope()

    deliver(message)
    row = job(message.id)
    assert (row["state"], row["reason"], row["attempt"]) == ("scheduled", "card_not_found", 0)

    sql("UPDATE jobs SET enqueued_at = clock_timestamp() - interval '61 seconds' WHERE id = %s", message.id)
    make_due(sql, message.id)
    deliver(message)

    row = job(message.id)
    assert (row["state"], row["reason"], row["error"]) == ("rejected", "card_not_found", "commit it first")


def test_an_error_is_kept_without_its_text(acting: Acting, deliver: Deliver, sql: Sql, capfd: Any, caplog: Any) -> None:
    def function(_: ExpireGiftCard, running: Job) -> None:
        try:
            running.transaction.execute("SELECT %s::integer", (CANARY,))
        except psycopg.Error as error:
            raise RuntimeError(f"no luck with {CANARY}") from error

    acting(function)
    logs.configure("INFO")

    deliver(envelope())
    acting(lambda _, running: running.transaction.execute("SELECT %s::integer", (CANARY,)) and None)
    deliver(envelope())

    rows = sql("SELECT * FROM jobs ORDER BY enqueued_at")
    assert [row["error_type"] for row in rows] == ["RuntimeError", "InvalidTextRepresentation"]
    assert "SQLSTATE 22P02" in rows[1]["error"]
    assert CANARY not in str(rows)
    captured = capfd.readouterr()
    assert CANARY not in captured.out + captured.err + caplog.text


def test_an_address_in_a_message_is_in_no_row(acting: Acting, deliver: Deliver, sql: Sql) -> None:
    acting(lambda *_: None, SendGiftCardEmail)  # type: ignore[call-arg]  # the fixture's second parameter

    deliver(Envelope(SendGiftCardEmail(gift_card_id=uuid4(), recipient_email=CANARY)))

    (row,) = sql("SELECT * FROM jobs")
    assert row["state"] == "succeeded"
    assert row["data"]["recipient_email"].startswith("sha256:")
    assert CANARY not in str(row)


def test_two_transactions_that_meet_are_tried_again_without_burning_an_attempt(
    acting: Acting, deliver: Deliver, job: JobOf, effects: Callable[[], int]
) -> None:
    tries = []

    def function(message: ExpireGiftCard, running: Job) -> None:
        tries.append(effect(message, running))
        if len(tries) < 5:
            raise psycopg.errors.DeadlockDetected

    acting(function)
    (job_id,) = deliver(envelope())

    assert (job(job_id)["state"], job(job_id)["attempt"]) == ("succeeded", 1)
    assert len(tries) == 5
    assert effects() == 1


def test_a_real_deadlock_between_two_jobs_ends_well(
    acting: Acting, deliver: Deliver, sql: Sql, setting: Setting
) -> None:
    sql("CREATE TABLE rows (id integer PRIMARY KEY, n integer DEFAULT 0)")
    sql("INSERT INTO rows VALUES (1), (2)")
    met, order = threading.Barrier(2), iter([(1, 2), (2, 1)])
    orders: dict[UUID, tuple[int, int]] = {}

    def function(_: ExpireGiftCard, running: Job) -> None:
        first = running.id not in orders
        ids = orders.setdefault(running.id, next(order) if first else (0, 0))
        running.transaction.execute("SET LOCAL deadlock_timeout = '50ms'")
        running.transaction.execute("UPDATE rows SET n = n + 1 WHERE id = %s", (ids[0],))
        if first:
            met.wait(20)
        running.transaction.execute("UPDATE rows SET n = n + 1 WHERE id = %s", (ids[1],))

    acting(function)
    deliver(envelope(), envelope())

    assert [row["state"] for row in sql("SELECT state FROM jobs")] == ["succeeded"] * 2
    assert [row["n"] for row in sql("SELECT n FROM rows ORDER BY id")] == [2, 2]


def test_a_job_from_the_future_is_parked_and_runs_when_its_time_has_come(
    acting: Acting, deliver: Deliver, job: JobOf, sql: Sql, effects: Callable[[], int]
) -> None:
    acting(effect)
    at = datetime.now(UTC) + timedelta(days=400)
    message = envelope(run_at=at)

    deliver(message, message)

    row = job(message.id)
    assert (row["state"], row["run_at"], row["attempt"], row["started_at"]) == ("scheduled", at, 0, None)
    make_due(sql, message.id)
    deliver(message)
    assert job(message.id)["state"] == "succeeded"
    assert effects() == 1


def test_a_bulk_job_waits_as_a_row_for_the_relay(acting: Acting, deliver: Deliver, job: JobOf) -> None:
    (job_id,) = deliver(envelope(priority=Priority.BULK))

    assert (job(job_id)["state"], job(job_id)["priority"]) == ("scheduled", 2)


def test_what_is_worthless_by_now_is_skipped(
    acting: Acting, deliver: Deliver, job: JobOf, sql: Sql, effects: Callable[[], int]
) -> None:
    acting(effect)
    message = envelope()
    sql(
        "SELECT enqueue_job('expire_gift_card', jsonb_build_object('gift_card_id', %s::text), id => %s,"
        " not_after => clock_timestamp())",
        message.message.gift_card_id,  # type: ignore[attr-defined]  # it has one
        message.id,
    )

    deliver(message)

    row = job(message.id)
    assert (row["state"], row["reason"], row["lease_until"]) == ("skipped", "too_late", None)
    assert row["finished_at"]
    assert effects() == 0


def test_a_cancel_that_commits_first_wins_over_a_running_job(
    acting: Acting, deliver: Deliver, job: JobOf, sql: Sql, effects: Callable[[], int]
) -> None:
    def function(message: ExpireGiftCard, running: Job) -> None:
        effect(message, running)
        assert sql("SELECT cancel_job(%s) AS said", str(running.id)) == [{"said": "cancelling"}]

    acting(function)
    (job_id,) = deliver(envelope())

    assert (job(job_id)["state"], job(job_id)["reason"]) == ("cancelled", "cancelled")
    assert effects() == 0


def test_a_job_that_commits_first_wins_over_a_cancel(acting: Acting, deliver: Deliver, sql: Sql) -> None:
    acting(effect)

    (job_id,) = deliver(envelope())

    assert sql("SELECT cancel_job(%s) AS said", str(job_id)) == [{"said": "too_late"}]


def test_a_cancelled_job_does_not_retry(acting: Acting, deliver: Deliver, job: JobOf, sql: Sql) -> None:
    def function(_: ExpireGiftCard, running: Job) -> None:
        sql("SELECT cancel_job(%s)", str(running.id))
        raise OSError

    acting(function)
    (job_id,) = deliver(envelope())

    row = job(job_id)
    assert (row["state"], row["reason"], row["error_type"]) == ("cancelled", "cancelled", "OSError")
    assert row["finished_at"]


@pytest.mark.parametrize("state", ["cancelled", "failed", "rejected", "succeeded", "skipped"])
def test_what_is_over_does_not_start_again(
    acting: Acting, deliver: Deliver, job: JobOf, sql: Sql, effects: Callable[[], int], state: str
) -> None:
    acting(effect)
    message = envelope()
    sql(
        "INSERT INTO jobs (id, name, queue, state) VALUES (%s, 'expire_gift_card', 'gift-card-expiry', %s)",
        message.id,
        state,
    )

    deliver(message)

    assert job(message.id)["state"] == state
    assert effects() == 0


def test_a_worker_that_lost_its_job_writes_nothing(
    acting: Acting, deliver: Deliver, job: JobOf, sql: Sql, effects: Callable[[], int]
) -> None:
    message, taken = envelope(), list[int]()

    def function(given: ExpireGiftCard, running: Job) -> None:
        effect(given, running)
        if not taken:  # this one sleeps through its lease; it is rescued, and the other one does it all
            taken.append(running.epoch)
            sql("UPDATE jobs SET lease_until = clock_timestamp() - interval '1 second'")
            assert rescue() == 1
            run([message])
            with pytest.raises(StaleJob), running.step():
                pass

    acting(function)
    deliver(message)

    row = job(message.id)
    assert (row["state"], row["epoch"], row["stalls"], row["attempt"]) == ("succeeded", 2, 1, 2)
    assert effects() == 1


@pytest.mark.parametrize("error", [OSError(), PermanentError("x"), RetryLater("x", after_s=1), Rejected("x")])
def test_a_worker_that_lost_its_job_does_not_even_fail_it(
    acting: Acting, deliver: Deliver, job: JobOf, sql: Sql, error: Exception
) -> None:
    def function(_: ExpireGiftCard, running: Job) -> None:
        sql("UPDATE jobs SET epoch = epoch + 1")
        raise error

    acting(function)
    (job_id,) = deliver(envelope())

    assert (job(job_id)["state"], job(job_id)["reason"]) == ("running", None)


def test_steps_are_kept_one_by_one_and_the_last_effect_with_the_end(
    acting: Acting, deliver: Deliver, effects: Callable[[], int]
) -> None:
    def function(_: ExpireGiftCard, running: Job) -> None:
        with running.step() as connection:
            connection.execute(EFFECT, (running.id,))
        running.transaction.execute(EFFECT, (running.id,))
        raise OSError

    acting(function)
    deliver(envelope())

    assert effects() == 1


def test_no_transaction_is_given_outside_the_run(acting: Acting, deliver: Deliver) -> None:
    jobs: list[Job] = []
    acting(lambda _, running: jobs.append(running))

    deliver(envelope())

    with pytest.raises(RuntimeError, match="open only while the actor runs"):
        _ = jobs[0].transaction


def test_what_cannot_be_taken_back_is_not_cancelled_any_more(
    acting: Acting, deliver: Deliver, job: JobOf, sql: Sql
) -> None:
    def function(_: ExpireGiftCard, running: Job) -> None:
        with running.step(cancellable=False):
            pass  # from here on, something has happened outside
        sql("SELECT cancel_job(%s)", str(running.id))
        with running.step():
            pass

    acting(function)
    (job_id,) = deliver(envelope())

    assert job(job_id)["state"] == "succeeded"


def test_a_step_of_a_cancelled_job_stops_it(
    acting: Acting, deliver: Deliver, job: JobOf, sql: Sql, effects: Callable[[], int]
) -> None:
    def function(_: ExpireGiftCard, running: Job) -> None:
        sql("SELECT cancel_job(%s)", str(running.id))
        with running.step() as connection:
            connection.execute(EFFECT, (running.id,))

    acting(function)
    (job_id,) = deliver(envelope())

    assert job(job_id)["state"] == "cancelled"
    assert effects() == 0


def test_a_key_from_the_broker_makes_one_job(acting: Acting, deliver: Deliver, sql: Sql) -> None:
    acting(effect)
    message = ExpireGiftCard(gift_card_id=uuid4())

    deliver(Envelope(message, dedupe_key="k"), Envelope(message, dedupe_key="k"))

    assert [row["state"] for row in sql("SELECT state FROM jobs")] == ["succeeded"]


def test_a_key_that_means_another_job_is_rejected(acting: Acting, deliver: Deliver, sql: Sql) -> None:
    acting(effect)
    deliver(envelope(dedupe_key="k"))

    other = envelope(dedupe_key="k")
    deliver(other, other)

    (row,) = sql("SELECT * FROM jobs WHERE state = 'rejected'")
    assert row["reason"] == "dedupe_key_conflict"
    assert "give this one its own" in row["error"]


def test_a_keyed_job_that_was_pruned_is_still_over(
    acting: Acting, deliver: Deliver, sql: Sql, effects: Callable[[], int]
) -> None:
    acting(effect)
    message = envelope(dedupe_key="k")
    deliver(message)
    sql("DELETE FROM jobs")

    deliver(message)

    assert effects() == 1
    assert sql("SELECT id FROM jobs") == []


def test_one_id_for_two_messages_is_rejected_and_not_dropped(acting: Acting, deliver: Deliver, sql: Sql) -> None:
    acting(effect)
    first = envelope()
    second = Envelope(SendGiftCardEmail(gift_card_id=uuid4()), id=first.id)

    deliver(first)
    deliver(second)
    deliver(second)

    (row,) = sql("SELECT * FROM jobs WHERE state = 'rejected'")
    assert (row["name"], row["reason"]) == ("send_gift_card_email", "id_conflict")


def test_a_job_given_back_at_the_end_of_a_process_has_lost_no_attempt(
    acting: Acting, deliver: Deliver, job: JobOf, effects: Callable[[], int]
) -> None:
    def function(given: ExpireGiftCard, running: Job) -> None:
        effect(given, running)
        leases._update(GIVE_BACK)

    acting(function)
    (job_id,) = deliver(envelope())

    row = job(job_id)
    assert (row["state"], row["reason"], row["attempt"]) == ("scheduled", "given_back", 0)
    assert effects() == 0


def test_an_actor_that_meets_the_end_of_the_process_gives_its_job_back(
    acting: Acting, deliver: Deliver, job: JobOf
) -> None:
    acting(raising(db.Stopping()))

    (job_id,) = deliver(envelope())

    assert (job(job_id)["state"], job(job_id)["reason"], job(job_id)["attempt"]) == ("scheduled", "given_back", 0)


def test_a_lease_is_renewed_while_the_job_runs(
    acting: Acting, deliver: Deliver, job: JobOf, setting: Setting, eventually: Eventually
) -> None:
    setting(lease_s=0.3)

    def function(_: ExpireGiftCard, running: Job) -> None:
        first = job(running.id)["lease_until"]
        eventually(lambda: job(running.id)["lease_until"] > first + timedelta(seconds=0.5))

    acting(function)
    leases.start()
    try:
        (job_id,) = deliver(envelope())
    finally:
        leases.stop()

    assert job(job_id)["state"] == "succeeded"


def test_a_database_that_goes_away_for_a_moment_costs_no_job(
    acting: Acting, job: JobOf, database: str, sql: Sql, eventually: Eventually, effects: Callable[[], int]
) -> None:
    """The row is locked until the server has cut the worker's connections off and refused it once."""
    acting(effect)
    message = envelope()
    db.open_pool(2)

    with ThreadPoolExecutor() as threads:
        with psycopg.connect(database) as holder:
            holder.execute("LOCK TABLE jobs")
            running = threads.submit(run, [message])
            waiting = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            eventually(lambda: sql(waiting))
            sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'giftcard-jobs'"
                " AND datname = current_database()"
            )
        running.result(60)

    assert (job(message.id)["state"], job(message.id)["attempt"]) == ("succeeded", 1)
    assert effects() == 1


def test_a_commit_whose_answer_is_lost_is_not_done_twice(
    acting: Acting, deliver: Deliver, job: JobOf, monkeypatch: pytest.MonkeyPatch, effects: Callable[[], int]
) -> None:
    acting(effect)
    effect_of, lost = Job.effect, list[int]()

    def losing(running: Job) -> Any:
        from contextlib import contextmanager

        @contextmanager
        def wrapped() -> Any:
            with effect_of(running):
                yield
            lost.append(1)
            raise psycopg.OperationalError("server closed the connection unexpectedly")

        return wrapped()

    monkeypatch.setattr(Job, "effect", losing)
    (job_id,) = deliver(envelope())

    assert lost == [1]
    assert (job(job_id)["state"], job(job_id)["attempt"]) == ("succeeded", 1)
    assert effects() == 1


def test_a_database_that_goes_away_during_an_attempt_burns_none(
    acting: Acting, deliver: Deliver, job: JobOf, sql: Sql
) -> None:
    def cut(_: Any, running: Job) -> Outcome:
        others = "WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name = 'giftcard-jobs'"
        sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity {others}")
        running.transaction.execute("SELECT 1")
        return None

    acting(cut)

    (job_id,) = deliver(ExpireGiftCard(gift_card_id=uuid4()))

    assert (job(job_id)["state"], job(job_id)["attempt"]) == ("scheduled", 0)


def test_a_statement_that_takes_too_long_burns_an_attempt(acting: Acting, deliver: Deliver, job: JobOf) -> None:
    def dawdle(_: Any, running: Job) -> Outcome:
        running.transaction.execute("SET LOCAL statement_timeout = 10")
        running.transaction.execute("SELECT pg_sleep(60)")
        return None

    acting(dawdle)

    (job_id,) = deliver(ExpireGiftCard(gift_card_id=uuid4()))

    assert (job(job_id)["state"], job(job_id)["attempt"]) == ("scheduled", 1)
