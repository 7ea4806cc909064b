"""The record: what each job is, who has it, and how it ended. Every change of state is one statement here."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from os import getpid
from typing import Any, LiteralString
from uuid import UUID

from psycopg.types.json import Jsonb

from shared import db
from shared.errors import Cancelled, StaleJob
from shared.messages import Priority
from shared.settings import settings
from shared.wire import Envelope

LEVELS = list(Priority)

# One statement is the lock, the check and the change: an unknown job comes in as running (or scheduled, if its time has
# not come), a known one is taken only if nobody has it. No row back: somebody has it, or it is over.
CLAIM: LiteralString = """
INSERT INTO jobs AS j (id, name, queue, data, priority, dedupe_key, gift_card_id, source, traceparent, max_attempts,
                       run_at, state, attempt, epoch, worker, started_at, lease_until)
SELECT n.*, CASE WHEN parked THEN 'scheduled' ELSE 'running' END, CASE WHEN parked THEN 0 ELSE 1 END, 1, %(worker)s,
       CASE WHEN NOT parked THEN clock_timestamp() END, CASE WHEN NOT parked THEN clock_timestamp() + %(lease)s END
FROM (SELECT %(id)s::uuid, %(name)s, %(queue)s, %(data)s::jsonb, %(priority)s::smallint, %(dedupe_key)s,
             %(card)s::uuid, %(source)s, %(traceparent)s, %(max_attempts)s::integer,
             coalesce(%(run_at)s, clock_timestamp()) AS run_at) n,
     LATERAL (SELECT n.run_at > clock_timestamp() OR %(bulk)s AS parked) p
ON CONFLICT (id) DO UPDATE SET
    state = CASE WHEN j.not_after < clock_timestamp() THEN 'skipped' ELSE 'running' END,
    reason = CASE WHEN j.not_after < clock_timestamp() THEN 'too_late'
                  WHEN j.reason = 'unknown_message' THEN j.reason END,
    finished_at = CASE WHEN j.not_after < clock_timestamp() THEN clock_timestamp() END,
    error_type = NULL, error = NULL,
    attempt = j.attempt + 1, epoch = j.epoch + 1, max_attempts = coalesce(j.max_attempts, excluded.max_attempts),
    gift_card_id = coalesce(j.gift_card_id, excluded.gift_card_id), worker = %(worker)s, started_at = clock_timestamp(),
    lease_until = CASE WHEN j.not_after < clock_timestamp() THEN NULL ELSE clock_timestamp() + %(lease)s END
WHERE j.name = excluded.name
  AND (j.state = 'queued' OR (j.state = 'scheduled' AND j.run_at <= clock_timestamp()))
RETURNING id, name, queue, state, priority, attempt, max_attempts, epoch, run_at, enqueued_at, started_at,
    gift_card_id, reason
"""

# Keys outlive rows: a key that this very job held before it was pruned says that the job is over.
HOLD_KEY: LiteralString = """
SELECT hold_key(%(dedupe_key)s, %(id)s, %(name)s, %(data)s) = %(id)s
    AND (NOT EXISTS (SELECT FROM job_keys WHERE dedupe_key = %(dedupe_key)s)
         OR EXISTS (SELECT FROM jobs WHERE id = %(id)s)) AS mine
"""

FENCE: LiteralString = """
UPDATE jobs SET lease_until = clock_timestamp() + %(lease)s
WHERE id = %(id)s AND epoch = %(epoch)s AND state = 'running' RETURNING cancel_requested
"""

FINISH: LiteralString = """
UPDATE jobs SET state = %(state)s, reason = %(reason)s, error_type = %(error_type)s, error = %(error)s,
    finished_at = clock_timestamp(), lease_until = NULL
WHERE id = %(id)s AND epoch = %(epoch)s AND state = 'running' RETURNING cancel_requested
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


def claim(connection: db.Connection, envelope: Envelope) -> Job | None:
    """Take a job for this process, or park it if its time has not come.

    Returns:
        The job (``running``, ``scheduled`` when parked, ``skipped`` when too late), or None when somebody else has it
        or it is over.
    """
    fields = _fields(envelope)
    if envelope.dedupe_key:
        key = connection.execute(HOLD_KEY, fields).fetchone()
        if not key or not key["mine"]:
            return None
    row = connection.execute(CLAIM, fields).fetchone()
    job = Job(**row) if row else None
    if job and job.reason == "unknown_message":  # parked by a worker that could not read when it is due
        job.reason = None
        if envelope.run_at and job.started_at and envelope.run_at > job.started_at:
            job.state = (
                job.again(connection, (envelope.run_at - job.started_at).total_seconds(), refund=True) or job.state
            )
    return job


def known_as(connection: db.Connection, job_id: UUID) -> str | None:
    """Give the name under which a job's id is known, None if it is not."""
    row = connection.execute("SELECT name FROM jobs WHERE id = %s", (job_id,)).fetchone()
    return row["name"] if row else None


def _fields(envelope: Envelope) -> dict[str, Any]:
    message = envelope.message
    return {
        "id": envelope.id,
        "name": message.name,
        "queue": message.queue,
        "data": Jsonb(message.model_dump(mode="json", exclude_none=True)),
        "priority": LEVELS.index(envelope.priority),
        "bulk": envelope.priority is Priority.BULK,
        "dedupe_key": envelope.dedupe_key,
        "card": getattr(message, "gift_card_id", None),
        "source": envelope.source,
        "traceparent": envelope.traceparent,
        "max_attempts": 1 + len(settings().backoff(message.name)),
        "run_at": envelope.run_at,
        "worker": worker_name(),
        "lease": lease(),
    }
