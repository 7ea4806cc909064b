"""Delete what is no longer needed, in slices small enough that nobody waits for them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, LiteralString

from shared import metrics
from shared.actor import Skipped
from shared.failpoints import failpoint
from shared.jobs import Job
from shared.settings import settings

# Revoked tokens stay until they expire: who uses one again has stolen it, and must be recognised.
TOKENS: LiteralString = """
WITH gone AS (
    SELECT id FROM refresh_tokens
    WHERE expires_at < least(%(as_of)s, clock_timestamp()) - make_interval(secs => %(grace_s)s)
    ORDER BY expires_at LIMIT %(rows)s FOR UPDATE SKIP LOCKED
)
DELETE FROM refresh_tokens WHERE id IN (SELECT id FROM gone)
"""

# Keys stay in job_keys for ever, so a pruned job cannot be made again.
COMPLETED: LiteralString = """
WITH excess AS (
    SELECT j.id FROM unnest(%(queues)s::text[]) AS q (queue), LATERAL (
        SELECT id, finished_at, row_number() OVER (ORDER BY finished_at DESC) AS place FROM jobs
        WHERE queue = q.queue AND state IN ('succeeded', 'skipped', 'cancelled')
    ) j
    WHERE j.finished_at < clock_timestamp() - make_interval(secs => %(keep_s)s) OR j.place > %(keep_count)s
    LIMIT %(rows)s
)
DELETE FROM jobs WHERE id IN (SELECT id FROM excess) AND finished_at IS NOT NULL
"""

FAILED: LiteralString = """
WITH old AS (
    SELECT id FROM jobs WHERE state IN ('failed', 'rejected')
        AND finished_at < clock_timestamp() - make_interval(secs => %(keep_s)s) LIMIT %(rows)s
)
DELETE FROM jobs WHERE id IN (SELECT id FROM old)
"""

EVENTS: LiteralString = """
WITH old AS (
    SELECT id FROM events WHERE created_at < clock_timestamp() - make_interval(days => 30) ORDER BY id LIMIT %(rows)s
)
DELETE FROM events WHERE id IN (SELECT id FROM old)
"""


def clean_tokens(job: Job, as_of: datetime | None) -> Skipped | None:
    """Delete tokens that expired longer ago than the grace, once per date."""
    if not _first_today(job, as_of):
        return Skipped("already_run", "tokens have been cleaned on this date")
    deleted = _in_slices(job, TOKENS, {"as_of": as_of, "grace_s": settings().token_grace_s})
    metrics.tokens_deleted.inc(deleted)
    return None if deleted else Skipped("nothing_due")


def prune(job: Job, queues: list[str]) -> Skipped | None:
    """Delete finished jobs past their retention, and old events."""
    own = settings()
    keep = {"queues": queues, "keep_s": own.keep_completed_s, "keep_count": own.keep_completed_count}
    deleted = _in_slices(job, COMPLETED, keep)
    deleted += _in_slices(job, FAILED, {"keep_s": own.keep_failed_s})
    deleted += _in_slices(job, EVENTS, {})
    return None if deleted else Skipped("nothing_due")


def _first_today(job: Job, as_of: datetime | None) -> bool:
    """Hold this date's key; a run that crashed keeps it and goes on."""
    with job.step() as connection:
        row = connection.execute(
            "SELECT hold_key('cleanup:' || coalesce(%s, clock_timestamp())::date, %s, %s, '{}') AS holder",
            (as_of, job.id, job.name),
        ).fetchone()
    return bool(row and row["holder"] == job.id)


def _in_slices(job: Job, statement: LiteralString, given: Mapping[str, Any]) -> int:
    total = 0
    while True:
        with job.step() as connection:
            count = connection.execute(statement, {**given, "rows": settings().slice_rows}).rowcount
        failpoint("slice")
        if not count:
            return total
        total += count
