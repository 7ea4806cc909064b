"""Copies of what came over AMQP: each message ends as a row, whatever becomes of its queue, and none is done twice."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pika
import pytest

from services.scheduler import wiretap
from services.scheduler.relay import Relay
from services.scheduler.wiretap import Copy, Overtaken, Reading, settle
from shared import db, refusals
from shared.errors import BadMessage
from shared.jobs import worker_name
from shared.messages import ExpireGiftCard
from shared.publisher import Publisher
from shared.topology import declare_wiretap
from shared.wire import WIRETAP, Envelope, decode_from
from tests.kinds import Eventually, Sql

QUEUE = "gift-card-expiry"


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wiretap, "MARK_EVERY_S", 0.1)


@contextmanager
def reading() -> Iterator[threading.Thread]:
    """Read the stream as the scheduler's loop does, until the end of the ``with``."""

    def again() -> None:
        while not db.stopping.is_set():
            with suppress(pika.exceptions.AMQPError, Overtaken):
                wiretap.follow()

    thread = threading.Thread(target=again)
    thread.start()
    try:
        yield thread
    finally:
        db.stopping.set()
        thread.join(20)
        db.stopping.clear()
    assert not thread.is_alive()


@contextmanager
def channel_to(rabbitmq: str) -> Iterator[pika.adapters.blocking_connection.BlockingChannel]:
    with pika.BlockingConnection(pika.URLParameters(rabbitmq)) as connection:
        yield connection.channel()


def envelope(**how: object) -> Envelope:
    return Envelope(ExpireGiftCard(gift_card_id=uuid4()), source="test", **how)  # type: ignore[arg-type]


def copy(what: Envelope | bytes, queue: str = QUEUE) -> Copy:
    return Copy(queue, what if isinstance(what, bytes) else what.encode(), {})


@pytest.fixture
def take_turn(sql: Sql) -> Callable[[], None]:
    """Make this process the one that reads."""

    def take() -> None:
        sql("UPDATE wiretap SET reader = %s, settled_until = now()", worker_name())

    return take


def read_until_settled(sql: Sql, eventually: Eventually) -> None:
    """Wait until all that was published so far has been settled."""
    now = sql("SELECT clock_timestamp() AS now")[0]["now"]
    eventually(lambda: sql("SELECT FROM wiretap WHERE isfinite(settled_until) AND settled_until > %s", now))


def test_messages_outlive_a_queue_that_is_deleted_or_purged(
    database: str, sql: Sql, publisher: Publisher, rabbitmq: str, eventually: Eventually
) -> None:
    publisher.send_many([envelope() for _ in range(3)])
    with channel_to(rabbitmq) as channel:
        assert channel.queue_purge(QUEUE).method.message_count == 3
        publisher.send_many([envelope() for _ in range(4)])
        assert channel.queue_delete(QUEUE).method.message_count == 4

    with reading():
        eventually(lambda: sql("SELECT count(*) AS n FROM jobs WHERE state = 'queued'")[0]["n"] == 7)


def test_what_a_lost_message_asked_for_is_published_again(
    database: str, sql: Sql, publisher: Publisher, rabbitmq: str, eventually: Eventually
) -> None:
    sent = envelope(dedupe_key="once")
    publisher.send_many([sent])
    with channel_to(rabbitmq) as channel:
        channel.queue_purge(QUEUE)
    with reading():
        eventually(lambda: sql("SELECT FROM jobs"))
    sql("UPDATE jobs SET queued_at = now() - interval '1 day'")

    from services.scheduler.rescue import rescue

    assert rescue() == 1
    assert Relay(publisher).publish_due() == 1
    with channel_to(rabbitmq) as channel:
        body = channel.basic_get(QUEUE, auto_ack=True)[2]
    again = decode_from(QUEUE, body or b"")
    assert (again.id, again.message, again.dedupe_key) == (sent.id, sent.message, "once")


def test_a_message_whose_queue_is_missing_is_taken_all_the_same(
    database: str, sql: Sql, publisher: Publisher, rabbitmq: str, eventually: Eventually
) -> None:
    with channel_to(rabbitmq) as channel:
        channel.queue_delete(QUEUE)

    publisher.send_many([envelope()])

    with reading():
        eventually(lambda: sql("SELECT FROM jobs WHERE state = 'queued'"))


def test_a_message_that_has_its_row_gets_no_second_one(database: str, sql: Sql, take_turn: Callable[[], None]) -> None:
    take_turn()
    one = envelope()
    settle([copy(one)], 1)
    sql("UPDATE jobs SET state = 'succeeded', finished_at = now()")

    settle([copy(one), copy(one)], 3)

    assert [row["state"] for row in sql("SELECT state FROM jobs")] == ["succeeded"]


def test_a_message_for_later_waits_in_the_table(database: str, sql: Sql, take_turn: Callable[[], None]) -> None:
    take_turn()
    later = datetime.now(UTC) + timedelta(days=3)

    settle([copy(envelope(run_at=later))], 1)

    assert sql("SELECT state, run_at FROM jobs") == [{"state": "scheduled", "run_at": later}]


def test_a_key_that_another_job_has_is_rejected_and_the_rest_is_entered(
    database: str, sql: Sql, take_turn: Callable[[], None]
) -> None:
    take_turn()
    settle([copy(envelope(dedupe_key="mine"))], 1)

    settle([copy(envelope()), copy(envelope(dedupe_key="mine")), copy(envelope())], 4)

    states = sql("SELECT state, reason FROM jobs ORDER BY state, reason")
    assert [row["state"] for row in states] == ["queued", "queued", "queued", "rejected"]
    assert states[-1]["reason"] == "dedupe_key_conflict"


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"specversion": "1.0"}', b'{"type": "x"}', b"x" * 70_000])
def test_what_is_no_message_is_rejected_once_whoever_reads_it_first(
    database: str, sql: Sql, take_turn: Callable[[], None], body: bytes
) -> None:
    take_turn()
    with pytest.raises(BadMessage) as bad:
        decode_from(QUEUE, body)
    refusals.write_down(QUEUE, bad.value, body)  # a worker

    settle([copy(body)], 1)

    assert [row["state"] for row in sql("SELECT state FROM jobs")] == ["rejected"]


def test_a_message_on_the_wrong_queue_is_rejected(database: str, sql: Sql, take_turn: Callable[[], None]) -> None:
    take_turn()

    settle([copy(envelope(), queue="sms-delivery")], 1)

    assert sql("SELECT state, reason FROM jobs") == [{"state": "rejected", "reason": "wrong_queue"}]


def test_an_unknown_name_waits_for_newer_workers_unless_one_has_taken_it(
    database: str, sql: Sql, take_turn: Callable[[], None]
) -> None:
    take_turn()
    body = b'{"specversion": "1.0", "id": "%s", "source": "x", "type": "of_tomorrow", "data": {}}'
    waits, taken = uuid4(), uuid4()
    sql("INSERT INTO jobs (id, name, queue, state) VALUES (%s, 'of_tomorrow', %s, 'succeeded')", taken, QUEUE)

    settle([copy(body % str(waits).encode()), copy(body % str(taken).encode())], 2)

    states = {row["id"]: (row["state"], row["reason"]) for row in sql("SELECT id, state, reason FROM jobs")}
    assert states == {waits: ("scheduled", "unknown_message"), taken: ("succeeded", None)}


def test_one_scheduler_reads_and_another_takes_over_when_it_falls_silent(
    database: str, sql: Sql, publisher: Publisher, eventually: Eventually
) -> None:
    sql("UPDATE wiretap SET reader = 'other:1', lease_until = now() + interval '1 hour'")
    with pytest.raises(Overtaken):
        settle([copy(envelope())], 1)
    assert sql("SELECT FROM jobs") == []
    publisher.send_many([envelope()])

    with reading():
        sql("UPDATE wiretap SET lease_until = now()")
        eventually(lambda: sql("SELECT FROM jobs"))

    assert sql("SELECT reader FROM wiretap") == [{"reader": worker_name()}]


def test_reading_goes_on_where_it_ended(
    database: str, sql: Sql, publisher: Publisher, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher.send_many([envelope() for _ in range(3)])
    with reading():
        eventually(lambda: sql("SELECT count(*) AS n FROM jobs")[0]["n"] == 3)
        read_until_settled(sql, eventually)
    sql("DELETE FROM jobs")  # as if pruned
    publisher.send_many([envelope()])

    with reading():
        eventually(lambda: sql("SELECT FROM jobs"))
        read_until_settled(sql, eventually)

    assert sql("SELECT count(*) AS n FROM jobs") == [{"n": 1}]


def test_a_stream_that_was_replaced_is_read_from_its_start_and_an_old_one_brings_nothing_back(
    database: str,
    sql: Sql,
    publisher: Publisher,
    rabbitmq: str,
    eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wiretap, "UNSEEN_S", 3)
    publisher.send_many([envelope() for _ in range(5)])
    with reading():
        eventually(lambda: sql("SELECT count(*) AS n FROM jobs")[0]["n"] == 5)
        read_until_settled(sql, eventually)
    sql("DELETE FROM jobs")  # as if pruned
    sql("UPDATE wiretap SET position = 0")  # as after a false alarm
    with reading():
        read_until_settled(sql, eventually)
    assert sql("SELECT FROM jobs") == []

    with channel_to(rabbitmq) as channel:
        channel.queue_delete(WIRETAP)
        declare_wiretap(channel)
    sql("UPDATE wiretap SET position = 1000000")  # far beyond what the new one has
    publisher.send_many([envelope()])

    with reading():
        eventually(lambda: sql("SELECT FROM jobs"))


def test_many_copies_of_before_are_settled_without_waiting_for_a_mark(
    database: str, sql: Sql, take_turn: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    take_turn()
    monkeypatch.setattr(wiretap, "BATCH", 10)
    state = Reading(resumed=True, settled_until=datetime.now(UTC))

    for position in range(25):
        state.take(copy(envelope()), position)

    assert sql("SELECT count(*) AS n FROM jobs") == [{"n": 20}]
    assert sql("SELECT position FROM wiretap") == [{"position": 20}]
