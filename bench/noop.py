"""A worker of ours whose job does nothing but note when it started; the record of the job is kept as always."""

from __future__ import annotations

import os
import time

from bench.journal import Journal
from shared.actor import Outcome, actor
from shared.jobs import Job
from shared.messages import PruneHistory

QUEUE = "maintenance"
_journal = Journal(os.environ["BENCH_JOURNAL"])


@actor(PruneHistory)
def start(message: PruneHistory, job: Job) -> Outcome:
    """Note when it was sent, or else due, and when it started."""
    _journal.note((message.as_of or job.run_at).timestamp(), time.time())
    return None
