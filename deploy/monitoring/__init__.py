"""What watches the system: alerts, dashboards, and how both get to Kubernetes and to Compose.

python -m deploy.monitoring    writes what is made of deploy/monitoring anew; tests compare
"""

from __future__ import annotations

from textwrap import indent

from deploy.local.state import ROOT

COMPONENT = "deploy/k8s/components/monitoring"
MANIFEST = f"{COMPONENT}/rules.yaml"

_HEAD = """\
# Made of deploy/monitoring/alerts.yml by `python -m deploy.monitoring`.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: giftcards
spec:
"""


def rule_manifest() -> str:
    """Give the alerts as the resource that Prometheus Operator takes."""
    rules = (ROOT / "deploy/monitoring/alerts.yml").read_text()
    return _HEAD + indent(rules[rules.index("groups:") :], "  ")
