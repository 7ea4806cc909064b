"""Publish the rows that are due, as many as each queue has room for; a row is queued once the broker confirmed it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, LiteralString

import pika

from services.scheduler import outbox, turn
from shared import db, logs, metrics, topology
from shared.failpoints import failpoint
from shared.jobs import LEVELS
from shared.messages import QUEUES, Priority
from shared.packets import Packet
from shared.publisher import Publisher
from shared.settings import settings
from shared.wire import lane

BATCH = 500
NO_ROOM_S = 0.2

# For each queue and priority: its due rows in order, up to the room that its queue has. Urgent rows always have room,
# normal ones up to the queue's depth, bulk ones only while little waits. Rows of another relay are passed over;
# those of a queue that is paused, or whose providers all refuse us, stay where they are.
DUE: LiteralString = """
WITH waiting AS (
    SELECT q.queue, q.depth, (
        SELECT count(*) FROM (SELECT FROM jobs j WHERE j.queue = q.queue AND j.state = 'queued' LIMIT q.depth) w
    ) AS depth_now
    FROM unnest(%(queues)s::text[], %(depths)s::integer[]) AS q (queue, depth)
    WHERE NOT EXISTS (SELECT FROM queue_controls c WHERE c.queue = q.queue AND c.paused_at IS NOT NULL)
        AND (SELECT min(probe_at) FROM breakers b WHERE b.holds = q.queue) > clock_timestamp() IS NOT TRUE
), room AS (
    SELECT queue, p.priority, CASE p.priority
        WHEN 0 THEN %(batch)s WHEN 1 THEN depth - depth_now ELSE greatest(1, depth / 10) - depth_now END AS rows
    FROM waiting, generate_series(0, CASE WHEN %(mine)s THEN 2 ELSE 0 END) AS p (priority)
    WHERE p.priority < 2 OR coalesce(clock_timestamp() < (
        SELECT min(run_at) FROM jobs j WHERE j.queue = waiting.queue AND priority = 1 AND state = 'scheduled'), true)
)
SELECT j.* FROM room, LATERAL (
    SELECT id, name, queue, priority, data, dedupe_key, traceparent, source FROM jobs
    WHERE queue = room.queue AND priority = room.priority AND state = 'scheduled'
        AND run_at <= (SELECT clock_timestamp()) -- asked once, so that the index ends the search at the last due row
    ORDER BY run_at LIMIT greatest(0, least(room.rows, %(batch)s)) FOR UPDATE SKIP LOCKED
) j
"""

MARK: LiteralString = """
UPDATE jobs SET state = 'queued', queued_at = clock_timestamp(), publishes = publishes + 1 WHERE id = ANY(%s::uuid[])
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
        self._queues = {"queues": list(QUEUES), "depths": depths, "batch": BATCH, "no_room_s": NO_ROOM_S}

    def publish_due(self) -> int:
        """Publish one batch. Returns how many rows are queued now."""
        with metrics.relay_batch_seconds.time(), db.transaction() as connection:
            # One relay at a time fills a queue up to its depth, since two would each see the same room. Asked before
            # the rows are counted, so that what the relay before has marked is seen.
            mine = turn.take(connection, "relay")
            rows = connection.execute(DUE, self._queues | {"mine": mine}).fetchall()
            failpoint("relay-claimed")
            packets = self._publisher.publish([_packet(row) for row in rows])
            failpoint("relay-published")
            confirmed = [row for row, packet in zip(rows, packets, strict=True) if packet.error is None]
            if confirmed:
                connection.execute(MARK, ([row["id"] for row in confirmed],))
        for row in confirmed:
            metrics.relayed.labels(row["queue"]).inc()
        self._complain(packets)
        return len(confirmed)

    def seconds_to_next(self) -> float | None:
        """Say when there may be something to publish, in seconds; None when nothing waits for its time or for room."""
        with db.transaction() as connection:
            row = connection.execute(NEXT, self._queues).fetchone()
        return row["wait_s"] if row else None

    def _complain(self, packets: Sequence[Packet]) -> None:
        failed = [packet for packet in packets if packet.error]
        if failed:
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


def _packet(row: dict[str, Any]) -> Packet:
    priority = LEVELS[row["priority"]]
    document = {
        "specversion": "1.0",
        "id": str(row["id"]),
        "source": row["source"] or "giftcard-jobs",
        "type": row["name"],
        "datacontenttype": "application/json",
        "priority": priority.value,
        "data": row["data"],
    }
    for attribute, column in {"dedupekey": "dedupe_key", "traceparent": "traceparent"}.items():
        if row[column]:
            document[attribute] = row[column]
    return Packet(lane(row["queue"], Priority(priority)), json.dumps(document).encode(), str(row["id"]))
