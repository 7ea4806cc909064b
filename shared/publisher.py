"""Publish messages over AMQP: confirmed by the broker, pipelined, from any thread, over one connection of its own."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

from .errors import PublishError
from .messages import Message
from .packets import Batch, Packet
from .sender import Sender
from .traceparent import Producing
from .trust import advice
from .wire import Envelope, enveloped, traced

WINDOW = 1000  # confirms outstanding at once: more does not publish faster, fewer does slower


class Publisher(Sender):
    """Publish to RabbitMQ and know that it arrived.

    Parameters:
        url: ``amqp://user:password@host:5672/vhost`` (or ``amqps``).
        timeout_s: how long one call may take, reconnecting included, before it says that it failed.
        source: who you are, kept with each job.

    Thread-safe. Connects at the first message, keeps its heartbeat, and reconnects by itself.

    Example:
        >>> with Publisher("amqp://localhost") as publisher:
        ...     publisher.send(SendGiftCardEmail(gift_card_id=card.id), priority="urgent")
    """

    def __init__(self, url: str, *, timeout_s: float = 10, source: str = "giftcard-jobs") -> None:
        import pika  # takes as long as all else together, and whoever only imports need not wait for it

        super().__init__(source)
        self._parameters: Any = pika.URLParameters(url)
        self._parameters.blocked_connection_timeout = timeout_s
        self._parameters.heartbeat = 30
        self._parameters.socket_timeout = self._parameters.stack_timeout = timeout_s
        self._timeout_s = timeout_s
        self._outbox: deque[Packet] = deque()
        self._unconfirmed: dict[int, Packet] = {}
        self._sequence = 0
        self._connection: Any = None
        self._channel: Any = None
        self._thread: threading.Thread | None = None
        self._untrusted: str | None = None
        self._guard = threading.Lock()
        self._closing = threading.Event()

    def send_many(self, messages: Iterable[Message | Envelope]) -> list[UUID]:
        """Publish many messages, pipelined, and wait until the broker has them all.

        Returns:
            Their ids, in order.

        Raises:
            PublishError: says how many were not confirmed; sending the same envelopes again is safe.
        """
        with Producing() as spans:
            envelopes = [traced(e, spans) for e in enveloped(messages, self._source)]
            packets = [Packet(e.routing_key, e.encode(), str(e.id), copied=True) for e in envelopes]
            failed = [p for p in self.publish(packets) if p.error]
            if failed:
                raise PublishError(f"{len(failed)} of {len(packets)} messages not published: {failed[0].error}")
        return [e.id for e in envelopes]

    def publish(self, packets: Sequence[Packet]) -> Sequence[Packet]:
        """Publish bodies as they are and wait; each packet's ``error`` then says how it went."""
        return self.wait(self.begin(packets))

    def begin(self, packets: Sequence[Packet]) -> Sequence[Packet]:
        """Begin to publish bodies as they are, and give them to be waited for."""
        if self._closing.is_set():
            raise PublishError("this publisher is closed: make a new one")
        if packets:
            batch = Batch(len(packets))
            for packet in packets:
                packet.batch = batch
            self._outbox.extend(packets)
            self._wake()
        return packets

    def wait(self, packets: Sequence[Packet]) -> Sequence[Packet]:
        """Wait for what has begun; each packet's ``error`` then says how it went."""
        batch = packets[0].batch if packets else None
        if batch and not batch.done.wait(batch.began + self._timeout_s - time.monotonic()):
            for packet in packets:
                packet.batch = None  # nobody waits any more: what is still in the outbox is not sent
                packet.error = packet.error and (self._untrusted or packet.error)
        return packets

    def connected(self) -> bool:
        """Say whether the broker can be reached now; connects if nothing was published yet."""
        self._wake()
        return bool(self._channel and self._channel.is_open)

    def close(self) -> None:
        """Close the connection. What no call waits for any more is not sent."""
        self._closing.set()
        if self._thread:
            self._call(self._end)
            self._thread.join(self._timeout_s)

    def _wake(self) -> None:
        with self._guard:
            if self._thread is None or not self._thread.is_alive():  # after a fork it is not
                self._connection = self._channel = None
                self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
                self._thread.start()
        self._call(self._flush)

    def _call(self, function: Any) -> None:
        with self._guard:
            if self._connection is not None:
                self._connection.ioloop.add_callback_threadsafe(function)

    # What follows runs on the publisher's own thread.

    def _run(self) -> None:
        from .corked import CorkedConnection

        failures = 0
        while not self._closing.is_set():
            connection = CorkedConnection(self._parameters, self._opened, self._stop, self._stop)
            with self._guard:
                self._connection = connection
                if self._closing.is_set():  # close() came before there was anything to close
                    connection.ioloop.add_callback_threadsafe(self._end)
            with suppress(Exception):  # pika stumbles over a connection that is closed while it opens
                connection.ioloop.start()
            with self._guard:
                self._connection = None
            connection.ioloop.close()
            failures = 0 if self._channel else failures + 1
            self._lost()
            self._closing.wait(random.uniform(0, min(5, 0.1 * 2**failures)))  # noqa: S311  # full jitter, not a secret

    def _end(self) -> None:
        if not (self._connection.is_closing or self._connection.is_closed):
            self._connection.close()  # also while it is opening

    def _stop(self, connection: Any, error: object) -> None:
        self._untrusted = advice(error)
        connection.ioloop.stop()

    def _opened(self, connection: Any) -> None:
        connection.channel(on_open_callback=self._ready)

    def _ready(self, channel: Any) -> None:
        channel.add_on_close_callback(lambda *_: self._connection.is_open and self._connection.close())
        channel.add_on_return_callback(self._returned)
        channel.confirm_delivery(self._confirmed)
        self._sequence, self._channel, self._untrusted = 0, channel, None
        self._flush()

    def _lost(self) -> None:
        """Put what the broker did not confirm in front again: a second copy does nothing, a missing one would."""
        self._channel = None
        self._outbox.extendleft(reversed(self._unconfirmed.values()))
        self._unconfirmed.clear()

    def _flush(self) -> None:
        if self._channel and self._outbox:
            with self._connection.corked():
                while self._channel.is_open and self._outbox and len(self._unconfirmed) < WINDOW:
                    self._send(self._outbox.popleft())

    def _send(self, packet: Packet) -> None:
        if packet.batch is None:
            return
        self._sequence += 1
        self._unconfirmed[self._sequence] = packet
        packet.returned = False
        self._channel.basic_publish(packet.exchange, packet.routing_key, packet.body, packet.properties, mandatory=True)

    def _returned(self, _channel: Any, _method: Any, properties: Any, _body: bytes) -> None:
        for packet in self._unconfirmed.values():
            if packet.message_id == properties.message_id:
                packet.returned = True

    def _confirmed(self, frame: Any) -> None:
        tag, acked = frame.method.delivery_tag, frame.method.NAME == "Basic.Ack"
        tags = [t for t in self._unconfirmed if t <= tag] if frame.method.multiple else [tag]
        for packet in [self._unconfirmed.pop(t) for t in tags if t in self._unconfirmed]:
            packet.error = None if acked and not packet.returned else packet.refusal()
            if packet.batch:
                packet.batch.settle()
        self._flush()
