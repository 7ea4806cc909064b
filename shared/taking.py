"""Take the jobs of messages: claim those that come together in one transaction, and do at once what can be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar
from uuid import UUID

import psycopg

from shared import db
from shared.claims import claim, known_as
from shared.failpoints import failpoint
from shared.group_commit import GroupCommit
from shared.jobs import Job, finish_all
from shared.messages import Message
from shared.wire import Envelope

M = TypeVar("M", bound=Message)
Work: TypeAlias = Sequence[tuple[Job, M]]
Together: TypeAlias = Callable[[db.Connection, Work[M]], set[UUID]]
Taken: TypeAlias = tuple[Job | None, str | None]  # a job; without one, the name by which its id is known, if it is

TOGETHER: dict[str, Together[Any]] = {}  # by name of a message, what several jobs of it do at once


def take(connection: db.Connection, deliveries: Sequence[tuple[Envelope, bool]]) -> list[Taken]:
    """Claim some jobs, and do what they can do together.

    Parameters:
        deliveries: each message, and whether it was delivered before: then it is claimed, and nothing is done yet.
    """
    envelopes = [envelope for envelope, _ in deliveries]
    jobs = claim(connection, envelopes)
    fresh = [(job, envelope.message) for job, (envelope, again) in zip(jobs, deliveries, strict=True) if not again]
    for name, function in TOGETHER.items():
        if mine := [(job, message) for job, message in fresh if job and (job.name, job.state) == (name, "running")]:
            _do_together(connection, mine, function)
    others = [envelope.id for envelope, job in zip(envelopes, jobs, strict=True) if job is None]
    names = known_as(connection, others) if others else {}
    return [(job, None if job else names.get(envelope.id)) for envelope, job in zip(envelopes, jobs, strict=True)]


taken = GroupCommit(take)


def _do_together(connection: db.Connection, work: Work[Any], function: Together[Any]) -> None:
    """Do some jobs at once; when that fails, nothing of it is kept, and each is done on its own."""
    try:
        with connection.transaction():
            ids = function(connection, work)
            done = [job for job, _ in work if job.id in ids]
            if done:
                failpoint("effect")
                finish_all(connection, [(job, "succeeded", None, None) for job in done])
    except (psycopg.IntegrityError, psycopg.errors.LockNotAvailable):
        return
    for job in done:
        job.state = "succeeded"
