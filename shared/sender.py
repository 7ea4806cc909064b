"""What all publishers that wait for their answer have in common: one message is a list of one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from datetime import datetime
from types import TracebackType
from typing import Self
from uuid import UUID

from .messages import Message, Priority
from .wire import Envelope


class Sender(ABC):
    """Take messages, and close at the end of a ``with``.

    Parameters:
        source: who you are, kept with each job.
    """

    def __init__(self, source: str) -> None:
        self._source = source

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def send(
        self,
        message: Message,
        *,
        run_at: datetime | None = None,
        priority: Priority | str = Priority.NORMAL,
        dedupe_key: str | None = None,
        traceparent: str | None = None,
    ) -> UUID:
        """Publish one message and wait until the broker has it.

        Parameters:
            run_at: aware time before which it must not run; None means now (or when the message itself says).
            dedupe_key: a business key, unique for ever: a second message with it does nothing.
            traceparent: the W3C trace context it belongs to; None: that of the current span or job.

        Returns:
            The job's id.

        Raises:
            PublishError: not confirmed in time, or no such queue on this broker.
            ValueError: ``run_at`` has no time zone, or there is no such priority.
        """
        envelope = Envelope(
            message,
            run_at=run_at,
            priority=Priority(priority),
            dedupe_key=dedupe_key,
            traceparent=traceparent,
            source=self._source,
        )
        return self.send_many([envelope])[0]

    @abstractmethod
    def send_many(self, messages: Iterable[Message | Envelope]) -> list[UUID]:
        """Publish many messages, and wait until the broker has them all."""

    @abstractmethod
    def close(self) -> None:
        """Let go of what is open."""
