"""Do what bulk actions are about, a slice of one of them at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import LiteralString, TypeAlias
from uuid import UUID

import psycopg

from services.console import job_acts
from shared import db, logs

IDLE_S = 0.5

# Whoever gets it has it until the slice is committed; the others take another, or nothing.
TAKE: LiteralString = """
SELECT id, act, run_at, per_s, started_by, reason FROM bulk_actions
WHERE state = 'running' AND next_at <= clock_timestamp() AND (%(only)s::uuid IS NULL OR id = %(only)s)
ORDER BY next_at LIMIT 1 FOR UPDATE SKIP LOCKED
"""
LEFT: LiteralString = """
SELECT job_id FROM bulk_action_items WHERE bulk_id = %s AND refusal IS NULL AND result IS NULL ORDER BY job_id LIMIT %s
"""
NOTE: LiteralString = """
UPDATE bulk_action_items i SET result = answer, done_at = clock_timestamp()
FROM unnest(%(jobs)s::uuid[], %(answers)s::text[]) AS a (job, answer) WHERE bulk_id = %(bulk)s AND job_id = job
"""
ON: LiteralString = "UPDATE bulk_actions SET next_at = clock_timestamp() + interval '1 second' WHERE id = %s"
DONE: LiteralString = "UPDATE bulk_actions SET state = 'done', ended_at = clock_timestamp() WHERE id = %s"
# What cannot be done just now does not hold up the others.
LATER: LiteralString = """
UPDATE bulk_actions SET next_at = clock_timestamp() + interval '10 seconds' WHERE state = 'running' AND id = %s
"""


Transaction: TypeAlias = Callable[[], AbstractContextManager[db.Connection]]


def turn(only: UUID | None = None, transaction: Transaction = db.transaction) -> bool:
    """Do one slice of the action that has waited longest, or of ``only``. Returns whether there was one to do."""
    taken: UUID | None = None
    try:
        with transaction() as connection:
            found = connection.execute(TAKE, {"only": only}).fetchone()
            if found is None:
                return False
            taken = found["id"]
            jobs = [row["job_id"] for row in connection.execute(LEFT, (taken, found["per_s"]))]
            about = {"by": found["started_by"], "why": found["reason"], "run_at": found["run_at"], "bulk": taken}
            answers = job_acts.act(connection, found["act"], jobs, **about)
            noted = {"bulk": taken, "jobs": list(answers), "answers": list(answers.values())}
            connection.execute(NOTE, noted)
            connection.execute(ON if len(jobs) == found["per_s"] else DONE, (taken,))
            return True
    except psycopg.DatabaseError as error:
        if taken is None:
            raise
        logs.get().error("bulk_waits", bulk=str(taken), **logs.place(error))
        with transaction() as connection:
            connection.execute(LATER, (taken,))
        return True


def loop(stop: threading.Event) -> None:
    """Do slices until this process is to stop; while the database is away, wait for it."""
    while not stop.is_set():
        try:
            busy = turn()
        except db.AWAY:
            busy = False
        if not busy:
            stop.wait(IDLE_S)
