"""The queues on the broker: their names, types and limits, declared by whoever may and comes first."""

from __future__ import annotations

from typing import Any

import pika

from shared.errors import QueueMismatch, QueueMissing
from shared.messages import QUEUES, Priority
from shared.settings import settings
from shared.wire import WIRETAP, lane

MAX_LENGTH = 1_000_000
PRECONDITION_FAILED = 406  # how a broker says that a queue is there with other arguments
# A second fence behind the record's own count of stalls; a lost connection counts as one delivery too.
DELIVERY_LIMIT = 1000
# Read within seconds; a week outlasts a long absence of all schedulers.
STREAM = {"x-queue-type": "stream", "x-max-age": "7D", "x-stream-max-segment-size-bytes": 50_000_000}
ACCESS_REFUSED, NOT_FOUND = 403, 404


def parameters(url: str) -> Any:
    """Say how to connect to RabbitMQ for long: a peer that is gone, or that blocks us, is noticed within 30 s."""
    found: Any = pika.URLParameters(url)
    found.heartbeat = found.blocked_connection_timeout = 30
    found.socket_timeout = found.stack_timeout = 10
    return found


def dead(queue: str) -> str:
    """Name the queue for what the broker itself gave up on; nothing there expires."""
    return f"{queue}.XQ"


def lanes() -> list[str]:
    """Name every queue that carries work, urgent ones first."""
    return [lane(queue, priority) for priority in (Priority.URGENT, Priority.NORMAL) for queue in QUEUES]


def arguments(queue: str) -> dict[str, Any]:
    """Give the arguments a queue is declared with. A full queue refuses the publisher, who keeps the row."""
    common = {
        "x-queue-type": settings().queue_type,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": dead(queue),
        "x-max-length": MAX_LENGTH,
        "x-overflow": "reject-publish",
    }
    if settings().queue_type == "quorum":
        return common | {"x-delivery-limit": DELIVERY_LIMIT, "x-dead-letter-strategy": "at-least-once"}
    return common


def declare(channel: Any, queue: str) -> None:
    """Make a queue and its dead-letter queue, if they are not there; those that are there must be as we want them.

    Raises:
        QueueMismatch: one of them has another type or other limits.
    """
    _declare(channel, dead(queue), {"x-queue-type": settings().queue_type})
    _declare(channel, queue, arguments(queue))


def declare_wiretap(channel: Any) -> None:
    """Make the stream of copies, if it is not there.

    Raises:
        QueueMismatch: it is no stream, or has other limits.
    """
    _declare(channel, WIRETAP, STREAM)


def _declare(channel: Any, queue: str, wanted: dict[str, Any]) -> None:
    try:
        channel.queue_declare(queue=queue, durable=True, arguments=wanted)
    except pika.exceptions.ChannelClosedByBroker as error:
        if error.reply_code == PRECONDITION_FAILED:
            raise QueueMismatch(queue, wanted, error.reply_text) from None
        raise


def ensure(connection: Any, queue: str) -> None:
    """Declare a queue; a user who may not, as a worker's need not, finds it there.

    Raises:
        QueueMissing: it is not there; says who makes it.
        QueueMismatch: it has another type or other limits.
    """
    try:
        declare(connection.channel(), queue)
    except pika.exceptions.ChannelClosedByBroker as error:
        if error.reply_code != ACCESS_REFUSED:
            raise
        _find(connection, queue)


def _find(connection: Any, queue: str) -> None:
    try:
        connection.channel().queue_declare(queue=queue, passive=True)
    except pika.exceptions.ChannelClosedByBroker as error:
        if error.reply_code != NOT_FOUND:
            raise
        raise QueueMissing(
            f"the queue {queue} is not there, and this user may not make it: start a scheduler, which makes all queues"
            " within a minute, with JOBS_TOPOLOGY_URL for a user who may"
        ) from None
