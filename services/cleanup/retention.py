"""Delete what is no longer needed, in slices small enough that nobody waits for them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, LiteralString

from shared import metrics
from shared.actor import Skipped
from shared.facts import KEPT_DAYS
from shared.failpoints import failpoint
from shared.jobs import Job
from shared.settings import settings

COMPLETED = ["succeeded", "skipped", "cancelled"]
FAILED = ["failed", "rejected"]

# What is deleted is given as an array, since a join with few rows of a large table may be one that reads all of it.

# One run per date; a run that failed or was cancelled gives its date to the next one.
HOLD_DATE: LiteralString = """
WITH held AS (SELECT 'cleanup:' || coalesce(%(as_of)s, clock_timestamp())::date AS key)
SELECT key, hold_key(key, %(job_id)s, %(name)s, '{}') AS holder FROM held
"""
TAKE_DATE_OVER: LiteralString = """
UPDATE job_keys k SET job_id = %(job_id)s FROM jobs j
WHERE k.dedupe_key = %(key)s AND j.id = k.job_id AND j.state IN ('failed', 'cancelled') RETURNING k.job_id
"""

# Revoked tokens stay until they expire: who uses one again has stolen it, and must be recognised.
TOKENS: LiteralString = """
WITH gone AS (
    SELECT id FROM refresh_tokens
    WHERE expires_at < (SELECT least(%(as_of)s, clock_timestamp()) - make_interval(secs => %(grace_s)s))
    ORDER BY expires_at LIMIT %(rows)s FOR UPDATE SKIP LOCKED
)
DELETE FROM refresh_tokens WHERE id = ANY(ARRAY(SELECT id FROM gone))
"""

# The newest finished job of a queue that is one too many. The states are said again for the sake of the index.
EXCESS: LiteralString = """
SELECT finished_at, id FROM unnest(%(states)s::text[]) AS s (state), LATERAL (
    SELECT finished_at, id FROM jobs j WHERE j.queue = %(queue)s AND j.state = s.state
        AND state IN ('succeeded', 'skipped', 'failed', 'rejected', 'cancelled')
    ORDER BY finished_at DESC, id DESC LIMIT %(keep_count)s + 1
) newest ORDER BY finished_at DESC, id DESC OFFSET %(keep_count)s LIMIT 1
"""

# A row that an operator is just retrying is locked, and left. Keys stay in job_keys for ever, so that a pruned job
# cannot be made again. Nor by the copy of its message: a row stays until the wire tap has passed it by some way.
# Oldest first and by one instant, so that the index ends the search there; only what ended in that instant is compared.
FINISHED: LiteralString = """
WITH past AS MATERIALIZED (
    SELECT clock_timestamp() - make_interval(secs => %(keep_s)s) AS old
), gone AS (
    SELECT j.id FROM unnest(%(states)s::text[]) AS s (state), LATERAL (
        SELECT id FROM jobs j WHERE j.queue = %(queue)s AND j.state = s.state
            AND state IN ('succeeded', 'skipped', 'failed', 'rejected', 'cancelled')
            AND finished_at <= (SELECT greatest(old, %(finished_at)s::timestamptz) FROM past)
            AND (finished_at < (SELECT old FROM past)
                 OR (finished_at, id) <= (%(finished_at)s::timestamptz, %(id)s::uuid))
            AND enqueued_at < (SELECT settled_until - interval '1 minute' FROM wiretap)
        ORDER BY finished_at LIMIT %(rows)s FOR UPDATE SKIP LOCKED
    ) j LIMIT %(rows)s
)
DELETE FROM jobs WHERE id = ANY(ARRAY(SELECT id FROM gone))
"""

# A fact that was not published yet is nobody's past.
EVENTS: LiteralString = """
WITH old AS (
    SELECT id FROM events WHERE published_at < (SELECT clock_timestamp() - make_interval(days => %(days)s))
    ORDER BY published_at, id LIMIT %(rows)s
)
DELETE FROM events WHERE id = ANY(ARRAY(SELECT id FROM old))
"""

# What was done to many jobs at once, by its jobs first; what was prepared and never confirmed goes after a day. Who did
# it to which job stays in the audit.
BULK_ITEMS: LiteralString = """
DELETE FROM bulk_action_items WHERE (bulk_id, job_id) IN (
    SELECT bulk_id, job_id FROM bulk_actions b JOIN bulk_action_items i ON i.bulk_id = b.id
    WHERE state <> 'running' AND coalesce(ended_at, prepared_at)
        < clock_timestamp() - make_interval(days => CASE state WHEN 'prepared' THEN 1 ELSE %(days)s END)
    LIMIT %(rows)s)
"""
BULK: LiteralString = """
DELETE FROM bulk_actions b
WHERE state <> 'running' AND coalesce(ended_at, prepared_at)
        < clock_timestamp() - make_interval(days => CASE state WHEN 'prepared' THEN 1 ELSE %(days)s END)
    AND NOT EXISTS (SELECT FROM bulk_action_items WHERE bulk_id = b.id)
"""
BULK_KEPT_DAYS = 30


def clean_tokens(job: Job, as_of: datetime | None) -> Skipped | None:
    """Delete tokens that expired longer ago than the grace, once per date (in UTC)."""
    if not _first_today(job, as_of):
        return Skipped("already_run", "tokens have been cleaned on this date")
    deleted = _in_slices(job, TOKENS, {"as_of": as_of, "grace_s": settings().token_grace_s})
    metrics.tokens_deleted.inc(deleted)
    return None if deleted else Skipped("nothing_due")


def prune(job: Job, queues: list[str]) -> Skipped | None:
    """Delete finished jobs past their retention, queue by queue, old events, and what was done to many at once."""
    own = settings()
    deleted = 0
    for queue in queues:
        completed = {"queue": queue, "states": COMPLETED, "keep_s": own.keep_completed_s}
        deleted += _in_slices(job, FINISHED, completed | _excess(job, completed, own.keep_completed_count))
        failed = {"queue": queue, "states": FAILED, "keep_s": own.keep_failed_s}
        deleted += _in_slices(job, FINISHED, failed | {"finished_at": None, "id": None})
    deleted += _in_slices(job, EVENTS, {"days": KEPT_DAYS})
    for statement in (BULK_ITEMS, BULK):
        deleted += _in_slices(job, statement, {"days": BULK_KEPT_DAYS})
    return None if deleted else Skipped("nothing_due")


def _excess(job: Job, given: Mapping[str, Any], keep_count: int) -> dict[str, Any]:
    with job.step() as connection:
        row = connection.execute(EXCESS, {**given, "keep_count": keep_count}).fetchone()
    return row or {"finished_at": None, "id": None}


def _first_today(job: Job, as_of: datetime | None) -> bool:
    """Hold this date's key; a run that crashed keeps it and goes on."""
    with job.step() as connection:
        given: dict[str, Any] = {"as_of": as_of, "job_id": job.id, "name": job.name}
        row: Any = connection.execute(HOLD_DATE, given).fetchone()
        if row["holder"] == job.id:
            return True
        return connection.execute(TAKE_DATE_OVER, given | {"key": row["key"]}).fetchone() is not None


def _in_slices(job: Job, statement: LiteralString, given: Mapping[str, Any]) -> int:
    total = 0
    while True:
        with job.step() as connection:
            count = connection.execute(statement, {**given, "rows": settings().slice_rows}).rowcount
        failpoint("slice")
        if not count:
            return total
        total += count
