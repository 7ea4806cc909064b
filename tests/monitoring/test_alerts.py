"""Every alert fires when it should, keeps quiet when it should, and leads to a runbook that exists."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from deploy.local.state import ROOT
from tests.monitoring.cases import CASES, Case, Series
from tests.monitoring.programs import RULES, find

GROUPS: list[Any] = yaml.safe_load(RULES.read_text())["groups"]
ALERTS = {rule["alert"]: rule for group in GROUPS for rule in group["rules"] if "alert" in rule}
RUNBOOKS = (ROOT / "docs/runbooks.md").read_text()


def promtool(*arguments: object) -> None:
    done = subprocess.run([find("promtool"), *map(str, arguments)], capture_output=True, text=True, check=False)
    assert not done.returncode, done.stdout + done.stderr


def asked(alert: str, case: Case, series: Series, *, fires: bool) -> dict[str, Any]:
    """Write one of promtool's tests: is this alert among those that fire?"""
    return {
        "interval": case.step,
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": f'count(ALERTS{{alertname="{alert}",alertstate="firing"}}) or vector(0)',
                "eval_time": case.at,
                "exp_samples": [{"labels": "{}", "value": int(fires)}],
            }
        ],
    }


def test_prometheus_takes_the_rules() -> None:
    promtool("check", "rules", RULES)


def test_prometheus_takes_its_configuration_in_compose(tmp_path: Path) -> None:
    text = (ROOT / "deploy/compose/prometheus.yml").read_text()
    (tmp_path / "prometheus.yml").write_text(text.replace("/etc/prometheus/alerts.yml", str(RULES)))

    promtool("check", "config", tmp_path / "prometheus.yml")


def test_compose_scrapes_every_service() -> None:
    scraped = {
        job["job_name"]
        for job in yaml.safe_load((ROOT / "deploy/compose/prometheus.yml").read_text())["scrape_configs"]
    }

    assert scraped == {
        "expiry",
        "delivery",
        "cleanup",
        "webhooks",
        "console",
        "scheduler",
        "rabbitmq",
        "rabbitmq-queues",
    }


def test_every_alert_has_a_case() -> None:
    assert CASES.keys() == ALERTS.keys()


@pytest.mark.parametrize("alert", CASES)
def test_an_alert_fires_when_it_should_and_only_then(alert: str, tmp_path: Path) -> None:
    case = CASES[alert]
    tests = [asked(alert, case, case.fires, fires=True), asked(alert, case, case.quiet, fires=False)]
    file = tmp_path / "test.yml"
    order = [group["name"] for group in GROUPS]  # else it is any, and an alert may miss the ratio it is made of
    given = {"rule_files": [str(RULES)], "evaluation_interval": case.step, "group_eval_order": order, "tests": tests}
    file.write_text(yaml.safe_dump(given))

    promtool("test", "rules", file)


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_says_how_urgent_it_is_and_leads_to_its_runbook(alert: str) -> None:
    annotations = ALERTS[alert]["annotations"]

    assert ALERTS[alert]["labels"]["severity"] in ("page", "ticket")
    assert annotations["summary"]
    assert annotations["runbook_url"].endswith(f"docs/runbooks.md#{alert.lower()}")
    assert re.search(rf"^## {alert}$\n\n\*\*Means\*\*", RUNBOOKS, re.MULTILINE), f"docs/runbooks.md lacks {alert}"


def test_no_runbook_is_left_of_an_alert_that_is_gone() -> None:
    assert set(re.findall(r"^## (\w+)$", RUNBOOKS, re.MULTILINE)) == ALERTS.keys()


def test_every_expression_is_promql() -> None:
    for group in GROUPS:
        for rule in group["rules"]:
            promql_parser.parse(rule["expr"])
