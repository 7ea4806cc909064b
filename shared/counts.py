"""How many jobs each queue has, by the seed's five counts."""

from __future__ import annotations

from typing import Any, LiteralString

from shared import db
from shared.messages import QUEUES

# Waiting means due or in the broker.
COUNTS: LiteralString = """
SELECT q.queue,
    (SELECT count(*) FROM jobs j WHERE j.queue = q.queue AND state = 'queued')
        + (SELECT count(*) FROM jobs j, generate_series(0, 2) p
           WHERE j.queue = q.queue AND priority = p AND state = 'scheduled' AND run_at <= clock_timestamp()) AS waiting,
    (SELECT count(*) FROM jobs j WHERE j.queue = q.queue AND state = 'running') AS active,
    (SELECT count(*) FROM jobs j, generate_series(0, 2) p
     WHERE j.queue = q.queue AND priority = p AND state = 'scheduled' AND run_at > clock_timestamp()) AS delayed,
    (SELECT count(*) FROM jobs j
     WHERE j.queue = q.queue AND state IN ('succeeded', 'skipped', 'cancelled')) AS completed,
    (SELECT count(*) FROM jobs j WHERE j.queue = q.queue AND state IN ('failed', 'rejected')) AS failed,
    EXISTS (SELECT FROM queue_controls c WHERE c.queue = q.queue AND paused_at IS NOT NULL)::integer AS paused,
    greatest(0, extract(epoch FROM clock_timestamp() - least(
        (SELECT min(run_at) FROM jobs j WHERE j.queue = q.queue AND state = 'scheduled'),
        (SELECT min(run_at) FROM jobs j WHERE j.queue = q.queue AND state = 'queued'))))::float AS oldest_due_s
FROM unnest(%s::text[]) AS q (queue)
"""


def counts(connection: db.Connection) -> list[dict[str, Any]]:
    """Count the jobs of each queue by state, and give the age of its oldest due one in seconds."""
    return connection.execute(COUNTS, (list(QUEUES),)).fetchall()
