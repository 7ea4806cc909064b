"""Draw every panel with real data, as Grafana would: ``python -m tests.monitoring.pictures``, into docs/dashboards.

Needs matplotlib besides: ``uv pip install --group pictures``.
"""

from __future__ import annotations

import re
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from matplotlib import dates, pyplot, ticker

from deploy.local.state import ROOT
from deploy.monitoring.board import Board, Panel
from deploy.monitoring.boards import BOARDS
from tests.monitoring.site import Prometheus, lived

INTO = ROOT / "docs/dashboards"
_COLUMNS = 3
_SETTLE_S = 20  # rates of the last acts
_STYLE = {"font.size": 7, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.3}


def draw(board: Board, prometheus: Prometheus) -> None:
    """Draw all panels of a dashboard into one picture."""
    rows = -(-len(board.panels) // _COLUMNS)
    figure, axes = pyplot.subplots(rows, _COLUMNS, figsize=(12, 2.3 * rows), squeeze=False, layout="constrained")
    figure.suptitle(board.title)
    for place in axes.flat:
        place.set_visible(False)
    for panel, place in zip(board.panels, axes.flat, strict=False):
        place.set_visible(True)
        _draw(panel, place, prometheus)
    figure.savefig(INTO / f"{board.uid.removeprefix('giftcards-')}.png", dpi=110)
    pyplot.close(figure)


def _draw(panel: Panel, place: Any, prometheus: Prometheus) -> None:
    place.set_title(f"{panel.title} ({panel.unit})" if panel.unit != "short" else panel.title)
    for legend, query in panel.queries.items():
        for series in prometheus.series(query):
            at = [datetime.fromtimestamp(moment).astimezone() for moment, _ in series["values"]]
            place.plot(at, [float(value) for _, value in series["values"]], label=_named(legend, series["metric"]))
    place.set_ylim(bottom=0)
    place.xaxis.set_major_formatter(dates.DateFormatter("%H:%M:%S"))
    place.xaxis.set_major_locator(ticker.MaxNLocator(4))
    lines = place.get_legend_handles_labels()[1]
    if 0 < len(lines) <= 10:
        place.legend(fontsize=5, loc="best")


def _named(legend: str, labels: dict[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], "none"), legend)


def main() -> None:
    """Let the cards live, and draw."""
    INTO.mkdir(exist_ok=True)
    pyplot.rcParams.update(_STYLE)
    with tempfile.TemporaryDirectory() as directory, lived(Path(directory)) as prometheus:
        time.sleep(_SETTLE_S)
        for board in BOARDS:
            draw(board, prometheus)


if __name__ == "__main__":
    main()
