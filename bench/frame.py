"""A case, the ways that are compared in it, and how they are run: by turns, so that all meet the same machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from statistics import median
from typing import TYPE_CHECKING, Any

from bench.cost import Usage

if TYPE_CHECKING:
    from bench.lab import Lab


DRIVER = "bench"  # the role of this process, which is not part of what is measured


class Unmeasured(Exception):
    """Say why a way gave no figure; its line is skipped, and the others go on."""


@dataclass(frozen=True)
class Sample:
    """What one run found.

    Parameters:
        ops: how many were done.
        seconds: in which time.
        ms: how long each took, or how late each was, in milliseconds; may be empty.
        cost: by role of a process.
        more: other figures by name.
    """

    ops: int
    seconds: float
    ms: Sequence[float] = ()
    cost: Mapping[str, Usage] = field(default_factory=dict)
    more: Mapping[str, float] = field(default_factory=dict)

    def figures(self) -> dict[str, float]:
        """Give all by name: those of processes as ``worker.cpu_s``, the CPU of all but this one as ``cpu_ms_each``."""
        found = {"per_s": self.ops / self.seconds, "ops": self.ops} if self.ops and self.seconds else {}
        if self.ms:
            found |= {"p50_ms": percentile(self.ms, 0.5), "p99_ms": percentile(self.ms, 0.99), "max_ms": max(self.ms)}
        for role, used in self.cost.items():
            for name in ("cpu_s", "peak_mb", "largest_mb", "processes"):
                found[f"{role}.{name}"] = getattr(used, name)
        spent_s = sum(used.cpu_s for role, used in self.cost.items() if role != DRIVER)
        if self.ops and self.cost:
            found["cpu_ms_each"] = 1000 * spent_s / self.ops
        return found | dict(self.more)


@dataclass(frozen=True)
class Way:
    """One way to do a case's work: ours, or a peer's.

    Parameters:
        measure: runs it once with so many operations.
        missing: says why it cannot run here, None if it can.
    """

    name: str
    measure: Callable[[Lab, int], Sample]
    missing: Callable[[], str | None] = lambda: None


@dataclass(frozen=True)
class Case:
    """One thing that is measured.

    Parameters:
        key: its letter, as in ``--case c``.
        unit: what is counted, such as ``cards``.
        full: operations at ``--scale 1``.
        least: operations below which it would say nothing.
        whole: measures all of it by itself, given operations and runs, and gives its figures by way.
    """

    key: str
    title: str
    unit: str
    full: int
    ways: Sequence[Way]
    least: int = 10
    whole: Callable[[int, int], dict[str, Any]] | None = None

    def count(self, scale: float) -> int:
        """Give the operations of one run at a scale."""
        return max(self.least, round(self.full * scale))


def run(case: Case, lab: Lab, *, scale: float, runs: int, report: Callable[[str], None]) -> dict[str, Any]:
    """Run all ways of a case by turns, and give its figures: median, least and most of each."""
    count = case.count(scale)
    about = {"title": case.title, "unit": case.unit, "count": count, "scale": scale, "runs": runs}
    about["load_before"] = round(os.getloadavg()[0], 1)
    if case.whole:
        report(f"{case.key} {runs} runs")
        return about | {"ways": case.whole(count, runs)}
    skipped = {way.name: reason for way in case.ways if (reason := way.missing())}
    samples: dict[str, list[Sample]] = {way.name: [] for way in case.ways}
    for turn, way in product(range(runs), case.ways):
        report(f"{case.key} {way.name}, run {turn + 1} of {runs}")
        if way.name in skipped:
            continue
        try:
            samples[way.name].append(way.measure(lab, count))
        except Unmeasured as error:
            skipped[way.name] = str(error)
    figures = {name: {"skipped": skipped[name]} if name in skipped else summary(samples[name]) for name in samples}
    return about | {"ways": figures}


def summary(samples: Sequence[Sample]) -> dict[str, dict[str, float]]:
    """Give median, least and most of each figure that all samples have."""
    found = [sample.figures() for sample in samples]
    return {name: middle([row[name] for row in found]) for name in found[0] if all(name in row for row in found)}


def middle(values: Sequence[float]) -> dict[str, float]:
    """Give median, least and most of some runs."""
    return {"median": round(median(values), 4), "min": round(min(values), 4), "max": round(max(values), 4)}


def percentile(values: Sequence[float], share: float) -> float:
    """Give the value below which a share of them lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
