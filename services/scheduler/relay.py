"""Publish the rows that are due, as many as each queue has room for; a row is queued once the broker confirmed it.

Rows are marked before they are published, in a transaction that ends once the broker has them: while it takes in one
part, the next is looked for.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, LiteralString, TypeAlias

import pika

from services.scheduler import outbox, turn
from shared import db, logs, metrics, topology
from shared.failpoints import failpoint
from shared.jobs import LEVELS
from shared.messages import QUEUES
from shared.packets import Packet
from shared.publisher import Publisher
from shared.settings import settings
from shared.traceparent import Producing
from shared.wire import lane

PART = 500
PARTS = 4
NO_ROOM_S = 0.2

Rows: TypeAlias = list[dict[str, Any]]
Room: TypeAlias = dict[tuple[str, int], int]

# For each queue and priority how many rows it has room for: urgent rows always have room, normal ones up to the queue's
# depth, bulk ones only while little waits. A queue that is paused, or whose providers all refuse us, has none.
ROOM: LiteralString = """
WITH waiting AS (
    SELECT q.queue, q.depth, CASE WHEN %(mine)s THEN (
        SELECT count(*) FROM (SELECT FROM jobs j WHERE j.queue = q.queue AND j.state = 'queued' LIMIT q.depth) w
    ) END AS depth_now
    FROM unnest(%(queues)s::text[], %(depths)s::integer[]) AS q (queue, depth)
    WHERE NOT EXISTS (SELECT FROM queue_controls c WHERE c.queue = q.queue AND c.paused_at IS NOT NULL)
        AND (SELECT min(probe_at) FROM breakers b WHERE b.holds = q.queue) > clock_timestamp() IS NOT TRUE
)
SELECT queue, p.priority, CASE p.priority
    WHEN 0 THEN %(most)s WHEN 1 THEN depth - depth_now ELSE greatest(1, depth / 10) - depth_now END AS rows
FROM waiting, generate_series(0, CASE WHEN %(mine)s THEN 2 ELSE 0 END) AS p (priority)
WHERE p.priority < 2 OR coalesce(clock_timestamp() < (
    SELECT min(run_at) FROM jobs j WHERE j.queue = waiting.queue AND priority = 1 AND state = 'scheduled'), true)
"""

# For each queue and priority its due rows in order, as many as it has room for. Rows of another relay are passed over.
DUE: LiteralString = """
SELECT j.* FROM unnest(%(queues)s::text[], %(priorities)s::smallint[], %(rooms)s::bigint[])
    AS room (queue, priority, rows), LATERAL (
    SELECT ctid AS place, id, name, queue, priority, data, dedupe_key, traceparent, source, queued_at FROM jobs
    WHERE queue = room.queue AND priority = room.priority AND state = 'scheduled'
        AND run_at <= (SELECT clock_timestamp()) -- asked once, so that the index ends the search at the last due row
    ORDER BY run_at LIMIT greatest(0, least(room.rows, %(part)s)) FOR UPDATE SKIP LOCKED
) j
"""

# By their places, which nobody moves while they are locked: page after page, and no index is asked for them.
MARK: LiteralString = """
UPDATE jobs SET state = 'queued', queued_at = clock_timestamp(), publishes = publishes + 1 WHERE ctid = ANY(%s::tid[])
"""
UNMARK: LiteralString = """
UPDATE jobs SET state = 'scheduled', queued_at = was.queued_at, publishes = publishes - 1
FROM unnest(%s::uuid[], %s::timestamptz[]) AS was (id, queued_at) WHERE jobs.id = was.id
"""

# A row that has been due for a while did not go out for want of room: somebody takes one from its queue soon.
NEXT: LiteralString = """
SELECT min(CASE WHEN due_in_s > -0.1 THEN greatest(0, due_in_s) ELSE %(no_room_s)s END) AS wait_s
FROM unnest(%(queues)s::text[]) AS q (queue), generate_series(0, 2) AS p (priority), LATERAL (
    SELECT extract(epoch FROM run_at - clock_timestamp())::float AS due_in_s FROM jobs j
    WHERE j.queue = q.queue AND j.priority = p.priority AND j.state = 'scheduled' ORDER BY run_at LIMIT 1
) soonest
WHERE NOT EXISTS (SELECT FROM queue_controls c WHERE c.queue = q.queue AND c.paused_at IS NOT NULL)
"""


class Relay:
    """Move due rows to the broker. Any number of relays run side by side.

    Parameters:
        publisher: what confirms; a body that it cannot place leaves its row as it was.
    """

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        own = settings().queues
        depths = [own[queue].depth for queue in QUEUES]
        self._queues = {"queues": list(QUEUES), "depths": depths, "no_room_s": NO_ROOM_S}

    def publish_due(self) -> int:
        """Publish one batch. Returns how many rows are queued now."""
        with metrics.relay_batch_seconds.time(), Producing() as spans, db.transaction() as connection:
            parts = list(self._begin(connection, spans))
            for _, packets in parts:
                self._publisher.wait(packets)
            failpoint("relay-published")
            sent = [pair for rows, packets in parts for pair in zip(rows, packets, strict=True)]
            for _, packet in sent:
                if packet.error:
                    spans.fail(packet.message_id, "not_published")
            if failed := [row for row, packet in sent if packet.error]:
                connection.execute(UNMARK, ([row["id"] for row in failed], [row["queued_at"] for row in failed]))
        for queue, number in Counter(row["queue"] for row, packet in sent if not packet.error).items():
            metrics.relayed.labels(queue).inc(number)
        if failed:
            self._complain([packet for _, packet in sent if packet.error])
            db.stopping.wait(NO_ROOM_S)  # they are due again at once
        return len(sent) - len(failed)

    def _begin(self, connection: db.Connection, spans: Producing) -> Iterator[tuple[Rows, Sequence[Packet]]]:
        """Mark the rows that are due, and begin to publish each part of them before the next is looked for."""
        room = self._room(connection)
        for _ in range(PARTS):
            lanes = {"queues": [queue for queue, _ in room], "priorities": [priority for _, priority in room]}
            given = lanes | {"rooms": list(room.values()), "part": PART}
            rows = connection.execute(DUE, given).fetchall()
            failpoint("relay-claimed")
            if rows:
                connection.execute(MARK, ([row["place"] for row in rows],))
                yield rows, self._publisher.begin([_packet(row, spans) for row in rows])
            if len(rows) < PART:
                return
            _fill(room, rows)

    def _room(self, connection: db.Connection) -> Room:
        # One relay at a time fills a queue up to its depth, since two would each see the same room. Asked before the
        # rows are counted, so that what the relay before has marked is seen.
        mine = turn.take(connection, "relay")
        rows = connection.execute(ROOM, self._queues | {"mine": mine, "most": PART * PARTS}).fetchall()
        return {(row["queue"], row["priority"]): row["rows"] for row in rows if row["rows"] > 0}

    def seconds_to_next(self) -> float | None:
        """Say when there may be something to publish, in seconds; None when nothing waits for its time or for room."""
        with db.transaction() as connection:
            row = connection.execute(NEXT, self._queues).fetchone()
        return row["wait_s"] if row else None

    def _complain(self, failed: Sequence[Packet]) -> None:
        logs.get().warning("not_published", rows=len(failed), error=failed[0].error)
        if any(packet.returned for packet in failed):
            declare_queues()


def declare_queues() -> None:
    """Make every queue, and the exchange for facts, that is not there, over a connection of its own."""
    url = settings().topology_url or settings().rabbitmq_url
    with pika.BlockingConnection(pika.URLParameters(url.get_secret_value())) as connection:
        channel = connection.channel()
        for queue in topology.lanes():
            topology.declare(channel, queue)
        topology.declare_wiretap(channel)
        outbox.declare(channel)


def _fill(room: Room, rows: Rows) -> None:
    """Take what was published off the room that its queue has; normal rows and bulk ones share it."""
    for row in rows:
        for priority in (1, 2) if row["priority"] else (0,):
            if left := room.get((row["queue"], priority)):
                room[row["queue"], priority] = left - 1


def _packet(row: dict[str, Any], spans: Producing) -> Packet:
    priority = LEVELS[row["priority"]]
    to = lane(row["queue"], priority)
    document = {
        "specversion": "1.0",
        "id": str(row["id"]),
        "source": row["source"] or "giftcard-jobs",
        "type": row["name"],
        "datacontenttype": "application/json",
        "priority": priority.value,
        "data": row["data"],
    }
    if row["dedupe_key"]:
        document["dedupekey"] = row["dedupe_key"]
    if traceparent := spans.begin(to, row["name"], row["id"], row["traceparent"]):
        document["traceparent"] = traceparent
    return Packet(to, json.dumps(document).encode(), str(row["id"]))
