"""Expire cards: one statement locks, checks, zeroes and books, for one card or a thousand."""

from __future__ import annotations

from datetime import datetime
from typing import LiteralString
from uuid import UUID

from shared import db, metrics
from shared.actor import Skipped
from shared.cards import read
from shared.failpoints import failpoint
from shared.jobs import Job
from shared.settings import settings

EXPIRE: LiteralString = """
WITH due AS (
    SELECT id, currency, balance, expiry_version, ledger_sequence + 1 AS sequence FROM gift_cards
    WHERE id = ANY(%(ids)s) AND status = 'ACTIVE' AND expires_at <= clock_timestamp()
    ORDER BY id FOR UPDATE
), expired AS (
    UPDATE gift_cards c
    SET status = 'EXPIRED', balance = 0, ledger_sequence = due.sequence, updated_at = clock_timestamp()
    FROM due WHERE c.id = due.id
), booked AS (
    INSERT INTO transactions (gift_card_id, sequence, type, currency, amount, balance_before, balance_after,
                              expiry_version, idempotency_key, job_id)
    SELECT id, sequence, 'EXPIRY', currency, -balance, balance, 0, expiry_version,
           'expiry:' || id || ':v' || expiry_version, %(job_id)s FROM due
), told AS (
    INSERT INTO events (type, subject, data)
    SELECT 'gift_card.expired', id, jsonb_build_object('amount', balance::text, 'currency', currency) FROM due
)
SELECT currency, count(*) AS cards, sum(balance) AS amount FROM due GROUP BY currency
"""

# Cards that somebody holds a lock on are left to the next slice or the next sweep.
NEXT_DUE: LiteralString = """
SELECT array_agg(id) AS ids FROM (
    SELECT id FROM gift_cards
    WHERE status = 'ACTIVE' AND expires_at <= least(%(as_of)s, clock_timestamp())
    ORDER BY expires_at, id LIMIT %(rows)s FOR UPDATE SKIP LOCKED
) slice
"""


def expire(job: Job, card_id: UUID, expiry_version: int | None) -> Skipped | None:
    """Zero one card and book it, if it is active and its time has come.

    Raises:
        Rejected: there is no such card.
    """
    if expiry_version is None and _expire(job, job.transaction, [card_id]):
        return None
    card = read(job.transaction, card_id)
    if card.status != "ACTIVE":
        return Skipped(card.status.lower())
    if expiry_version not in (None, card.expiry_version):
        return Skipped("extended", f"the card is at expiry version {card.expiry_version}, not {expiry_version}")
    if card.expires_at > card.now:
        return Skipped("not_due", f"the card expires at {card.expires_at.isoformat()}")
    _expire(job, job.transaction, [card_id])
    return None


def expire_due(job: Job, as_of: datetime | None) -> Skipped | None:
    """Expire every card that is due (at ``as_of``, if given), slice by slice, each in a transaction of its own."""
    total = 0
    while slice_ := _expire_slice(job, as_of):
        total += slice_
        failpoint("slice")
    return None if total else Skipped("nothing_due")


def _expire_slice(job: Job, as_of: datetime | None) -> int:
    with job.step() as connection:
        row = connection.execute(NEXT_DUE, {"rows": settings().slice_rows, "as_of": as_of}).fetchone()
        ids = row["ids"] if row else None
        return _expire(job, connection, ids) if ids else 0


def _expire(job: Job, connection: db.Connection, ids: list[UUID]) -> int:
    rows = connection.execute(EXPIRE, {"ids": ids, "job_id": job.id}).fetchall()
    for row in rows:
        metrics.expired_cards.labels(row["currency"]).inc(row["cards"])
        metrics.expired_value.labels(row["currency"]).inc(float(row["amount"]))
    return sum(row["cards"] for row in rows)
