"""The expiry brake: a sweep that would expire too many cards, or too much money, stops and asks an operator."""

from __future__ import annotations

from datetime import datetime
from typing import Any, LiteralString

from psycopg.types.json import Jsonb

from shared import logs, metrics
from shared.actor import Skipped
from shared.dry_run import dry_run
from shared.jobs import Job

NAME = "expiry"

RELEASED: LiteralString = "SELECT released_at IS NOT NULL AS released FROM brakes WHERE name = %s"

PULL: LiteralString = """
INSERT INTO brakes (name, details) VALUES (%(name)s, %(details)s)
ON CONFLICT (name) DO UPDATE SET details = excluded.details RETURNING xmax = 0 AS first
"""

REARM: LiteralString = "DELETE FROM brakes WHERE name = %s"


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
