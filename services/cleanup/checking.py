"""The nightly check: count what must never be, keep the counts for the gauges, and tell of ledgers that drifted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, LiteralString

import psycopg

from shared import db, facts, logs
from shared.actor import Outcome
from shared.errors import PermanentError
from shared.invariants import DRIFT, INVARIANTS, Invariant, allowed, count, drifted
from shared.jobs import Job
from shared.settings import settings

WRITE: LiteralString = """
INSERT INTO invariant_checks (invariant, violations, took_s) VALUES (%(id)s, %(violations)s, %(took_s)s)
ON CONFLICT (invariant) DO UPDATE SET violations = excluded.violations, took_s = excluded.took_s,
    checked_at = clock_timestamp()
"""


def check(job: Job) -> Outcome:
    """Count each invariant's violations, in a query and a transaction of its own, and write them down.

    Raises:
        PermanentError: some could not be counted in time; the others are written down.
    """
    with _source() as source:
        found = {one.id: _check(job, source, one) for one in INVARIANTS}
        if any(found[invariant] for invariant in DRIFT):
            _tell(job, drifted(source))
    if late := [name for name, violations in found.items() if violations is None]:
        what = f"{', '.join(late)} took longer than JOBS_CHECK_LIMIT_S: raise it, or let JOBS_CHECK_DATABASE_URL"
        raise PermanentError("check_incomplete", f"{what} name a replica; 'console invariants' counts now")
    return None


@contextmanager
def _source() -> Iterator[db.Connection]:
    url = settings().check_database_url
    with db.connect(url.get_secret_value() if url else None, connect_timeout=5, autocommit=True) as connection:
        yield connection


def _check(job: Job, source: db.Connection, invariant: Invariant) -> int | None:
    began = time.monotonic()
    try:
        violations = count(source, invariant, limit_s=settings().check_limit_s, **allowed())
    except psycopg.errors.QueryCanceled:
        return None
    row = {"id": invariant.id, "violations": violations, "took_s": time.monotonic() - began}
    with job.step() as connection:
        connection.execute(WRITE, row)
    if violations:
        logs.get().error("invariant_broken", invariant=invariant.id, violations=violations, says=invariant.says)
    return violations


def _tell(job: Job, cards: list[dict[str, Any]]) -> None:
    with job.step() as connection:
        for card in cards:
            facts.tell(connection, "ledger.drift", card["gift_card_id"], violations=str(card["violations"]))
