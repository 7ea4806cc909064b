"""What watches the system: alerts, dashboards, and how both get to Kubernetes and to Compose.

python -m deploy.monitoring    writes what is made of deploy/monitoring anew; tests compare
"""

from __future__ import annotations

from textwrap import indent

from deploy.local.state import ROOT
from deploy.monitoring.boards import BOARDS

COMPONENT = "deploy/k8s/components/monitoring"
MANIFEST = f"{COMPONENT}/rules.yaml"
DASHBOARDS = f"{COMPONENT}/dashboards"

_HEAD = """\
# Made of deploy/monitoring/alerts.yml by `python -m deploy.monitoring`.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: giftcards
spec:
"""


def files() -> dict[str, str]:
    """Give every file that is made here, by its path from the root."""
    boards = {f"{DASHBOARDS}/{board.uid.removeprefix('giftcards-')}.json": board.as_json() for board in BOARDS}
    return {MANIFEST: rule_manifest(), **boards}


def rule_manifest() -> str:
    """Give the alerts as the resource that Prometheus Operator takes."""
    rules = (ROOT / "deploy/monitoring/alerts.yml").read_text()
    return _HEAD + indent(rules[rules.index("groups:") :], "  ")
