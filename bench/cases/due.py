"""Case e: one scheduler claims, publishes with confirms and marks rows that are due; also among many that are not."""

from __future__ import annotations

import time
from functools import partial

import psycopg

from bench import ours
from bench.budgets import AMONG
from bench.frame import Case, Sample, Way
from bench.lab import Lab
from deploy.local import database

QUEUED = "SELECT count(*) >= %s AS yes FROM jobs WHERE state = 'queued'"
# The first batch began before its rows say so, so it does not count.
FIRST = "SELECT min(queued_at) + interval '20 milliseconds' AS first FROM jobs"
RATE = """
SELECT count(*) FILTER (WHERE queued_at > %(first)s::timestamptz) AS rows,
    extract(epoch FROM max(queued_at) - %(first)s::timestamptz)::float AS took_s
FROM jobs WHERE state = 'queued'
"""


def relayed(waiting: int, lab: Lab, count: int) -> Sample:
    """Let the scheduler relay ``count`` rows, with ``waiting`` times as many that are due in the coming year."""
    later = count * waiting
    with lab.place(f"later_{later}", partial(_later, rows=later)) as place:
        ours.due(place, count)
        place.sql("VACUUM ANALYZE jobs")
        with place.cost() as cost:
            place.scheduler(maintenance__depth=10 * count)
            lab.until(lambda: place.sql(QUEUED, count)[0]["yes"], every_s=0.5)  # the rows say when
        found = place.sql(RATE, place.sql(FIRST)[0])[0]
        return Sample(found["rows"], found["took_s"], cost=cost)


def _later(url: str, rows: int) -> None:
    database.migrate(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(ours.ROWS, (time.time() + 86400, 365 * 86400 / max(rows, 1), rows))
        connection.execute("VACUUM ANALYZE jobs")


CASES = [
    Case(
        "e",
        "the relay: rows that are due, claimed, published, confirmed and marked by one scheduler",
        "rows",
        200_000,
        [Way(ours.NAME, partial(relayed, 0)), Way(AMONG, partial(relayed, 50))],
        least=2_000,
    )
]
