"""The shop of the demonstration: an upstream with our database that issues, changes and redeems cards."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
from cryptography.fernet import Fernet

from deploy.local.demo.people import Person

_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"

ISSUE = """
WITH card AS (
    INSERT INTO gift_cards (id, currency, balance, code_encrypted, code_last4, expires_on, expires_tz, recipient_name,
        recipient_email, recipient_phone, sender_name, personal_message, locale, time_zone, created_at, ledger_sequence)
    VALUES (%(id)s, %(currency)s, %(balance)s, %(token)s, %(last4)s, %(expires_on)s, %(zone)s, %(name)s, %(email)s,
        %(phone)s, %(sender)s, %(words)s, %(locale)s, %(zone)s, %(created_at)s, 1) RETURNING *
)
INSERT INTO transactions (gift_card_id, sequence, type, currency, amount, balance_before, balance_after,
    idempotency_key)
SELECT id, 1, 'ISSUE', currency, balance, 0, balance, 'issue:' || id FROM card
"""

REDEEM = """
WITH card AS (SELECT id, currency, balance, ledger_sequence FROM gift_cards WHERE id = %(id)s FOR UPDATE),
spent AS (
    UPDATE gift_cards c SET status = 'REDEEMED', balance = 0, ledger_sequence = c.ledger_sequence + 1
    FROM card WHERE c.id = card.id
)
INSERT INTO transactions (gift_card_id, sequence, type, currency, amount, balance_before, balance_after,
    idempotency_key)
SELECT id, ledger_sequence + 1, 'REDEEM', currency, -balance, balance, 0, 'redeem:' || id FROM card
"""


class Shop:
    """Issue cards and change them, each in a transaction.

    Parameters:
        key: the Fernet key under which codes are kept.
    """

    def __init__(self, connection: psycopg.Connection[Any], key: str, chance: random.Random) -> None:
        self.connection = connection
        self._fernet = Fernet(key)
        self._chance = chance

    def issue(self, to: Person, **fields: Any) -> UUID:
        """Issue a card; ``fields`` take the place of what the person says (email, phone, expires_on, created_at)."""
        code = "-".join("".join(self._chance.choices(_ALPHABET, k=4)) for _ in range(4))
        row = {
            "id": uuid4(),
            "currency": to.currency,
            "balance": to.balance,
            "token": self._fernet.encrypt(code.encode()).decode(),
            "last4": code[-4:],
            "expires_on": date.today() + timedelta(days=365),
            "zone": to.zone,
            "name": to.name,
            "email": to.email,
            "phone": to.phone,
            "sender": to.sender,
            "words": to.words,
            "locale": to.locale,
            "created_at": datetime.now(UTC),
        }
        self.connection.execute(ISSUE, row | fields)
        return UUID(str((row | fields)["id"]))

    def redeem(self, card_id: UUID) -> None:
        """Spend the whole balance."""
        self.connection.execute(REDEEM, {"id": card_id})

    def change(self, card_id: UUID, assignment: str, *values: object) -> None:
        """Change a card: ``change(id, "recipient_email = %s", address)``."""
        self.connection.execute(f"UPDATE gift_cards SET {assignment} WHERE id = %s", (*values, card_id))  # noqa: S608

    def tokens(self, expired: int, live: int, revoked: int) -> None:
        """Make sign-in tokens: long expired, live, and revoked but not expired."""
        for number, days, revoked_at in ((expired, -10, None), (live, 10, None), (revoked, 10, datetime.now(UTC))):
            self.connection.execute(
                "INSERT INTO refresh_tokens (user_id, token_hash, expires_at, revoked_at)"
                " SELECT gen_random_uuid(), gen_random_uuid()::text, now() + make_interval(days => %s), %s"
                " FROM generate_series(1, %s)",
                (days, revoked_at, number),
            )
