"""What an actor can say besides 'done': every outcome has its own word."""

from __future__ import annotations

from typing import Any


class JobError(Exception):
    """Be the parent of what an actor raises on purpose.

    Parameters:
        reason: a stable snake_case word, shown in metrics and in the console.
        detail: what to mend, without personal data; None when the reason says it all.
    """

    def __init__(self, reason: str, detail: str | None = None) -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class PermanentError(JobError):
    """Say that no retry can help: the job ends as failed."""


class Rejected(JobError):
    """Say that the input is at fault: the job ends as rejected, and the detail says what to mend.

    Parameters:
        grace_s: retry until the job is this old first, because what it names may still be on its way.
    """

    def __init__(self, reason: str, detail: str | None = None, *, grace_s: float = 0) -> None:
        super().__init__(reason, detail)
        self.grace_s = grace_s


class Transient(JobError):
    """Say that a retry may help, in ``after_s`` seconds at the soonest (None: when the backoff says)."""

    def __init__(self, reason: str, detail: str | None = None, *, after_s: float | None = None) -> None:
        super().__init__(reason, detail)
        self.after_s = after_s


class RetryLater(JobError):
    """Say that somebody asked us to wait ``after_s`` seconds: no attempt is burnt."""

    def __init__(self, reason: str, *, after_s: float, detail: str | None = None) -> None:
        super().__init__(reason, detail)
        self.after_s = after_s


class BadMessage(Exception):
    """Say why a body that came over the wire is not a message, and what to mend."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class UnknownMessage(BadMessage):
    """Say that nobody here knows a message's name, while newer workers may.

    Parameters:
        row: what is kept of it until then, by column of ``jobs``.
    """

    def __init__(self, detail: str, row: dict[str, Any]) -> None:
        super().__init__("unknown_message", detail)
        self.row = row


class StaleJob(Exception):
    """Say that another worker has taken this job over, so nothing of this run may be kept."""


class Cancelled(Exception):
    """Say that somebody cancelled this job while it ran, so nothing of this run may be kept."""


class PublishError(Exception):
    """Say that the broker did not confirm a message in time. Sending it again with the same id is safe."""


class QueueMismatch(Exception):
    """Say that a queue is on the broker with other arguments than ours, which nothing but a migration mends.

    Parameters:
        wanted: the arguments that we declare it with.
        said: the broker's own words, which name the argument that differs.
    """

    def __init__(self, queue: str, wanted: dict[str, Any], said: str) -> None:
        super().__init__(
            f"the queue {queue} is on the broker with other arguments than {wanted} ({said}): let it run empty and"
            " delete it, then it is declared anew, and what was in it is published again; or set JOBS_QUEUE_TYPE back"
        )


class QueueMissing(OSError):
    """Say that a queue is not there and that this user may not make it."""
