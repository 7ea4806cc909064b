"""What tests of the scheduler share."""

from __future__ import annotations

from collections.abc import Callable
from itertools import takewhile
from typing import TypeAlias

import pika
import pytest

from shared.topology import lanes

Waiting: TypeAlias = Callable[[], dict[str, list[bytes]]]


@pytest.fixture
def service() -> str:
    """Run as this service's own role."""
    return "scheduler"


@pytest.fixture
def waiting(rabbitmq: str) -> Waiting:
    """Take every body out of every queue, by queue."""

    def take() -> dict[str, list[bytes]]:
        taken = {}
        with pika.BlockingConnection(pika.URLParameters(rabbitmq)) as connection:
            for queue in lanes():
                channel = connection.channel()
                if count := channel.queue_declare(queue, passive=True).method.message_count:
                    deliveries = channel.consume(queue, auto_ack=True, inactivity_timeout=0.2)
                    taken[queue] = [body for _, _, body in takewhile(lambda d: d[0] is not None, deliveries)]
                    assert len(taken[queue]) == count
        return taken

    return take
