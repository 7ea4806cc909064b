"""The thread beside the webhooks that looks after orphans; it is also what the health port asks."""

from __future__ import annotations

import threading

from services.delivery.reports import inbox
from shared import db, health, logs

EVERY_S = 5.0


class Sweeper:
    """Apply, every few seconds, the reports that came before their delivery was known."""

    def __init__(self) -> None:
        self.thread = threading.Thread(target=self._run, name="sweeper", daemon=True)

    def _run(self) -> None:
        while not db.stopping.wait(EVERY_S):
            try:
                inbox.sweep()
            except Exception as error:  # noqa: BLE001  # the loop must outlive whatever happens in it
                logs.get().warning("sweep_failed", **logs.place(error))

    def dead(self) -> list[str]:
        """Name the thread if it has ended."""
        return [] if db.stopping.is_set() or self.thread.is_alive() else [self.thread.name]

    def missing(self) -> list[str]:
        """Name what is away: the database."""
        return (["stopping"] if db.stopping.is_set() else []) + health.database_missing()
