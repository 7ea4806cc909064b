"""One run: calm, one nemesis after another, a burst in a storm, then quiet, and the count."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.chaos import clock
from tests.chaos.nemeses import NEMESES
from tests.chaos.shop import Front
from tests.chaos.site import SKEWED, SLEEPER, Site

RECOVERED_S = 5
OLDEST = """
SELECT coalesce(extract(epoch FROM clock_timestamp() - min(CASE state WHEN 'running' THEN lease_until ELSE run_at END)),
    0)::float AS oldest_s, count(*) AS due
FROM jobs WHERE (state IN ('scheduled', 'queued') AND run_at <= clock_timestamp())
    OR (state = 'running' AND lease_until < clock_timestamp())
"""
OPEN = """
SELECT count(*) AS open FROM jobs WHERE finished_at IS NULL AND run_at < clock_timestamp() + interval '10 minutes'
"""
DONE = "SELECT count(*) FILTER (WHERE finished_at IS NOT NULL) AS done, count(*) AS jobs FROM jobs"
Report = Callable[[str], None]


@dataclass
class Plan:
    """What a run consists of. Times are seconds; ``per_s`` acts of the shop end ``storm_s`` after the burst fell due.

    Were it to work until all is drained, the time of a run would hang on how little faster than it the machine is.
    """

    seed: int
    nemeses: list[str]
    storm: list[str]
    calm_s: float = 30
    nemesis_s: float = 5
    burst: int = 6000
    storm_s: float = 60
    asleep_s: float = 90
    patience_s: float = 120
    per_s: float = 20
    recover_s: float = 120
    must_recover: bool = True


@dataclass
class Course:
    """What happened."""

    nemeses: list[dict[str, Any]] = field(default_factory=list)
    asleep: int = 0
    skewed_lines: int = 0
    drained_s: float = 0
    drained_jobs: int = 0
    quiesced_s: float | None = None


def run(site: Site, plan: Plan, front: Front, report: Report) -> Course:
    """Let the shop work while everything goes wrong; returns when all is over or patience is."""
    dice, course = random.Random(plan.seed), Course()
    front.open()
    try:
        _wait(plan.calm_s, "calm", report)
        front.phase = "chaos"
        sleeper = threading.Thread(target=_sleep, args=(site, plan, course))
        sleeper.start()
        for name in dice.sample(plan.nemeses, len(plan.nemeses)):
            _meet(site, name, dice, plan, course, report)
        sleeper.join()
        front.phase = "burst"
        _storm(site, plan, front, dice, course, report)
    finally:
        front.close()
    course.skewed_lines = clock.lines_ahead(next(p.log for p in site.programs if p.name == SKEWED))
    course.quiesced_s = _quiesce(site, plan.patience_s, report)
    return course


def _wait(seconds: float, what: str, report: Report) -> None:
    report(f"{what}: {seconds:.0f} s")
    time.sleep(seconds)


def _sleep(site: Site, plan: Plan, course: Course) -> None:
    """Stop one worker for long, whatever else happens meanwhile."""
    pid = site.signal(SLEEPER, signal.SIGSTOP)
    time.sleep(plan.asleep_s)
    with open(f"/proc/{pid}/stat") as file:
        course.asleep = int(file.read().rpartition(")")[2].split()[0] == "T")
    site.signal(SLEEPER, signal.SIGCONT)


def _meet(site: Site, name: str, dice: random.Random, plan: Plan, course: Course, report: Report) -> None:
    began = time.monotonic()
    hits = NEMESES[name].shoot(site, dice, plan.nemesis_s)
    mended = time.monotonic()
    recovered = _recover(site, plan.recover_s)
    course.nemeses.append(
        {
            "name": name,
            "hits": hits,
            "shot_s": round(mended - began, 1),
            "recovered_s": recovered,
            "must_recover": plan.must_recover,
        }
    )
    report(f"{name}: {hits} hits, {_words(recovered)}")


def _words(recovered: float | None) -> str:
    return "NOT recovered in time" if recovered is None else f"recovered after {recovered:.1f} s"


def _recover(site: Site, patience_s: float, every_s: float = 0.3) -> float | None:
    """Give the seconds until nothing has been due for more than five; None: not within patience."""
    began, good = time.monotonic(), 0
    with site.connect() as connection:
        while time.monotonic() - began < patience_s:
            row = connection.execute(OLDEST).fetchone() or {}
            good = good + 1 if row["oldest_s"] < RECOVERED_S else 0
            if good == 1:
                since = time.monotonic() - began
            if good == 3:
                return round(since, 1)
            time.sleep(every_s)
    return None


def _storm(site: Site, plan: Plan, front: Front, dice: random.Random, course: Course, report: Report) -> None:
    """Let the burst fall due, and the worst happen while it drains."""
    front.burst(plan.burst, in_s=3)
    report(f"{plan.burst} more are due in 3 s")
    time.sleep(3)
    began = time.monotonic()
    with site.connect() as connection:
        before = (connection.execute(DONE).fetchone() or {})["done"]
    for name in dice.sample(plan.storm, len(plan.storm)):
        hits = NEMESES[name].shoot(site, dice, plan.nemesis_s)
        course.nemeses.append({"name": f"{name} (storm)", "hits": hits, "shot_s": None, "recovered_s": None})
        report(f"storm: {name}: {hits} hits")
    time.sleep(max(0, began + plan.storm_s - time.monotonic()))
    front.close()
    recovered = _recover(site, 600, every_s=2)  # a scan of the whole table
    course.drained_s = round(time.monotonic() - began, 1)
    with site.connect() as connection:
        course.drained_jobs = (connection.execute(DONE).fetchone() or {})["done"] - before
    report(f"burst drained after {course.drained_s:.0f} s" if recovered is not None else "burst NOT drained")


def _quiesce(site: Site, patience_s: float, report: Report) -> float | None:
    """Give the seconds until no job is open that is due soon; None: not within patience."""
    began = time.monotonic()
    with site.connect() as connection:
        while time.monotonic() - began < patience_s:
            left = (connection.execute(OPEN).fetchone() or {})["open"]
            if not left:
                return round(time.monotonic() - began, 1)
            time.sleep(0.5)
    report(f"NOT quiet after {patience_s:.0f} s: {left} jobs are open")
    return None
