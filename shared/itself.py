"""What each process says of itself in ``/metrics``: what was built, and how its connections to PostgreSQL are used."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from functools import cache

from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector

from shared import db
from shared.settings import settings


class Itself(Collector):
    """Build and pool of this process, read when they are asked for."""

    def collect(self) -> Iterator[InfoMetricFamily | GaugeMetricFamily | CounterMetricFamily]:
        """Give them."""
        version, revision = settings().build_version, settings().build_revision
        built = {"version": version, "revision": revision, "python": platform.python_version()}
        yield InfoMetricFamily("giftcard_jobs_build", "What runs here.", value=built)
        if stats := db.pool_stats():
            yield from _pool(stats)


def _pool(stats: dict[str, int]) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
    size, idle = stats.get("pool_size", 0), stats.get("pool_available", 0)
    used = GaugeMetricFamily("database_pool_connections", "This process's connections.", labels=["state"])
    used.add_metric(["used"], size - idle)
    used.add_metric(["idle"], idle)
    yield used
    yield GaugeMetricFamily("database_pool_most", "Connections it may have.", stats.get("pool_max", 0))
    waiting = stats.get("requests_waiting", 0)
    yield GaugeMetricFamily("database_pool_waiting", "Threads that wait for a connection.", waiting)
    waited_s = stats.get("requests_wait_ms", 0) / 1000
    yield CounterMetricFamily("database_pool_wait_seconds", "Time that threads waited for one.", waited_s)


@cache
def register() -> None:
    """Add them to this process's metrics, once."""
    REGISTRY.register(Itself())
