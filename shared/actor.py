"""The way from a message to its job: wait for the rate, claim, run the attempt, say how it ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import Any, TypeAlias, TypeVar, cast

import dramatiq
import psycopg

from shared import attempt, controls, db, logs, metrics, refusals, tracing
from shared.attempt import Outcome, Skipped
from shared.broker import get_broker
from shared.edge import REFUSE
from shared.errors import Rejected
from shared.failpoints import failpoint
from shared.jobs import Job
from shared.leases import leases
from shared.messages import Message, Priority
from shared.taking import TOGETHER, Taken, Together, Work, taken
from shared.wire import Envelope, lane

M = TypeVar("M", bound=Message)
Function: TypeAlias = Callable[[M, Job], Outcome]
__all__ = ["Outcome", "Skipped", "Work", "actor", "run"]
URGENT_FIRST = {Priority.URGENT: 0, Priority.NORMAL: 10}  # Dramatiq takes the lower number first


def actor(
    message: type[M],
    *,
    admit: Callable[[M, Job], None] | None = None,
    together: Together[M] | None = None,
) -> Callable[[Function[M]], Function[M]]:
    """Make a function the actor of a message, on its queue and on the urgent one beside it.

    Parameters:
        admit: look at a message whose time has not come yet, so that what can never be done is rejected now.
        together: do at once what several jobs need of the database and nothing else, in the transaction that claims
            them, and give the ids of those that succeeded. The others take the function's way, one by one.

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
        if together:
            TOGETHER[message.name] = cast(Together[Any], together)
        for priority in URGENT_FIRST:
            queue = lane(message.queue, priority)
            _declare(f"{message.name}@{queue}", queue, priority, run, together=together is not None)
            if f"{REFUSE}@{queue}" not in get_broker().actors:
                _declare(f"{REFUSE}@{queue}", queue, priority, refusals.write_down)
        return function

    return register


FUNCTIONS: dict[str, Function[Any]] = {}
ADMIT: dict[str, Callable[[Any, Job], None]] = {}


def _declare(
    name: str, queue: str, priority: Priority, function: Callable[..., None], *, together: bool = False
) -> None:
    dramatiq.Actor(
        function,
        broker=get_broker(),
        actor_name=name,
        queue_name=queue,
        priority=URGENT_FIRST[priority],
        options={"throws": db.Stopping, "together": together},
    )


def run(envelopes: Sequence[Envelope], again: bool = False) -> None:  # what a Dramatiq message carries
    """Run messages of one queue to outcomes that are written down.

    Parameters:
        envelopes: one, or several of an actor that does its work ``together``.
        again: it was delivered before, so it may have killed its worker: it is claimed before anything is done.

    Raises:
        Stopping: the process ends first, so the messages must go back to the broker, as after any other error.
    """
    if envelopes[0].message.queue in get_broker().pauses:
        raise db.Stopping
    found = taken.together([(envelope, again) for envelope in envelopes]) if len(envelopes) > 1 else ()
    for job, _ in found:
        if job and job.state == "running":
            leases.hold(job)  # those whose turn comes last may wait for long
    errors = [error for one in zip_longest(envelopes, found) if (error := _run_one(again, *one))]
    if errors:
        raise errors[0]


def _run_one(again: bool, envelope: Envelope, found: Taken | None) -> Exception | None:
    """Run one message. Gives the error for which it must go back to the broker, if there is one."""
    try:
        with tracing.processing(envelope):
            _proceed(envelope, _known(envelope, *found) if found else _claim(envelope, again))
    except Exception as error:  # noqa: BLE001  # those that came with it are run all the same
        return error
    return None


def _proceed(envelope: Envelope, job: Job | None) -> None:
    if job is None:
        metrics.duplicates.labels(envelope.message.queue).inc()
        tracing.tell("duplicate")
        logs.get().debug("duplicate", job_id=str(envelope.id), queue=envelope.message.queue)
    elif job.state in ("skipped", "succeeded"):
        failpoint("committed")
        _report(job, job.state, job.reason)
    elif job.state == "scheduled":
        _park(job, envelope)
    else:
        _run_claimed(job, envelope)


def _park(job: Job, envelope: Envelope) -> None:
    """Leave a job to its time, unless it can be seen now that it can never be done."""
    try:
        with job.effect():
            ADMIT[job.name](envelope.message, job)
    except Rejected as error:
        if not error.grace_s:
            refusals.reject_message(envelope, error.reason, error.detail or "", job_id=job.id)
            tracing.tell("rejected", error.reason)
            return
    _report(job, "parked", None)


def _claim(envelope: Envelope, again: bool) -> Job | None:
    """Take one job, once its queue's rate allows it."""
    queue = envelope.message.queue
    waited_s = controls.wait_for_slot(envelope, limited=queue in get_broker().pauses.limited)
    metrics.slot_wait_seconds.labels(queue).inc(waited_s)
    try:
        return _known(envelope, *taken((envelope, again)))
    except psycopg.errors.UniqueViolation:
        refusals.key_conflict(envelope)
        return None


def _known(envelope: Envelope, job: Job | None, name: str | None) -> Job | None:
    """Refuse a message whose id is another job's."""
    if name not in (None, envelope.message.name):
        refusals.reject_message(
            envelope, "id_conflict", f"the job with this id is a {name}: give every message an id of its own"
        )
    return job


def _run_claimed(job: Job, envelope: Envelope) -> None:
    started = time.monotonic()
    if job.started_at:
        metrics.lateness_seconds.labels(job.queue).observe(max(0, (job.started_at - job.run_at).total_seconds()))
    failpoint("claimed")
    leases.hold(job)
    try:
        with metrics.running.labels(job.queue).track_inprogress():
            outcome, reason = attempt.run(job, lambda: FUNCTIONS[job.name](envelope.message, job))
    finally:
        leases.release(job)
    exemplar = {"trace_id": envelope.traceparent.split("-")[1]} if envelope.traceparent else None
    metrics.job_seconds.labels(job.queue, job.name).observe(time.monotonic() - started, exemplar)
    _report(job, outcome, reason)


def _report(job: Job, outcome: str, reason: str | None) -> None:
    metrics.jobs.labels(job.queue, job.name, outcome, reason or "").inc()
    tracing.tell(outcome, reason, job.attempt)
    event = {"succeeded": "completed"}.get(outcome, outcome)
    card = {"gift_card_id": str(job.gift_card_id)} if job.gift_card_id else {}
    level = logs.get().error if outcome == "failed" else logs.get().info
    level(event, **job.facts(), **card, **({"reason": reason} if reason else {}))
