"""The relay: due rows reach the broker once, confirmed, within each queue's room, and never early."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pika
import psycopg
import pytest
from psycopg.rows import dict_row

import services.expiry.actors  # noqa: F401  # registers the actors
from services.scheduler import __main__ as scheduler
from services.scheduler import turn
from services.scheduler.relay import DUE, MARK, NO_ROOM_S, Relay, declare_queues
from shared import db
from shared.enqueue import enqueue
from shared.messages import ExpireGiftCard, Message, PruneHistory, SendGiftCardEmail
from shared.publisher import Publisher
from shared.wire import decode
from tests.cable import Cable
from tests.kinds import Eventually, Setting, Sql, StartWorker
from tests.scheduler.conftest import Waiting

QUEUE = "gift-card-expiry"


@pytest.fixture
def ask(database: str) -> Callable[..., UUID]:
    """Enqueue a message and commit."""

    def commit(message: Message | None = None, **options: object) -> UUID:
        with psycopg.connect(database) as connection:
            return enqueue(connection, message or ExpireGiftCard(gift_card_id=uuid4()), **options)  # type: ignore[arg-type]

    return commit


@pytest.fixture
def relay(publisher: Publisher, database: str) -> Relay:
    return Relay(publisher)


def states(sql: Sql) -> dict[str, int]:
    return {row["state"]: row["n"] for row in sql("SELECT state, count(*) AS n FROM jobs GROUP BY state")}


def test_a_due_row_is_published_as_the_message_it_was(
    relay: Relay, ask: Callable[..., UUID], waiting: Waiting, sql: Sql
) -> None:
    message = ExpireGiftCard(gift_card_id=uuid4(), expiry_version=3)
    trace = f"00-{'a' * 32}-{'b' * 16}-01"
    job_id = ask(message, dedupe_key="k", traceparent=trace, source="orders")

    assert relay.publish_due() == 1

    ((body,),) = waiting().values()
    envelope = decode(body)
    assert (envelope.id, envelope.message, envelope.run_at) == (job_id, message, None)
    assert (envelope.dedupe_key, envelope.traceparent, envelope.source) == ("k", trace, "orders")
    (row,) = sql("SELECT state, publishes, queued_at FROM jobs")
    assert (row["state"], row["publishes"]) == ("queued", 1)
    assert row["queued_at"]


def test_nothing_is_published_before_its_time(relay: Relay, ask: Callable[..., UUID], waiting: Waiting) -> None:
    ask(run_at=datetime.now(UTC) + timedelta(hours=1))

    assert relay.publish_due() == 0
    assert waiting() == {}
    assert 3500 < (relay.seconds_to_next() or 0) <= 3600


def test_each_priority_goes_to_its_lane(relay: Relay, ask: Callable[..., UUID], waiting: Waiting) -> None:
    for priority in ("bulk", "normal", "urgent"):
        ask(priority=priority)

    assert relay.publish_due() + relay.publish_due() == 3

    taken = waiting()
    assert [json.loads(body)["priority"] for body in taken[f"{QUEUE}.urgent"]] == ["urgent"]
    assert [json.loads(body)["priority"] for body in taken[QUEUE]] == ["normal", "bulk"]


def test_two_relays_at_once_publish_each_row_once(
    rabbitmq: str, publisher: Publisher, ask: Callable[..., UUID], sql: Sql, waiting: Waiting
) -> None:
    sql("SELECT enqueue_job('prune_history', dedupe_key => 'n' || n) FROM generate_series(1, 900) n")
    publishes = sql("SELECT DISTINCT publishes FROM jobs")
    with Publisher(rabbitmq) as other:
        relays = [Relay(publisher), Relay(other)]
        both = threading.Barrier(2)

        def drain(relay: Relay) -> int:
            both.wait(20)
            total = 0
            while published := relay.publish_due():
                total += published
            return total

        with ThreadPoolExecutor() as threads:
            totals = list(threads.map(drain, relays))

    assert publishes == [{"publishes": 0}]
    assert sum(totals) == 900
    ids = [json.loads(body)["id"] for body in waiting()["maintenance"]]
    assert len(ids) == len(set(ids)) == 900
    assert sql("SELECT DISTINCT publishes FROM jobs") == [{"publishes": 1}]


def test_a_row_that_another_relay_has_is_passed_over(
    relay: Relay, ask: Callable[..., UUID], database: str, waiting: Waiting
) -> None:
    taken, free = ask(), ask()
    with psycopg.connect(database) as other:
        other.execute("SELECT FROM jobs WHERE id = %s FOR UPDATE", (taken,))

        assert relay.publish_due() == 1

    assert [decode(body).id for body in waiting()[QUEUE]] == [free]


def test_a_row_that_somebody_moves_meanwhile_is_marked_where_it_is_now(
    database: str, sql: Sql, eventually: Eventually
) -> None:
    sql("SELECT enqueue_job('prune_history') FROM generate_series(1, 3)")
    late = DUE.replace("%(part)s", "%(part)s + length(pg_advisory_xact_lock(1)::text)")  # after its snapshot
    given = {"queues": ["maintenance"], "priorities": [1], "rooms": [10], "part": 10}
    with psycopg.connect(database, row_factory=dict_row) as relay, psycopg.connect(database) as other:
        other.execute("SELECT pg_advisory_xact_lock(1)")
        with ThreadPoolExecutor(1) as threads:
            found = threads.submit(lambda: relay.execute(late, given).fetchall())
            eventually(lambda: sql("SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"))
            other.execute("UPDATE jobs SET source = 'moved'")
            other.commit()
            places = [row["place"] for row in found.result()]
        assert {row["place"] for row in sql("SELECT ctid AS place FROM jobs")} == set(places)
        assert relay.execute(MARK, (places,)).rowcount == 3


def test_only_confirmed_rows_become_queued(
    setting: Setting, rabbitmq: str, ask: Callable[..., UUID], database: str, sql: Sql
) -> None:
    with pika.BlockingConnection(pika.URLParameters(rabbitmq)) as connection:
        arguments = {"x-max-length": 2, "x-overflow": "reject-publish"}
        connection.channel().queue_declare("maintenance", durable=True, arguments=arguments)
        connection.channel().queue_declare(QUEUE, durable=True)
    for _ in range(4):
        ask(PruneHistory())
    ask()

    with Publisher(rabbitmq) as publisher:
        assert Relay(publisher).publish_due() == 3

    assert sql("SELECT queue, state, count(*) AS n FROM jobs GROUP BY queue, state ORDER BY queue, state") == [
        {"queue": QUEUE, "state": "queued", "n": 1},
        {"queue": "maintenance", "state": "queued", "n": 2},
        {"queue": "maintenance", "state": "scheduled", "n": 2},
    ]


def test_while_the_broker_is_away_rows_stay_and_then_go(
    rabbitmq: str, publisher: Publisher, ask: Callable[..., UUID], sql: Sql
) -> None:
    ask()
    with Cable(rabbitmq, mended=False) as cable, Publisher(cable.url, timeout_s=0.5) as cut_off:
        relay = Relay(cut_off)
        assert relay.publish_due() == 0
        assert states(sql) == {"scheduled": 1}

        cable.mend()
        while not relay.publish_due():
            pass

    assert states(sql) == {"queued": 1}


def test_a_queue_that_was_deleted_is_declared_again(
    relay: Relay, rabbitmq: str, ask: Callable[..., UUID], waiting: Waiting, sql: Sql
) -> None:
    with pika.BlockingConnection(pika.URLParameters(rabbitmq)) as connection:
        connection.channel().queue_delete(QUEUE)
    ask()

    assert relay.publish_due() == 0
    assert states(sql) == {"scheduled": 1}
    assert relay.publish_due() == 1
    assert len(waiting()[QUEUE]) == 1


def test_no_more_is_kept_in_the_broker_than_a_queue_has_room_for(
    setting: Setting, publisher: Publisher, ask: Callable[..., UUID], waiting: Waiting, sql: Sql
) -> None:
    setting(queues__gift_card_expiry__depth=20)
    relay = Relay(publisher)
    for priority in ["bulk"] * 5 + ["normal"] * 30:
        ask(priority=priority)

    assert relay.publish_due() + relay.publish_due() == 20
    assert relay.seconds_to_next() == NO_ROOM_S
    ask(priority="urgent")
    ask(PruneHistory())
    assert relay.publish_due() == 2, "an urgent row and another queue's have room"

    sql("UPDATE jobs SET state = 'running' WHERE state = 'queued' AND priority = 1")
    assert relay.publish_due() == 10, "the normal ones that were left"


def test_relays_side_by_side_keep_no_more_in_the_broker_than_one(
    setting: Setting, publisher: Publisher, ask: Callable[..., UUID], database: str, sql: Sql
) -> None:
    """While one has the turn it has counted the room, so another one takes only what needs none."""
    setting(queues__gift_card_expiry__depth=20)
    for _ in range(60):
        ask()
    ask(priority="urgent")

    with psycopg.connect(database) as other:
        other.execute(turn.TAKE, ("relay",))
        assert Relay(publisher).publish_due() == 1
        assert sql("SELECT priority FROM jobs WHERE state = 'queued'") == [{"priority": 0}]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: [Relay(publisher).publish_due() for _ in range(5)], range(4)))

    assert sql("SELECT count(*) AS n FROM jobs WHERE state = 'queued'") == [{"n": 20}]


def test_a_relay_that_stands_still_with_the_turn_loses_it(publisher: Publisher, database: str, sql: Sql) -> None:
    with psycopg.connect(database) as other:
        other.execute(turn.TAKE, ("relay",))

        (row,) = other.execute("SHOW idle_in_transaction_session_timeout").fetchall()

    assert row == ("30s",)


def test_bulk_waits_while_normal_waits(
    setting: Setting, publisher: Publisher, ask: Callable[..., UUID], sql: Sql
) -> None:
    setting(queues__gift_card_expiry__depth=20)
    relay = Relay(publisher)
    for priority in ["bulk"] * 5 + ["normal"] * 5:
        ask(priority=priority)

    assert relay.publish_due() == 5
    assert sql("SELECT DISTINCT priority FROM jobs WHERE state = 'queued'") == [{"priority": 1}]
    assert relay.publish_due() == 0, "the normal ones still wait in the broker"
    sql("UPDATE jobs SET state = 'running' WHERE state = 'queued'")
    assert relay.publish_due() == 2, "a tenth of the depth"


def test_the_oldest_due_rows_go_first(
    setting: Setting, publisher: Publisher, ask: Callable[..., UUID], waiting: Waiting
) -> None:
    setting(queues__gift_card_expiry__depth=2)
    now = datetime.now(UTC)
    ids = [ask(run_at=now - timedelta(minutes=minutes)) for minutes in (1, 3, 2)]

    Relay(publisher).publish_due()

    assert [decode(body).id for body in waiting()[QUEUE]] == [ids[1], ids[2]]


def test_a_paused_queues_rows_wait_and_the_others_go(
    relay: Relay, ask: Callable[..., UUID], waiting: Waiting, sql: Sql
) -> None:
    sql("INSERT INTO queue_controls (queue, paused_at) VALUES (%s, clock_timestamp())", QUEUE)
    ask()
    ask(PruneHistory())

    assert relay.publish_due() == 1
    assert list(waiting()) == ["maintenance"]
    assert relay.seconds_to_next() is None, "nobody polls for a paused queue"

    sql("UPDATE queue_controls SET paused_at = NULL")
    assert relay.publish_due() == 1


def test_rows_that_are_not_due_cost_nothing(database: str, sql: Sql) -> None:
    """The search ends at the last due row, by the index: it does not filter what is not due."""
    sql(
        "INSERT INTO jobs (name, queue, state, run_at) SELECT 'expire_gift_card', %s, 'scheduled',"
        " clock_timestamp() + n * interval '1 minute' FROM generate_series(1, 5000) n",
        QUEUE,
    )
    sql("ANALYZE jobs")

    given = {"queues": [QUEUE], "priorities": [1], "rooms": [1000], "part": 500}
    with db.transaction() as connection:
        plan = "\n".join(row["QUERY PLAN"] for row in connection.execute(f"EXPLAIN (ANALYZE, BUFFERS) {DUE}", given))

    assert "Rows Removed by Filter" not in plan
    assert "jobs_due" in plan


@contextmanager
def running(relay: Relay) -> Iterator[threading.Event]:
    """Run the relay's and the listener's loops as the scheduler does."""
    wake = threading.Event()
    threads = [scheduler._loop("relay", lambda: scheduler._relay(relay, wake))]
    threads.append(scheduler._loop("listen", lambda: scheduler._listen(wake)))
    try:
        yield wake
    finally:
        db.stopping.set()
        wake.set()
        for thread in threads:
            thread.join()
        db.stopping.clear()


def test_a_new_row_wakes_the_relay(
    relay: Relay, ask: Callable[..., UUID], sql: Sql, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "LONGEST_SLEEP_S", 3600)
    with running(relay):
        listening = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND query = 'LISTEN jobs_due'"
        eventually(lambda: sql(listening))
        for n in range(3):
            ask()
            eventually(lambda n=n: states(sql) == {"queued": n + 1})  # type: ignore[misc]  # bound now


def test_the_relay_sleeps_until_the_next_row_and_wakes_for_it(
    relay: Relay, ask: Callable[..., UUID], sql: Sql, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "LONGEST_SLEEP_S", 3600)
    ask(run_at=datetime.now(UTC) + timedelta(seconds=1))
    with running(relay):
        eventually(lambda: states(sql) == {"queued": 1})

    assert sql("SELECT id FROM jobs WHERE queued_at < run_at") == []


def test_a_mail_for_a_queue_nobody_declared_does_not_stop_the_others(
    relay: Relay, rabbitmq: str, ask: Callable[..., UUID], waiting: Waiting
) -> None:
    with pika.BlockingConnection(pika.URLParameters(rabbitmq)) as connection:
        connection.channel().queue_delete("email-delivery")
    ask(SendGiftCardEmail(gift_card_id=uuid4()))
    ask()

    assert relay.publish_due() == 1
    assert list(waiting()) == [QUEUE]


def test_queues_are_declared_as_often_as_one_likes(rabbitmq: str) -> None:
    declare_queues()
    declare_queues()


@pytest.mark.parametrize("service", [None])  # a worker of another service runs here, too
def test_a_broker_that_blocks_publishers_costs_no_row_and_no_worker(
    rabbitmq: str, publisher: Publisher, ask: Callable[..., UUID], worker: StartWorker, sql: Sql, eventually: Eventually
) -> None:
    """As under a memory alarm: what publishes waits, what consumes does not, since no connection does both."""
    worker(QUEUE)
    with Cable(rabbitmq) as cable, Publisher(cable.url, timeout_s=0.5) as blocked:
        ask()
        while not Relay(blocked).publish_due():
            pass
        cable.block()
        kept = ask()

        assert Relay(blocked).publish_due() == 0, "in bounded time"
        assert sql("SELECT state, publishes FROM jobs WHERE id = %s", kept) == [{"state": "scheduled", "publishes": 0}]
        working = publisher.send(ExpireGiftCard(gift_card_id=uuid4()))
        eventually(lambda: sql("SELECT FROM jobs WHERE id = %s AND attempt > 0 OR reason IS NOT NULL", working))

    assert Relay(publisher).publish_due() >= 1
    assert sql("SELECT publishes FROM jobs WHERE id = %s", kept) == [{"publishes": 1}]
