"""The pieces of work in which a process may die: each is what a service does, once or until nothing is left."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import services.cleanup.actors
import services.delivery.actors
import services.expiry.actors  # noqa: F401  # registers the actors
from services.delivery.reports import inbox
from services.delivery.reports.report import Kind, Report
from services.scheduler import outbox
from services.scheduler import rescue as rescuing
from services.scheduler.relay import Relay
from services.scheduler.timetable import Timetable
from shared import db
from shared.broker import get_broker
from shared.claims import claim
from shared.consumer import JobsConsumer
from shared.leases import leases
from shared.publisher import Publisher
from shared.settings import settings
from shared.wire import decode


def _publisher() -> Publisher:
    return Publisher(settings().rabbitmq_url.get_secret_value())


def relay() -> None:
    """Publish what is due."""
    with _publisher() as publisher:
        while Relay(publisher).publish_due():
            pass


def tell() -> None:
    """Publish facts."""
    with _publisher() as publisher:
        while outbox.tell(publisher):
            pass


def tick() -> None:
    """Make the jobs of the ticks that are due."""
    Timetable().fire()


def rescue() -> None:
    """Bring back what went silent."""
    rescuing.rescue()


def consume(*queues: str) -> None:
    """Work on queues until they are empty, one message after the other, as a worker with one thread does."""
    for queue in queues:
        consumer = JobsConsumer(get_broker(), queue, prefetch=1, timeout=100)
        while (message := next(consumer)) or _waiting(consumer, queue):
            if message:
                get_broker().get_actor(message.actor_name)(*message.args)
                consumer.ack(message)
        consumer.close()


def consume_together(queue: str) -> None:
    """Take all that a queue has as one batch."""
    consumer = JobsConsumer(get_broker(), queue, prefetch=100, timeout=100)
    held = _waiting(consumer, queue)
    while not consumer._ahead:
        consumer._ahead = consumer._receive()
    while consumer._channel.get_waiting_message_count() < held - 1:
        consumer._connection.process_data_events(0.1)
    message = next(consumer)
    assert message is not None
    assert len(message.tags) == held
    get_broker().get_actor(message.actor_name)(*message.args)
    consumer.ack(message)
    consumer.close()


def _waiting(consumer: JobsConsumer, queue: str) -> int:
    with consumer._connection.channel() as channel:
        return int(channel.queue_declare(queue, passive=True).method.message_count)


def leave(document: str) -> None:
    """Claim a job, and end as a process does whose grace is over."""
    envelope = decode(document.encode())
    with db.transaction() as connection:
        job = claim(connection, [envelope])[0]
    assert job is not None
    leases.hold(job)
    leases.give_back_and_exit()


def report(text: str) -> None:
    """Take in what a provider reports."""
    given: dict[str, Any] = json.loads(text)
    given |= {"kind": Kind(given["kind"]), "delivery_id": UUID(given["delivery_id"])}
    inbox.take(Report(**given))
