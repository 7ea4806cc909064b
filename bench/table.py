"""The figures as a page in the terminal: each case with all its ways, then the budgets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.budgets import OURS, judged

HEADS = ("ours ÷", "p50 ms", "p99 ms", "max ms", "CPU ms each", "CPU s", "peak MB", "besides")
TIMES = ("p50_ms", "p99_ms", "max_ms")
SHOWN = (*TIMES, "per_s", "ops", "cpu_ms_each", "cpu_s", ".peak_mb", ".largest_mb", ".processes", ".cpu_s_an_hour")


def show(console: Console, results: Mapping[str, Any]) -> None:
    """Print all figures of a file."""
    about = results["machine"]
    console.print(f"{about['cpu']}, {about['cores']} cores, {about['memory_gb']} GB, Linux {about['kernel']}")
    console.print(", ".join(f"{name} {number}" for name, number in about["versions"].items()), style="dim")
    for key, case in results["cases"].items():
        console.print(_title(key, case), style="bold")
        console.print(_case(case))
    console.print(_budgets(results["cases"]))


def _title(key: str, case: Mapping[str, Any]) -> str:
    scale = "" if case["scale"] == 1 else f", scale {case['scale']:g}"
    counted = f"{case['count']:,} {case['unit']}, median of {case['runs']}{scale}, load before {case['load_before']}"
    return f"{key}  {case['title']}: {counted}"


def _case(case: Mapping[str, Any]) -> Table:
    rows = [[way, *_row(figures, case)] for way, figures in case["ways"].items()]
    heads = ["", f"{case['unit']}/s (least–most)", *HEADS]
    told = [n for n in range(len(heads)) if any(row[n] for row in rows)]
    table = Table(*(heads[n] for n in told))
    for row in rows:
        table.add_row(*(row[n] for n in told))
    return table


def _row(figures: Mapping[str, Any], case: Mapping[str, Any]) -> list[str]:
    if "skipped" in figures:
        return [f"skipped: {figures['skipped']}", *[""] * len(HEADS)]
    besides = (f"{name} {figures[name]['median']:,.2f}" for name in figures if not name.endswith(SHOWN))
    cost = _by_role(figures, "cpu_s", ".1f"), _by_role(figures, "peak_mb", ".0f")
    times = [f"{figures[name]['median']:,.1f}" if name in figures else "" for name in (*TIMES, "cpu_ms_each")]
    return [*_rate(figures, case), *times, *cost, ", ".join(besides)]


def _rate(figures: Mapping[str, Any], case: Mapping[str, Any]) -> tuple[str, str]:
    """Give the rate with its spread, and how many times as fast ours is."""
    speed, mine = figures.get("per_s"), case["ways"].get(OURS, {}).get("per_s")
    if not speed:
        return "", ""
    done = figures.get("ops", {"median": case["count"]})["median"]
    cut = f", cut off after {done:,.0f}" if done < 0.95 * case["count"] else ""
    ratio = f"{mine['median'] / speed['median']:.2f}" if mine and speed != mine else ""
    return f"{speed['median']:,.0f} ({speed['min']:,.0f}–{speed['max']:,.0f}){cut}", ratio


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
