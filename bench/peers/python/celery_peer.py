"""Celery on RabbitMQ, as its manual sets it up, but losing as little as we do: confirms, and acks after the work."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime

import cards
from celery import Celery

from bench.journal import Journal

app = Celery("peer", broker=os.environ["BENCH_AMQP"].replace("amqp://", "pyamqp://"))
app.conf.update(
    broker_transport_options={"confirm_publish": True},
    task_acks_late=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=16,
    worker_hijack_root_logger=False,
)
journal = Journal(os.environ["BENCH_JOURNAL"])


@app.task(name="noop")
def noop(due_at: float) -> None:
    """Note when it started."""
    journal.note(due_at, time.time())


@app.task(name="expire")
def expire(card_id: str) -> None:
    """Expire one card, and note when it began and ended."""
    began = time.time()
    cards.expire(card_id)
    journal.note(began, time.time())


def send(name: str, argument: object, at: float | None = None) -> None:
    """Publish one task, to run at a time if one is given."""
    app.tasks[name].apply_async((argument,), eta=datetime.fromtimestamp(at, UTC) if at else None)
