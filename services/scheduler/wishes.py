"""Keep "nine o'clock where she lives" true when a country changes its clocks after the wish was written down."""

from __future__ import annotations

from typing import LiteralString

from shared import db, logs

# The wish is wall time and zone; the instant is derived, here anew by this PostgreSQL's own zone data. A job that
# somebody moved has no wish left (see reschedule_job), and one that was tried keeps its time.
REDERIVE: LiteralString = """
UPDATE jobs SET run_at = wall_instant((data ->> 'deliver_local')::timestamp, data ->> 'deliver_tz')
WHERE queue = 'scheduled-delivery' AND priority IN (0, 1, 2) AND state = 'scheduled' AND run_at > clock_timestamp()
    AND attempt = 0 AND data ? 'deliver_local' AND data ? 'deliver_tz'
    AND run_at <> wall_instant((data ->> 'deliver_local')::timestamp, data ->> 'deliver_tz')
RETURNING id
"""


def rederive() -> int:
    """Move scheduled deliveries whose instant is no longer the wished wall time. Returns how many."""
    with db.transaction() as connection:
        moved = len(connection.execute(REDERIVE).fetchall())
    if moved:
        logs.get().warning("wishes_rederived", jobs=moved)
    return moved
