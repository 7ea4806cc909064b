"""Publish from asyncio: the same messages over aio-pika (``pip install giftcard-jobs[aio]``)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import aio_pika
from aio_pika.exceptions import AMQPError, DeliveryError
from aio_pika.exceptions import PublishError as Returned

from .errors import PublishError
from .messages import Message, Priority
from .traceparent import Producing
from .trust import advice
from .wire import CONTENT_TYPE, COPIED, Envelope, enveloped, traced

WINDOW = 500  # confirms outstanding at once


class AsyncPublisher:
    """Publish to RabbitMQ and know that it arrived. One per event loop; reconnects by itself.

    Parameters:
        url: ``amqp://user:password@host:5672/vhost`` (or ``amqps``).
        timeout_s: how long one call may take, reconnecting included, before it says that it failed.
        source: who you are, kept with each job.

    Example:
        >>> async with AsyncPublisher("amqp://localhost") as publisher:
        ...     await publisher.send(SendGiftCardEmail(gift_card_id=card.id), priority="urgent")
    """

    def __init__(self, url: str, *, timeout_s: float = 10, source: str = "giftcard-jobs") -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._source = source
        self._connection: Any = None
        self._channel: Any = None
        self._opening = asyncio.Lock()
        self._untrusted: str | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def send(
        self,
        message: Message,
        *,
        run_at: datetime | None = None,
        priority: Priority | str = Priority.NORMAL,
        dedupe_key: str | None = None,
        traceparent: str | None = None,
    ) -> UUID:
        """Publish one message and wait until the broker has it; parameters and errors as in ``Publisher.send``."""
        envelope = Envelope(
            message,
            run_at=run_at,
            priority=Priority(priority),
            dedupe_key=dedupe_key,
            traceparent=traceparent,
            source=self._source,
        )
        return (await self.send_many([envelope]))[0]

    async def send_many(self, messages: Iterable[Message | Envelope]) -> list[UUID]:
        """Publish many messages, pipelined, and wait until the broker has them all.

        Raises:
            PublishError: not confirmed within ``timeout_s``, or no such queue; sending the same again is safe.
        """
        with Producing() as spans:
            envelopes = [traced(one, spans) for one in enveloped(messages, self._source)]
            await self._publish(envelopes)
        return [envelope.id for envelope in envelopes]

    async def _publish(self, envelopes: Sequence[Envelope]) -> None:
        room = asyncio.Semaphore(WINDOW)
        sends = asyncio.gather(*(self._until_confirmed(one, room) for one in envelopes), return_exceptions=True)
        try:
            failed = [error for error in await asyncio.wait_for(sends, self._timeout_s) if error]
        except TimeoutError:
            why = self._untrusted or "not confirmed in time: the broker is away, blocked or slow"
            raise PublishError(why) from None
        if failed:
            raise PublishError(f"{len(failed)} of {len(envelopes)} messages not published: {_why(failed[0])}")

    async def close(self) -> None:
        """Close the connection."""
        if self._connection:
            await self._connection.close()

    async def _until_confirmed(self, envelope: Envelope, room: asyncio.Semaphore) -> None:
        """Publish again after a lost connection: a second copy does nothing, a missing one would."""
        packet = aio_pika.Message(
            envelope.encode(),
            content_type=CONTENT_TYPE,
            headers=dict(COPIED),
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            message_id=str(envelope.id),
        )
        async with room:
            while True:
                try:
                    channel = await self._open()
                    await channel.default_exchange.publish(packet, envelope.routing_key, mandatory=True)
                    return
                except DeliveryError:
                    raise
                except (AMQPError, ConnectionError, RuntimeError) as error:  # aio-pika says closed in several ways
                    self._untrusted = advice(error)
                    await asyncio.sleep(0.2)

    async def _open(self) -> Any:
        async with self._opening:
            if self._channel is None or self._channel.is_closed or self._connection.is_closed:
                if self._connection and not self._connection.is_closed:
                    await self._connection.close()
                self._connection = await aio_pika.connect(self._url)
                self._channel = await self._connection.channel(publisher_confirms=True, on_return_raises=True)
                self._untrusted = None
            return self._channel


def _why(error: BaseException) -> str:
    if isinstance(error, Returned):
        return "no such queue on this broker: start the system once, it declares its queues"
    return "the queue is full" if isinstance(error, DeliveryError) else f"{type(error).__name__}: {error}"
