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

CARD: LiteralString = """
SELECT id, status, currency, balance, code_last4, expires_on, expires_tz, expires_at, expiry_version, recipient_version
FROM gift_cards WHERE id = %(card)s
"""

# Everything that happened to a card, in order of time. ``did`` is a word, ``detail`` what else there is to know.
STORY: LiteralString = """
SELECT * FROM (
    SELECT enqueued_at AS at, 'job' AS kind, name AS what, 'asked for' AS did,
        concat_ws(', ', 'by ' || source, CASE WHEN run_at > enqueued_at + interval '1 second' AND started_at IS NULL
            THEN 'to run at ' || to_char(run_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') END) AS detail, id
    FROM jobs WHERE gift_card_id = %(card)s
    UNION ALL
    SELECT finished_at, 'job', name, state, concat_ws(', ', reason, error), id
    FROM jobs WHERE gift_card_id = %(card)s AND finished_at IS NOT NULL
    UNION ALL
    SELECT started_at, 'job', name, CASE state WHEN 'running' THEN 'runs' ELSE 'tried' END,
        concat_ws(', ', 'attempt ' || attempt, reason, error), id
    FROM jobs WHERE gift_card_id = %(card)s AND started_at IS NOT NULL AND finished_at IS NULL
    UNION ALL
    SELECT a.at, 'act', j.name, substr(a.action, 5), concat_ws(', ', 'by ' || a.who, a.reason), j.id
    FROM jobs j JOIN audit a ON a.subject = j.id::text AND a.action LIKE 'job.%%' WHERE j.gift_card_id = %(card)s
    UNION ALL
    SELECT created_at, 'delivery', kind || ' by ' || channel, 'handed off', dedupe_key, id
    FROM deliveries WHERE gift_card_id = %(card)s
    UNION ALL
    SELECT coalesce(sent_at, updated_at), 'delivery', kind || ' by ' || channel, state,
        concat_ws(', ', reason, error_class, error_code, nullif(jsonb_array_length(attempts), 0) || ' attempts'), id
    FROM deliveries WHERE gift_card_id = %(card)s AND state NOT IN ('scheduled', 'queued')
    UNION ALL
    SELECT created_at, 'ledger', type, amount || ' ' || currency, 'balance ' || balance_after, job_id
    FROM transactions WHERE gift_card_id = %(card)s
) story ORDER BY at, kind DESC
"""
