"""The rules that say whether a card may still be delivered, reminded of or expired; asked again at every step."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import LiteralString
from uuid import UUID

from psycopg.rows import class_row

from shared import db
from shared.errors import Rejected
from shared.messages import hint
from shared.settings import settings

# Locks in the order card, ledger, job. ``now`` comes along, since the database's clock is the one that decides.
READ: LiteralString = """
SELECT id, status, currency, balance, code_encrypted, code_last4, expires_on, expires_at, expiry_version,
    recipient_version, recipient_name, recipient_email, recipient_phone, sender_name, personal_message,
    locale, time_zone, purchaser_email, purchaser_locale,
    clock_timestamp() AS now
FROM gift_cards WHERE id = %s FOR SHARE
"""


@dataclass(frozen=True, slots=True)
class Card:
    """A card as it stands under lock. Money is in major units of ``currency``; times are aware UTC."""

    id: UUID
    status: str
    currency: str
    balance: Decimal
    code_encrypted: str
    code_last4: str
    expires_on: date
    expires_at: datetime
    expiry_version: int
    recipient_version: int
    recipient_name: str | None
    recipient_email: str | None
    recipient_phone: str | None
    sender_name: str | None
    personal_message: str | None
    locale: str
    time_zone: str
    purchaser_email: str | None
    purchaser_locale: str
    now: datetime

    def __repr__(self) -> str:
        return f"Card({self.id}, {self.status})"

    @property
    def ended(self) -> str | None:
        """Name the rule by which nothing may be sent about this card any more, or None."""
        if self.status != "ACTIVE":
            return self.status.lower()
        if self.expires_at <= self.now:
            return "expired"
        return "zero_balance" if self.balance == 0 else None

    def facts(self) -> str:
        """Say what the rules look at, for whoever asks later why nothing was sent. Nothing personal."""
        return f"status {self.status}, balance {self.balance:f} {self.currency}, expires {self.expires_at.isoformat()}"

    def fields_that_decide(self) -> tuple[object, ...]:
        """Give what a decision rests on; a change of it means that the decision must be made anew."""
        return self.status, self.balance, self.expiry_version, self.recipient_version

    def address(self, channel: str) -> str | None:
        """Give the recipient's address for ``email`` or ``sms``."""
        return self.recipient_email if channel == "email" else self.recipient_phone


def read(connection: db.Connection, card_id: UUID) -> Card:
    """Read a card so that it cannot change before this transaction ends.

    Raises:
        Rejected: there is no such card, even after the grace for one that is still on its way.
    """
    with connection.cursor(row_factory=class_row(Card)) as cursor:
        card = cursor.execute(READ, (card_id,)).fetchone()
    if card is None:
        raise Rejected(
            "card_not_found",
            "there is no card with this gift_card_id: commit the card before, or together with, its job",
            grace_s=settings().unknown_card_grace_s,
        )
    return card


def recipient_changed(card: Card, channel: str, given: str | None) -> bool:
    """Say whether a message names another recipient than the card does now."""
    address = card.address(channel)
    return given is not None and (address is None or hint(address) != given)
