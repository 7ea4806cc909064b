"""The way from a message to an outcome: wait for the rate, claim, run the actor, write down how it ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar, cast

import dramatiq
import psycopg

from shared import controls, db, logs, metrics, refusals
from shared.broker import get_broker
from shared.consumer import REFUSE
from shared.errors import Cancelled, JobError, PermanentError, Rejected, RetryLater, StaleJob
from shared.failpoints import failpoint
from shared.jobs import Job, backoff_s, claim
from shared.leases import leases
from shared.messages import Message, Priority
from shared.wire import Envelope, lane


@dataclass(frozen=True, slots=True)
class Skipped:
    """Say that the job rightly did nothing, and which rule said so."""

    reason: str
    detail: str | None = None


M = TypeVar("M", bound=Message)
Outcome: TypeAlias = Skipped | None
Function: TypeAlias = Callable[[M, Job], Outcome]
URGENT_FIRST = {Priority.URGENT: 0, Priority.NORMAL: 10}  # Dramatiq takes the lower number first


def actor(message: type[M], *, admit: Callable[[M, Job], None] | None = None) -> Callable[[Function[M]], Function[M]]:
    """Make a function the actor of a message, on its queue and on the urgent one beside it.

    Parameters:
        admit: look at a message whose time has not come yet, so that what can never be done is rejected now.

    The function gets the message and the job, and says how it ended: return (or return ``Skipped``), raise
    ``PermanentError``, ``Rejected``, ``RetryLater`` or ``Transient``; whatever else it raises is transient too.

    Example:
        >>> @actor(ExpireGiftCard)
        ... def expire_gift_card(message: ExpireGiftCard, job: Job) -> Outcome:
        ...     return cards.expire(job, message)
    """

    def register(function: Function[M]) -> Function[M]:
        FUNCTIONS[message.name] = cast(Function[Any], function)
        ADMIT[message.name] = cast(Callable[[Any, Job], None], admit or (lambda *_: None))
        for priority in URGENT_FIRST:
            queue = lane(message.queue, priority)
            _declare(f"{message.name}@{queue}", queue, priority, run)
            if f"{REFUSE}@{queue}" not in get_broker().actors:
                _declare(f"{REFUSE}@{queue}", queue, priority, refusals.write_down)
        return function

    return register


FUNCTIONS: dict[str, Function[Any]] = {}
ADMIT: dict[str, Callable[[Any, Job], None]] = {}


def _declare(name: str, queue: str, priority: Priority, function: Callable[..., None]) -> None:
    dramatiq.Actor(
        function,
        broker=get_broker(),
        actor_name=name,
        queue_name=queue,
        priority=URGENT_FIRST[priority],
        options={"throws": db.Stopping},
    )


def run(envelope: Envelope) -> None:
    """Run one message to an outcome that is written down.

    Raises:
        Stopping: the process ends first, so the message must go back to the broker.
    """
    queue = envelope.message.queue
    if queue in get_broker().pauses:
        raise db.Stopping
    metrics.slot_wait_seconds.labels(queue).inc(controls.wait_for_slot(queue))
    job = _claim(envelope)
    failpoint("claimed")
    if job is None:
        metrics.duplicates.labels(queue).inc()
    elif job.state == "skipped":
        _report(job, "skipped", job.reason)
    elif job.state == "scheduled":
        _park(job, envelope)
    else:
        _run_claimed(job, envelope.message)


def _park(job: Job, envelope: Envelope) -> None:
    """Leave a job to its time, unless it can be seen now that it can never be done."""
    try:
        with job.effect():
            ADMIT[job.name](envelope.message, job)
        _report(job, "parked", None)
    except Rejected as error:
        refusals.reject(job.id, job.queue, error.reason, error.detail or "", name=job.name)


def _claim(envelope: Envelope) -> Job | None:
    def once() -> Job | None:
        with db.transaction() as connection:
            return claim(connection, envelope)

    try:
        return db.persist(once)
    except psycopg.errors.UniqueViolation:
        refusals.reject(
            envelope.id,
            envelope.message.queue,
            "dedupe_key_conflict",
            "another job with other data has this dedupe_key: give this one a key of its own",
            name=envelope.message.name,
            document=envelope.message.model_dump(mode="json", exclude_none=True),
        )
        return None


def _run_claimed(job: Job, message: Message) -> None:
    started = time.monotonic()
    if job.started_at:
        metrics.lateness_seconds.labels(job.queue).observe(max(0, (job.started_at - job.run_at).total_seconds()))
    leases.hold(job)
    try:
        with metrics.running.labels(job.queue).track_inprogress():
            outcome, reason = _outcome(job, message)
    finally:
        leases.release(job)
    metrics.job_seconds.labels(job.queue, job.name).observe(time.monotonic() - started)
    _report(job, outcome, reason)


def _outcome(job: Job, message: Message) -> tuple[str, str | None]:
    """Run the actor; its effect and its completion are one transaction. Whatever it raises becomes a state."""
    try:
        return _attempt(job, message)
    except StaleJob:
        return "stale", None
    except Cancelled:
        return _end(job, "cancelled", "cancelled")
    except RetryLater as error:
        return _again(job, error.after_s, error, refund=True)
    except Rejected as error:
        if (age_s := job.age_s()) < error.grace_s:
            return _again(job, min(5, error.grace_s - age_s), error, refund=True)
        return _end(job, "rejected", error.reason, error)
    except PermanentError as error:
        return _end(job, "failed", error.reason, error)
    except Exception as error:  # noqa: BLE001  # any other error of an actor means: try again
        logs.get().warning("attempt_failed", **_facts(job), **logs.place(error))
        if job.attempt < job.max_attempts:
            wait_s = max(backoff_s(job.name, job.attempt), getattr(error, "after_s", None) or 0)
            return _again(job, wait_s, error, refund=False)
        return _end(job, "failed", "retries_exhausted", error)


def _attempt(job: Job, message: Message) -> tuple[str, str | None]:
    for last in (False, False, False, False, True):
        try:
            with job.effect():
                skipped = FUNCTIONS[job.name](message, job)
                failpoint("effect")
                if skipped is None:
                    job.finish(job.transaction, "succeeded")
                else:
                    job.finish(job.transaction, "skipped", reason=skipped.reason, error=skipped.detail)
            failpoint("committed")
            return ("skipped", skipped.reason) if skipped else ("succeeded", None)
        except db.MET:  # two transactions met: nothing was kept, and no attempt is burnt
            if last:
                raise
    raise AssertionError("unreachable")


def _end(job: Job, state: str, reason: str, error: Exception | None = None) -> tuple[str, str | None]:
    def once() -> tuple[str, str | None]:
        with db.transaction() as connection:
            job.finish(connection, state, reason=reason, **_why(error))
        return state, reason

    with suppress(StaleJob):
        return db.persist(once)
    return "stale", None


def _again(job: Job, after_s: float, error: Exception, *, refund: bool) -> tuple[str, str | None]:
    def once() -> str | None:
        with db.transaction() as connection:
            reason = error.reason if isinstance(error, JobError) else "retry"
            return job.again(connection, after_s, refund=refund, reason=reason, **_why(error))

    failpoint("failing")
    state = db.persist(once)
    return ("retry" if state == "scheduled" else state or "stale"), getattr(error, "reason", type(error).__name__)


def _why(error: Exception | None) -> dict[str, str | None]:
    """Say of an error what may be kept: our own words, or its type and place, since its text may repeat an address."""
    if error is None:
        return {}
    if isinstance(error, JobError):
        return {"error_type": type(error).__name__, "error": error.detail}
    facts = logs.place(error)
    if isinstance(error, psycopg.Error) and error.sqlstate:
        facts["frames"].append(f"SQLSTATE {error.sqlstate}")
    return {"error_type": facts["error_type"], "error": " < ".join(reversed(facts["frames"]))}


def _facts(job: Job) -> dict[str, Any]:
    return {"job_id": str(job.id), "actor": job.name, "queue": job.queue, "attempt": job.attempt}


def _report(job: Job, outcome: str, reason: str | None) -> None:
    metrics.jobs.labels(job.queue, job.name, outcome, reason or "").inc()
    event = {"succeeded": "completed"}.get(outcome, outcome)
    card = {"gift_card_id": str(job.gift_card_id)} if job.gift_card_id else {}
    level = logs.get().error if outcome == "failed" else logs.get().info
    level(event, **_facts(job), **card, **({"reason": reason} if reason else {}))
