"""Where the bars and lines of a chart are: SVG that the server makes, so that no script has to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

WIDTH, HEIGHT = 360, 64
LEAST = 1.5  # what is not nothing is seen


def stacked(rows: Sequence[Mapping[str, Any]], parts: Sequence[str]) -> dict[str, Any]:
    """Stack a bar for each row: ``bars`` with ``x``, ``y``, ``width``, ``height``, their ``part`` and ``row``.

    ``top`` is the greatest sum, ``sum`` that of all.
    """
    sums = [sum(row[part] for part in parts) for row in rows]
    top, step = max([*sums, 1]), WIDTH / max(len(rows), 1)
    bars = []
    for n, row in enumerate(rows):
        y = float(HEIGHT)
        for part in parts:
            if row[part]:
                height = max(LEAST, HEIGHT * row[part] / top)
                y -= height
                place = {"x": n * step + step * 0.15, "y": max(0.0, y), "width": step * 0.7, "height": height}
                bars.append({name: round(value, 1) for name, value in place.items()} | {"part": part, "row": row})
    return {"bars": bars, "top": top, "sum": sum(sums)}


def line(rows: Sequence[Mapping[str, Any]], part: str, top: float) -> list[str]:
    """Give the points of a line, as SVG wants them: a new line after each row that has no value."""
    step, lines = WIDTH / max(len(rows), 1), list[str]()
    for there, run in groupby(enumerate(rows), key=lambda numbered: numbered[1][part] is not None):
        if there:
            points = [((n + 0.5) * step, HEIGHT - 2 - (HEIGHT - 4) * row[part] / top) for n, row in run]
            if len(points) == 1:  # one point would not be seen
                [(x, y)] = points
                points = [(x - step * 0.35, y), (x + step * 0.35, y)]
            lines.append(" ".join(f"{x:.1f},{y:.1f}" for x, y in points))
    return lines
