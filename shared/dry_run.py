"""What a sweep of expiry would do now, asked with the sweep's own condition, and by which limit it would stop."""

from __future__ import annotations

from datetime import datetime
from typing import Any, LiteralString

from shared import db
from shared.settings import settings

# Asked first, and given as a value: the planner then knows that few cards are due, and reads the index.
NOW: LiteralString = "SELECT least(%s, clock_timestamp()) AS now"

DUE: LiteralString = """
SELECT currency, count(*) AS cards, sum(balance) AS amount FROM gift_cards
WHERE status = 'ACTIVE' AND expiry_hold IS DISTINCT FROM 'unreached'
    AND expires_at <= %(now)s
GROUP BY currency ORDER BY currency
"""

# Only asked when many are due, since it counts them all.
ACTIVE: LiteralString = "SELECT count(*) AS cards FROM gift_cards WHERE status = 'ACTIVE'"


def dry_run(connection: db.Connection, as_of: datetime | None = None) -> dict[str, Any]:
    """Say what a sweep would expire now.

    Returns:
        ``cards`` in all, ``cards_by_currency``, ``amounts`` by currency as text, and ``limit``, in words: by which the
        sweep would stop, None when it would go through.
    """
    rows = connection.execute(DUE, connection.execute(NOW, (as_of,)).fetchone()).fetchall()
    cards = sum(row["cards"] for row in rows)
    return {
        "cards": cards,
        "cards_by_currency": {row["currency"]: row["cards"] for row in rows},
        "amounts": {row["currency"]: f"{row['amount']:f}" for row in rows},
        "limit": _too_much(rows) or _too_many(connection, cards),
    }


def _too_much(rows: list[dict[str, Any]]) -> str | None:
    limits = settings().brake_amounts
    over = [row for row in rows if row["amount"] > limits.get(row["currency"], row["amount"])]
    return f"over {limits[over[0]['currency']]} {over[0]['currency']}" if over else None


def _too_many(connection: db.Connection, due: int) -> str | None:
    own = settings()
    if due <= own.brake_cards:
        return None
    row = connection.execute(ACTIVE).fetchone()
    share = due / max(1, row["cards"]) if row else 1
    return f"{share:.0%} of the active cards, over {own.brake_share:.0%}" if share > own.brake_share else None
