"""Taking jobs: from a message to a row that this process owns, or to the knowledge that somebody else does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, LiteralString
from uuid import UUID

from psycopg.types.json import Jsonb

from shared import db
from shared.jobs import LEVELS, Job, lease, worker_name
from shared.messages import Priority
from shared.settings import settings
from shared.wire import Envelope

# Messages as rows, each with when it is due and whether it must wait in the table.
GIVEN: LiteralString = """
FROM unnest(%(id)s::uuid[], %(name)s::text[], %(queue)s::text[], %(data)s::jsonb[], %(priority)s::smallint[],
            %(dedupe_key)s::text[], %(card)s::uuid[], %(source)s::text[], %(traceparent)s::text[],
            %(max_attempts)s::integer[], %(run_at)s::timestamptz[], %(bulk)s::boolean[])
        AS n (id, name, queue, data, priority, dedupe_key, gift_card_id, source, traceparent, max_attempts, run_at,
              bulk),
     LATERAL (SELECT coalesce(n.run_at, clock_timestamp()) AS due) d,
     LATERAL (SELECT due > clock_timestamp() OR bulk AS parked) p
"""

# One statement is the lock, the check and the change, for one job or many: an unknown one comes in as running (or
# scheduled, if its time has not come), a known one is taken only if nobody has it. No row back: somebody has it, or it
# is over.
CLAIM: LiteralString = (
    """
INSERT INTO jobs AS j (id, name, queue, data, priority, dedupe_key, gift_card_id, source, traceparent, max_attempts,
                       run_at, state, attempt, epoch, worker, started_at, lease_until)
SELECT id, name, queue, data, priority, dedupe_key, gift_card_id, source, traceparent, max_attempts, due,
       CASE WHEN parked THEN 'scheduled' ELSE 'running' END, CASE WHEN parked THEN 0 ELSE 1 END, 1, %(worker)s,
       CASE WHEN NOT parked THEN clock_timestamp() END, CASE WHEN NOT parked THEN clock_timestamp() + %(lease)s END
"""
    + GIVEN
    + """
ORDER BY id
ON CONFLICT (id) DO UPDATE SET
    state = CASE WHEN j.not_after < clock_timestamp() THEN 'skipped' ELSE 'running' END,
    reason = CASE WHEN j.not_after < clock_timestamp() THEN 'too_late'
                  WHEN j.reason = 'unknown_message' THEN j.reason END,
    finished_at = CASE WHEN j.not_after < clock_timestamp() THEN clock_timestamp() END,
    error_type = NULL, error = NULL,
    attempt = j.attempt + 1, epoch = j.epoch + 1, max_attempts = coalesce(j.max_attempts, excluded.max_attempts),
    gift_card_id = coalesce(j.gift_card_id, excluded.gift_card_id),
    traceparent = coalesce(j.traceparent, excluded.traceparent), worker = %(worker)s, started_at = clock_timestamp(),
    lease_until = CASE WHEN j.not_after < clock_timestamp() THEN NULL ELSE clock_timestamp() + %(lease)s END
WHERE j.name = excluded.name
  AND (j.state = 'queued' OR (j.state = 'scheduled' AND j.run_at <= clock_timestamp()))
RETURNING id, name, queue, state, priority, attempt, max_attempts, epoch, run_at, enqueued_at, started_at,
    gift_card_id, reason
"""
)

# Rows of what is on the broker already, if it still is: the rescue publishes those that nobody takes. As if published
# before, since nobody knows when it was: such rows say nothing about the order of their queue.
ENTER: LiteralString = (
    """
INSERT INTO jobs (id, name, queue, data, priority, dedupe_key, gift_card_id, source, traceparent, max_attempts, run_at,
                  state, queued_at, publishes)
SELECT id, name, queue, data, priority, dedupe_key, gift_card_id, source, traceparent, max_attempts, due,
       CASE WHEN parked THEN 'scheduled' ELSE 'queued' END, CASE WHEN NOT parked THEN clock_timestamp() END,
       CASE WHEN parked THEN 0 ELSE 2 END
"""
    + GIVEN
    + """
ORDER BY id
ON CONFLICT (id) DO NOTHING RETURNING id
"""
)

# Keys outlive rows: a key that this very job held before it was pruned says that the job is over.
HOLD_KEYS: LiteralString = """
SELECT id, hold_key(dedupe_key, id, name, data) = id
    AND (NOT EXISTS (SELECT FROM job_keys k WHERE k.dedupe_key = n.dedupe_key)
         OR EXISTS (SELECT FROM jobs j WHERE j.id = n.id)) AS mine
FROM unnest(%(id)s::uuid[], %(name)s::text[], %(data)s::jsonb[], %(dedupe_key)s::text[])
    AS n (id, name, data, dedupe_key)
WHERE dedupe_key IS NOT NULL ORDER BY dedupe_key
"""

KNOWN: LiteralString = "SELECT id, name FROM jobs WHERE id = ANY(%s)"


def claim(connection: db.Connection, envelopes: Sequence[Envelope]) -> list[Job | None]:
    """Take jobs for this process, or park those whose time has not come.

    Returns:
        For each envelope its job (``running``, ``scheduled`` when parked, ``skipped`` when too late), or None when
        somebody else has it or it is over.

    Raises:
        UniqueViolation: a ``dedupe_key`` is in use by another job with other data.
    """
    given = {envelope.id: envelope for envelope in envelopes}
    free = _free(connection, [_row(envelope) for envelope in given.values()])
    rows = connection.execute(CLAIM, _columns(free)).fetchall() if free else []
    jobs = {row["id"]: _timely(connection, Job(**row), given[row["id"]]) for row in rows}
    return [jobs.pop(envelope.id, None) for envelope in envelopes]  # the second copy of a job gets none


def enter(connection: db.Connection, envelopes: Sequence[Envelope]) -> int:
    """Make rows of messages that wait on the broker and have none yet. Returns how many.

    Raises:
        UniqueViolation: a ``dedupe_key`` is in use by another job with other data.
    """
    free = _free(connection, [_row(envelope) for envelope in envelopes])
    return connection.execute(ENTER, _columns(free)).rowcount if free else 0


def _free(connection: db.Connection, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give those whose keys, if they have any, are their own."""
    if not any(row["dedupe_key"] for row in rows):
        return rows
    held = connection.execute(HOLD_KEYS, _columns(rows)).fetchall()
    others = {row["id"] for row in held if not row["mine"]}
    return [row for row in rows if row["id"] not in others]


def _timely(connection: db.Connection, job: Job, envelope: Envelope) -> Job:
    """Put a job back that was parked by a worker who could not read when it is due."""
    if job.reason == "unknown_message":
        job.reason = None
        if envelope.run_at and job.started_at and envelope.run_at > job.started_at:
            wait_s = (envelope.run_at - job.started_at).total_seconds()
            job.state = job.again(connection, wait_s, refund=True) or job.state
    return job


def known_as(connection: db.Connection, ids: Sequence[UUID]) -> dict[UUID, str]:
    """Give the names under which jobs are known by their ids."""
    rows = connection.execute(KNOWN, (list(ids),)).fetchall()
    return {row["id"]: row["name"] for row in rows}


def _columns(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Turn rows into columns, beside what a claim gives to all of them."""
    return {name: [row[name] for row in rows] for name in rows[0]} | {"worker": worker_name(), "lease": lease()}


def _row(envelope: Envelope) -> dict[str, Any]:
    message = envelope.message
    return {
        "id": envelope.id,
        "name": message.name,
        "queue": message.queue,
        "data": Jsonb(message.model_dump(mode="json", exclude_none=True)),
        "priority": LEVELS.index(envelope.priority),
        "bulk": envelope.priority is Priority.BULK,
        "dedupe_key": envelope.dedupe_key,
        "card": getattr(message, "gift_card_id", None),
        "source": envelope.source,
        "traceparent": envelope.traceparent,
        "max_attempts": 1 + len(settings().backoff(message.name)),
        "run_at": envelope.run_at,
    }
