"""Facts for upstream: every one at least once, in order per card, also when nobody listens yet."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pika
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


def fact(sql: Sql, card: UUID, kind: str = "delivery.sent") -> None:
    sql('INSERT INTO events (type, subject, data) VALUES (%s, %s, \'{"channel": "email"}\')', kind, card)


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
