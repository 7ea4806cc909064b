"""Write what is made of deploy/monitoring."""

from __future__ import annotations

from deploy import monitoring
from deploy.local.state import ROOT

if __name__ == "__main__":
    for path, text in monitoring.files().items():
        (ROOT / path).parent.mkdir(exist_ok=True)
        (ROOT / path).write_text(text)
