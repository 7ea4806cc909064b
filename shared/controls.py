"""What holds a queue back: an operator's pause, and the rate that all of its workers share."""

from __future__ import annotations

import threading
from typing import LiteralString

import psycopg

from shared import db, logs
from shared.settings import settings
from shared.wire import Envelope

NO_LIMIT = 1e6  # starts a second

# The next free slot is reserved in one row, so all workers of all hosts share one rate and nobody polls for it. It does
# not wait for the disk, since a lost reservation costs nothing. What cannot start yet, runs already or is over takes
# none: else a backlog that outlives ``silent_s``, and is published again, would eat its own rate.
RESERVE: LiteralString = """
WITH hurry AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true))
INSERT INTO queue_controls AS q (queue, next_slot_at)
SELECT %(queue)s, clock_timestamp() + make_interval(secs => 1.0 / %(rate)s) FROM hurry
WHERE coalesce(%(run_at)s <= clock_timestamp(), true) AND NOT EXISTS (SELECT FROM jobs WHERE id = %(id)s
    AND NOT (state = 'queued' OR (state = 'scheduled' AND run_at <= clock_timestamp())))
ON CONFLICT (queue) DO UPDATE SET next_slot_at =
    greatest(q.next_slot_at, clock_timestamp()) + make_interval(secs => 1 / coalesce(q.rate_per_s, %(rate)s))
RETURNING extract(epoch FROM next_slot_at - clock_timestamp())
    - 1 / coalesce(rate_per_s, %(rate)s) AS wait_s
"""

SET: LiteralString = """
SELECT array_agg(queue) FILTER (WHERE paused_at IS NOT NULL) AS paused,
    array_agg(queue) FILTER (WHERE rate_per_s IS NOT NULL) AS limited FROM queue_controls
"""


def wait_for_slot(envelope: Envelope, *, limited: bool = False) -> float:
    """Wait until the shared rate of a job's queue lets it start; one that cannot start waits for nothing.

    Parameters:
        limited: an operator has set a rate, which counts even where the settings set none.

    Returns:
        The seconds waited.

    Raises:
        Stopping: when the process is to stop first.
    """
    rate = settings().queues[envelope.message.queue].rate_per_s
    if rate is None and not limited:
        return 0
    wait_s = max(0.0, db.persist(lambda: _reserve(envelope, rate or NO_LIMIT)))
    if wait_s and db.stopping.wait(wait_s):
        raise db.Stopping
    return wait_s


def _reserve(envelope: Envelope, rate: float) -> float:
    given = {"queue": envelope.message.queue, "id": envelope.id, "run_at": envelope.run_at, "rate": rate}
    with db.autocommit() as connection:  # whoever stands still in a transaction would hold up all the others
        row = connection.execute(RESERVE, given).fetchone()
    return float(row["wait_s"]) if row else 0


class Pauses:
    """Know which queues an operator has paused or limited, from a look at the table every ``every_s`` seconds."""

    def __init__(self, every_s: float = 2) -> None:
        self._every_s = every_s
        self._paused: frozenset[str] = frozenset()
        self.limited: frozenset[str] = frozenset()

    def __contains__(self, queue: str) -> bool:
        return queue in self._paused

    def start(self) -> None:
        """Begin to look, in a thread of its own, until the process stops."""
        threading.Thread(target=self._watch, name="pauses", daemon=True).start()

    def _watch(self) -> None:
        while not db.stopping.is_set():
            try:
                self.look()
            except psycopg.Error as error:
                logs.get().warning("pauses_not_read", **logs.place(error))
            db.stopping.wait(self._every_s)

    def look(self) -> None:
        """Read what is set now."""
        with db.transaction() as connection:
            row = connection.execute(SET).fetchone() or {}
        self._paused, self.limited = (frozenset(row[word] or ()) for word in ("paused", "limited"))
