"""What must always hold: each query counts violations, and all must give 0, in a demonstration as in production."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, LiteralString

from shared import db
from shared.invariants import cards, deliveries, jobs
from shared.invariants.invariant import Invariant
from shared.settings import settings

__all__ = ["DRIFT", "INVARIANTS", "Invariant", "allowed", "count", "drifted", "violations"]

# I7 (accepted outside, unknown here, or the reverse), I15 (canaries in logs and queues) and I17 (sends per second)
# cannot be asked of rows: the tests hold them against the journals of the outside world.
INVARIANTS: tuple[Invariant, ...] = (*cards.INVARIANTS, *deliveries.INVARIANTS, *jobs.INVARIANTS)
DRIFT = ("I1", "I2")

WITH_LIMIT: LiteralString = "SELECT set_config('statement_timeout', %s, true)"


def count(
    connection: db.Connection,
    invariant: Invariant,
    *,
    limit_s: float | None = None,
    token_grace_s: float = 86400,
    skipping: Sequence[str] = (),
) -> int:
    """Count the violations of one invariant. Some read whole tables: ask a replica in production.

    Parameters:
        limit_s: most seconds for the query; None: as the connection has it.
        token_grace_s: how long an expired token is kept.
        skipping: lines of the timetable whose policy lets them miss a tick.

    Raises:
        psycopg.errors.QueryCanceled: it took longer than ``limit_s``.
    """
    with connection.transaction():
        if limit_s is not None:
            connection.execute(WITH_LIMIT, (f"{max(1, round(limit_s * 1000))}ms",))
        given = {"token_grace_s": token_grace_s, "skipping": list(skipping)}
        row: Any = connection.execute(invariant.query, given).fetchone()
    return int(row["count"])


def allowed() -> dict[str, Any]:
    """Give what the settings allow, by the names of ``count``'s parameters."""
    own = settings()
    skipping = [name for name, line in own.timetable.items() if line.missed == "skip"]
    return {"token_grace_s": own.token_grace_s, "skipping": skipping}


def violations(connection: db.Connection) -> dict[str, int]:
    """Count the violations of each invariant, by its id and what it says."""
    return {f"{one.id} {one.says}": count(connection, one) for one in INVARIANTS}


def drifted(connection: db.Connection, most: int = 1000) -> list[dict[str, Any]]:
    """Give the cards whose ledger breaks I1 or I2, each with how often."""
    return connection.execute(cards.DRIFTED, (most,)).fetchall()
