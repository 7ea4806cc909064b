"""What people ask for by hand: send again, take back, move, correct the recipient. Each is kept in the audit."""

from __future__ import annotations

from typing import LiteralString, TypeAlias
from uuid import UUID

from psycopg.types.json import Jsonb

from services.delivery import deliveries
from services.delivery.handoff import SENDS
from shared import db, facts
from shared.actor import Outcome, Skipped
from shared.cards import Card, read
from shared.enqueue import enqueue
from shared.errors import Rejected
from shared.jobs import Job
from shared.messages import CancelDelivery, CorrectRecipient, RescheduleDelivery, ResendGiftCard

Command: TypeAlias = ResendGiftCard | CancelDelivery | RescheduleDelivery | CorrectRecipient

AUDIT: LiteralString = """
INSERT INTO audit (who, action, subject, reason, details)
VALUES (%(who)s, %(action)s, %(card)s, %(reason)s, %(details)s)
"""

# A delivery of its own, so that the record shows both; the job's id makes a second run of the same job find it.
AGAIN: LiteralString = """
INSERT INTO deliveries (dedupe_key, gift_card_id, kind, channel, recipient_version, job_id)
VALUES ('again:' || %(job)s, %(card)s, 'gift', %(channel)s, %(version)s, %(job)s)
ON CONFLICT DO NOTHING RETURNING id
"""

OPEN_JOBS: LiteralString = """
SELECT id FROM jobs WHERE gift_card_id = %(card)s AND id <> %(job)s AND state IN ('scheduled', 'queued', 'running')
    AND name IN ('deliver_gift_card', 'send_gift_card_email', 'send_gift_card_sms')
    AND (data ->> 'template_id' IS NULL OR data ->> 'template_id' NOT IN ('expiry_reminder', 'gift_undeliverable'))
"""

TAKE_BACK: LiteralString = """
UPDATE deliveries SET state = 'cancelled', reason = 'cancelled', updated_at = clock_timestamp()
WHERE gift_card_id = %s AND kind = 'gift' AND state IN ('scheduled', 'queued')
"""

WAITING: LiteralString = """
SELECT id FROM jobs WHERE gift_card_id = %s AND name = 'deliver_gift_card' AND state IN ('scheduled', 'queued')
ORDER BY run_at DESC
"""

SENT_BEFORE: LiteralString = """
SELECT DISTINCT channel FROM deliveries
WHERE gift_card_id = %s AND kind = 'gift' AND recipient_version < %s
    AND state IN ('sent', 'delivered', 'bounced', 'unconfirmed', 'sending')
"""


def resend(message: ResendGiftCard, job: Job) -> Outcome:
    """Send a gift once more to whoever is the recipient now."""
    card = _living(job, message)
    if isinstance(card, Skipped):
        return card
    if not card.address(message.method):
        raise Rejected("no_address", f"the card has no recipient for {message.method}: give it one, then send again")
    given = {"job": job.id, "card": card.id, "channel": message.method, "version": card.recipient_version}
    row = job.transaction.execute(AGAIN, given).fetchone()
    if row:
        _enqueue_send(job, card, message.method, row["id"])
    _audit(job, message)
    return None


def cancel(message: CancelDelivery, job: Job) -> Outcome:
    """Take back whatever of a card's gift has not been sent."""
    read(job.transaction, message.gift_card_id)
    rows = job.transaction.execute(OPEN_JOBS, {"card": message.gift_card_id, "job": job.id}).fetchall()
    answers = [_answer(job.transaction, "SELECT cancel_job(%s) AS answer", str(row["id"])) for row in rows]
    job.transaction.execute(TAKE_BACK, (message.gift_card_id,))
    _audit(job, message, cancelled=answers.count("cancelled"), stopping=answers.count("cancelling"))
    return None if any(answer != "too_late" for answer in answers) else Skipped("nothing_to_cancel")


def reschedule(message: RescheduleDelivery, job: Job) -> Outcome:
    """Move a card's delivery that has not begun."""
    card = _living(job, message)
    if isinstance(card, Skipped):
        return card
    at = message.wished_for() or card.now
    if at >= card.expires_at:
        raise Rejected("deliver_at_after_expiry", f"the card expires at {card.expires_at.isoformat()}")
    rows = job.transaction.execute(WAITING, (card.id,)).fetchall()
    answers = [_answer(job.transaction, "SELECT reschedule_job(%s, %s) AS answer", str(row["id"]), at) for row in rows]
    _audit(job, message, moved=answers.count("moved"), to=at.isoformat())
    return None if "moved" in answers else Skipped("nothing_to_move", "no delivery of this card is waiting")


def correct(message: CorrectRecipient, job: Job) -> Outcome:
    """Send a gift that went to the former recipient to the present one, and tell upstream to change its code.

    What has not been sent needs nothing: it goes to the card's present recipient anyway.
    """
    card = _living(job, message)
    if isinstance(card, Skipped):
        return card
    if card.recipient_version != message.recipient_version:
        return Skipped("superseded", f"the card is at recipient version {card.recipient_version}")
    rows = job.transaction.execute(SENT_BEFORE, (card.id, card.recipient_version)).fetchall()
    channels = [row["channel"] for row in rows if card.address(row["channel"])]
    for channel in channels:
        delivery = deliveries.gift(job.transaction, job, card, channel, "gift_card")
        if delivery.job_id == job.id and delivery.state == "queued":
            _enqueue_send(job, card, channel, delivery.id)
    if rows:
        facts.tell(job.transaction, "gift_card.code_rotation_needed", card.id, reason="recipient_corrected")
    _audit(job, message, sent_again=channels)
    return None if rows else Skipped("not_sent_yet", "the gift goes to the new recipient at its time")


def _living(job: Job, message: Command) -> Card | Skipped:
    card = read(job.transaction, message.gift_card_id)
    return Skipped(card.ended, card.facts()) if card.ended else card


def _enqueue_send(job: Job, card: Card, channel: str, delivery_id: UUID) -> None:
    send = SENDS[channel](gift_card_id=card.id, delivery_id=delivery_id)
    key = f"send:{delivery_id}"
    enqueue(job.transaction, send, priority=job.level, dedupe_key=key, not_after=card.expires_at, source=job.name)


def _answer(connection: db.Connection, query: LiteralString, *values: object) -> str:
    row = connection.execute(query, values).fetchone()
    return str(row["answer"]) if row else "too_late"


def _audit(job: Job, message: Command, **details: object) -> None:
    given = {
        "who": message.requested_by,
        "action": message.name,
        "card": str(message.gift_card_id),
        "reason": message.reason,
        "details": Jsonb({"job": str(job.id), **details}),
    }
    job.transaction.execute(AUDIT, given)
