"""One attempt at a job: run its function, and turn whatever it returns or raises into a state of its row."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias

import psycopg

from shared import db, facts, logs
from shared.errors import Cancelled, JobError, PermanentError, Rejected, RetryLater, StaleJob
from shared.failpoints import failpoint
from shared.group_commit import GroupCommit
from shared.jobs import Job, finish_all
from shared.settings import settings


@dataclass(frozen=True, slots=True)
class Skipped:
    """Say that the job rightly did nothing, and which rule said so."""

    reason: str
    detail: str | None = None


Outcome: TypeAlias = Skipped | None


def run(job: Job, function: Callable[[], Outcome]) -> tuple[str, str | None]:
    """Run a job's function; its effect and its completion are one transaction. Whatever it raises becomes a state.

    Returns:
        The outcome (``succeeded``, ``skipped``, ``retry``, ``failed``, ``rejected``, ``cancelled``, or ``stale`` when
        another worker has the job) and its reason.

    Raises:
        Stopping: the process ends before the database is back, so the outcome is not written down.
    """
    try:
        return _attempt(job, function)
    except StaleJob:
        return "stale", None
    except Cancelled:
        return _end(job, "cancelled", "cancelled")
    except db.Stopping as error:
        return _again(job, 0, error, refund=True)
    except RetryLater as error:
        return _again(job, error.after_s, error, refund=True)
    except Rejected as error:
        if (age_s := job.age_s()) < error.grace_s:
            return _again(job, min(5, error.grace_s - age_s), error, refund=True)
        return _end(job, "rejected", error.reason, error)
    except PermanentError as error:
        return _end(job, "failed", error.reason, error)
    except db.TOO_LONG as error:
        return _failed(job, error)
    except db.AWAY as error:  # nothing about the work itself: no attempt is burnt
        return _again(job, 1, error, refund=True)
    except Exception as error:  # noqa: BLE001  # any other error of an actor means: try again
        return _failed(job, error)


_finished = GroupCommit(finish_all)  # of runs with nothing to commit but their end


def _failed(job: Job, error: Exception) -> tuple[str, str | None]:
    logs.get().warning("attempt_failed", **job.facts(), **logs.place(error))
    if job.attempt < job.max_attempts:
        wait_s = max(backoff_s(job.name, job.attempt), getattr(error, "after_s", None) or 0)
        return _again(job, wait_s, error, refund=False)
    return _end(job, "failed", "retries_exhausted", error)


def _attempt(job: Job, function: Callable[[], Outcome]) -> tuple[str, str | None]:
    for last in (False, False, False, False, True):
        try:
            with job.effect():
                skipped = function()
                failpoint("effect")
                end = ("skipped", skipped.reason, skipped.detail) if skipped else ("succeeded", None, None)
                if job.touched or not _finished((job, *end)):
                    job.finish(job.transaction, end[0], reason=end[1], error=end[2])
            failpoint("committed")
            return end[:2]
        except db.MET:  # two transactions met: nothing was kept, and no attempt is burnt
            if last:
                raise
            time.sleep(random.uniform(0, 0.05))  # noqa: S311  # jitter, not a secret
    raise AssertionError("unreachable")


def _end(job: Job, state: str, reason: str, error: Exception | None = None) -> tuple[str, str | None]:
    def once() -> tuple[str, str | None]:
        with db.transaction() as connection:
            job.finish(connection, state, reason=reason, **_why(error))
            if state == "failed":
                about = {"job_id": str(job.id), "name": job.name, "queue": job.queue, "reason": reason}
                facts.tell(connection, "job.failed", job.gift_card_id or job.id, **about)
        return state, reason

    failpoint("failing")
    with suppress(StaleJob):
        return db.persist(once)
    return "stale", None


def _again(job: Job, after_s: float, error: Exception, *, refund: bool) -> tuple[str, str | None]:
    def once() -> str | None:
        with db.transaction() as connection:
            return job.again(connection, after_s, refund=refund, reason=reason, **_why(error))

    by_us = "given_back" if isinstance(error, db.Stopping) else "retry"
    reason = error.reason if isinstance(error, JobError) else by_us
    failpoint("failing")
    state = db.persist(once)
    return ("retry" if state == "scheduled" else state or "stale"), reason


def _why(error: Exception | None) -> dict[str, str | None]:
    """Say of an error what may be kept: our own words, or its type and place, since its text may repeat an address."""
    if error is None:
        return {}
    if isinstance(error, JobError):
        return {"error_type": type(error).__name__, "error": error.detail}
    place = logs.place(error)
    if isinstance(error, psycopg.Error) and error.sqlstate:
        place["frames"].append(f"SQLSTATE {error.sqlstate}")
    return {"error_type": place["error_type"], "error": " < ".join(reversed(place["frames"]))}


def backoff_s(name: str, attempt: int) -> float:
    """Give the wait before the retry that follows attempt number ``attempt``, with up to 10 % of jitter on top."""
    waits = settings().backoff(name) or (2,)
    return float(waits[min(attempt, len(waits)) - 1]) * random.uniform(1, 1.1)  # noqa: S311  # jitter, not a secret
