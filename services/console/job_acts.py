"""What is done to jobs by hand, one or many: each act is one statement that checks, changes, and keeps who and why.

Each takes jobs' ``ids`` and gives ``id`` and ``answer``; a job that has changed meanwhile is left: it is too late.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

from psycopg.types.json import Jsonb

from shared import db
from shared.messages import MESSAGES
from shared.settings import settings

# A failed job may be tried again, and so may one that its actor rejected after it ran, since what it named may be there
# by now. What was rejected unread cannot: its data are at fault, and only their shape was kept.
RETRIABLE: LiteralString = "(state = 'failed' OR (state = 'rejected' AND attempt > 0))"
# Which jobs an act is for.
ELIGIBLE: dict[str, LiteralString] = {
    "retry": RETRIABLE,
    "cancel": "state IN ('scheduled', 'queued', 'running')",
    "promote": "state IN ('scheduled', 'queued')",
    "move": "state IN ('scheduled', 'queued')",
    "discard": "state IN ('failed', 'rejected') AND discarded_at IS NULL",
}
REFUSAL: LiteralString = """CASE WHEN state = 'rejected' AND %(act)s = 'retry'
    THEN 'rejected unread (' || coalesce(reason, '') || '): send it again, mended'
    WHEN discarded_at IS NOT NULL AND %(act)s = 'discard' THEN 'it was put away before'
    ELSE 'it is ' || state || CASE WHEN %(act)s IN ('retry', 'discard') THEN ', not failed' ELSE '' END END"""

# The same job again: same id, same key, a renewed budget of attempts. How it ended before is kept in the audit.
RETRY: LiteralString = """
WITH chosen AS (
    SELECT * FROM jobs WHERE id = ANY(%(ids)s) AND {eligible} ORDER BY id FOR UPDATE
), kept AS (
    INSERT INTO audit (who, action, subject, reason, details)
    SELECT %(by)s, 'job.retried', id::text, %(why)s, %(details)s || jsonb_strip_nulls(jsonb_build_object(
        'state', state, 'reason', reason, 'error_type', error_type, 'error', error, 'attempt', attempt,
        'stalls', stalls, 'worker', worker, 'started_at', started_at, 'finished_at', finished_at)) FROM chosen
)
UPDATE jobs j SET state = 'scheduled', run_at = clock_timestamp(), finished_at = NULL, reason = 'retried',
    max_attempts = j.attempt + coalesce((%(budgets)s::jsonb ->> j.name)::integer, 4),
    stalls = 0, publishes = 0, cancel_requested = false, lease_until = NULL, discarded_at = NULL
FROM chosen c WHERE j.id = c.id RETURNING j.id, 'retried' AS answer
"""

DISCARD: LiteralString = """
WITH done AS (
    UPDATE jobs SET discarded_at = clock_timestamp() WHERE id = ANY(%(ids)s) AND {eligible} RETURNING id
), kept AS (
    INSERT INTO audit (who, action, subject, reason, details)
    SELECT %(by)s, 'job.discarded', id::text, %(why)s, %(details)s FROM done
)
SELECT id, 'discarded' AS answer FROM done
"""

# Through the doors that upstream has, too.
THROUGH_DOOR: LiteralString = """
WITH chosen AS MATERIALIZED (SELECT id FROM jobs WHERE id = ANY(%(ids)s) AND {eligible} ORDER BY id FOR UPDATE),
done AS MATERIALIZED (SELECT id, {door} AS answer FROM chosen),
kept AS (
    INSERT INTO audit (who, action, subject, reason, details)
    SELECT %(by)s, 'job.' || %(did)s, id::text, %(why)s, %(details)s FROM done WHERE answer <> 'too_late'
)
SELECT id, answer FROM done
"""
DOORS: dict[str, LiteralString] = {
    "cancel": "cancel_job(id::text)",
    "promote": "reschedule_job(id::text, clock_timestamp())",
    "move": "reschedule_job(id::text, %(run_at)s)",
}
DID = {"cancel": "cancelled", "promote": "promoted", "move": "moved"}
OF: LiteralString = "SELECT job_of(%s) AS job"


def act(
    connection: db.Connection,
    name: str,
    ids: Sequence[UUID],
    *,
    by: str,
    why: str,
    run_at: datetime | None = None,
    bulk: UUID | None = None,
) -> dict[UUID, str]:
    """Do one act to jobs, and keep who did it to each.

    Parameters:
        name: a key of ``ELIGIBLE``.
        run_at: where to, for ``move``.
        bulk: the bulk action that it is part of.

    Returns:
        What came of each: retried, discarded, cancelled, cancelling (it runs), moved or too_late.
    """
    details = {"run_at": run_at and run_at.isoformat(), "bulk": bulk and str(bulk)}
    given = {
        "ids": list(ids),
        "by": by,
        "why": why,
        "run_at": run_at,
        "did": DID.get(name),
        "details": Jsonb({key: value for key, value in details.items() if value}),
        "budgets": Jsonb({message: 1 + len(settings().backoff(message)) for message in MESSAGES}),
    }
    done = {row["id"]: row["answer"] for row in connection.execute(_statement(name), given)}
    return {job: done.get(job, "too_late") for job in ids}


def job_of(connection: db.Connection, id_or_key: str) -> UUID:
    """Find a job.

    Raises:
        psycopg.errors.NoDataFound: none has this id or key.
    """
    row: Any = connection.execute(OF, (id_or_key,)).fetchone()
    return UUID(str(row["job"]))


def _statement(name: str) -> LiteralString:
    statement = {"retry": RETRY, "discard": DISCARD}.get(name, THROUGH_DOOR)
    return statement.replace("{eligible}", ELIGIBLE[name]).replace("{door}", DOORS.get(name, ""))
