"""What must always hold: each query counts violations, and all must give 0, in a demonstration as in production."""

from __future__ import annotations

from typing import LiteralString

from shared import db

VIOLATIONS: dict[str, LiteralString] = {
    "balance is the sum of the ledger": """
        SELECT count(*) FROM gift_cards c WHERE balance <> (
            SELECT coalesce(sum(amount), 0) FROM transactions t WHERE t.gift_card_id = c.id)""",
    "each ledger entry continues the one before": """
        SELECT count(*) FROM (
            SELECT balance_before, amount, balance_after, sequence,
                lag(balance_after, 1, 0) OVER w AS previous, row_number() OVER w AS place
            FROM transactions WINDOW w AS (PARTITION BY gift_card_id ORDER BY sequence)) t
        WHERE balance_after <> balance_before + amount OR balance_before <> previous OR sequence <> place""",
    "an expired card has one expiry entry for its version": """
        SELECT count(*) FROM gift_cards c WHERE status = 'EXPIRED' AND 1 <> (
            SELECT count(*) FROM transactions t
            WHERE t.gift_card_id = c.id AND type = 'EXPIRY' AND t.expiry_version = c.expiry_version)""",
    "only an expired card has an expiry entry for its version": """
        SELECT count(*) FROM transactions t JOIN gift_cards c ON c.id = t.gift_card_id
        WHERE t.type = 'EXPIRY' AND t.expiry_version = c.expiry_version AND c.status <> 'EXPIRED'""",
    "nothing expires before its time": """
        SELECT count(*) FROM transactions t JOIN gift_cards c ON c.id = t.gift_card_id
        WHERE t.type = 'EXPIRY' AND t.expiry_version = c.expiry_version AND t.created_at < c.expires_at""",
    "nothing is redeemed after it expired": """
        SELECT count(*) FROM transactions t JOIN transactions e USING (gift_card_id)
        WHERE t.type = 'REDEEM' AND e.type = 'EXPIRY' AND t.sequence > e.sequence""",
    "no card that is due is still active": """
        SELECT count(*) FROM gift_cards
        WHERE status = 'ACTIVE' AND expiry_hold IS DISTINCT FROM 'unreached'
            AND expires_at < clock_timestamp() - interval '2 minutes'""",
    "no job starts before its time": "SELECT count(*) FROM jobs WHERE started_at < run_at AND state = 'succeeded'",
    "no reminder is sent after expiry": """
        SELECT count(*) FROM deliveries d JOIN gift_cards c ON c.id = d.gift_card_id
        WHERE d.kind = 'reminder' AND d.expiry_version = c.expiry_version AND d.sent_at > c.expires_at""",
    "every due job reaches a final state": """
        SELECT count(*) FROM jobs
        WHERE (state IN ('scheduled', 'queued') AND run_at < clock_timestamp() - interval '10 minutes')
            OR (state = 'running' AND lease_until < clock_timestamp() - interval '1 minute')""",
    "no attempt is above its cap": "SELECT count(*) FROM jobs WHERE attempt > max_attempts",
    "a delivery of a finished job has an end": """
        SELECT count(*) FROM deliveries d JOIN jobs j ON j.id = d.job_id
        WHERE d.state IN ('queued', 'sending') AND j.name LIKE 'send_gift_card%'
            AND j.state IN ('succeeded', 'skipped', 'failed', 'rejected')""",
    "no token that expired is left": """
        SELECT count(*) FROM refresh_tokens WHERE expires_at < clock_timestamp() - interval '3 days'""",
}


def violations(connection: db.Connection) -> dict[str, int]:
    """Count the violations of each invariant. Some read whole tables: ask a replica in production."""
    found = {}
    for name, query in VIOLATIONS.items():
        row = connection.execute(query).fetchone()
        found[name] = int(row["count"]) if row else 0
    return found
