"""How our own part of a case is set up: messages in the broker, rows in the table, workers with their settings."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from itertools import islice

from bench.place import Place
from services.scheduler.relay import declare_queues
from shared.messages import Message, PruneHistory
from shared.publisher import Publisher

NAME = "giftcard-jobs"
BULK = 1000

# One row per job, written as enqueue_job() would; through it, ten million rows would take an hour.
ROWS = """
INSERT INTO jobs (name, queue, state, priority, run_at, source)
SELECT 'prune_history', 'maintenance', 'scheduled', 1, to_timestamp(%s) + n * make_interval(secs => %s), 'bench'
FROM generate_series(0, %s - 1) n
"""


def publisher(place: Place) -> Publisher:
    """Give a publisher for queues that are there."""
    declare_queues()
    return Publisher(place.amqp, source="bench")


def publish(place: Place, messages: Iterable[Message]) -> None:
    """Have all messages in the broker before the clock runs."""
    with publisher(place) as sender:
        rest = iter(messages)
        while chunk := list(islice(rest, BULK)):
            sender.send_many(chunk)


def noops(count: int) -> Sequence[Message]:
    """Give jobs that do nothing."""
    return [PruneHistory()] * count


def due(place: Place, count: int, *, at: float | None = None, every_s: float = 0) -> None:
    """Write rows that come due from a time on (None: long ago), one after another."""
    place.sql("SET session_replication_role = replica")  # no notification per row
    place.sql(ROWS, at or time.time() - 3600, every_s, count)
    place.sql("RESET session_replication_role")
