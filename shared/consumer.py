"""Read from one queue: every envelope is checked here, before Dramatiq sees it, and every ack knows its channel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pika
from dramatiq import ConnectionClosed, Message
from dramatiq.broker import Consumer, MessageProxy

from shared import metrics
from shared.db import Stopping, stopping
from shared.edge import AGAIN, checked
from shared.settings import settings

if TYPE_CHECKING:
    from shared.broker import JobsBroker

LOOK_AFTER_S = 5  # of silence
_LOST = (AssertionError, ValueError, pika.exceptions.AMQPError, OSError)  # pika's words for a connection that is gone


class Delivered(MessageProxy):
    """A message with the consumer that delivered it, and its delivery tags: several, if it is a batch."""

    def __init__(self, message: Message[Any], consumer: JobsConsumer, tags: Sequence[int]) -> None:
        super().__init__(message)
        self.consumer = consumer
        self.tags = tags

    @property
    def held(self) -> bool:
        """Say whether it must not be acked: its run ended in an error, so its outcome is not written down."""
        return self._exception is not None

    def __str__(self) -> str:
        """Say which message this is without its arguments, which Dramatiq prints in its logs."""
        return f"{self.actor_name} {self.message_id}"


class JobsConsumer(Consumer):
    """Consume one queue over a connection of its own, and rest while the queue is paused."""

    def __init__(self, broker: JobsBroker, queue_name: str, prefetch: int, timeout: int) -> None:
        self._broker = broker
        self._queue = queue_name
        self._base_queue = queue_name.removesuffix(".urgent")
        self._timeout_s = timeout / 1000
        self._prefetch = prefetch
        self._unsettled: dict[int, None] = {}  # delivery tags in their order
        self._ahead: tuple[Message[Any], int] | None = None  # what came after a batch and did not fit into it
        self._silent_s = 0.0
        self._connection = pika.BlockingConnection(broker.parameters)
        self._channel = self._connection.channel()
        self._channel.basic_qos(prefetch_count=prefetch)
        self._deliveries: Iterator[Any] | None = None

    @property
    def connected(self) -> bool:
        """Say whether messages can come in."""
        return bool(self._channel.is_open)

    def __next__(self) -> Delivered | None:
        """Give the next message, or None after a while without one.

        Raises:
            ConnectionClosed: Dramatiq then opens a new consumer.
        """
        try:
            if self._base_queue in self._broker.pauses:
                self._rest()
                return None
            return self._next()
        except _LOST as error:
            raise ConnectionClosed(error) from None

    def _next(self) -> Delivered | None:
        received = self._receive()
        if received is None:
            self._look_around()
            return None
        message, tag = received
        return Delivered(message, self, [tag, *self._joining(message)])

    def _receive(self) -> tuple[Message[Any], int] | None:
        if self._ahead:
            ahead, self._ahead = self._ahead, None
            return ahead
        if self._deliveries is None:
            self._deliveries = self._channel.consume(self._queue, inactivity_timeout=self._timeout_s)
        method, properties, body = next(self._deliveries)
        if method is None:
            return None
        self._unsettled[method.delivery_tag] = None
        self._silent_s = 0
        return checked(
            self._queue, self._broker.actors, body, properties.headers, method.redelivered
        ), method.delivery_tag

    def _joining(self, first: Message[Any]) -> Iterator[int]:
        """Put what has arrived already into the same batch, as far as it may be done together. Gives its tags."""
        room = self._prefetch // 2 if self._batches(first) else 0
        while len(first.args[0]) < room and self._channel.get_waiting_message_count():
            received = self._receive()
            if received is None or received[0].actor_name != first.actor_name or received[0].args[AGAIN]:
                self._ahead = received
                return
            first.args[0].extend(received[0].args[0])
            yield received[1]

    def _batches(self, message: Message[Any]) -> bool:
        """Say whether others may be done together with it: never where each start has a slot of its own."""
        actor = self._broker.get_actor(message.actor_name)
        rated = settings().queues[self._base_queue].rate_per_s or self._base_queue in self._broker.pauses.limited
        return actor.options.get("together", False) and not rated and not message.args[AGAIN]

    def _look_around(self) -> None:
        """Leave a queue that has messages and gives us none.

        When a quorum queue is deleted and declared again at once, RabbitMQ 3.10 forgets its consumers and says nothing.
        """
        self._silent_s += self._timeout_s
        if self._silent_s < LOOK_AFTER_S or len(self._unsettled) >= self._prefetch:
            return
        with self._connection.channel() as channel:
            waiting = channel.queue_declare(self._queue, passive=True).method.message_count
        if waiting and self._silent_s >= LOOK_AFTER_S + 2 * self._timeout_s:  # not just on its way to us
            raise ConnectionClosed(RuntimeError("forgotten by the broker"))
        if not waiting:
            self._silent_s = 0

    def _rest(self) -> None:
        """Give back what was fetched and serve the heartbeat only."""
        if self._ahead:
            self._settle([self._ahead[1]], held=True)
            self._ahead = None
        if self._deliveries is not None:
            self._channel.cancel()
            self._deliveries = None
        self._connection.process_data_events(self._timeout_s)

    def ack(self, message: Any) -> None:
        """Tell the broker that a message is done with; a held one goes back instead.

        After a reconnect the tag of an old channel would mean another job, so such an ack is dropped: the broker
        delivers that message again, and the record says that it is done.
        """
        if message.consumer is not self or not self._channel.is_open:
            metrics.foreign_acks.labels(self._base_queue).inc()
            return
        held = message.held
        if held and not isinstance(message._exception, Stopping):
            stopping.wait(1)  # it comes back at once: do not spin
        try:
            self._connection.add_callback_threadsafe(lambda: self._settle(message.tags, held=held))
        except _LOST:
            metrics.foreign_acks.labels(self._base_queue).inc()

    def _settle(self, tags: Sequence[int], *, held: bool) -> None:
        for tag in tags:
            del self._unsettled[tag]
        if held:
            for tag in tags:
                self._channel.basic_nack(tag)
        elif len(tags) > 1 and tags[-1] < next(iter(self._unsettled), tags[-1] + 1):
            self._channel.basic_ack(tags[-1], multiple=True)  # nothing older waits, so it means just these
        else:
            for tag in tags:
                self._channel.basic_ack(tag)

    nack = ack  # nothing of ours fails a message: outcomes are rows

    def requeue(self, messages: object) -> None:
        """Do nothing: what is not acked goes back when the connection closes."""

    def close(self) -> None:
        """Send the acks that are still waiting, and close."""
        try:
            self._connection.process_data_events(0)
            self._connection.close()
        except _LOST as error:
            raise ConnectionClosed(error) from None
