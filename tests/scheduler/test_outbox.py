"""Facts for upstream: every one at least once, in order and counted per card, also when nobody listens yet."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pika
import psycopg
import pytest

from services.scheduler import outbox, turn
from shared import db
from shared.events import EXCHANGE
from shared.publisher import Publisher
from tests.kinds import Sql


@pytest.fixture
def listener(publisher: Publisher, rabbitmq: str) -> Iterator[Any]:
    """Bind a queue to all facts, and give a function that reads what has come."""
    with pika.BlockingConnection(pika.URLParameters(rabbitmq)) as connection:
        channel = connection.channel()
        queue = channel.queue_declare("", exclusive=True).method.queue
        channel.queue_bind(queue, EXCHANGE, routing_key="#")

        def read() -> list[dict[str, Any]]:
            facts = []
            while (body := channel.basic_get(queue, auto_ack=True)[2]) is not None:
                facts.append(json.loads(body))
            return facts

        yield read


INSERT = 'INSERT INTO events (type, subject, data) VALUES (%s, %s, \'{"channel": "email"}\')'


def fact(sql: Sql, card: UUID, kind: str = "delivery.sent") -> None:
    sql(INSERT, kind, card)


def counted(facts: list[dict[str, Any]], card: UUID) -> list[int]:
    return [f["subjectsequence"] for f in facts if f["subject"] == str(card)]


def test_facts_reach_whoever_listens_in_order_and_once(
    database: str, sql: Sql, publisher: Publisher, listener: Any
) -> None:
    card = uuid4()
    for kind in ("delivery.sent", "delivery.delivered", "gift_card.expired"):
        fact(sql, card, kind)

    assert outbox.tell(publisher) == 3
    assert outbox.tell(publisher) == 0

    facts = listener()
    assert [f["type"] for f in facts] == ["delivery.sent", "delivery.delivered", "gift_card.expired"]
    assert facts == sorted(facts, key=lambda f: f["sequence"])
    assert {(f["specversion"], f["source"], f["subject"]) for f in facts} == {("1.0", "giftcard-jobs", str(card))}


def test_a_fact_that_nobody_listens_to_is_told_all_the_same(database: str, sql: Sql, publisher: Publisher) -> None:
    fact(sql, uuid4())

    assert outbox.tell(publisher) == 1
    assert sql("SELECT FROM events WHERE published_at IS NULL") == []


def test_what_the_broker_did_not_take_is_told_later(database: str, sql: Sql, publisher: Publisher) -> None:
    fact(sql, uuid4())
    away = Publisher("amqp://guest:guest@127.0.0.1:1/", timeout_s=0.2)

    assert outbox.tell(away) == 0
    away.close()

    assert outbox.tell(publisher) == 1


def test_two_schedulers_at_once_do_not_tell_twice(database: str, sql: Sql, publisher: Publisher, listener: Any) -> None:
    fact(sql, uuid4())
    with db.transaction() as other:
        assert turn.take(other, "outbox")

        assert outbox.tell(publisher) == 0

    assert outbox.tell(publisher) == 1
    assert len(listener()) == 1


def test_facts_are_counted_per_card_without_gaps(database: str, sql: Sql, publisher: Publisher, listener: Any) -> None:
    ada, bob = uuid4(), uuid4()
    with psycopg.connect(database) as undone:
        undone.execute(INSERT, ("delivery.sent", ada))
        undone.rollback()
    for card in (ada, bob, ada):
        fact(sql, card)
    outbox.tell(publisher)
    fact(sql, ada)
    outbox.tell(publisher)

    facts = listener()

    assert (counted(facts, ada), counted(facts, bob)) == ([1, 2, 3], [1])
    assert [int(f["sequence"]) for f in facts] == [2, 3, 4, 5], "the rollback left a gap there"


def test_the_count_goes_on_after_old_facts_are_deleted(
    database: str, sql: Sql, publisher: Publisher, listener: Any
) -> None:
    card = uuid4()
    for _ in range(2):
        fact(sql, card)
        outbox.tell(publisher)
        sql("DELETE FROM events")

    assert counted(listener(), card) == [1, 2]


def test_what_a_scheduler_of_before_told_without_counting_is_counted(
    database: str, sql: Sql, publisher: Publisher, listener: Any
) -> None:
    card = uuid4()
    for _ in range(2):
        fact(sql, card)
    sql("UPDATE events SET published_at = now() WHERE id = 1")

    outbox.tell(publisher)

    assert counted(listener(), card) == [2]


def test_a_fact_that_commits_late_gets_a_later_number_and_overtakes_none(
    database: str, sql: Sql, publisher: Publisher, listener: Any
) -> None:
    card, away = uuid4(), Publisher("amqp://guest:guest@127.0.0.1:1/", timeout_s=0.2)
    with psycopg.connect(database) as late:
        late.execute(INSERT, ("delivery.sent", card))
        fact(sql, card, "delivery.delivered")
        assert outbox.tell(away) == 0  # it is counted, and the broker is away
        away.close()
    fact(sql, card, "gift_card.expired")

    assert [outbox.tell(publisher) for _ in range(3)] == [1, 2, 0]

    facts = listener()
    assert counted(facts, card) == [1, 2, 3]
    assert [f["type"] for f in facts] == ["delivery.delivered", "delivery.sent", "gift_card.expired"]


def test_schedulers_that_tell_side_by_side_count_each_fact_once(
    database: str, rabbitmq: str, sql: Sql, publisher: Publisher, listener: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "BATCH", 7)
    cards = [uuid4() for _ in range(5)]
    for card in cards * 20:
        fact(sql, card)

    def scheduler() -> None:
        with Publisher(rabbitmq) as own:
            while sql_left():
                outbox.tell(own)

    def sql_left() -> bool:
        with psycopg.connect(database) as connection:
            return connection.execute("SELECT FROM events WHERE published_at IS NULL LIMIT 1").fetchone() is not None

    with ThreadPoolExecutor(3) as schedulers:
        list(schedulers.map(lambda _: scheduler(), range(3)))

    facts = listener()
    assert len({f["id"] for f in facts}) == len(facts) == 100
    assert [counted(facts, card) for card in cards] == [list(range(1, 21))] * 5


@pytest.mark.parametrize(
    ("statement", "indexes"), [("COUNT", ["events_uncounted", "events_to_tell"]), ("NEXT", ["events_to_tell"])]
)
def test_a_batch_is_found_by_index_whatever_was_told_and_whatever_waits(
    database: str, sql: Sql, statement: str, indexes: list[str]
) -> None:
    sql(
        "INSERT INTO events (type, subject, published_at, number) SELECT 'delivery.sent', gen_random_uuid(),"
        " CASE WHEN n % 2 = 0 THEN now() END, CASE WHEN n % 2 = 0 THEN 1 END FROM generate_series(1, 20000) n"
    )
    sql("ANALYZE events")

    plan = "\n".join(row["QUERY PLAN"] for row in sql(f"EXPLAIN {getattr(outbox, statement)}", 500))

    assert [index for index in indexes if index not in plan] == []
