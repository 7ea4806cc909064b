"""What must hold of jobs, their ticks, and tokens: I11 to I14, and I16."""

from __future__ import annotations

from shared.invariants.invariant import Invariant

INVARIANTS = (
    Invariant(
        "I11",
        "every due job reaches a final state, and no lease lies in the past",
        "'console counts': are workers and schedulers running, is a queue too slow for what comes in?",
        """
        SELECT (SELECT count(*) FROM jobs j
            WHERE state IN ('scheduled', 'queued')
                AND greatest(run_at, enqueued_at) < clock_timestamp() - interval '10 minutes'
                AND NOT EXISTS (SELECT FROM queue_controls c WHERE c.queue = j.queue AND paused_at IS NOT NULL)
                AND NOT EXISTS (SELECT FROM breakers b WHERE b.holds = j.queue))
        + (SELECT count(*) FROM jobs
            WHERE state = 'running' AND lease_until < clock_timestamp() - interval '1 minute') AS count
        """,
    ),
    Invariant(
        "I12",
        "no tick is missing or doubled",
        "'console schedule' shows the last ticks; 'console run NAME' makes up for one that is missing",
        # The last tick of each line has its job's key: an instant in UTC for a line that ticks through the day, else a
        # wall-clock time, which is some quarters of an hour away. Before its first tick a line has no key.
        """
        SELECT (SELECT count(*) FROM (
            SELECT FROM jobs WHERE dedupe_key LIKE 'cron:%%' GROUP BY dedupe_key HAVING count(*) > 1) doubled)
        + (SELECT count(*) FROM schedules s
            WHERE name <> ALL(%(skipping)s::text[]) AND date_trunc('minute', last_tick) = last_tick AND NOT EXISTS (
                SELECT FROM job_keys WHERE dedupe_key = 'cron:' || s.name || ':' ||
                    to_char(last_tick AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"+00:00"'))
            AND NOT EXISTS (
                SELECT FROM generate_series(-56, 56) AS quarter, job_keys k
                WHERE k.dedupe_key = 'cron:' || s.name || ':' || to_char(
                    last_tick AT TIME ZONE 'UTC' + quarter * interval '15 minutes', 'YYYY-MM-DD"T"HH24:MI:SS'))
            ) AS count
        """,
    ),
    Invariant(
        "I13",
        "no token is left two days after it should be gone",
        "'console jobs --name cleanup_expired_tokens': why did it not run, or not end?",
        """
        SELECT count(*) FROM refresh_tokens
        WHERE expires_at < clock_timestamp() - make_interval(secs => %(token_grace_s)s) - interval '2 days'
        """,
    ),
    Invariant(
        "I14",
        "no attempt is above its cap",
        "'console job ID' shows its attempts: this is a bug, cancel it if it still runs",
        "SELECT count(*) FROM jobs WHERE attempt > max_attempts",
    ),
    Invariant(
        "I16",
        "no run that lost its job has written over a later one",
        "'console job ID' shows who had it and how it ended: this is a bug, look at its card or delivery",
        # Each claim counts epoch and attempt, gives a lease and begins anew; each end takes the lease and has its time.
        """
        SELECT count(*) FROM jobs
        WHERE epoch < attempt OR (state = 'running') <> (lease_until IS NOT NULL) OR finished_at < started_at
            OR (finished_at IS NOT NULL) <> (state IN ('succeeded', 'skipped', 'failed', 'rejected', 'cancelled'))
        """,
    ),
)
