"""The doors of the cleanup service: ``dramatiq services.cleanup.actors``."""

from services.cleanup import checking, retention
from shared.actor import Outcome, actor
from shared.jobs import Job
from shared.messages import QUEUES, CheckInvariants, CleanupExpiredTokens, PruneHistory


@actor(CleanupExpiredTokens)
def cleanup_expired_tokens(message: CleanupExpiredTokens, job: Job) -> Outcome:
    """Delete refresh tokens that nobody can use any more, once per date."""
    return retention.clean_tokens(job, message.as_of)


@actor(PruneHistory)
def prune_history(_: PruneHistory, job: Job) -> Outcome:
    """Delete finished jobs and events past their retention."""
    return retention.prune(job, list(QUEUES))


@actor(CheckInvariants)
def check_invariants(_: CheckInvariants, job: Job) -> Outcome:
    """Count what must never be."""
    return checking.check(job)
