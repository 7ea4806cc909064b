"""Cards to expire: in our tables with their ledgers, and in the seed's tables."""

from __future__ import annotations

from pathlib import Path
from typing import LiteralString

import psycopg

from deploy.local import database

# Ids are random, as in life: what is due lies all over the table. Triggers are off for the filling only.
OURS: LiteralString = """
SET session_replication_role = replica;
INSERT INTO gift_cards (currency, balance, code_encrypted, code_last4, expires_on, expires_at, recipient_email,
                        ledger_sequence)
SELECT 'EUR', 25, repeat('x', 100), 'WXYZ', day, day + 1, 'ada' || n || '@example.com', 1
FROM generate_series(1, {total}) n,
     LATERAL (SELECT current_date + CASE WHEN n <= {due} THEN -2 ELSE 1 + n % 365 END AS day) d;
INSERT INTO transactions (gift_card_id, sequence, type, currency, amount, balance_before, balance_after,
                          idempotency_key)
SELECT id, 1, 'ISSUE', currency, balance, 0, balance, 'issue:' || id FROM gift_cards;
RESET session_replication_role;
"""
SEEDS: LiteralString = """
INSERT INTO "GiftCard"
SELECT gen_random_uuid(), 'ACTIVE', 25, current_date + CASE WHEN n <= {due} THEN -2 ELSE 1 + n % 365 END
FROM generate_series(1, {total}) n;
"""
TABLES = Path(__file__).parent / "peers" / "seed.sql"


def ours(url: str, due: int, total: int) -> None:
    """Make our tables and fill them."""
    database.migrate(url)
    _fill(url, OURS.format(due=due, total=total))


def seeds(url: str, due: int, total: int) -> None:
    """Make the seed's tables and fill them."""
    _fill(url, TABLES.read_text() + SEEDS.format(due=due, total=total))


def _fill(url: str, statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statements.encode())
        connection.execute("VACUUM ANALYZE")
