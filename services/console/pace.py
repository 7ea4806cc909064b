"""The last hour, minute by minute: what ended, what failed, and how long it had waited before it began."""

from __future__ import annotations

from typing import Any, LiteralString

from shared import db
from shared.messages import QUEUES

# So many of each queue and state are looked at, the latest: a page must not count millions.
MOST = 500

# What waits for its minute to be over is left out; a row without a queue is that of all of them.
HOUR: LiteralString = """
WITH span AS (SELECT date_trunc('minute', clock_timestamp()) AS now), ended AS (
    SELECT date_trunc('minute', finished_at) AS minute, queue, state,
        extract(epoch FROM started_at - greatest(run_at, enqueued_at)) AS waited_s
    FROM unnest(%(queues)s::text[]) AS q (name), unnest(%(states)s::text[]) AS s (word), span, LATERAL (
        SELECT queue, state, run_at, enqueued_at, started_at, finished_at FROM jobs
        WHERE queue = q.name AND state = s.word
            AND state IN ('succeeded', 'skipped', 'failed', 'rejected', 'cancelled') -- as the index says it
            AND finished_at >= now - interval '1 hour' AND finished_at < now
        ORDER BY finished_at DESC LIMIT %(most)s
    ) j
)
SELECT minute, queue, count(*) FILTER (WHERE state NOT IN ('failed', 'rejected')) AS completed,
    count(*) FILTER (WHERE state IN ('failed', 'rejected')) AS failed,
    percentile_disc(0.5) WITHIN GROUP (ORDER BY greatest(0, waited_s))::float AS wait_median_s,
    percentile_disc(0.95) WITHIN GROUP (ORDER BY greatest(0, waited_s))::float AS wait_p95_s
FROM ended GROUP BY GROUPING SETS ((minute), (minute, queue)) ORDER BY minute, queue
"""
MINUTES: LiteralString = """
SELECT generate_series(date_trunc('minute', clock_timestamp()) - interval '1 hour',
    date_trunc('minute', clock_timestamp()) - interval '1 minute', interval '1 minute') AS minute
"""
STATES = ("succeeded", "skipped", "cancelled", "failed", "rejected")
NOTHING = {"completed": 0, "failed": 0, "wait_median_s": None, "wait_p95_s": None}


def hour(connection: db.Connection) -> dict[str, Any]:
    """Give ``minutes``, all sixty of them, and ``queues``: how many ended in the latest one, by queue.

    Of the jobs that are still kept: retention takes the completed ones above its number.
    """
    given = {"queues": list(QUEUES), "states": list(STATES), "most": MOST}
    rows = connection.execute(HOUR, given).fetchall()
    minutes = [row["minute"] for row in connection.execute(MINUTES)]
    whole = {row["minute"]: row for row in rows if row["queue"] is None}
    latest = {row["queue"]: row for row in rows if row["queue"] and row["minute"] == minutes[-1]}
    return {
        "minutes": [{"minute": minute} | _counts(whole.get(minute, NOTHING)) for minute in minutes],
        "queues": {queue: _counts(latest.get(queue, NOTHING)) for queue in QUEUES},
    }


def _counts(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in NOTHING}
