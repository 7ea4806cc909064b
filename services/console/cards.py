"""Find the card that a command is about."""

from __future__ import annotations

from typing import Any, LiteralString
from uuid import UUID

from services.console.session import Refused
from shared import db

CARD: LiteralString = """
SELECT id, status, currency, balance, code_last4, expires_on, expires_tz, expires_at, expiry_version, expiry_hold,
    recipient_version, recipient_email, recipient_phone, time_zone, locale, created_at, clock_timestamp() AS now
FROM gift_cards WHERE id = %s
"""


def look(connection: db.Connection, card: UUID) -> dict[str, Any]:
    """Give a card as it stands. Raises Refused when there is none."""
    found = connection.execute(CARD, (card,)).fetchone()
    if found is None:
        raise Refused(f"there is no card {card}")
    return found
