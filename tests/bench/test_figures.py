"""Figures are medians with their spread, kept with the machine they are of, and shown as they are kept."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from rich.console import Console

from bench import budgets, plot, results, table
from bench import page as readme
from bench.cost import watched
from bench.frame import Case, Sample, Unmeasured, Way, middle, percentile, run, summary
from bench.journal import Journal, count, read

# Spins until it has used 0.3 s, in a child of the child that is watched, then waits to be ended.
BUSY = "import time\nwhile time.process_time() < 0.3: pass\nprint('spent', flush=True)\ntime.sleep(600)"
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BUSY!r}])"


def case(*ways: Way) -> Case:
    return Case("x", "what is measured", "jobs", 100, ways)


def measured(**per_s: float) -> dict[str, Any]:
    return {way: {"per_s": middle([value])} for way, value in per_s.items()}


@pytest.mark.parametrize(("share", "expected"), [(0, 1), (0.5, 51), (0.99, 100), (1, 100)])
def test_a_percentile_is_a_value_that_was_measured(share: float, expected: float) -> None:
    assert percentile(list(range(100, 0, -1)), share) == expected


def test_a_single_value_is_all_of_its_percentiles() -> None:
    assert [percentile([7.0], share) for share in (0, 0.5, 0.99)] == [7.0, 7.0, 7.0]


def test_runs_become_median_least_and_most_and_one_slow_run_does_not_move_the_median() -> None:
    assert middle([100, 101, 3]) == {"median": 100, "min": 3, "max": 101}


def test_a_figure_that_one_run_lacks_is_left_out_rather_than_guessed() -> None:
    found = summary([Sample(10, 2, [1.0]), Sample(10, 1)])

    assert found == {"per_s": {"median": 7.5, "min": 5, "max": 10}, "ops": {"median": 10, "min": 10, "max": 10}}


def test_ways_run_by_turns_and_one_that_fails_or_is_missing_says_why_while_the_others_go_on() -> None:
    turns: list[str] = []

    def fails(*_: object) -> Sample:
        raise Unmeasured("its worker ended")

    def takes(name: str, seconds: float, _: object, ops: int) -> Sample:
        turns.append(name)
        return Sample(ops, seconds)

    ways = (
        Way("ours", partial(takes, "ours", 1)),
        Way("peer", partial(takes, "peer", 2)),
        Way("broken", fails),
        Way("absent", fails, lambda: "not installed: type 'make bench-peers'"),
    )

    found = run(case(*ways), None, scale=0.5, runs=2, report=lambda _: None)  # type: ignore[arg-type]

    assert turns == ["ours", "peer", "ours", "peer"]
    assert (found["count"], found["ways"]["ours"]["per_s"]["median"]) == (50, 50)
    assert found["ways"]["broken"] == {"skipped": "its worker ended"}
    assert "make bench-peers" in found["ways"]["absent"]["skipped"]


def test_figures_of_another_machine_or_version_are_not_kept_beside_new_ones(tmp_path: Path) -> None:
    path = tmp_path / "latest.json"
    results.keep({"a": {"of": "old"}}, {"versions": {"pika": "1"}}, path)
    results.keep({"b": {"of": "new"}}, {"versions": {"pika": "1"}}, path)
    assert set(results.read(path)["cases"]) == {"a", "b"}

    results.keep({"c": {"of": "new"}}, {"versions": {"pika": "2"}}, path)

    assert set(results.read(path)["cases"]) == {"c"}


def test_a_budget_is_a_ratio_of_one_file_and_unmeasured_while_a_part_is_missing() -> None:
    budget = budgets.Budget("twice as fast", "c", over=("c", "peer"), least=2)
    cases = {"c": {"ways": measured(**{budgets.OURS: 90, "peer": 50})}}

    value = budget.value(cases)

    assert value is not None
    assert math.isclose(value, 1.8)
    assert not budget.met(value)
    assert budget.met(2)
    assert budget.value({"c": {"ways": measured(peer=50)}}) is None
    assert budget.value({"c": {"ways": {"peer": {"skipped": "missing"}} | measured(**{budgets.OURS: 90})}}) is None


def test_table_and_picture_show_what_the_file_says(tmp_path: Path) -> None:
    cases = {
        "c": {
            "title": "cards expired",
            "unit": "cards",
            "count": 400,
            "scale": 0.02,
            "runs": 3,
            "load_before": 0.4,
            "ways": measured(**{budgets.OURS: 1240, "BullMQ + Prisma": 400})
            | {"Celery": {"skipped": "no Celery here"}},
        }
    }
    file = {
        "machine": {"cpu": "Any", "cores": 2, "memory_gb": 4, "kernel": "6", "versions": {"pika": "1"}},
        "cases": cases,
    }
    page, picture = StringIO(), tmp_path / "bench.svg"

    table.show(Console(file=page, width=220), file)
    plot.draw(file, picture)

    for words in (
        "1,240 (1,240–1,240)",
        "3.10",
        "no Celery here",
        "400 cards, median of 3, scale 0.02, load before 0.4",
        "not measured",
    ):
        assert words in page.getvalue()
    drawn = "".join(ElementTree.parse(picture).getroot().itertext())  # noqa: S314  # our own picture
    assert "1,240 cards/s" in drawn
    assert "BullMQ + Prisma" in drawn


def test_the_page_gets_the_budgets_between_its_marks_and_keeps_all_else(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text(f"before\n{readme.BEGIN}old{readme.END}\nafter\n")
    found = {"title": "", "unit": "cards", "count": 400, "scale": 0.02, "runs": 3, "load_before": 0.4}
    ways = measured(**{budgets.OURS: 90, "BullMQ + pg": 50})

    readme.write({"cases": {"c": found | {"ways": ways}}}, page)
    readme.write({"cases": {"c": found | {"ways": ways}}}, page)

    text = page.read_text()
    assert "over BullMQ + pg | at least 2 | 1.80 | **gap** | 400 cards, load 0.4 |" in text
    assert "over BullMQ + Prisma | at least 3 | not measured |" in text
    assert (text.startswith("before\n<!--"), text.endswith("-->\nafter\n"), text.count("old")) == (True, True, 0)


def test_the_pages_figures_are_those_of_the_file() -> None:
    assert readme.BEGIN + readme.budgets(results.read()) in readme.README.read_text()


def test_the_committed_figures_can_be_shown_and_say_their_scale() -> None:
    page = StringIO()

    table.show(Console(file=page, width=220), results.read())

    assert all("scale" in found for found in json.loads(results.LATEST.read_text())["cases"].values())
    assert "budgets" in page.getvalue()


def test_a_journal_gives_back_both_times_of_each_job(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    assert count(path) == 0

    journal = Journal(path)
    journal.note(1.25, 2.5)
    journal.note(3.0, 4.0)

    assert (count(path), read(path)) == (2, [(1.25, 2.5), (3.0, 4.0)])


def test_the_cpu_of_children_that_have_ended_counts_and_what_was_before_does_not() -> None:
    spend = "import time\nwhile time.process_time() < 0.3: pass"
    child = f"subprocess.run([sys.executable, '-c', {spend!r}])"
    twice = f"import subprocess, sys\nfor _ in 'ab': sys.stdin.readline(); {child}; print(flush=True)\nsys.stdin.read()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", twice], text=True, bufsize=1, **pipes) as parent:  # type: ignore[call-overload]
        parent.stdin.write("go\n")
        parent.stdout.readline()
        with watched({"worker": parent.pid}) as used:
            parent.stdin.write("go\n")
            parent.stdout.readline()

    assert 0.25 <= used["worker"].cpu_s < 0.6


def test_the_cpu_and_memory_of_children_count_for_whoever_started_them() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, start_new_session=True) as parent:
        with watched({"worker": parent.pid}) as used:
            assert parent.stdout is not None
            assert parent.stdout.readline() == b"spent\n"
        os.killpg(parent.pid, signal.SIGKILL)

    assert used["worker"].cpu_s >= 0.25
    assert used["worker"].processes == 2
    assert used["worker"].peak_mb > used["worker"].largest_mb > 3
