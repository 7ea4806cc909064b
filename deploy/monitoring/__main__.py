"""Write what is made of deploy/monitoring."""

from __future__ import annotations

from deploy import monitoring
from deploy.local.state import ROOT

if __name__ == "__main__":
    (ROOT / monitoring.MANIFEST).write_text(monitoring.rule_manifest())
