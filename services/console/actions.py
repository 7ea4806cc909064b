"""What the console changes: each act is one statement that checks, changes, and keeps who did it and why."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

from psycopg.types.json import Jsonb

from services.console.session import Refused
from shared import db
from shared.messages import MESSAGES
from shared.settings import settings

# A failed job may be tried again, and so may one that its actor rejected after it ran, since what it named may be there
# by now. What was rejected unread cannot: its data are at fault, and only their shape was kept.
CANDIDATES: LiteralString = """
SELECT id, name, state, reason, state = 'failed' OR (state = 'rejected' AND attempt > 0) AS eligible FROM jobs
WHERE (%(ids)s::uuid[] IS NULL OR id = ANY(%(ids)s)) AND (%(name)s::text IS NULL OR name = %(name)s)
    AND (%(ids)s::uuid[] IS NOT NULL OR state IN ('failed', 'rejected'))
ORDER BY finished_at
"""

# The same job again: same id, same key, a renewed budget of attempts. How it ended before is kept in the audit.
RETRY: LiteralString = """
WITH chosen AS (
    SELECT * FROM jobs WHERE id = ANY(%(ids)s) AND (state = 'failed' OR (state = 'rejected' AND attempt > 0))
    ORDER BY id FOR UPDATE
), kept AS (
    INSERT INTO audit (who, action, subject, reason, details)
    SELECT %(by)s, 'job.retried', id::text, %(why)s, jsonb_strip_nulls(jsonb_build_object(
        'state', state, 'reason', reason, 'error_type', error_type, 'error', error, 'attempt', attempt,
        'stalls', stalls, 'worker', worker, 'started_at', started_at, 'finished_at', finished_at)) FROM chosen
)
UPDATE jobs j SET state = 'scheduled', run_at = clock_timestamp(), finished_at = NULL, reason = 'retried',
    max_attempts = j.attempt + coalesce((%(budgets)s::jsonb ->> j.name)::integer, 4),
    stalls = 0, publishes = 0, cancel_requested = false, lease_until = NULL
FROM chosen c WHERE j.id = c.id RETURNING j.id
"""

KEEP: LiteralString = """
INSERT INTO audit (who, action, subject, reason, details)
VALUES (%(by)s, %(action)s, %(subject)s, %(why)s, %(details)s)
"""

CANCEL: LiteralString = "SELECT job_of(%(id_or_key)s)::text AS job, cancel_job(%(id_or_key)s) AS answer"
MOVE: LiteralString = """
SELECT job_of(%(id_or_key)s)::text AS job,
    reschedule_job(%(id_or_key)s, coalesce(%(run_at)s, clock_timestamp())) AS answer
"""

# A trigger raises the recipient's version when this changes anything.
CORRECT: LiteralString = """
UPDATE gift_cards SET recipient_email = coalesce(%(email)s, recipient_email),
    recipient_phone = coalesce(%(phone)s, recipient_phone)
WHERE id = %(card)s RETURNING recipient_version, recipient_email, recipient_phone
"""

PAUSE: LiteralString = """
INSERT INTO queue_controls (queue, paused_at, paused_by, pause_reason)
VALUES (%(queue)s, clock_timestamp(), %(by)s, %(why)s)
ON CONFLICT (queue) DO UPDATE SET paused_at = coalesce(queue_controls.paused_at, excluded.paused_at),
    paused_by = excluded.paused_by, pause_reason = excluded.pause_reason
"""

# The relay is woken, since the rows that waited here are due.
RESUME: LiteralString = """
WITH woken AS (SELECT pg_notify('jobs_due', ''))
UPDATE queue_controls SET paused_at = NULL, paused_by = NULL, pause_reason = NULL
FROM woken WHERE queue = %(queue)s AND paused_at IS NOT NULL
"""

# The next sweep goes through, and arms the brake again.
RELEASE_BRAKE: LiteralString = """
UPDATE brakes SET released_at = clock_timestamp(), released_by = %(by)s, reason = %(why)s
WHERE name = 'expiry' AND released_at IS NULL RETURNING name
"""

RELEASE_CARD: LiteralString = """
UPDATE gift_cards SET expiry_hold = 'released' WHERE id = %(card)s AND expiry_hold = 'unreached' RETURNING id
"""

RATE: LiteralString = """
INSERT INTO queue_controls (queue, rate_per_s) VALUES (%(queue)s, %(rate)s)
ON CONFLICT (queue) DO UPDATE SET rate_per_s = excluded.rate_per_s, next_slot_at = '-infinity'
"""


def candidates(connection: db.Connection, ids: Sequence[UUID] | None, name: str | None) -> list[dict[str, Any]]:
    """Give the jobs that a retry names, each with whether it may be retried."""
    return connection.execute(CANDIDATES, {"ids": list(ids) if ids else None, "name": name}).fetchall()


def retry(connection: db.Connection, ids: Sequence[UUID], *, by: str, why: str) -> int:
    """Put jobs back to be run again. Returns how many; one that has changed meanwhile is left."""
    budgets = Jsonb({name: 1 + len(settings().backoff(name)) for name in MESSAGES})
    return connection.execute(RETRY, {"ids": list(ids), "by": by, "why": why, "budgets": budgets}).rowcount


def act(
    connection: db.Connection,
    name: str,
    statement: LiteralString,
    id_or_key: str,
    *,
    by: str,
    why: str,
    run_at: datetime | None = None,
) -> str:
    """Do one thing to one job, and keep who did it. Returns what came of it: ``cancelled``, ``moved``, ``too_late``.

    Raises:
        psycopg.errors.NoDataFound: no job has this id or key.
    """
    row: Any = connection.execute(statement, {"id_or_key": id_or_key, "run_at": run_at}).fetchone()
    if row["answer"] != "too_late":
        details = {"run_at": run_at.isoformat()} if run_at else {}
        keep(connection, f"job.{name}", row["job"], by=by, why=why, **details)
    return str(row["answer"])


def keep(connection: db.Connection, action: str, subject: str, *, by: str, why: str, **details: object) -> None:
    """Write down who did what to which job or queue, and why, in the transaction of the deed."""
    given = {"action": action, "subject": subject, "by": by, "why": why, "details": Jsonb(details)}
    connection.execute(KEEP, given)


def pause(connection: db.Connection, queue: str, *, by: str, why: str) -> str:
    """Stop a queue. Returns what to say."""
    connection.execute(PAUSE, {"queue": queue, "by": by, "why": why})
    keep(connection, "queue.paused", queue, by=by, why=why)
    return f"{queue} is paused: what runs goes on, nothing more starts"


def resume(connection: db.Connection, queue: str, *, by: str, why: str) -> str:
    """Let a paused queue go on. Returns what to say."""
    if not connection.execute(RESUME, {"queue": queue}).rowcount:
        return f"{queue} was not paused"
    keep(connection, "queue.resumed", queue, by=by, why=why)
    return f"{queue} goes on"


def limit(connection: db.Connection, queue: str, rate_per_s: float | None, *, by: str, why: str) -> str:
    """Change a queue's rate; None is that of the settings. Returns what to say.

    Raises:
        Refused: it is none.
    """
    if rate_per_s is not None and not 0 < rate_per_s < 100_000:
        raise Refused("a rate is above 0: to stop a queue, use pause")
    connection.execute(RATE, {"queue": queue, "rate": rate_per_s})
    keep(connection, "queue.rate", queue, by=by, why=why, rate_per_s=rate_per_s)
    return f"{queue}: " + ("the rate of the settings" if rate_per_s is None else f"{rate_per_s:g} jobs a second")
