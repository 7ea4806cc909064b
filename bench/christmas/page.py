"""What docs/scaling.md says in figures: what one replica can do, as measured, and the simulated day made of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from math import ceil
from pathlib import Path
from typing import Any

from bench.budgets import AMONG, OURS, median
from bench.christmas import picture
from bench.christmas.day import Day, Pace, people, simulate, wishes
from bench.frame import percentile
from bench.page import put
from shared.options import QueueSettings

PAGE = Path(__file__).parents[2] / "docs" / "scaling.md"
BEGIN = "<!-- capacity: written by make bench -->\n"
BEGIN_DAY = "<!-- the day: written by make bench -->\n"
DELIVERIES = 1_000_000
MAIL = "STARTTLS (the default): one open connection"

# What one replica did, from the case that measured it: (what, unit, case, way, figure).
MEASURED = [
    ("a worker process: jobs that do nothing, kept as rows", "jobs/s", "b1", OURS, "per_s"),
    ("a worker process: cards expired, one message each", "cards/s", "c", OURS, "per_s"),
    ("a worker process: cards expired by the sweep", "cards/s", "d", OURS, "per_s"),
    ("a worker process: jobs started that are all due at one instant", "jobs/s", "f3", OURS, "per_s"),
    ("a worker process: tokens deleted", "tokens/s", "h", OURS, "per_s"),
    ("a scheduler: due rows relayed", "rows/s", "e", OURS, "per_s"),
    ("a scheduler: due rows relayed, many not due beside them", "rows/s", "e", AMONG, "per_s"),
    ("an open connection to a mail relay", "mails/s", "g", MAIL, "per_s"),
    ("memory of a scheduler", "MB", "i", OURS, "scheduler.peak_mb"),
    ("memory of a worker of delivery, with its supervisor", "MB", "i", OURS, "delivery.peak_mb"),
]


@dataclass(frozen=True, slots=True)
class Plan:
    """One way to meet the day: mails a second, hand-offs a second if they have a rate, one zone instead of all."""

    title: str
    limit: int
    zone: str | None = None
    rate: int | None = None


PLANS = [
    Plan("all zones, provider limit 100/s", 100),
    Plan("all zones, the default rates of 10/s left as they are", 10, rate=10),
    Plan("all zones, provider limit 500/s", 500),
    Plan("all in Europe/Berlin, provider limit 100/s", 100, "Europe/Berlin"),
]


def write(results: Mapping[str, Any]) -> None:
    """Put both tables between their marks, and draw the picture; nothing, while a case of theirs is not measured."""
    if None in (median(results["cases"], key, way, figure) for _, _, key, way, figure in MEASURED):
        return
    put(PAGE, BEGIN, capacity(results["cases"]))
    put(PAGE, BEGIN_DAY, days(results["cases"]))
    picture.PICTURE.write_text(drawn(results["cases"]))


def capacity(cases: Mapping[str, Any]) -> str:
    """Give what one replica did, as a Markdown table, each with the scale and the load that it was measured at."""
    lines = ["| One of | did | Case | At |", "|---|---|---|---|"]
    for what, unit, key, way, figure in MEASURED:
        case = cases[key]
        at = f"{case['count']:,} {case['unit']}, load {case['load_before']}"
        lines.append(f"| {what} | {case['ways'][way][figure]['median']:,.0f} {unit} | {key} | {at} |")
    return "\n".join(lines) + "\n"


def processes(cases: Mapping[str, Any], limit: int) -> tuple[int, int]:
    """Give how many worker processes hand off, and how many mail, ``limit`` a second: the slower of job and mail."""
    jobs, mails = cases["b1"]["ways"][OURS]["per_s"]["median"], cases["g"]["ways"][MAIL]["per_s"]["median"]
    return ceil(limit / jobs), ceil(limit / min(jobs, mails))


def pace(cases: Mapping[str, Any], plan: Plan) -> Pace:
    """Give what one scheduler and as many workers as the plan needs can do; the depth is the default."""
    handing, _ = processes(cases, plan.limit)
    relay = cases["e"]["ways"][AMONG]["per_s"]["median"]
    handoff = handing * cases["b1"]["ways"][OURS]["per_s"]["median"]
    return Pace(int(relay), int(min(handoff, plan.rate or handoff)), plan.limit, QueueSettings().depth)


def live(plan: Plan, cases: Mapping[str, Any], deliveries: int = DELIVERIES) -> tuple[datetime, Day]:
    """Give when a plan's first delivery is due, and the day from then on."""
    due = wishes(deliveries, {plan.zone: 1.0} if plan.zone else people())
    first = min(due)
    seconds = {int((at - first).total_seconds()): number for at, number in due.items()}
    return first, simulate(seconds, pace(cases, plan))


def drawn(cases: Mapping[str, Any]) -> str:
    """Give the picture of the first plan's day."""
    first, day = live(PLANS[0], cases)
    return picture.draw(day, first)


def days(cases: Mapping[str, Any]) -> str:
    """Give every plan as a line of a Markdown table."""
    heads = (
        "| Plan | Processes: hand-off, mail | Most rows due in the table | Most in RabbitMQ | Late: p50 | p99 | max |"
    )
    return "\n".join([heads + " All sent after |", "|---" * 8 + "|", *_lines(cases)]) + "\n"


def _lines(cases: Mapping[str, Any]) -> Iterator[str]:
    for plan in PLANS:
        _, day = live(plan, cases)
        late = [_span(percentile(day.latest, share)) for share in (0.5, 0.99, 1)]
        most = [f"{max(getattr(moment, where) for moment in day.moments):,}" for where in ("table", "broker")]
        handing, mailing = processes(cases, plan.limit)
        cells = (plan.title, f"{handing}, {mailing}", *most, *late, _span(len(day.moments)))
        yield f"| {' | '.join(cells)} |"


def _span(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min"
