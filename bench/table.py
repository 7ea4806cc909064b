"""The figures as a page in the terminal: each case with all its ways, then the budgets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.budgets import OURS, judged

TIMES = ("p50_ms", "p99_ms", "max_ms")
SHOWN = (*TIMES, "per_s", "cpu_s", ".peak_mb", ".largest_mb", ".processes", ".cpu_s_an_hour")


def show(console: Console, results: Mapping[str, Any]) -> None:
    """Print all figures of a file."""
    about = results["machine"]
    console.print(f"{about['cpu']}, {about['cores']} cores, {about['memory_gb']} GB, Linux {about['kernel']}")
    console.print(", ".join(f"{name} {number}" for name, number in about["versions"].items()), style="dim")
    for key, case in results["cases"].items():
        console.print(_case(key, case))
    console.print(_budgets(results["cases"]))


def _case(key: str, case: Mapping[str, Any]) -> Table:
    title = f"{key}  {case['title']}: {case['count']:,} {case['unit']}, median of {case['runs']}"
    scale = "" if case["scale"] == 1 else f", scale {case['scale']:g}"
    scale += f", load before {case['load_before']}"
    table = Table(title=title + scale, title_justify="left", title_style="bold", expand=False)
    for head in (
        "",
        f"{case['unit']}/s (least–most)",
        "ours ÷",
        "p50 ms",
        "p99 ms",
        "max ms",
        "CPU s",
        "peak MB",
        "besides",
    ):
        table.add_column(head)
    for way, figures in case["ways"].items():
        table.add_row(way, *_row(figures, case["ways"]))
    return table


def _row(figures: Mapping[str, Any], ways: Mapping[str, Any]) -> list[str]:
    if "skipped" in figures:
        return [f"skipped: {figures['skipped']}"]
    speed, mine = figures.get("per_s"), ways.get(OURS, {}).get("per_s")
    ratio = f"{mine['median'] / speed['median']:.2f}" if speed and mine and speed != mine else ""
    rate = f"{speed['median']:,.0f} ({speed['min']:,.0f}–{speed['max']:,.0f})" if speed else ""
    times = [f"{figures[name]['median']:,.1f}" if name in figures else "" for name in TIMES]
    besides = (f"{name} {figures[name]['median']:,.4g}" for name in figures if not name.endswith(SHOWN))
    return [
        rate,
        ratio,
        *times,
        _by_role(figures, "cpu_s", ".1f"),
        _by_role(figures, "peak_mb", ".0f"),
        ", ".join(besides),
    ]


def _by_role(figures: Mapping[str, Any], part: str, form: str) -> str:
    found = {name.rpartition(".")[0]: value["median"] for name, value in figures.items() if name.endswith(f".{part}")}
    return ", ".join(f"{role} {value:{form}}" for role, value in found.items() if value >= 0.05)


def _budgets(cases: Mapping[str, Any]) -> Table:
    table = Table("budget", "wanted", "measured", "", title="budgets", title_justify="left", title_style="bold")
    for budget, value in judged(cases):
        wanted = f"at least {budget.least:g}" if budget.least is not None else f"at most {budget.most:g}"
        word = "not measured" if value is None else "[green]met" if budget.met(value) else "[red]gap"
        table.add_row(budget.says, wanted, "" if value is None else f"{value:,.2f}", word)
    return table
