"""What the console changes: each act is one statement that checks, changes, and keeps who did it and why."""

from __future__ import annotations

from typing import LiteralString

from psycopg.types.json import Jsonb

from services.console.session import Refused
from shared import db

KEEP: LiteralString = """
INSERT INTO audit (who, action, subject, reason, details)
VALUES (%(by)s, %(action)s, %(subject)s, %(why)s, %(details)s)
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
