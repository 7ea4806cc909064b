"""The queues on the broker: their names, types and limits, declared by whoever comes first."""

from __future__ import annotations

from typing import Any

import pika

from shared.errors import QueueMismatch
from shared.messages import QUEUES, Priority
from shared.settings import settings
from shared.wire import lane

MAX_LENGTH = 1_000_000
PRECONDITION_FAILED = 406  # how a broker says that a queue is there with other arguments
# A second fence behind the record's own count of stalls; a lost connection counts as one delivery too.
DELIVERY_LIMIT = 1000


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


def _declare(channel: Any, queue: str, wanted: dict[str, Any]) -> None:
    try:
        channel.queue_declare(queue=queue, durable=True, arguments=wanted)
    except pika.exceptions.ChannelClosedByBroker as error:
        if error.reply_code == PRECONDITION_FAILED:
            raise QueueMismatch(queue, wanted, error.reply_text) from None
        raise
