"""Each case that needs nothing but our own servers runs, at its least count, and gives its figures."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

import pytest

from bench.cases import CASES
from bench.frame import Unmeasured, run
from bench.lab import Lab

# Not here: g needs Postfix and root; i and j start a whole stack, which tests/local does.
FIGURES = {
    "a1": ("per_s", "p99_ms", "rabbitmq.cpu_s"),
    "a2": ("per_s", "p99_ms"),
    "b1": ("per_s", "worker.cpu_s", "worker.largest_mb"),
    "c": ("per_s", "p50_ms", "p99_ms", "worker.cpu_s"),
    "d": ("per_s", "postgres.cpu_s"),
    "e": ("per_s", "scheduler.cpu_s"),
    "f0": ("p50_ms", "p99_ms", "max_ms", "early"),
    "f1": ("p50_ms", "p99_ms", "max_ms", "early"),
    "h": ("per_s", "worker.cpu_s"),
    "k": ("p50_ms",),
    "l": ("p95_ms", "jobs.p95_ms", "console.cpu_s"),
}
pytestmark = pytest.mark.xdist_group("bench")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Lab(tmp_path_factory.mktemp("bench"), limit_s=60) as lab:
        yield lab


@pytest.mark.parametrize("key", FIGURES)
def test_a_case_gives_its_figures_and_leaves_the_next_its_environment(
    key: str, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.cases.pages.LOOKS", 2)
    before = dict(os.environ)
    case = replace(CASES[key], ways=CASES[key].ways[:1])

    found = run(case, lab, scale=1e-9, runs=1, report=lambda _: None)

    figures = found["ways"]["giftcard-jobs"]
    assert all(figures[name]["median"] >= 0 for name in FIGURES[key]), figures
    assert dict(os.environ) == before


def test_a_worker_that_ends_leaves_no_figure_but_its_last_words(lab: Lab) -> None:
    with lab.place() as place:
        place.worker("bench.no_such_module")

        with pytest.raises(Unmeasured, match="no_such_module"):
            place.noted(2)


def test_every_case_says_what_it_counts_and_what_it_is_compared_with() -> None:
    assert {key[0] for key in CASES} == set("abcdefghijklm")
    assert all(case.unit and case.title and (case.ways or case.whole) for case in CASES.values())
    assert {way.name for way in CASES["c"].ways} >= {"BullMQ + Prisma", "BullMQ + pg", "Celery", "stock Dramatiq"}
