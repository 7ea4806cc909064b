"""What only the database knows, for ``/metrics``: counts per queue, and what is held and waits for somebody."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import LiteralString

from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from shared import db
from shared.counts import counts

CACHE_S = 5
REST = 20  # times as long as a query took, it is not asked again: with 10,000,000 rows, too, it has 5 % of a processor
SLOW_S = 600  # for what reads every card
MOST_OVER = 100_000  # completed or failed jobs of a queue, counted anew every few seconds whatever is kept
STATES = ("waiting", "active", "delayed", "completed", "failed", "paused")


@dataclass(frozen=True, slots=True)
class Gauge:
    """A gauge and the query that answers it: one row per set of labels, in their order, and the value last.

    Parameters:
        every_s: how long an answer is good for, at least; see `REST`.
    """

    name: str
    help: str
    labels: tuple[str, ...]
    query: LiteralString
    every_s: float = CACHE_S


HELD = [
    Gauge(
        "gift_cards_unreached_value",
        "Money on cards that are due and whose gift reached nobody, in major units.",
        ("currency",),
        "SELECT currency, sum(balance) FROM gift_cards WHERE expiry_hold = 'unreached' GROUP BY currency",
    ),
    Gauge(
        "gift_cards_outstanding_value",
        "Money that cards are still good for, in major units: what the shop owes.",
        ("currency",),
        "SELECT currency, sum(balance) FROM gift_cards WHERE status IN ('PENDING', 'ACTIVE') GROUP BY currency",
        SLOW_S,
    ),
    Gauge(
        "deliveries_open",
        "Deliveries of whose last attempt nobody knows the end, by why they wait.",
        ("channel", "reason"),
        "SELECT channel, coalesce(reason, state), count(*) FROM deliveries"
        " WHERE state IN ('sending', 'unconfirmed') AND reason IS DISTINCT FROM 'sent_again' GROUP BY 1, 2",
    ),
    Gauge(
        "breakers_open", "Providers that nothing is sent through.", ("provider",), "SELECT provider, 1 FROM breakers"
    ),
    Gauge(
        "brakes_pulled",
        "Sweeps that wait for an operator.",
        ("name",),
        "SELECT name, 1 FROM brakes WHERE released_at IS NULL",
    ),
    Gauge(
        "invariant_violations",
        "What must never be, as the nightly check_invariants counted it.",
        ("invariant",),
        "SELECT invariant, violations FROM invariant_checks",
    ),
    Gauge(
        "invariant_checked_timestamp_seconds",
        "When it was counted.",
        ("invariant",),
        "SELECT invariant, extract(epoch FROM checked_at) FROM invariant_checks",
    ),
    Gauge(
        "schedule_last_tick_timestamp_seconds",
        "The last tick that became a job.",
        ("schedule",),
        "SELECT name, extract(epoch FROM last_tick) FROM schedules",
    ),
    Gauge(
        "wiretap_settled_timestamp_seconds",
        "Until when each message that came over AMQP has a row.",
        (),
        "SELECT extract(epoch FROM settled_until) FROM wiretap WHERE isfinite(settled_until)",
    ),
    Gauge("database_size_bytes", "Size of this database.", (), "SELECT pg_database_size(current_database())"),
    Gauge(
        "database_connections",
        "Connections to this database.",
        (),
        "SELECT numbackends FROM pg_stat_database WHERE datname = current_database()",
    ),
    Gauge(
        "database_transactions",
        "Transactions of this database, committed and rolled back, since its statistics began.",
        ("end",),
        "SELECT end_, number FROM pg_stat_database,"
        " LATERAL (VALUES ('commit', xact_commit), ('rollback', xact_rollback)) AS t (end_, number)"
        " WHERE datname = current_database()",
    ),
    Gauge(
        "database_deadlocks",
        "Deadlocks in this database since its statistics began.",
        (),
        "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()",
    ),
]


class Asked(Collector):
    """Gauges asked of PostgreSQL now and then, the slower the rarer; the last known ones while it is away."""

    def __init__(self) -> None:
        self._families: dict[str, list[GaugeMetricFamily]] = {}
        self._good_until: dict[str, float] = {}

    def describe(self) -> list[GaugeMetricFamily]:
        """Name nothing: else all would be asked at start, just when the relay has most to do, or before it can."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Give the gauges."""
        try:
            with db.transaction() as connection:
                self._ask("queues", CACHE_S, partial(_queues, connection))
                for gauge in HELD:
                    self._ask(gauge.name, gauge.every_s, partial(_held, connection, gauge))
        except db.AWAY:
            pass
        for families in self._families.values():
            yield from families

    def _ask(self, name: str, every_s: float, ask: Callable[[], list[GaugeMetricFamily]]) -> None:
        began = time.monotonic()
        if began < self._good_until.get(name, float("-inf")):
            return
        self._families[name] = ask()
        took = time.monotonic() - began
        if any(family.samples for family in self._families[name]):  # else one may come soon, and asking is cheap
            self._good_until[name] = began + took + max(every_s, REST * took)


def _queues(connection: db.Connection) -> list[GaugeMetricFamily]:
    says = "Jobs by queue and state, as in BullMQ's counts; of those that are over at most 100,000."
    jobs = GaugeMetricFamily("queue_jobs", says, labels=["queue", "state"])
    oldest = GaugeMetricFamily("queue_oldest_due_seconds", "Age of the oldest job that is due.", labels=["queue"])
    for row in counts(connection, most_over=MOST_OVER):
        for state in STATES:
            jobs.add_metric([row["queue"], state], row[state])
        oldest.add_metric([row["queue"]], row["oldest_due_s"])
    return [jobs, oldest]


def _held(connection: db.Connection, gauge: Gauge) -> list[GaugeMetricFamily]:
    family = GaugeMetricFamily(gauge.name, gauge.help, labels=list(gauge.labels))
    for row in connection.execute(gauge.query):
        *labels, value = row.values()
        family.add_metric(labels, float(value))
    return [family]


def register() -> None:
    """Add the gauges to this process's metrics."""
    REGISTRY.register(Asked())
