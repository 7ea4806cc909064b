"""The report as tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


def path(file: Path) -> str:
    """Give a path as it is typed from here."""
    return str(file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file)


def show(console: Console, found: dict[str, Any], file: Path) -> None:
    """Print what was asked for, what went wrong outside, and what was found."""
    console.print(_channels(found))
    console.print(_nemeses(found))
    console.print(_invariants(found))
    for phase, delay in found["due to accepted"].items():
        console.print(f"due to accepted, {phase}: p50 {delay['p50_s']} s, p99 {delay['p99_s']} s of {delay['n']}")
    burst = found["burst"]
    console.print(f"burst of {burst['cards']} drained in {burst['drained_s']} s: {burst['jobs_per_s']} jobs/s")
    for what in found["failed"]:
        console.print(f"[red]FAILED[/] {what}")
    verdict = "[red]not all is well[/]" if found["failed"] else "[green]nothing is lost[/]"
    console.print(f"seed {found['seed']}, {found['took_s']} s: {verdict}; all of it: {path(file)}")


def _table(*heads: str) -> Table:
    return Table(*heads, box=None, header_style="bold", pad_edge=False)


def _channels(found: dict[str, Any]) -> Table:
    words = list(found["channels"]["email"])
    table = _table("", *found["channels"], "control (stock)")
    control = found["control"] | {"duplicates": found["control"]["doubled"]}
    for word in words:
        mine = [str(figures[word]) for figures in found["channels"].values()]
        table.add_row(word, *mine, str(control.get(word, "")))
    return table


def _nemeses(found: dict[str, Any]) -> Table:
    table = _table("nemesis", "hits", "for", "recovered after")
    for one in found["nemeses"]:
        times = ["" if one[word] is None else f"{one[word]:.1f} s" for word in ("shot_s", "recovered_s")]
        table.add_row(one["name"], str(one["hits"]), *times)
    return table


def _invariants(found: dict[str, Any]) -> Table:
    table = _table("invariant", "violations")
    for name, count in found["invariants"].items():
        table.add_row(name, f"[red]{count}[/]" if count else "0")
    return table
