"""A minute and a half of chaos: nothing is lost, and no text is doubled."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from deploy.local import state

SEED = 7


@pytest.mark.timeout(900)
@pytest.mark.xdist_group("heavy")
def test_nothing_is_lost_while_everything_goes_wrong() -> None:
    report = state.LOCAL / "chaos" / str(SEED) / "report.json"
    report.unlink(missing_ok=True)

    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos", "--short", "--seed", str(SEED), "--patience", "300"],
        env={name: value for name, value in os.environ.items() if not name.startswith("JOBS_")},
        cwd=state.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert report.exists(), done.stdout[-3000:] + done.stderr[-3000:]
    found = json.loads(report.read_text())
    # Whether the stock design meets its hour in so short a time is chance: `make chaos` insists on it.
    assert [why for why in found["failed"] if "control" not in why] == [], done.stdout[-6000:]
