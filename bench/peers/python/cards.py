"""What the Python peers do with a card: check, update and book in one transaction, as a careful user would write it."""

from __future__ import annotations

import os

from psycopg_pool import ConnectionPool

CONNECTIONS = 32
_pool: ConnectionPool | None = None


def expire(card_id: str) -> None:
    """Zero one card of the seed's tables, if it is active and its time has come."""
    global _pool
    if _pool is None:  # two threads may meet here: the second pool is then the one that stays
        _pool = ConnectionPool(os.environ["BENCH_DATABASE"], min_size=1, max_size=CONNECTIONS, open=True)
    with _pool.connection() as connection:
        query = 'SELECT status, balance, "expiryDate" < now() AS due FROM "GiftCard" WHERE id = %s FOR UPDATE'
        row = connection.execute(query, (card_id,)).fetchone()
        if not row or row[0] != "ACTIVE" or not row[2]:
            return
        connection.execute("""UPDATE "GiftCard" SET status = 'EXPIRED', balance = 0 WHERE id = %s""", (card_id,))
        connection.execute(
            'INSERT INTO "Transaction" ("giftCardId", type, amount, "balanceBefore", "balanceAfter")'
            " VALUES (%s, 'EXPIRY', %s, %s, 0)",
            (card_id, row[1], row[1]),
        )
