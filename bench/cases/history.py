"""Case m: a long history: what a job costs beside it, how large it is, and how fast it goes."""

from __future__ import annotations

from functools import partial
from typing import LiteralString

from bench import ours
from bench.cases import noop, pages
from bench.frame import Case, Sample, Unmeasured, Way
from bench.lab import Lab
from shared.messages import PruneHistory

TIMES = 500  # so many jobs of history for each that is run
TOOK: LiteralString = """
SELECT extract(epoch FROM coalesce(finished_at, clock_timestamp()) - started_at)::float AS took_s FROM jobs
WHERE name = 'prune_history'
"""
ALONE = "without a history"


def beside(lab: Lab, count: int) -> Sample:
    """Drain jobs that do nothing, with a table full of others."""
    rows = TIMES * count
    return noop.mine(1, lab, count, template=f"pages_{rows}", build=partial(pages.fill, jobs=rows))


def pruned(lab: Lab, count: int) -> Sample:
    """Delete in slices what is older than its retention, as a job, until all is gone or the time is over."""
    with lab.place(f"pages_{count}", partial(pages.fill, jobs=count)) as place:
        place.sql("UPDATE wiretap SET settled_until = clock_timestamp()")
        [size] = place.sql("SELECT count(*) AS rows, pg_total_relation_size('jobs') AS bytes FROM jobs")
        with place.cost() as cost:
            place.worker("services.cleanup.actors")
            ours.publish(place, [PruneHistory()])
            lab.until(lambda: bool(place.sql(TOOK + " AND finished_at IS NOT NULL")), every_s=0.5)
        taken = place.sql(TOOK)
        if not taken or not taken[0]["took_s"]:
            raise place.failed("worker")
        left = place.sql("SELECT count(*) AS rows FROM jobs WHERE name <> 'prune_history'")[0]["rows"]
        if left == size["rows"]:
            raise Unmeasured("nothing was deleted")
        return Sample(size["rows"] - left, taken[0]["took_s"], cost=cost, more={"bytes_each": size["bytes"] / count})


CASES = [
    Case(
        "m1",
        f"jobs that do nothing, beside {TIMES} times as many of others, most of them over",
        "jobs",
        20_000,
        [Way(ours.NAME, beside), Way(ALONE, partial(noop.mine, 1))],
        least=100,
    ),
    Case(
        "m2",
        "retention: what is over is deleted in slices; bytes of a job with all its indexes",
        "jobs",
        10_000_000,
        [Way(ours.NAME, pruned)],
        least=5_000,
    ),
]
