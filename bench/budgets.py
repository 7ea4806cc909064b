"""The budgets of the design's section 9, held against what was measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

OURS = "giftcard-jobs"
AMONG = f"{OURS}, 50 times as many not due"
Figures = Mapping[str, Any]


@dataclass(frozen=True)
class Budget:
    """One line of it.

    Parameters:
        case, figure: what is judged; ``figure`` such as ``p99_ms`` or ``worker.largest_mb``.
        way: whose it is.
        over: case and way whose same figure it is divided by, None: it stands for itself.
        least, most: the bound, one of both.
    """

    says: str
    case: str
    figure: str = "per_s"
    way: str = OURS
    over: tuple[str, str] | None = None
    least: float | None = None
    most: float | None = None

    def value(self, cases: Figures) -> float | None:
        """Give what was measured, None if it was not."""
        mine = median(cases, self.case, self.way, self.figure)
        if self.over is None or mine is None:
            return mine
        other = median(cases, *self.over, self.figure)
        return mine / other if other else None

    def met(self, value: float) -> bool:
        """Say whether a value keeps it."""
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)


BUDGETS = [
    Budget("one expire message, over BullMQ + Prisma", "c", over=("c", "BullMQ + Prisma"), least=3),
    Budget("one expire message, over BullMQ + pg", "c", over=("c", "BullMQ + pg"), least=2),
    Budget("the sweep, over the seed's loop", "d", over=("d", "BullMQ + Prisma, cron loop"), least=20),
    Budget("the sweep, over the one bare statement", "d", over=("d", "one bare SQL statement"), least=0.5),
    Budget("due rows relayed a second", "e", least=8000),
    Budget("the same among many that are not due, over alone", "e", way=AMONG, over=("e", OURS), least=0.9),
    Budget("due to start at 200 a second, p99 in ms", "f2", "p99_ms", most=100),
    Budget("jobs that started early", "f2", "early", most=0),
    Budget("publish to start when idle, p99 in ms", "f0", "p99_ms", most=20),
    *(
        Budget(f"a process of {service} at work, MB", "i", f"{service}.largest_mb", most=120)
        for service in ("expiry", "delivery", "cleanup")
    ),
    Budget("the slowest page of the console, p95 in ms", "l", "p95_ms", most=200),
    Budget("import of the publisher, median in ms", "k", "p50_ms", most=150),
]


def judged(cases: Figures) -> Iterator[tuple[Budget, float | None]]:
    """Give each budget with what was measured."""
    for budget in BUDGETS:
        yield budget, budget.value(cases)


def median(cases: Figures, case: str, way: str, figure: str) -> float | None:
    """Give the median of a figure of one way, None if it was not measured."""
    found = cases.get(case, {}).get("ways", {}).get(way, {}).get(figure)
    return float(found["median"]) if found else None
