"""What the console reads: one named statement per question."""

from __future__ import annotations

from typing import LiteralString

# One job, whole.
JOB: LiteralString = "SELECT * FROM jobs WHERE id = job_of(%(id_or_key)s)"

# What operators did to a job, oldest first: how each run ended that was retried is kept here.
ACTS: LiteralString = """
SELECT at, who, action, reason, details FROM audit WHERE subject = %(id)s::text ORDER BY at, id
"""

# Failed jobs by name and cause, the most frequent 200: of the newest of each queue, and not those that were put away.
# Of an error, its first line.
FAILED: LiteralString = """
SELECT name, reason, error_type, left(split_part(error, E'\n', 1), 200) AS error, count(*) AS jobs,
    min(finished_at) AS first, max(finished_at) AS last, (array_agg(id ORDER BY finished_at DESC))[1] AS example
FROM {failed} failed
GROUP BY 1, 2, 3, 4 ORDER BY jobs DESC, last DESC LIMIT 200
"""

FAILED_OF_QUEUES: LiteralString = """unnest(%(queues)s::text[]) AS q (queue), LATERAL (
    SELECT id, name, reason, error_type, error, finished_at FROM jobs j
    WHERE j.queue = q.queue AND state = 'failed' AND discarded_at IS NULL ORDER BY finished_at DESC LIMIT %(newest)s
)"""
FAILED_OF_NAME: LiteralString = """(
    SELECT id, name, reason, error_type, error, finished_at FROM jobs
    WHERE name = %(name)s AND state = 'failed' AND discarded_at IS NULL
    ORDER BY coalesce(finished_at, run_at) DESC LIMIT %(newest)s
)"""

# What runs now, by who runs it.
RUNNING: LiteralString = """
SELECT worker, queue, id, name, gift_card_id, attempt, started_at, lease_until, cancel_requested,
    lease_until < clock_timestamp() AS stalled, extract(epoch FROM clock_timestamp() - started_at)::float AS for_s
FROM jobs WHERE state = 'running' ORDER BY worker, started_at LIMIT 1000
"""

# Processes by their own words; they speak three times in the length of a lease.
WORKERS: LiteralString = """
SELECT name AS worker, queues, threads, started_at, seen_at,
    seen_at < clock_timestamp() - make_interval(secs => %(lease_s)s) AS silent
FROM workers ORDER BY queues, name LIMIT 1000
"""
WORKERS_OF: LiteralString = """
SELECT queue, count(*) AS workers FROM workers, unnest(queues) AS q (queue)
WHERE seen_at >= clock_timestamp() - make_interval(secs => %(lease_s)s) GROUP BY queue
"""

# What is due next, the soonest first.
SOON: LiteralString = """
SELECT id, name, queue, state, run_at, attempt, reason, gift_card_id, dedupe_key
FROM unnest(%(queues)s::text[]) AS q (queue), generate_series(0, 2) AS p (priority), LATERAL (
    SELECT j.id, j.name, j.state, j.run_at, j.attempt, j.reason, j.gift_card_id, j.dedupe_key FROM jobs j
    WHERE j.queue = q.queue AND j.priority = p.priority AND state = 'scheduled' ORDER BY run_at LIMIT %(limit)s
) due ORDER BY run_at, id LIMIT %(limit)s
"""

# A job's deliveries: those that it made or sends.
DELIVERIES: LiteralString = """
SELECT id, kind, channel, state, reason, attempts, kind || ' by ' || channel AS what, created_at, updated_at
FROM deliveries WHERE gift_card_id = %(card)s
    AND (job_id = %(job)s OR id::text = %(delivery)s) ORDER BY created_at
"""

# Rejected messages, newest first: who sent what, and what to mend.
REJECTED: LiteralString = """
SELECT id, name, queue, source, reason, error, gift_card_id, data, finished_at
FROM jobs WHERE state = 'rejected' ORDER BY finished_at DESC LIMIT %(limit)s
"""

# What operators set for each queue.
CONTROLS: LiteralString = "SELECT queue, paused_at, paused_by, pause_reason, rate_per_s FROM queue_controls"

# Sweeps that stopped because they would do too much, and wait for an operator.
BRAKES: LiteralString = "SELECT name, pulled_at, details FROM brakes WHERE released_at IS NULL"

TICKS: LiteralString = "SELECT name, last_tick, clock_timestamp() AS now FROM schedules"

# What was done by hand, the latest first; every filter may be NULL.
AUDIT: LiteralString = """
SELECT id, at, who, action, subject, reason, details FROM audit
WHERE (%(before)s::bigint IS NULL OR id < %(before)s) AND (%(who)s::text IS NULL OR who = %(who)s)
    AND (%(action)s::text IS NULL OR action = %(action)s) AND (%(subject)s::text IS NULL OR subject = %(subject)s)
ORDER BY id DESC LIMIT %(limit)s
"""
