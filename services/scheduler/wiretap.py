"""Give each message that came over AMQP a row, even if its queue was deleted with it: from the stream of copies.

A publisher's message has a copy in a stream that only this reads. Usually the worker that took the message has made its
row long before; what has none after a few seconds waits in a long queue, or is lost: it gets one here, and the rescue
sees to it as to any other. Marks in the stream, with the database's time, say what is older than those seconds.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

import pika
import psycopg

from shared import db, logs, refusals, topology
from shared.claims import enter, known_as
from shared.errors import BadMessage, UnknownMessage
from shared.jobs import worker_name
from shared.messages import QUEUES
from shared.settings import settings
from shared.wire import WIRETAP, Envelope, decode_from

MARK = "giftcards-mark"  # the header of a mark: the time it was made
MARK_EVERY_S = 5
UNSEEN_S = 60  # a mark that is not met for so long went into another stream than the one whose positions are known
WINDOW = 500
BATCH = 5000  # copies held in memory

# One scheduler reads; it makes this known at each mark. The first reading begins with the stream.
TAKE: LiteralString = """
UPDATE wiretap SET reader = %(me)s, lease_until = clock_timestamp() + interval '30 s',
    settled_until = least(settled_until, clock_timestamp())
WHERE reader = %(me)s OR lease_until < clock_timestamp()
RETURNING position, settled_until, clock_timestamp() AS now
"""
SETTLE: LiteralString = """
UPDATE wiretap SET position = %(position)s, settled_until = coalesce(%(until)s, settled_until) WHERE reader = %(me)s
"""
FROM_THE_START: LiteralString = "UPDATE wiretap SET position = 0 WHERE reader = %(me)s"


class Overtaken(Exception):
    """Say that another scheduler reads by now."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A message as it was published, and to which queue."""

    queue: str
    body: bytes
    headers: dict[str, Any]

    def read(self) -> Envelope | BadMessage:
        """Decode it, or say why that cannot be done."""
        try:
            return decode_from(self.queue, self.body, self.headers)
        except BadMessage as error:
            return error


@dataclass
class Reading:
    """What one scheduler has read and not settled: copies before the last mark, and since."""

    resumed: bool
    settled_until: datetime
    last_mark: tuple[datetime, int] | None = None
    before: list[Copy] = field(default_factory=list)
    since: list[Copy] = field(default_factory=list)

    def take(self, copy: Copy, position: int) -> None:
        """Take a copy in. So many between two marks can only be old: they are settled at once."""
        self.since.append(copy)
        if len(self.since) >= BATCH and self.resumed:
            settle(self.before + self.since, position + 1)
            self.before, self.since = [], []

    def mark(self, at: datetime, position: int) -> None:
        """Pass a mark: what came before the last one is settled; what an old one ends was settled long ago."""
        if at <= self.settled_until:
            self.before, self.since = [], []
            return
        if self.last_mark:
            settle(self.before, self.last_mark[1], self.last_mark[0])
        self.before, self.since, self.last_mark = self.since, [], (at, position)


def settle(copies: Sequence[Copy], position: int, until: datetime | None = None) -> None:
    """Make sure that each copy has a row, and keep that this is read.

    Parameters:
        position: of the stream, from which on to read next.
        until: when the mark at this position was made.

    Raises:
        Overtaken: nothing is kept then; the other one does it.
    """
    read = [(copy, copy.read()) for copy in copies if copy.queue in QUEUES]
    with db.transaction() as connection:
        if not connection.execute(SETTLE, {"position": position, "until": until, "me": worker_name()}).rowcount:
            raise Overtaken
        known = known_as(connection, [_id(what) for _, what in read if not _unreadable(what)])
        new = [(copy, what) for copy, what in read if _unreadable(what) or _id(what) not in known]
        for copy, what in new:
            if isinstance(what, BadMessage):
                refusals.write_down(copy.queue, what, copy.body)  # as the worker that read it has, if one did
        if entered := _enter(connection, [what for _, what in new if isinstance(what, Envelope)]):
            logs.get().info("copies_entered", jobs=entered)


def _unreadable(what: Envelope | BadMessage) -> bool:
    return isinstance(what, BadMessage) and not isinstance(what, UnknownMessage)


def _id(what: Any) -> UUID:
    return UUID(str(what.row["id"])) if isinstance(what, UnknownMessage) else what.id


def _enter(connection: db.Connection, envelopes: Sequence[Envelope]) -> int:
    """Make rows of all at once or, if a key among them is another job's, one by one."""
    try:
        with connection.transaction():
            return enter(connection, envelopes)
    except psycopg.errors.UniqueViolation:
        if len(envelopes) == 1:
            refusals.key_conflict(envelopes[0])
            return 0
    return sum(_enter(connection, [envelope]) for envelope in envelopes)


def follow() -> None:
    """Read the stream until this process ends, another scheduler reads, or the broker is away."""
    if (held := _hold()) is None:
        db.stopping.wait(MARK_EVERY_S)
        return
    with pika.BlockingConnection(topology.parameters(settings().rabbitmq_url.get_secret_value())) as connection:
        try:
            _read(connection.channel(), held["position"], Reading(held["position"] > 0, held["settled_until"]))
        except pika.exceptions.ChannelClosedByBroker as error:
            if error.reply_code != topology.NOT_FOUND:
                raise
            db.stopping.wait(1)  # it is just being made


def _read(channel: Any, position: int, reading: Reading) -> None:
    channel.confirm_delivery()
    channel.basic_qos(prefetch_count=2 * WINDOW)
    met = time.monotonic()
    mark_at = 0.0
    for method, properties, body in channel.consume(
        WIRETAP, arguments={"x-stream-offset": position}, inactivity_timeout=1
    ):
        if method and _take(reading, method, properties, body):
            met = time.monotonic()
        if method and method.delivery_tag % WINDOW == 0:
            channel.basic_ack(method.delivery_tag, multiple=True)
        if time.monotonic() >= mark_at:
            if db.stopping.is_set() or not _mark(channel):
                return
            mark_at = time.monotonic() + MARK_EVERY_S
        if time.monotonic() > met + UNSEEN_S:
            _start_over()
            return


def _take(reading: Reading, method: Any, properties: Any, body: bytes) -> bool:
    """Take in what came next. Returns whether it was a mark."""
    headers = properties.headers
    position = int(headers.pop("x-stream-offset"))
    if at := headers.get(MARK):
        reading.mark(datetime.fromisoformat(at), position)
    else:
        reading.take(Copy(method.routing_key.removesuffix(".urgent"), body, headers), position)
    return bool(at)


def _hold() -> dict[str, Any] | None:
    with db.transaction() as connection:
        return connection.execute(TAKE, {"me": worker_name()}).fetchone()


def _mark(channel: Any) -> bool:
    """Say that this scheduler still reads, and what time it is; False if another one reads by now."""
    if (held := _hold()) is None:
        return False
    properties = pika.BasicProperties(headers={MARK: held["now"].isoformat()}, delivery_mode=2)
    channel.basic_publish("", WIRETAP, b"", properties, mandatory=True)
    return True


def _start_over() -> None:
    logs.get().warning("wiretap_replaced")
    with db.transaction() as connection:
        connection.execute(FROM_THE_START, {"me": worker_name()})
