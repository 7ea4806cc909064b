"""The expiry brake: a sweep that would expire too many cards, or too much money, stops and asks an operator."""

from __future__ import annotations

from datetime import datetime
from typing import Any, LiteralString

from psycopg.types.json import Jsonb

from shared import db, logs, metrics
from shared.actor import Skipped
from shared.jobs import Job
from shared.settings import settings

NAME = "expiry"

# What a sweep would do, asked with the sweep's own condition.
DUE: LiteralString = """
SELECT currency, count(*) AS cards, sum(balance) AS amount FROM gift_cards
WHERE status = 'ACTIVE' AND expiry_hold IS DISTINCT FROM 'unreached'
    AND expires_at <= least(%(as_of)s, clock_timestamp())
GROUP BY currency ORDER BY currency
"""

# Only asked when many are due, since it counts them all.
ACTIVE: LiteralString = "SELECT count(*) AS cards FROM gift_cards WHERE status = 'ACTIVE'"

RELEASED: LiteralString = "SELECT released_at IS NOT NULL AS released FROM brakes WHERE name = %s"

PULL: LiteralString = """
INSERT INTO brakes (name, details) VALUES (%(name)s, %(details)s)
ON CONFLICT (name) DO UPDATE SET details = excluded.details RETURNING xmax = 0 AS first
"""

REARM: LiteralString = "DELETE FROM brakes WHERE name = %s"


def dry_run(connection: db.Connection, as_of: datetime | None = None) -> dict[str, Any]:
    """Say what a sweep would expire now: cards and money by currency, and by which limit it would stop, if any."""
    rows = connection.execute(DUE, {"as_of": as_of}).fetchall()
    cards = sum(row["cards"] for row in rows)
    return {
        "cards": cards,
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


def pulled(job: Job, as_of: datetime | None) -> Skipped | None:
    """Stop a sweep that would do too much, unless an operator has released it."""
    with job.step() as connection:
        row = connection.execute(RELEASED, (NAME,)).fetchone()
        if row and row["released"]:
            return None
        found = dry_run(connection, as_of)
        if not found["limit"]:
            return None
        first: Any = connection.execute(PULL, {"name": NAME, "details": Jsonb(found)}).fetchone()
    metrics.brake_pulled.set(1)
    if first["first"]:
        logs.get().error("brake_pulled", cards=found["cards"], limit=found["limit"])
    return Skipped("braked", f"{found['cards']} cards are due, {found['limit']}: look, then release the brake")


def rearm(job: Job) -> None:
    """End a release when its sweep is through; the next sweep is measured anew."""
    with job.step() as connection:
        connection.execute(REARM, (NAME,))
    metrics.brake_pulled.set(0)
