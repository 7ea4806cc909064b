"""Messages that wait, of an actor that does its work together, are one batch: one turn, one transaction, one ack."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from decimal import Decimal
from typing import Any, TypeAlias
from uuid import UUID, uuid4

import pika
import psycopg
import pytest
from dramatiq import ConnectionClosed

import services.expiry.actors  # noqa: F401  # registers the actors
from shared import actor, attempt, db, taking
from shared.broker import get_broker
from shared.consumer import Delivered, JobsConsumer
from shared.leases import leases
from shared.messages import ExpireDueGiftCards, ExpireGiftCard
from shared.publisher import Publisher
from shared.wire import Envelope
from tests.kinds import Eventually, Forsake, Issue, Ledger, Setting, Sql

QUEUE = "gift-card-expiry"
Reading: TypeAlias = Callable[[int], JobsConsumer]
Sent: TypeAlias = Callable[..., list[UUID]]


@pytest.fixture
def service() -> str:
    return "expiry"


@pytest.fixture(autouse=True)
def _unlimited(database: str, setting: Setting) -> None:
    setting(queues__gift_card_expiry__rate_per_s="")


@pytest.fixture
def consumer(rabbitmq: str, publisher: Publisher) -> Iterator[JobsConsumer]:
    """Read from the queue, up to 20 messages at a time."""
    get_broker().use(rabbitmq)
    consumer = JobsConsumer(get_broker(), QUEUE, prefetch=20, timeout=100)
    assert next(consumer) is None
    yield consumer
    with suppress(ConnectionClosed):  # a test may have closed it
        consumer.close()


@pytest.fixture
def arrived(consumer: JobsConsumer, publisher: Publisher, eventually: Eventually) -> Sent:
    """Publish messages, and return with their ids once they have all arrived and nobody took one yet."""

    def send(*messages: ExpireGiftCard | ExpireDueGiftCards) -> list[UUID]:
        ids = [publisher.send(message) for message in messages]
        eventually(lambda: consumer._connection.process_data_events(0) or _waiting(consumer) == len(ids))
        return ids

    return send


def _waiting(consumer: JobsConsumer) -> int:
    return int(consumer._channel.get_waiting_message_count())


def take(consumer: JobsConsumer) -> Delivered:
    message = next(consumer)
    assert message is not None
    return message


def ids(message: Delivered) -> list[UUID]:
    return [envelope.id for envelope in message.args[0]]


def some(number: int) -> list[ExpireGiftCard]:
    return [ExpireGiftCard(gift_card_id=uuid4()) for _ in range(number)]


def left(rabbitmq: str) -> int:
    with pika.BlockingConnection(pika.URLParameters(rabbitmq)) as connection:
        return int(connection.channel().queue_declare(QUEUE, passive=True).method.message_count)


def test_what_waits_comes_as_batches_of_half_the_prefetch(consumer: JobsConsumer, arrived: Sent) -> None:
    sent = arrived(*some(15))

    assert [ids(take(consumer)), ids(take(consumer))] == [sent[:10], sent[10:]]


def test_a_batch_ends_where_another_kind_of_job_comes_and_the_order_stays(
    consumer: JobsConsumer, arrived: Sent
) -> None:
    sent = arrived(*some(2), ExpireDueGiftCards(), *some(3))

    assert [ids(take(consumer)) for _ in range(3)] == [sent[:2], sent[2:3], sent[3:]]


def test_what_comes_again_comes_alone_since_it_may_have_killed_its_worker(
    consumer: JobsConsumer, arrived: Sent, eventually: Eventually
) -> None:
    sent = arrived(*some(3))
    lost = take(consumer)
    lost.stuff_exception(db.Stopping())
    consumer.ack(lost)
    eventually(lambda: consumer._connection.process_data_events(0) or _waiting(consumer) == 3)

    assert sorted(ids(take(consumer))[0] for _ in sent) == sorted(sent)


@pytest.mark.parametrize("limit", ["the settings", "an operator"])
def test_where_each_start_has_a_slot_there_is_no_batch(
    limit: str, consumer: JobsConsumer, arrived: Sent, setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = arrived(*some(3))
    if limit == "the settings":
        setting(queues__gift_card_expiry__rate_per_s="100")
    else:
        monkeypatch.setattr(get_broker().pauses, "limited", frozenset([QUEUE]))

    assert [ids(take(consumer)) for _ in sent] == [[one] for one in sent]


@pytest.mark.parametrize("first", [0, 1])
def test_an_ack_means_its_own_batch_whatever_the_order(
    first: int, consumer: JobsConsumer, arrived: Sent, rabbitmq: str, eventually: Eventually
) -> None:
    arrived(*some(20))
    batches = take(consumer), take(consumer)

    consumer.ack(batches[first])
    consumer.close()
    eventually(lambda: left(rabbitmq) == 10)
    with closing(JobsConsumer(get_broker(), QUEUE, prefetch=20, timeout=100)) as again:
        back = [ids(take(again))[0] for _ in range(10)]

    assert back == ids(batches[1 - first])


def test_both_acks_leave_nothing(consumer: JobsConsumer, arrived: Sent, rabbitmq: str) -> None:
    arrived(*some(20))
    later, sooner = (take(consumer), take(consumer))[::-1]

    consumer.ack(later)
    consumer.ack(sooner)
    consumer.close()

    assert left(rabbitmq) == 0


def test_a_pause_gives_back_what_had_come_after_a_batch(
    consumer: JobsConsumer, arrived: Sent, rabbitmq: str, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    arrived(*some(2), ExpireDueGiftCards(), *some(3))
    take(consumer)

    monkeypatch.setattr(get_broker().pauses, "_paused", frozenset([QUEUE]))
    assert next(consumer) is None

    eventually(lambda: left(rabbitmq) == 4)


def batch(*cards: UUID) -> list[Envelope]:
    return [Envelope(ExpireGiftCard(gift_card_id=card)) for card in cards]


def test_a_batch_is_booked_in_one_transaction(card: Issue, ledger: Ledger, sql: Sql) -> None:
    cards = [card(expired=True) for _ in range(4)]

    actor.run(batch(*cards))

    assert [ledger(card_id) for card_id in cards] == [[Decimal(-25)]] * 4
    assert len(sql("SELECT DISTINCT xmin::text FROM transactions WHERE type = 'EXPIRY'")) == 1


def test_of_a_batch_each_ends_as_it_would_have_alone(card: Issue, ledger: Ledger, sql: Sql, setting: Setting) -> None:
    setting(unknown_card_grace_s=0)
    due, early, broken = card(expired=True), card(), card(expired=True)
    sql("UPDATE gift_cards SET balance = balance + 1 WHERE id = %s", broken)
    envelopes = batch(due, early, broken, uuid4())

    actor.run([*envelopes, envelopes[0]])

    rows = sql("SELECT id, state, reason FROM jobs")
    ended = {row["id"]: (row["state"], row["reason"]) for row in rows}
    assert [ended[envelope.id] for envelope in envelopes] == [
        ("succeeded", None),
        ("skipped", "not_due"),
        ("failed", "ledger_broken"),
        ("rejected", "card_not_found"),
    ]
    assert ledger(due) == [Decimal(-25)]


def test_a_key_in_use_is_the_fault_of_one_message_of_a_batch(card: Issue, ledger: Ledger, sql: Sql) -> None:
    cards = [card(expired=True) for _ in range(3)]
    sql("SELECT enqueue_job('prune_history', dedupe_key => 'taken')")
    one, two, three = batch(*cards)
    two = Envelope(two.message, dedupe_key="taken")

    actor.run([one, two, three])

    assert [len(ledger(card_id)) for card_id in cards] == [1, 0, 1]
    assert [row["reason"] for row in sql("SELECT reason FROM jobs WHERE state = 'rejected'")] == ["dedupe_key_conflict"]


def test_who_waits_for_its_turn_in_a_batch_keeps_its_lease(
    card: Issue, sql: Sql, forsake: Forsake, monkeypatch: pytest.MonkeyPatch
) -> None:
    renewed = list[int]()

    def slow(*given: Any) -> Any:
        forsake()
        leases._once(None)
        renewed.append(len(sql("SELECT FROM jobs WHERE lease_until > clock_timestamp()")))
        return run(*given)

    run = attempt.run
    monkeypatch.setattr(attempt, "run", slow)
    actor.run(batch(*(card() for _ in range(3))))

    assert renewed == [3, 2, 1], "and nobody's who has ended"


@pytest.mark.parametrize("error", [db.Stopping, psycopg.OperationalError])
def test_a_batch_goes_back_if_one_of_it_could_not_be_written_down_and_all_others_are_run(
    error: type[Exception], card: Issue, ledger: Ledger, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    cards = [card(), card(expired=True), card()]

    def fails_once(*given: Any) -> Any:
        monkeypatch.setattr(attempt, "run", run)
        raise error

    run = attempt.run
    monkeypatch.setattr(attempt, "run", fails_once)

    with pytest.raises(error):
        actor.run(batch(*cards))
    assert ledger(cards[1]) == [Decimal(-25)], "what is done stays done, and its copy will be known as one"
    assert sorted(row["state"] for row in sql("SELECT state FROM jobs")) == ["running", "skipped", "succeeded"]
    assert not leases._running, "so that the rescue gets the one that is left"


def test_a_database_that_refuses_the_whole_batch_is_asked_for_each(
    card: Issue, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    cards = [card(expired=True) for _ in range(3)]
    take, sizes = taking.taken._work, list[int]()

    def refuses(connection: db.Connection, deliveries: Any) -> Any:
        sizes.append(len(deliveries))
        if len(deliveries) > 1:
            raise psycopg.errors.LockNotAvailable
        return take(connection, deliveries)

    monkeypatch.setattr(taking.taken, "_work", refuses)
    actor.run(batch(*cards))

    assert sizes == [3, 1, 1, 1]
    assert [ledger(card_id) for card_id in cards] == [[Decimal(-25)]] * 3
