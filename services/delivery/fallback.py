"""A gift that cannot reach its person one way: try the other way, and if there is none, tell whoever bought it."""

from __future__ import annotations

from typing import LiteralString, Protocol
from uuid import UUID

from shared import db, facts, metrics, suppressions
from shared.addresses import email_address, phone_number
from shared.cards import Card, read
from shared.enqueue import enqueue
from shared.errors import Rejected
from shared.failpoints import failpoint
from shared.jobs import Job
from shared.messages import Message, Priority, SendGiftCardEmail, SendGiftCardSms
from shared.settings import settings

BOUNCES = {"hard_bounce", "soft_bounce", "bounced"}
OTHER = {"email": "sms", "sms": "email"}
UNDER_WAY = {"scheduled", "queued", "sending", "unconfirmed", "sent", "delivered"}
_CHECK = {"email": email_address, "sms": phone_number}

# Two channels that fail at the same time must not each trust in the other. Held until the commit.
ONE_AT_A_TIME: LiteralString = "SELECT pg_advisory_xact_lock(hashtextextended('gift_failed:' || %s::text, 0))"

# The key is that of deliveries.GIFT: one gift per card, recipient and channel, whoever asks for it.
GIFT: LiteralString = """
INSERT INTO deliveries (dedupe_key, gift_card_id, kind, channel, recipient_version)
VALUES ('gift:' || %(card_id)s || ':r' || %(version)s || ':' || %(channel)s, %(card_id)s, 'gift', %(channel)s,
    %(version)s)
ON CONFLICT DO NOTHING RETURNING id
"""

GIFT_STATE: LiteralString = """
SELECT state FROM deliveries WHERE dedupe_key = 'gift:' || %(card_id)s || ':r' || %(version)s || ':' || %(channel)s
"""

NOTICE: LiteralString = """
INSERT INTO deliveries (dedupe_key, gift_card_id, kind, channel, template_id, recipient_version)
SELECT 'notice:' || id || ':r' || recipient_version, id, 'notice', 'email', 'gift_undeliverable', recipient_version
FROM gift_cards WHERE id = %s AND purchaser_email IS NOT NULL
ON CONFLICT DO NOTHING RETURNING id
"""


class Failed(facts.Delivered, Protocol):
    """What must be known of the delivery that failed; `deliveries.Delivery` has it."""

    @property
    def recipient_version(self) -> int:
        """Say to which of the card's recipients it went."""


def gift_failed(connection: db.Connection, job: Job | None, card_id: UUID, delivery: Failed, reason: str) -> str | None:
    """Do what can be done about a delivery that was suppressed, bounced or refused for good; upstream is always told.

    Call it in the transaction in which the delivery's new state was written, and after that. It may be called again.

    Parameters:
        job: whose priority the next message inherits; None outside a job.
        reason: a word: suppressed, hard_bounce, soft_bounce, recipient, content …

    Returns:
        ``email`` or ``sms`` when the gift goes that way now; ``purchaser`` when whoever bought it is told; None when
        nothing is left to do, as for reminders and notices.
    """
    fact = "delivery.bounced" if reason in BOUNCES else "delivery.failed"
    facts.tell_of(connection, fact, card_id, delivery, reason=reason)
    if delivery.kind != "gift":
        return None
    card = read(connection, card_id)
    connection.execute(ONE_AT_A_TIME, (card_id,))
    if card.ended or delivery.recipient_version != card.recipient_version:
        return None  # nobody waits for it any more, or it is already on its way to somebody else
    channel = OTHER[delivery.channel]
    done = _send_the_other_way(connection, job, card, channel)
    if done == "no_way":
        done = "purchaser" if _tell_the_purchaser(connection, job, card) else None
    if done:
        metrics.fallbacks.labels(delivery.channel, done).inc()
    return done


def _send_the_other_way(connection: db.Connection, job: Job | None, card: Card, channel: str) -> str | None:
    """Give the channel; None when it is tried already; ``no_way`` when it cannot be."""
    given = {"card_id": card.id, "version": card.recipient_version, "channel": channel}
    there = connection.execute(GIFT_STATE, given).fetchone()
    if there:
        return None if there["state"] in UNDER_WAY else "no_way"
    if not _reachable(connection, card, channel):
        return "no_way"
    row = connection.execute(GIFT, given).fetchone()
    if row is None:
        return None  # somebody else has just made it
    failpoint("falling-back")
    send = SendGiftCardSms if channel == "sms" else SendGiftCardEmail
    _enqueue(connection, job, card, send(gift_card_id=card.id, delivery_id=row["id"]), row["id"])
    return channel


def _reachable(connection: db.Connection, card: Card, channel: str) -> bool:
    address = card.address(channel)
    if not address:
        return False
    try:
        to = _CHECK[channel](address)
    except Rejected:
        return False
    sender = settings().twilio_from if channel == "sms" else None
    return suppressions.suppression(connection, channel, to, kind="gift", sender=sender) is None


def _tell_the_purchaser(connection: db.Connection, job: Job | None, card: Card) -> bool:
    row = connection.execute(NOTICE, (card.id,)).fetchone()
    if row is None:
        return False
    notice = SendGiftCardEmail(gift_card_id=card.id, template_id="gift_undeliverable", delivery_id=row["id"])
    _enqueue(connection, job, card, notice, row["id"])
    return True


def _enqueue(connection: db.Connection, job: Job | None, card: Card, message: Message, delivery_id: UUID) -> None:
    enqueue(
        connection,
        message,
        priority=job.level if job else Priority.NORMAL,
        dedupe_key=f"send:{delivery_id}",
        not_after=card.expires_at,
        source=job.name if job else "delivery-reports",
    )
