"""The day as a picture: what waits where above, how late below. SVG, so that it needs no library to draw."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, select_autoescape

from bench.christmas.day import Day, Moment

PICTURE = Path(__file__).parents[2] / "docs" / "images" / "christmas.svg"
LEFT, WIDTH, HEIGHT = 70, 700, 170
_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent), autoescape=select_autoescape(["j2"]), trim_blocks=True
)


def draw(day: Day, first: datetime) -> str:
    """Give the picture of a day whose first delivery is due at ``first``: each minute's worst."""
    minutes = [_worst(day.moments[start : start + 60]) for start in range(0, len(day.moments), 60)]
    table, broker, late = (list(line) for line in zip(*minutes, strict=True))
    most, latest = max(table), max(late)
    panels = [
        _panel(60, "jobs that wait", f"{most:,}", [("due rows in the table", table), ("RabbitMQ", broker)], most),
        _panel(290, "minutes late", f"{latest / 60:.0f}", [("sent in this minute, the last", late)], latest),
    ]
    given = {"panels": panels, "hours": list(_hours(first, len(minutes))), "left": LEFT, "width": WIDTH}
    return _TEMPLATES.get_template("picture.svg.j2").render(given, height=HEIGHT)


def _worst(minute: Sequence[Moment]) -> tuple[int, int, int]:
    late = max((moment.late_s for moment in minute if moment.late_s is not None), default=0)
    return max(moment.table for moment in minute), max(moment.broker for moment in minute), late


def _panel(top: int, title: str, most: str, lines: list[tuple[str, list[int]]], highest: int) -> dict[str, Any]:
    drawn = [{"name": name, "points": _points(top, values, highest)} for name, values in lines]
    return {"top": top, "title": title, "most": most, "lines": drawn}


def _points(top: int, values: list[int], highest: int) -> str:
    across, up = WIDTH / max(1, len(values) - 1), HEIGHT / max(1, highest)
    return " ".join(f"{LEFT + n * across:.1f},{top + HEIGHT - value * up:.1f}" for n, value in enumerate(values))


def _hours(first: datetime, minutes: int) -> Iterator[tuple[float, str]]:
    """Give each third hour's place and name, in UTC."""
    for hour in range(0, minutes // 60 + 1, 3):
        at = first + timedelta(hours=hour)
        yield round(LEFT + WIDTH * hour * 60 / max(1, minutes - 1), 1), f"{at:%H:%M}"
