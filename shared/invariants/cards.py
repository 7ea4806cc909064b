"""What must hold of money: I1 to I5."""

from __future__ import annotations

from typing import LiteralString

from shared.invariants.invariant import Invariant

UNBALANCED: LiteralString = """
SELECT c.id AS gift_card_id FROM gift_cards c
LEFT JOIN (SELECT gift_card_id, sum(amount) AS booked FROM transactions GROUP BY 1) t ON t.gift_card_id = c.id
WHERE c.balance <> coalesce(t.booked, 0)
"""

BROKEN_CHAIN: LiteralString = """
SELECT gift_card_id FROM (
    SELECT gift_card_id, balance_before, amount, balance_after, sequence,
        lag(balance_after, 1, 0) OVER w AS previous, row_number() OVER w AS place
    FROM transactions WINDOW w AS (PARTITION BY gift_card_id ORDER BY sequence)) t
WHERE balance_after <> balance_before + amount OR balance_before <> previous OR sequence <> place
"""

DRIFTED: LiteralString = (
    f"SELECT gift_card_id, count(*) AS violations FROM ({UNBALANCED} UNION ALL {BROKEN_CHAIN}) w"  # noqa: S608  # ours
    " GROUP BY gift_card_id ORDER BY gift_card_id LIMIT %s"
)

COUNT: LiteralString = "SELECT count(*) FROM (%s) wrong"
BOOK = "'console story CARD' shows its ledger: find who wrote past the ledger, and book a correcting entry"

INVARIANTS = (
    Invariant("I1", "a card's balance is the sum of its ledger", BOOK, COUNT % UNBALANCED),
    Invariant("I2", "each ledger entry continues the one before", BOOK, COUNT % BROKEN_CHAIN),
    Invariant(
        "I3",
        "an expired card has one expiry entry for its version, and no other card has one",
        "look for what else sets a card's status: the expiry service alone may set EXPIRED, and it books with it",
        """
        SELECT (SELECT count(*) FROM gift_cards c WHERE status = 'EXPIRED' AND 1 <> (
            SELECT count(*) FROM transactions t
            WHERE t.gift_card_id = c.id AND type = 'EXPIRY' AND t.expiry_version = c.expiry_version))
        + (SELECT count(*) FROM transactions t JOIN gift_cards c ON c.id = t.gift_card_id
            WHERE t.type = 'EXPIRY' AND t.expiry_version = c.expiry_version AND c.status <> 'EXPIRED') AS count
        """,
    ),
    Invariant(
        "I4",
        "nothing expires before its time, and nothing is redeemed after it expired",
        "refund what was taken too early, and look at the clock of the database server",
        """
        SELECT count(*) FROM transactions e JOIN gift_cards c ON c.id = e.gift_card_id
        WHERE e.type = 'EXPIRY' AND e.expiry_version = c.expiry_version AND (e.created_at < c.expires_at OR EXISTS (
            SELECT FROM transactions t WHERE t.gift_card_id = c.id AND t.type = 'REDEEM' AND t.sequence > e.sequence))
        """,
    ),
    Invariant(
        "I5",
        "no card that is due is still active, unless the brake is pulled or its gift reached nobody",
        "'console counts' and 'console schedule': does the sweep run? 'console failed': which cannot be booked?",
        """
        SELECT count(*) FROM gift_cards
        WHERE status = 'ACTIVE' AND expiry_hold IS DISTINCT FROM 'unreached'
            AND expires_at < clock_timestamp() - interval '2 minutes'
            AND NOT EXISTS (SELECT FROM brakes WHERE name = 'expiry' AND released_at IS NULL)
        """,
    ),
)
