"""Expire cards: one statement locks, checks, zeroes and books, for one card or a thousand."""

from __future__ import annotations

from datetime import datetime
from typing import LiteralString
from uuid import UUID

import psycopg

from services.expiry import brake, unreached
from shared import db, logs, metrics
from shared.actor import Skipped, Work
from shared.cards import read
from shared.errors import PermanentError
from shared.failpoints import failpoint
from shared.jobs import Job
from shared.messages import ExpireGiftCard
from shared.settings import settings

EXPIRE: LiteralString = """
WITH due AS (
    SELECT c.id, currency, balance, expiry_version, ledger_sequence + 1 AS sequence, job_id
    FROM gift_cards c JOIN unnest(%(ids)s::uuid[], %(versions)s::integer[], %(jobs)s::uuid[])
        AS asked (id, version, job_id) ON c.id = asked.id
    WHERE status = 'ACTIVE' AND expires_at <= clock_timestamp()
        AND expiry_version = coalesce(version, expiry_version) AND expiry_hold IS DISTINCT FROM 'unreached'
    ORDER BY c.id FOR UPDATE OF c
), expired AS (
    UPDATE gift_cards c
    SET status = 'EXPIRED', balance = 0, ledger_sequence = due.sequence, updated_at = clock_timestamp()
    FROM due WHERE c.id = due.id
), booked AS (
    INSERT INTO transactions (gift_card_id, sequence, type, currency, amount, balance_before, balance_after,
                              expiry_version, idempotency_key, job_id)
    SELECT id, sequence, 'EXPIRY', currency, -balance, balance, 0, expiry_version,
           'expiry:' || id || ':v' || expiry_version, job_id FROM due
), told AS (
    INSERT INTO events (type, subject, data)
    SELECT 'gift_card.expired', id, jsonb_build_object('amount', balance::text, 'currency', currency) FROM due
)
SELECT currency, sum(balance) AS amount, array_agg(id) AS ids FROM due GROUP BY currency
"""

# A gift that reached nobody is held and told of, one card at a time; so is a card that somebody has a lock on, since
# whoever has it may want one of these jobs next.
REACHED: LiteralString = (
    "SELECT id FROM gift_cards c WHERE id = ANY(%s) AND NOT "  # noqa: S608  # of constants
    + unreached.UNREACHED
    + " ORDER BY id FOR UPDATE SKIP LOCKED"
)

# Cards that somebody holds a lock on are left to the next slice or the next sweep. The clock is asked once, so that the
# index ends the search at the last due card.
NEXT_DUE: LiteralString = """
SELECT array_agg(id) AS ids FROM (
    SELECT id FROM gift_cards
    WHERE status = 'ACTIVE' AND expiry_hold IS DISTINCT FROM 'unreached'
        AND expires_at <= (SELECT least(%(as_of)s, clock_timestamp())) AND id <> ALL(%(broken)s::uuid[])
    ORDER BY expires_at, id LIMIT %(rows)s FOR UPDATE SKIP LOCKED
) slice
"""

LEDGER_BROKEN = (
    "the balance is not what the ledger ends with, so nothing can be booked: book what is missing, then retry"
)


def expire(job: Job, card_id: UUID, expiry_version: int | None) -> Skipped | None:
    """Zero one card and book it, if it is active and its time has come.

    Raises:
        Rejected: there is no such card.
        PermanentError: its ledger does not end with its balance.
    """
    try:
        unreached.hold(job, job.transaction, [card_id])
        if _expire(job.transaction, {card_id: (expiry_version, job.id)}):
            return None
        card = read(job.transaction, card_id)
        if card.status != "ACTIVE":
            return Skipped(card.status.lower(), card.facts())
        if expiry_version not in (None, card.expiry_version):
            return Skipped("extended", f"the card is at expiry version {card.expiry_version}, not {expiry_version}")
        if card.expires_at > card.now:
            return Skipped("not_due", f"the card expires at {card.expires_at.isoformat()}")
        if unreached.held(job.transaction, card_id):
            return Skipped("unreached", "the gift reached nobody: extend the card, or release it to expire")
        _expire(job.transaction, {card_id: (expiry_version, job.id)})  # its time came between the two statements
        return None
    except psycopg.IntegrityError:
        raise PermanentError("ledger_broken", LEDGER_BROKEN) from None


def expire_together(connection: db.Connection, work: Work[ExpireGiftCard]) -> set[UUID]:
    """Zero and book at once those cards about which there is no question. Returns the jobs that this ended."""
    asked = {message.gift_card_id: (message.expiry_version, job.id) for job, message in work}
    reached = [row["id"] for row in connection.execute(REACHED, (list(asked),)).fetchall()]
    expired = _expire(connection, {card: asked[card] for card in reached})
    return {asked[card][1] for card in expired}


def expire_due(job: Job, as_of: datetime | None) -> Skipped | None:
    """Expire every card that is due (at ``as_of``, if given), slice by slice, each in a transaction of its own.

    Raises:
        PermanentError: some cards' ledgers do not end with their balances; all the others are expired.
    """
    if braked := brake.pulled(job, as_of):
        return braked
    total, broken = 0, list[UUID]()
    while slice_ := _expire_slice(job, as_of, broken):
        total += slice_
        failpoint("slice")
    brake.rearm(job)
    if broken:
        raise PermanentError("ledger_broken", f"{LEDGER_BROKEN}; cards: {', '.join(map(str, broken[:20]))}")
    return None if total else Skipped("nothing_due")


def _expire_slice(job: Job, as_of: datetime | None, broken: list[UUID]) -> int:
    """Expire one slice and say how many cards it had; those that cannot be booked join ``broken``."""
    with job.step() as connection:
        given = {"rows": settings().slice_rows, "as_of": as_of, "broken": broken}
        row = connection.execute(NEXT_DUE, given).fetchone()
        ids: list[UUID] = (row and row["ids"]) or []
        unreached.hold(job, connection, ids)
        try:
            with connection.transaction():
                _expire(connection, dict.fromkeys(ids, (None, job.id)))
        except psycopg.IntegrityError:
            broken += _expire_one_by_one(job, connection, ids)
    return len(ids)


def _expire_one_by_one(job: Job, connection: db.Connection, ids: list[UUID]) -> list[UUID]:
    """Expire what can be expired of a slice that failed as a whole. Returns the other cards."""
    broken = []
    for card_id in ids:
        try:
            with connection.transaction():
                _expire(connection, {card_id: (None, job.id)})
        except psycopg.IntegrityError:
            logs.get().error("ledger_broken", job_id=str(job.id), gift_card_id=str(card_id))
            broken.append(card_id)
    return broken


def _expire(connection: db.Connection, asked: dict[UUID, tuple[int | None, UUID]]) -> list[UUID]:
    """Expire those of some cards that are due; of each is given its version, if it matters, and the job that asks."""
    versions, jobs = zip(*asked.values(), strict=True) if asked else ((), ())
    given = {"ids": list(asked), "versions": list(versions), "jobs": list(jobs)}
    rows = connection.execute(EXPIRE, given).fetchall() if asked else []
    for row in rows:
        metrics.expired_cards.labels(row["currency"]).inc(len(row["ids"]))
        metrics.expired_value.labels(row["currency"]).inc(float(row["amount"]))
    return [card for row in rows for card in row["ids"]]
