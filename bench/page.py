"""The budgets in README, written from the figures at the end of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.budgets import judged

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- figures: written by make bench -->\n", "<!-- end of figures -->"


def write(results: Mapping[str, Any], path: Path = README) -> None:
    """Put the budgets of a file between the two marks of a page."""
    put(path, BEGIN, budgets(results))


def put(path: Path, begin: str, text: str) -> None:
    """Put text between a mark of a page and the next end."""
    before, _, rest = path.read_text().partition(begin)
    path.write_text(before + begin + text + END + rest.partition(END)[2])


def budgets(results: Mapping[str, Any]) -> str:
    """Give the budgets as a Markdown table, each with the scale and the load that it was measured at."""
    lines = ["| Budget | Wanted | Measured | | At |", "|---|---|---|---|---|"]
    for budget, value in judged(results["cases"]):
        wanted = f"at least {budget.least:,g}" if budget.least is not None else f"at most {budget.most:,g}"
        word = "" if value is None else "met" if budget.met(value) else "**gap**"
        case = results["cases"].get(budget.case)
        at = f"{case['count']:,} {case['unit']}, load {case['load_before']}" if case and value is not None else ""
        measured = "not measured" if value is None else f"{value:,.2f}"
        lines.append(f"| {budget.says} | {wanted} | {measured} | {word} | {at} |")
    return "\n".join(lines) + "\n"
