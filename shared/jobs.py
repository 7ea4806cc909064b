"""The record: what each job is, and how its run ended. Every change of state is one statement here or in ``claims``."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from os import getpid
from typing import Any, LiteralString
from uuid import UUID

from shared import db
from shared.errors import Cancelled, StaleJob
from shared.messages import Priority
from shared.settings import settings

LEVELS = list(Priority)

# Locks the row, and writes it only when the lease nears its end: a changed lease is a new entry in every index.
FENCE: LiteralString = """
WITH mine AS (
    SELECT id, cancel_requested, lease_until FROM jobs
    WHERE id = %(id)s AND epoch = %(epoch)s AND state = 'running' FOR NO KEY UPDATE
), renewed AS (
    UPDATE jobs j SET lease_until = clock_timestamp() + %(lease)s FROM mine
    WHERE j.id = mine.id AND mine.lease_until < clock_timestamp() + %(lease)s * 2 / 3
)
SELECT cancel_requested FROM mine
"""

FINISH: LiteralString = """
UPDATE jobs SET state = %(state)s, reason = %(reason)s, error_type = %(error_type)s, error = %(error)s,
    finished_at = clock_timestamp(), lease_until = NULL
WHERE id = %(id)s AND epoch = %(epoch)s AND state = 'running' RETURNING cancel_requested
"""

# Whose job is to be cancelled finishes alone, and hears of it.
FINISH_ALL: LiteralString = """
UPDATE jobs j SET state = e.state, reason = e.reason, error_type = NULL, error = e.error,
    finished_at = clock_timestamp(), lease_until = NULL
FROM unnest(%(ids)s::uuid[], %(epochs)s::integer[], %(states)s::text[], %(reasons)s::text[], %(errors)s::text[])
    AS e (id, epoch, state, reason, error)
WHERE j.id = e.id AND j.epoch = e.epoch AND j.state = 'running' AND NOT j.cancel_requested RETURNING j.id
"""

AGAIN: LiteralString = """
UPDATE jobs SET state = CASE WHEN cancel_requested THEN 'cancelled' ELSE 'scheduled' END,
    run_at = clock_timestamp() + make_interval(secs => %(after_s)s), attempt = attempt - %(refund)s,
    finished_at = CASE WHEN cancel_requested THEN clock_timestamp() END,
    reason = CASE WHEN cancel_requested THEN 'cancelled' ELSE %(reason)s END,
    publishes = 0, error_type = %(error_type)s, error = %(error)s, lease_until = NULL
WHERE id = %(id)s AND epoch = %(epoch)s AND state = 'running' RETURNING state
"""


def worker_name() -> str:
    """Name this process in the record: host and process id."""
    return f"{socket.gethostname()}:{getpid()}"


@dataclass(slots=True)
class Job:
    """One run of one job: what its actor may know and use. ``attempt`` counts from 1; times are aware UTC."""

    id: UUID
    name: str
    queue: str
    state: str
    priority: int
    attempt: int
    max_attempts: int
    epoch: int
    run_at: datetime
    enqueued_at: datetime
    started_at: datetime | None
    gift_card_id: UUID | None
    reason: str | None = None
    _effect: ExitStack | None = field(default=None, repr=False)
    _connection: db.Connection | None = field(default=None, repr=False)
    _beyond_cancel: bool = field(default=False, repr=False)

    @contextmanager
    def effect(self) -> Iterator[None]:
        """Commit at the end, or roll back on any error, what is done in ``transaction`` meanwhile."""
        with ExitStack() as self._effect:
            try:
                yield
            finally:
                self._effect = self._connection = None

    @property
    def transaction(self) -> db.Connection:
        """Give the transaction in which this job's effect and its completion are committed together."""
        if self._effect is None:
            raise RuntimeError(f"job {self.id} has no transaction: it is open only while the actor runs")
        if self._connection is None:
            self._connection = self._effect.enter_context(db.transaction())
        return self._connection

    @property
    def touched(self) -> bool:
        """Say whether this run has done something in its ``transaction``, which its completion must share."""
        return self._connection is not None

    @property
    def level(self) -> Priority:
        """Give this job's priority, for the jobs it hands on to."""
        return LEVELS[self.priority]

    def facts(self) -> dict[str, str | int]:
        """Give what every log line about this job says."""
        return {"job_id": str(self.id), "actor": self.name, "queue": self.queue, "attempt": self.attempt}

    def age_s(self) -> float:
        """Say how long ago this job came in, by the database's clock at its start."""
        return max(0.0, ((self.started_at or self.enqueued_at) - self.enqueued_at).total_seconds())

    @contextmanager
    def step(self, *, cancellable: bool = True) -> Iterator[db.Connection]:
        """Give a transaction of its own, fenced: it commits only if this run still owns the job.

        Parameters:
            cancellable: False once something has happened outside that cannot be taken back.

        Raises:
            StaleJob: another worker has the job now.
            Cancelled: somebody cancelled it.
        """
        with db.transaction() as connection:
            row = connection.execute(FENCE, {"id": self.id, "epoch": self.epoch, "lease": lease()}).fetchone()
            if row is None:
                raise StaleJob
            if cancellable and row["cancel_requested"] and not self._beyond_cancel:
                raise Cancelled
            self._beyond_cancel = self._beyond_cancel or not cancellable
            yield connection

    def finish(self, connection: db.Connection, state: str, **why: str | None) -> None:
        """Write down how this run ended, in the transaction of its effect.

        Raises:
            StaleJob, Cancelled: nothing of this run may be kept.
        """
        row = connection.execute(FINISH, self._end(**why) | {"state": state}).fetchone()
        if row is None:
            raise StaleJob
        if row["cancel_requested"] and state == "succeeded" and not self._beyond_cancel:
            raise Cancelled

    def again(self, connection: db.Connection, after_s: float, *, refund: bool, **why: str | None) -> str | None:
        """Put this job back for ``after_s`` seconds; ``refund`` gives the attempt back. Returns the new state."""
        row = connection.execute(AGAIN, self._end(**why) | {"after_s": after_s, "refund": int(refund)}).fetchone()
        return row["state"] if row else None

    def _end(
        self, reason: str | None = None, error_type: str | None = None, error: str | None = None
    ) -> dict[str, Any]:
        return {"id": self.id, "epoch": self.epoch, "reason": reason, "error_type": error_type, "error": error}


def lease() -> timedelta:
    """Give how long a claim holds without a sign of life."""
    return timedelta(seconds=settings().lease_s)


def finish_all(connection: db.Connection, ends: Sequence[tuple[Job, str, str | None, str | None]]) -> list[bool]:
    """Write down how runs ended: each job with its state, reason and detail.

    Returns:
        For each whether it could be: False when another worker has it by now, or somebody cancelled it.
    """
    jobs, states, reasons, errors = zip(*ends, strict=True)
    runs = {"ids": [job.id for job in jobs], "epochs": [job.epoch for job in jobs]}
    given = runs | {"states": list(states), "reasons": list(reasons), "errors": list(errors)}
    finished = {row["id"] for row in connection.execute(FINISH_ALL, given).fetchall()}
    return [job.id in finished for job in jobs]
