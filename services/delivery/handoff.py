"""Scheduled delivery: at its time a card is handed over to its channels, exactly once."""

from __future__ import annotations

from datetime import timedelta

from services.delivery import deliveries
from shared import db
from shared.actor import Outcome, Skipped
from shared.cards import Card, read
from shared.enqueue import enqueue
from shared.errors import Rejected
from shared.failpoints import failpoint
from shared.jobs import Job
from shared.messages import DeliverGiftCard, SendGiftCardEmail, SendGiftCardSms

# A gift meant for yesterday still goes out; one meant for last week was a mistake of whoever asked.
LATEST = timedelta(hours=24)
SENDS = {"email": SendGiftCardEmail, "sms": SendGiftCardSms}


def hand_off(message: DeliverGiftCard, job: Job) -> Outcome:
    """Hand a card over to e-mail, SMS or both, in one transaction with this job's end.

    Raises:
        Rejected: unknown card, no such recipient, or asked for too late.
    """
    due = message.due_at()
    if due and job.enqueued_at - due > LATEST:
        raise Rejected("deliver_at_past", f"deliver_at was {due.isoformat()}, over 24 hours before it was asked for")
    card = read(job.transaction, message.gift_card_id)
    if card.ended:
        return Skipped(card.ended, card.facts())
    handed = [_hand_over(job.transaction, job, card, channel) for channel in _channels(card, message.method)]
    return None if any(handed) else Skipped("already_handed_off")


def admit(message: DeliverGiftCard, job: Job) -> None:
    """Reject now what could never be delivered at its time.

    Raises:
        Rejected: the card will have expired by then.
    """
    row = job.transaction.execute("SELECT expires_at FROM gift_cards WHERE id = %s", (message.gift_card_id,)).fetchone()
    if row and job.run_at >= row["expires_at"]:
        raise Rejected(
            "deliver_at_after_expiry", f"the card expires at {row['expires_at'].isoformat()}: choose a day before"
        )


def _channels(card: Card, method: str) -> list[str]:
    wanted = ["email", "sms"] if method == "both" else [method]
    reachable = [channel for channel in wanted if card.address(channel)]
    if not reachable:
        raise Rejected("no_address", f"the card has no recipient for {method}: give it one, then send again")
    return reachable


def _hand_over(connection: db.Connection, job: Job, card: Card, channel: str) -> bool:
    delivery = deliveries.gift(connection, job, card, channel, "gift_card")
    if delivery.job_id != job.id or delivery.state not in ("scheduled", "queued"):
        return False
    deliveries.end(connection, delivery, "queued")
    failpoint("handing-off")
    send = SENDS[channel](gift_card_id=card.id, delivery_id=delivery.id)
    enqueue(
        connection,
        send,
        priority=job.level,
        dedupe_key=f"send:{delivery.id}",
        not_after=card.expires_at,
        source=job.name,
    )
    return True
