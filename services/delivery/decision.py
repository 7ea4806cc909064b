"""Whether a delivery may be sent now, to whom, and if not, by which rule: asked under lock, written down at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias
from uuid import UUID

from services.delivery import deliveries, fallback
from services.delivery.channels import Channel
from services.delivery.deliveries import Delivery
from shared import db, suppressions
from shared.actor import Outcome, Skipped
from shared.cards import Card, read, recipient_changed
from shared.errors import PermanentError, Rejected
from shared.jobs import Job


@dataclass(frozen=True, slots=True)
class Refused:
    """Say that nothing is sent. The rule is written down before it is told, so ``outcome`` comes after the commit."""

    why: Skipped | Rejected | PermanentError | None

    def outcome(self) -> Outcome:
        """Give the job's outcome, or raise it."""
        if isinstance(self.why, Exception):
            raise self.why
        return self.why


Allowed: TypeAlias = tuple[Card, Delivery, str]


def decide(
    connection: db.Connection,
    job: Job,
    card_id: UUID,
    channel: Channel,
    given: str | None,
    template_id: str,
    delivery_id: UUID | None,
) -> Allowed | Refused:
    """Lock the card and its delivery, and give both with a checked address; or the rule that forbids sending.

    Raises:
        Rejected: no such card, or no such reminder.
        RetryLater: a cap is reached.
    """
    card = read(connection, card_id)
    delivery = _locked(connection, job, card, channel, template_id, delivery_id)
    if delivery.state in ("sent", "delivered", "bounced"):
        return Refused(None if delivery.job_id == job.id else Skipped("already_sent"))
    if delivery.state == "failed" and delivery.settled_by:  # it was accepted, whoever found that out
        return Refused(PermanentError("undelivered", "the provider reported that it did not arrive: resend it by hand"))
    if rule := _rule(connection, card, channel, delivery, given):
        # An attempt whose end nobody knows stays unconfirmed: it may have arrived.
        state = "suppressed" if rule.reason == "suppressed" else "skipped"
        deliveries.end(connection, delivery, "unconfirmed" if delivery.outcome_unknown else state, rule.reason)
        if rule.reason == "suppressed":
            fallback.gift_failed(connection, job, card.id, delivery, "suppressed")
        return Refused(rule)
    try:
        return card, delivery, _address(connection, card, channel, delivery)
    except (Rejected, PermanentError) as error:
        deliveries.end(connection, delivery, "failed", error.reason)
        fallback.gift_failed(connection, job, card.id, delivery, "recipient")
        return Refused(error)


def _locked(
    connection: db.Connection, job: Job, card: Card, channel: Channel, template_id: str, delivery_id: UUID | None
) -> Delivery:
    """Give the delivery this job is about; a gift to a replaced recipient becomes one to the present recipient."""
    named = deliveries.find(connection, job, card, delivery_id) if delivery_id else None
    if named is None and template_id == "expiry_reminder":
        raise Rejected("no_delivery", "a reminder is asked for by send_expiry_reminder, which makes its delivery")
    if named is not None:
        if named.state not in ("scheduled", "queued") or not _replaced(named, card):
            return named
        deliveries.end(connection, named, "skipped", "recipient_changed")
    return deliveries.gift(connection, job, card, channel.name, template_id)


def _replaced(delivery: Delivery, card: Card) -> bool:
    return delivery.kind == "gift" and delivery.recipient_version != card.recipient_version


def _rule(
    connection: db.Connection, card: Card, channel: Channel, delivery: Delivery, given: str | None
) -> Skipped | None:
    """Name the rule by which nothing is sent, with what it looked at; None when there is none."""
    if recipient_changed(card, delivery.channel, given) or _replaced(delivery, card):
        return Skipped("recipient_changed", f"the card is at recipient version {card.recipient_version}")
    if delivery.expiry_version not in (None, card.expiry_version):
        return Skipped("extended", f"expiry version {card.expiry_version}, asked for {delivery.expiry_version}")
    # A purchaser is told of a gift that reached nobody even when the card is past its day: that is when it is held.
    if card.ended and not (delivery.kind == "notice" and card.ended == "expired"):
        return Skipped(card.ended, card.facts())
    address = deliveries.address(card, delivery)
    found = address and suppressions.suppression(
        connection, delivery.channel, address, kind=delivery.kind, sender=channel.sender()
    )
    return Skipped("suppressed", f"the recipient is suppressed: {found}") if found else None


def _address(connection: db.Connection, card: Card, channel: Channel, delivery: Delivery) -> str:
    address = deliveries.address(card, delivery)
    if not address:
        raise Rejected("no_address", f"the card has no recipient for {channel.name}: give it one, then send again")
    to = channel.address(address)
    channel.check(connection, to)
    return to
