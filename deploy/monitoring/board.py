"""What a Grafana dashboard is made of, and the JSON that Grafana reads."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

PAGES = "https://git.example.com/giftcard-jobs/blob/main/docs"
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
_COLUMNS, _WIDTH, _HEIGHT = 24, 8, 8


@dataclass(frozen=True)
class Panel:
    """One picture: queries in PromQL with their legends, and the runbook of the alert that looks at the same.

    Parameters:
        unit: Grafana's name of it, such as ``s``, ``percentunit``, ``reqps``, ``bytes``.
        stat: show the last value in figures instead of lines.
        alert: which alert's runbook it leads to; empty: none.
    """

    title: str
    queries: dict[str, str]
    unit: str = "short"
    stat: bool = False
    alert: str = ""
    says: str = ""


@dataclass(frozen=True)
class Board:
    """A dashboard; its uid stays, since links go by it."""

    uid: str
    title: str
    panels: tuple[Panel, ...]

    def as_json(self) -> str:
        """Give what Grafana reads, always the same for the same board."""
        board = {
            "uid": self.uid,
            "title": self.title,
            "tags": ["giftcard-jobs"],
            "schemaVersion": 39,
            "editable": False,
            "refresh": "30s",
            "time": {"from": "now-6h", "to": "now"},
            "templating": {"list": [_datasource(), _queue()]},
            "links": [
                {"type": "dashboards", "title": "Dashboards", "tags": ["giftcard-jobs"], "asDropdown": True},
                {"type": "link", "title": "Runbooks", "url": f"{PAGES}/runbooks.md", "targetBlank": True},
                {
                    "type": "link",
                    "title": "Console",
                    "url": f"{PAGES}/operations.md#what-is-going-on",
                    "targetBlank": True,
                },
            ],
            "panels": [_panel(panel, number) for number, panel in enumerate(self.panels)],
        }
        return json.dumps(board, indent=1) + "\n"


def _panel(panel: Panel, number: int) -> dict[str, Any]:
    row, column = divmod(number * _WIDTH, _COLUMNS)
    link = {"title": "Runbook", "url": f"{PAGES}/runbooks.md#{panel.alert.lower()}", "targetBlank": True}
    return {
        "id": number + 1,
        "type": "stat" if panel.stat else "timeseries",
        "title": panel.title,
        "description": panel.says,
        "datasource": DATASOURCE,
        "gridPos": {"x": column, "y": row * _HEIGHT, "w": _WIDTH, "h": _HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "links": [link] if panel.alert else [],
        "targets": [
            {"refId": chr(ord("A") + place), "datasource": DATASOURCE, "expr": query, "legendFormat": legend}
            for place, (legend, query) in enumerate(panel.queries.items())
        ],
    }


def _datasource() -> dict[str, Any]:
    return {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"}


def _queue() -> dict[str, Any]:
    return {
        "name": "queue",
        "type": "query",
        "datasource": DATASOURCE,
        "query": "label_values(queue_jobs, queue)",
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }
