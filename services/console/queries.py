"""What the console reads: one named statement per question."""

from __future__ import annotations

from typing import LiteralString

# Jobs, newest first; every filter may be NULL.
JOBS: LiteralString = """
SELECT id, name, queue, state, priority, run_at, attempt, max_attempts, reason, gift_card_id, enqueued_at, finished_at,
    coalesce(finished_at, run_at) AS at
FROM jobs
WHERE (%(states)s::text[] IS NULL OR state = ANY(%(states)s))
    AND (%(due)s::boolean IS NULL OR (run_at <= clock_timestamp()) = %(due)s)
    AND (%(name)s::text IS NULL OR name = %(name)s)
    AND (%(queue)s::text IS NULL OR queue = %(queue)s)
    AND (%(card)s::uuid IS NULL OR gift_card_id = %(card)s)
    AND (%(reason)s::text IS NULL OR reason = %(reason)s)
ORDER BY enqueued_at DESC LIMIT %(limit)s
"""

# One job, whole.
JOB: LiteralString = "SELECT * FROM jobs WHERE id = job_of(%(id_or_key)s)"

# What operators did to a job, oldest first: how each run ended that was retried is kept here.
ACTS: LiteralString = """
SELECT at, who, action, reason, details FROM audit WHERE subject = %(id)s::text ORDER BY at, id
"""

# Failed jobs by name and cause, the most frequent first.
FAILED: LiteralString = """
SELECT name, reason, error_type, error, count(*) AS jobs, min(finished_at) AS first, max(finished_at) AS last,
    (array_agg(id ORDER BY finished_at DESC))[1] AS example
FROM jobs WHERE state = 'failed' AND (%(name)s::text IS NULL OR name = %(name)s)
GROUP BY name, reason, error_type, error ORDER BY jobs DESC, last DESC
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
