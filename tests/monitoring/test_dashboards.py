"""Every panel shows something: its queries are asked of a real Prometheus on a real stack with traffic."""

from __future__ import annotations

import json
from typing import Any

import promql_parser
import pytest

from deploy import monitoring
from deploy.local.state import ROOT
from deploy.monitoring.boards import BOARDS
from tests.monitoring.site import GRAFANA, Prometheus, figures
from tests.monitoring.test_alerts import ALERTS

pytestmark = pytest.mark.xdist_group("heavy")

PANELS = {f"{board.uid}: {panel.title}": panel for board in BOARDS for panel in board.panels}


@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", PANELS)
def test_every_panel_has_data(prometheus: Prometheus, name: str, eventually: Any) -> None:
    for query in PANELS[name].queries.values():
        eventually(lambda query=query: figures(prometheus.series(query)), within_s=150)


@pytest.mark.timeout(400)
def test_what_is_shown_is_what_happened(prometheus: Prometheus) -> None:
    accepted = figures(prometheus.series('sum(delivery_attempts_total{result="accepted"})'))
    outcomes = {one["metric"]["outcome"] for one in prometheus.series("sum by (outcome) (jobs_total)")}

    assert max(accepted) > 200
    assert {"succeeded", "skipped", "rejected"} <= outcomes


def test_grafana_gets_what_is_written_here() -> None:
    for path, text in monitoring.files().items():
        assert (ROOT / path).read_text() == text, f"{path} is old: python -m deploy.monitoring"


def test_dashboards_can_be_linked_to() -> None:
    boards = [json.loads(path.read_text()) for path in (ROOT / monitoring.DASHBOARDS).glob("*.json")]

    assert {board["uid"] for board in boards} == {board.uid for board in BOARDS}
    for board in boards:
        assert [variable["name"] for variable in board["templating"]["list"]] == ["datasource", "queue"]
        assert {link["title"] for link in board["links"]} == {"Dashboards", "Runbooks", "Console"}
        assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


@pytest.mark.parametrize("name", PANELS)
def test_a_panel_is_promql_and_leads_to_a_runbook_that_exists(name: str) -> None:
    for query in PANELS[name].queries.values():
        for variable, value in GRAFANA.items():
            query = query.replace(variable, value)
        promql_parser.parse(query)

    assert PANELS[name].alert in {"", *ALERTS}
