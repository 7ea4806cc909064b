"""What holds a queue back: the rate that all workers share, an operator's pause, and what goes first."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import psycopg
import pytest

from shared import controls, db
from shared.broker import get_broker
from shared.jobs import Job
from shared.messages import ExpireGiftCard, Priority, SendExpiryReminder
from shared.publisher import Publisher
from shared.wire import Envelope
from tests.kinds import Eventually, Setting, Sql, StartProcess, StartWorker
from tests.shared.conftest import Acting

QUEUE = "gift-card-expiry"
OTHER = "expiry-reminders"


def some_job() -> Envelope:
    return Envelope(ExpireGiftCard(gift_card_id=uuid4()))


def slots(count: int, rate: float) -> list[float]:
    """Reserve slots as so many workers at once would; gives when each may start, in seconds from the first."""

    def reserve(_: int) -> float:
        wait_s = controls._reserve(some_job(), rate)
        return time.monotonic() + wait_s

    with ThreadPoolExecutor(4) as threads:
        starts = sorted(threads.map(reserve, range(count)))
    return [at - starts[0] for at in starts]


def test_every_start_has_a_slot_of_its_own(database: str, sql: Sql) -> None:
    before = sql("SELECT clock_timestamp() AS now")[0]["now"]

    slots(20, rate=2)

    reserved = sql("SELECT next_slot_at - %s AS ahead FROM queue_controls WHERE queue = %s", before, QUEUE)[0]["ahead"]
    assert timedelta(seconds=10) <= reserved < timedelta(seconds=15), "20 slots of half a second, in one row"


def test_an_idle_queue_saves_no_slots_up(database: str, sql: Sql) -> None:
    slots(1, rate=10)
    sql("UPDATE queue_controls SET next_slot_at = clock_timestamp() - interval '1 hour'")
    before = sql("SELECT clock_timestamp() AS now")[0]["now"]

    slots(5, rate=10)

    reserved = sql("SELECT next_slot_at - %s AS ahead FROM queue_controls WHERE queue = %s", before, QUEUE)[0]["ahead"]
    assert reserved >= timedelta(seconds=0.5)


def test_an_operators_rate_overrules_the_settings(database: str, sql: Sql) -> None:
    sql("INSERT INTO queue_controls (queue, rate_per_s) VALUES (%s, 1)", QUEUE)

    slots(3, rate=1000)

    assert ahead(sql) > timedelta(seconds=1.5)


def test_two_workers_together_keep_the_rate(
    process: StartProcess, publisher: Publisher, sql: Sql, eventually: Eventually
) -> None:
    publisher.send_many([ExpireGiftCard(gift_card_id=uuid4()) for _ in range(45)])
    rate = {"JOBS_QUEUES__GIFT_CARD_EXPIRY__RATE_PER_S": "10", "JOBS_UNKNOWN_CARD_GRACE_S": "0"}

    for _ in range(2):
        process("expiry", **rate)

    eventually(lambda: len(sql("SELECT FROM jobs WHERE started_at IS NOT NULL")) >= 30)
    most = sql(
        "SELECT max(n) AS n FROM (SELECT count(*) OVER (ORDER BY started_at RANGE BETWEEN CURRENT ROW"
        " AND interval '1 second' FOLLOWING) AS n FROM jobs WHERE started_at IS NOT NULL) w"
    )[0]["n"]
    workers = sql("SELECT DISTINCT worker FROM jobs WHERE started_at IS NOT NULL")
    assert len(workers) == 2
    assert most <= 10 * 1.05 + 1
    assert not sql("SELECT FROM jobs WHERE attempt > 1"), "waiting for a slot burns no attempt"


def ahead(sql: Sql) -> timedelta:
    row = sql("SELECT next_slot_at - clock_timestamp() AS ahead FROM queue_controls")[0]
    return timedelta(seconds=row["ahead"].total_seconds())


def on_record(sql: Sql, state: str, due_in: str) -> Envelope:
    job = some_job()
    sql(
        "INSERT INTO jobs (id, name, queue, data, state, run_at)"
        " VALUES (%s, 'expire_gift_card', %s, '{}', %s, clock_timestamp() + %s::interval)",
        job.id,
        QUEUE,
        state,
        due_in,
    )
    return job


@pytest.mark.parametrize("state", ["running", "succeeded", "scheduled"])
def test_a_copy_of_a_job_that_has_started_takes_no_slot(database: str, sql: Sql, state: str) -> None:
    """A backlog that is published again, since it waits for long, would eat its own rate."""
    slots(1, rate=0.1)
    copy = on_record(sql, state, due_in="1 hour")

    assert controls._reserve(copy, rate=0.1) == 0
    assert ahead(sql) < timedelta(seconds=10)


@pytest.mark.parametrize("state", ["queued", "scheduled"])
def test_a_job_that_can_start_takes_one_slot(database: str, sql: Sql, state: str) -> None:
    slots(1, rate=0.1)
    job = on_record(sql, state, due_in="0")

    assert controls._reserve(job, rate=0.1) > 0
    assert ahead(sql) > timedelta(seconds=10)


def test_a_message_from_the_future_takes_no_slot(database: str, sql: Sql) -> None:
    slots(1, rate=0.1)
    early = replace(some_job(), run_at=datetime.now(UTC) + timedelta(hours=1))

    assert controls._reserve(early, rate=0.1) == 0
    assert ahead(sql) < timedelta(seconds=10)


def test_without_a_rate_nobody_asks_for_slots(database: str, setting: Setting, sql: Sql) -> None:
    setting(queues__gift_card_expiry__rate_per_s="")

    assert controls.wait_for_slot(some_job()) == 0
    assert sql("SELECT * FROM queue_controls") == []


def test_a_worker_that_stands_still_with_its_slot_holds_up_no_other(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stands, goes_on, fetchone = threading.Event(), threading.Event(), psycopg.Cursor.fetchone

    def stand_still(cursor: psycopg.Cursor[object]) -> object:
        row = fetchone(cursor)
        if threading.current_thread() is not threading.main_thread():
            stands.set()
            goes_on.wait(60)
        return row

    monkeypatch.setattr(psycopg.Cursor, "fetchone", stand_still)
    with ThreadPoolExecutor() as threads:
        still = threads.submit(controls._reserve, some_job(), 1000)
        try:
            assert stands.wait(20)

            assert controls._reserve(some_job(), 1000) < 1
            assert not still.done()
        finally:
            goes_on.set()


def test_who_waits_for_a_slot_is_told_of_the_end(database: str, setting: Setting) -> None:
    setting(queues__gift_card_expiry__rate_per_s=0.001)
    controls.wait_for_slot(some_job())

    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(controls.wait_for_slot, some_job())
        db.stopping.set()
        with pytest.raises(db.Stopping):
            waiting.result(20)


def pause(sql: Sql, queue: str, paused: bool = True) -> None:
    sql(
        "INSERT INTO queue_controls (queue, paused_at) VALUES (%s, CASE WHEN %s THEN clock_timestamp() END)"
        " ON CONFLICT (queue) DO UPDATE SET paused_at = excluded.paused_at",
        queue,
        paused,
    )


def test_a_paused_queue_rests_while_another_of_the_same_process_goes_on(
    worker: StartWorker,
    acting: Acting,
    publisher: Publisher,
    sql: Sql,
    eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    acting(lambda *_: None)
    acting(lambda *_: None, SendExpiryReminder)  # type: ignore[call-arg]  # the fixture's second parameter
    monkeypatch.setattr(get_broker().pauses, "_every_s", 0.05)
    pause(sql, QUEUE)
    worker(QUEUE, OTHER)
    eventually(lambda: QUEUE in get_broker().pauses)

    held = publisher.send_many([ExpireGiftCard(gift_card_id=uuid4()) for _ in range(20)])
    gone = publisher.send_many([SendExpiryReminder(gift_card_id=uuid4()) for _ in range(20)])
    eventually(lambda: len(sql("SELECT FROM jobs WHERE state = 'succeeded' AND id = ANY(%s)", gone)) == 20)
    assert not sql("SELECT FROM jobs WHERE id = ANY(%s)", held)

    pause(sql, QUEUE, False)
    eventually(lambda: len(sql("SELECT FROM jobs WHERE state = 'succeeded' AND id = ANY(%s)", held)) == 20)
    assert sql("SELECT DISTINCT attempt FROM jobs") == [{"attempt": 1}]


def test_a_pause_stops_a_busy_queue_and_keeps_what_was_fetched(
    worker: StartWorker,
    acting: Acting,
    publisher: Publisher,
    sql: Sql,
    eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate, running = threading.Event(), list[UUID]()

    def function(_: ExpireGiftCard, job: Job) -> None:
        running.append(job.id)
        gate.wait(60)

    acting(function)
    monkeypatch.setattr(get_broker().pauses, "_every_s", 0.05)
    worker(QUEUE)
    publisher.send_many([ExpireGiftCard(gift_card_id=uuid4()) for _ in range(30)])
    eventually(lambda: len(running) == 5)

    pause(sql, QUEUE)
    eventually(lambda: QUEUE in get_broker().pauses)
    gate.set()
    eventually(lambda: len(sql("SELECT FROM jobs WHERE state = 'succeeded'")) == 5)
    threading.Event().wait(0.5)
    assert len(running) == 5, "what was fetched went back"

    pause(sql, QUEUE, False)
    eventually(lambda: len(sql("SELECT FROM jobs WHERE state = 'succeeded'")) == 30)
    assert len(running) == 30


def test_an_urgent_job_overtakes_a_backlog(
    worker: StartWorker, acting: Acting, publisher: Publisher, sql: Sql, eventually: Eventually
) -> None:
    """Started among the next 2 x threads jobs, whatever waits before it."""
    threads, gate, running = 5, threading.Semaphore(0), list[UUID]()

    def function(_: ExpireGiftCard, job: Job) -> None:
        running.append(job.id)
        gate.acquire(timeout=60)

    acting(function)
    publisher.send_many([ExpireGiftCard(gift_card_id=uuid4()) for _ in range(200)])
    worker(QUEUE)
    eventually(lambda: len(running) == threads)

    urgent = Envelope(ExpireGiftCard(gift_card_id=uuid4()), priority=Priority.URGENT)
    publisher.send_many([urgent])
    for _ in range(200):
        if urgent.id in running:
            break
        before = len(running)
        gate.release()
        eventually(lambda before=before: len(running) > before)  # type: ignore[misc]  # bound now
    gate.release(1000)

    assert running.index(urgent.id) - threads < 2 * threads
    eventually(lambda: len(sql("SELECT FROM jobs WHERE state = 'succeeded'")) == 201)


def test_what_an_operator_paused_is_read_from_the_table(database: str, sql: Sql) -> None:
    pause(sql, QUEUE)
    pause(sql, OTHER, False)
    pauses = controls.Pauses()

    pauses.look()

    assert QUEUE in pauses
    assert OTHER not in pauses


def test_a_look_that_fails_leaves_the_pauses_as_they_were(database: str, sql: Sql, eventually: Eventually) -> None:
    pause(sql, QUEUE)
    pauses = controls.Pauses(every_s=0.02)
    pauses.start()
    eventually(lambda: QUEUE in pauses)

    sql("ALTER TABLE queue_controls RENAME TO elsewhere")
    threading.Event().wait(0.2)
    assert QUEUE in pauses
    sql("UPDATE elsewhere SET paused_at = NULL")
    sql("ALTER TABLE elsewhere RENAME TO queue_controls")

    eventually(lambda: QUEUE not in pauses)
    db.stopping.set()


def test_a_reservation_waits_for_nobody_long(database: str) -> None:
    with psycopg.connect(database) as other:
        other.execute("INSERT INTO queue_controls (queue) VALUES (%s)", (OTHER,))

        assert controls._reserve(some_job(), 10) <= 0.1, "each queue has a row of its own"


def test_an_operators_rate_counts_where_the_settings_set_none(database: str, setting: Setting, sql: Sql) -> None:
    setting(queues__gift_card_expiry__rate_per_s="")
    sql("INSERT INTO queue_controls (queue, rate_per_s) VALUES (%s, 50)", QUEUE)
    pauses = controls.Pauses()
    pauses.look()

    waits = [controls.wait_for_slot(some_job(), limited=QUEUE in pauses.limited) for _ in range(3)]

    assert pauses.limited == {QUEUE}
    assert sum(waits) > 0
    assert controls.wait_for_slot(some_job()) == 0
