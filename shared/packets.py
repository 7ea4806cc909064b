"""What travels to the broker: a body, where it goes, and whether the broker has it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any

from .wire import CONTENT_TYPE, COPIED


class Batch:
    """Count down what one caller waits for."""

    def __init__(self, size: int) -> None:
        self.left = size
        self.began = time.monotonic()
        self.done = threading.Event()

    def settle(self) -> None:
        """Count one as done."""
        self.left -= 1
        if self.left == 0:
            self.done.set()


@dataclass(slots=True, eq=False)
class Packet:
    """One body on its way. After ``publish``, ``error`` is None once the broker has it.

    What no row knows of yet is ``copied`` to the wire tap, so that it outlives its queue.
    """

    routing_key: str
    body: bytes
    message_id: str
    exchange: str = ""
    copied: bool = False
    error: str | None = "not confirmed in time: the broker is away, blocked or slow"
    returned: bool = False
    batch: Batch | None = field(default=None, repr=False)

    @property
    def properties(self) -> Any:
        """Make it persistent, and name it so that the broker can give it back."""
        import pika  # takes as long as all else together, and whoever only imports need not wait for it

        headers = COPIED if self.copied else None
        return pika.BasicProperties(CONTENT_TYPE, headers=headers, delivery_mode=2, message_id=self.message_id)

    def refusal(self) -> str:
        """Say why the broker did not take it."""
        if self.returned:
            return f"no queue {self.routing_key!r} on this broker: start the system once, it declares its queues"
        return f"the broker refused it for {self.routing_key!r}: the queue is full"
