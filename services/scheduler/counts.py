"""Counts per queue for ``/metrics``, asked of PostgreSQL at most every few seconds."""

from __future__ import annotations

import time
from collections.abc import Iterator

from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from shared import db
from shared.counts import counts

CACHE_S = 5


class QueueCounts(Collector):
    """Waiting, active, delayed, completed and failed jobs per queue, and the age of the oldest due one."""

    def __init__(self) -> None:
        self._rows: list[dict[str, object]] = []
        self._read_at = float("-inf")

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Give the gauges; the last known ones while the database is away."""
        jobs = GaugeMetricFamily(
            "queue_jobs", "Jobs by queue and state, as in BullMQ's counts.", labels=["queue", "state"]
        )
        oldest = GaugeMetricFamily("queue_oldest_due_seconds", "Age of the oldest job that is due.", labels=["queue"])
        for row in self._current():
            for state in ("waiting", "active", "delayed", "completed", "failed", "paused"):
                jobs.add_metric([str(row["queue"]), state], float(str(row[state])))
            oldest.add_metric([str(row["queue"])], float(str(row["oldest_due_s"])))
        yield from (jobs, oldest)

    def _current(self) -> list[dict[str, object]]:
        if time.monotonic() - self._read_at > CACHE_S:
            try:
                with db.transaction() as connection:
                    self._rows = counts(connection)
                self._read_at = time.monotonic()
            except db.AWAY:
                pass
        return self._rows


def register() -> None:
    """Add the counts to this process's metrics."""
    REGISTRY.register(QueueCounts())
