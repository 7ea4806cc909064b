"""How many jobs each queue has, by the seed's five counts."""

from __future__ import annotations

from typing import Any, LiteralString

from shared import db
from shared.messages import QUEUES

# Waiting means due or in the broker. Each count stops at %(most)s, if there is one, that of jobs which are over at
# %(most_over)s, so that its cost has an end, too. The clock is asked in a query of its own: no index is searched by
# what may change from row to row. The order keeps to the index where the statistics would not, and so does its own
# condition said again.
COUNTS: LiteralString = """
SELECT q.queue,
    (SELECT count(*) FROM (SELECT FROM jobs j WHERE j.queue = q.queue AND state = 'queued' LIMIT %(most)s) few)
        + (SELECT count(*) FROM generate_series(0, 2) p, LATERAL (SELECT FROM jobs j
           WHERE j.queue = q.queue AND priority = p AND state = 'scheduled' AND run_at <= (SELECT clock_timestamp())
           ORDER BY run_at LIMIT %(most)s) few) AS waiting,
    (SELECT count(*) FROM jobs j WHERE j.queue = q.queue AND state = 'running') AS active,
    (SELECT count(*) FROM generate_series(0, 2) p, LATERAL (SELECT FROM jobs j
     WHERE j.queue = q.queue AND priority = p AND state = 'scheduled' AND run_at > (SELECT clock_timestamp())
     ORDER BY run_at LIMIT %(most)s) few) AS delayed,
    (SELECT least(%(most_over)s, count(*)) FROM unnest(ARRAY['succeeded', 'skipped', 'cancelled']) s, LATERAL (
     SELECT FROM jobs j WHERE j.queue = q.queue AND state = s
         AND state IN ('succeeded', 'skipped', 'failed', 'rejected', 'cancelled')
     ORDER BY finished_at LIMIT %(most_over)s) few) AS completed,
    (SELECT least(%(most_over)s, count(*)) FROM unnest(ARRAY['failed', 'rejected']) s, LATERAL (
     SELECT FROM jobs j WHERE j.queue = q.queue AND state = s
         AND state IN ('succeeded', 'skipped', 'failed', 'rejected', 'cancelled')
     ORDER BY finished_at LIMIT %(most_over)s) few) AS failed,
    EXISTS (SELECT FROM queue_controls c WHERE c.queue = q.queue AND paused_at IS NOT NULL)::integer AS paused,
    greatest(0, extract(epoch FROM clock_timestamp() - least(
        (SELECT min(first) FROM generate_series(0, 2) p, LATERAL (SELECT min(run_at) AS first FROM jobs j
         WHERE j.queue = q.queue AND priority = p AND state = 'scheduled') firsts),
        (SELECT min(run_at) FROM jobs j WHERE j.queue = q.queue AND state = 'queued'))))::float AS oldest_due_s
FROM unnest(%(queues)s::text[]) AS q (queue)
"""


def counts(connection: db.Connection, most: int | None = None, most_over: int | None = None) -> list[dict[str, Any]]:
    """Count the jobs of each queue by state, and give the age of its oldest due one in seconds.

    Parameters:
        most: where counting a queue's jobs of one kind stops; None: never.
        most_over: where counting those that are completed or failed stops; None: where the others do.
    """
    given = {"queues": list(QUEUES), "most": most, "most_over": most if most_over is None else most_over}
    return connection.execute(COUNTS, given).fetchall()
