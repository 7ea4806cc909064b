"""The unreached gift guard: money given to somebody who never got the gift does not expire silently."""

from __future__ import annotations

from typing import LiteralString
from uuid import UUID

from shared import db, logs
from shared.enqueue import enqueue
from shared.jobs import Job
from shared.messages import SendGiftCardEmail

# A gift that was to be delivered, and of whose deliveries none arrived or may have. A card that was never to be
# delivered (handed over in a shop) is not meant.
UNREACHED: LiteralString = """(expiry_hold IS NULL AND balance > 0
    AND EXISTS (SELECT FROM deliveries d WHERE d.gift_card_id = c.id AND d.kind = 'gift')
    AND NOT EXISTS (SELECT FROM deliveries d WHERE d.gift_card_id = c.id AND d.kind = 'gift'
        AND d.state IN ('sent', 'delivered', 'unconfirmed', 'sending')))"""

HOLD: LiteralString = (
    """
UPDATE gift_cards c SET expiry_hold = 'unreached'
WHERE c.id = ANY(%(ids)s) AND status = 'ACTIVE' AND expires_at <= clock_timestamp() AND"""
    + UNREACHED
    + "RETURNING id, recipient_version, purchaser_email IS NOT NULL AS has_purchaser"
)

TELL: LiteralString = "INSERT INTO events (type, subject) SELECT 'gift_card.expiry_held', unnest(%s::uuid[])"

NOTICE: LiteralString = """
INSERT INTO deliveries (dedupe_key, gift_card_id, kind, channel, template_id, recipient_version, job_id)
VALUES ('notice:' || %(card)s || ':r' || %(version)s, %(card)s, 'notice', 'email', 'gift_undeliverable', %(version)s,
        %(job)s)
ON CONFLICT (dedupe_key) DO NOTHING RETURNING id
"""

HELD: LiteralString = "SELECT FROM gift_cards WHERE id = %s AND expiry_hold = 'unreached'"


def hold(job: Job, connection: db.Connection, ids: list[UUID]) -> None:
    """Hold those of the due cards whose gift reached nobody, and tell upstream and the purchaser."""
    rows = connection.execute(HOLD, {"ids": ids}).fetchall() if ids else []
    if rows:
        connection.execute(TELL, ([row["id"] for row in rows],))
        logs.get().warning("expiry_held", cards=len(rows))
    for row in rows:
        if row["has_purchaser"]:
            _notify(job, connection, row["id"], row["recipient_version"])


def _notify(job: Job, connection: db.Connection, card: UUID, version: int) -> None:
    row = connection.execute(NOTICE, {"card": card, "version": version, "job": job.id}).fetchone()
    if row:
        send = SendGiftCardEmail(gift_card_id=card, template_id="gift_undeliverable", delivery_id=row["id"])
        enqueue(connection, send, dedupe_key=f"send:{row['id']}", source=job.name)


def held(connection: db.Connection, card_id: UUID) -> bool:
    """Say whether a card is held."""
    return connection.execute(HELD, (card_id,)).fetchone() is not None
