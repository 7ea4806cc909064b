"""A picture of the figures: for each case with peers, a bar per way. SVG, so that it needs no library to draw."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, select_autoescape

from bench.budgets import OURS

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "bench.svg"
_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent), autoescape=select_autoescape(["j2"]), trim_blocks=True
)


def draw(results: Mapping[str, Any], path: Path) -> None:
    """Write the picture of a file's figures."""
    path.parent.mkdir(parents=True, exist_ok=True)
    groups = list(bars(results["cases"]))
    path.write_text(_TEMPLATES.get_template("plot.svg.j2").render(groups=groups, machine=results["machine"]))


def bars(cases: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Give, for each case in which somebody else has a rate, its title and each way's name, rate, spread and length.

    Lengths are shares of the longest bar.
    """
    for key, case in cases.items():
        rates = {way: figures["per_s"] for way, figures in case["ways"].items() if "per_s" in figures}
        if OURS in rates and len(rates) > 1 and key[0] in "abcdh":
            most = max(rate["max"] for rate in rates.values())
            rows = [{"way": way, "ours": way == OURS, "most": most, **rate} for way, rate in rates.items()]
            yield {"title": f"{case['title']} ({case['count']:,} {case['unit']})", "unit": case["unit"], "rows": rows}
