"""Which worker processes live, and on what: each says so itself, as often as it renews its leases."""

from __future__ import annotations

from collections.abc import Collection
from typing import LiteralString

from shared import db
from shared.jobs import worker_name

# Whoever was killed could not say so: its row goes an hour after its last word.
SAY: LiteralString = """
WITH gone AS (DELETE FROM workers WHERE seen_at < clock_timestamp() - interval '1 hour' AND name <> %(name)s)
INSERT INTO workers AS w (name, queues, threads) VALUES (%(name)s, %(queues)s, %(threads)s)
ON CONFLICT (name) DO UPDATE SET queues = excluded.queues, threads = excluded.threads, seen_at = clock_timestamp(),
    started_at = CASE WHEN %(first)s THEN clock_timestamp() ELSE w.started_at END
"""
LEAVE: LiteralString = "DELETE FROM workers WHERE name = %s"


class Presence:
    """This process, as the record knows it.

    Parameters:
        queues: that it works on.
        threads: jobs that it can run at once.
    """

    def __init__(self, queues: Collection[str], threads: int) -> None:
        self._about = {"queues": sorted(queues), "threads": threads}
        self._first = True  # the row may be that of a container before us, which had the same name

    def say(self) -> None:
        """Say that it lives."""
        with db.transaction() as connection:
            connection.execute(SAY, self._about | {"name": worker_name(), "first": self._first})
        self._first = False

    def leave(self) -> None:
        """Say that it ends."""
        with db.transaction() as connection:
            connection.execute(LEAVE, (worker_name(),))
