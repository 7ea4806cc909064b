"""Stock Dramatiq on RabbitMQ, with confirms: its own broker, middleware, retries and delays."""

from __future__ import annotations

import os
import time

import cards
import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker

from bench.journal import Journal

broker = RabbitmqBroker(url=os.environ["BENCH_AMQP"], confirm_delivery=True)
dramatiq.set_broker(broker)
journal = Journal(os.environ["BENCH_JOURNAL"])


@dramatiq.actor
def noop(due_at: float) -> None:
    """Note when it started."""
    journal.note(due_at, time.time())


@dramatiq.actor
def expire(card_id: str) -> None:
    """Expire one card, and note when it began and ended."""
    began = time.time()
    cards.expire(card_id)
    journal.note(began, time.time())


def send(name: str, argument: object, at: float | None = None) -> None:
    """Publish one message, to run at a time if one is given."""
    delay_ms = max(0, int((at - time.time()) * 1000)) if at else None
    broker.get_actor(name).send_with_options(args=(argument,), delay=delay_ms)
