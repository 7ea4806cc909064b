"""Signs of life: one thread per process renews the leases of all its running jobs, and says that the process lives."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from typing import LiteralString

from shared import db, logs
from shared.failpoints import failpoint
from shared.jobs import Job, lease
from shared.presence import Presence
from shared.settings import settings

# Longer than the longest wait of a healthy job (the last reply of an SMTP server, 10 minutes): beyond it, it hangs.
MAX_RUN_S = 15 * 60

# A job whose row is locked is just at a step of its own: waiting for it would hold up all the others.
RENEW: LiteralString = """
WITH free AS (
    SELECT j.id FROM jobs j JOIN unnest(%(ids)s::uuid[], %(epochs)s::integer[]) AS mine (id, epoch)
        ON j.id = mine.id AND j.epoch = mine.epoch
    WHERE j.state = 'running' FOR NO KEY UPDATE OF j SKIP LOCKED
)
UPDATE jobs j SET lease_until = clock_timestamp() + %(lease)s FROM free WHERE j.id = free.id
"""

GIVE_BACK: LiteralString = """
UPDATE jobs j SET state = CASE WHEN cancel_requested THEN 'cancelled' ELSE 'scheduled' END,
    finished_at = CASE WHEN cancel_requested THEN clock_timestamp() END,
    reason = CASE WHEN cancel_requested THEN 'cancelled' ELSE 'given_back' END,
    run_at = clock_timestamp(), attempt = attempt - 1, publishes = 0, lease_until = NULL
FROM unnest(%(ids)s::uuid[], %(epochs)s::integer[]) AS mine (id, epoch)
WHERE j.id = mine.id AND j.epoch = mine.epoch AND j.state = 'running'
"""


class Leases:
    """The jobs that this process runs now."""

    def __init__(self) -> None:
        self._running: dict[int, tuple[Job, float]] = {}
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, presence: Presence | None = None) -> None:
        """Renew in the background, three times per lease, and say so often that this process is present."""
        self._ended.clear()
        self._thread = threading.Thread(target=self._renew, args=(presence,), name="leases", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop renewing, and be present no more."""
        self._ended.set()
        if self._thread:
            self._thread.join(2)

    def hold(self, job: Job) -> None:
        """Keep this job's lease alive until it is released."""
        self._running[id(job)] = (job, time.monotonic())

    def release(self, job: Job) -> None:
        """Let this job's lease be."""
        self._running.pop(id(job), None)

    def _renew(self, presence: Presence | None) -> None:
        while True:
            self._once(presence)
            if self._ended.wait(settings().lease_s / 3):
                return self._leave(presence)

    def _once(self, presence: Presence | None) -> None:
        try:
            if self._running:
                self._update(RENEW)
            if presence:
                presence.say()
        except Exception as error:  # noqa: BLE001  # without this thread every running job would be lost
            logs.get().warning("leases_not_renewed", **logs.place(error))

    def _leave(self, presence: Presence | None) -> None:
        with suppress(*db.AWAY):
            if presence:
                presence.leave()

    def _update(self, statement: LiteralString) -> None:
        now = time.monotonic()
        jobs = [job for job, since in list(self._running.values()) if now - since < MAX_RUN_S]
        mine = {"ids": [job.id for job in jobs], "epochs": [job.epoch for job in jobs], "lease": lease()}
        with db.transaction() as connection:
            connection.execute(statement, mine)

    def give_back_and_exit(self) -> None:
        """End the process now, with its running jobs back in the table; nothing of these runs is kept."""
        if self._ended.is_set():
            return
        logs.get().warning("shutdown_grace_over", jobs=len(self._running))
        failpoint("giving-back")
        try:
            self._update(GIVE_BACK)
        finally:
            os._exit(1)


leases = Leases()
