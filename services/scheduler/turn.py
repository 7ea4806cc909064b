"""The turn of one scheduler among all replicas at what only one may do at a time."""

from __future__ import annotations

from typing import LiteralString

from shared import db

# Whoever stands still with the turn in its hands loses its session, and with it all that it holds, soon after the
# longest wait for a confirm.
TAKE: LiteralString = """
SELECT set_config('idle_in_transaction_session_timeout', '30s', true),
    pg_try_advisory_xact_lock(hashtext('giftcard-jobs ' || %s)) AS mine
"""


def take(connection: db.Connection, name: str) -> bool:
    """Take the turn at something until the end of this transaction, if no other session has it."""
    row = connection.execute(TAKE, (name,)).fetchone()
    return bool(row and row["mine"])
