"""The catalogue of failure modes is whole, and every test that it names exists."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
HOPS = {"P": 4, "S": 8, "B": 5, "W": 13, "O": 5}


def test_every_failure_mode_names_a_test_that_exists() -> None:
    rows = re.findall(r"^\| ([PSBWO]\d+) \|.*\| `(test_\w+)` \|$", (ROOT / "docs/failure_modes.md").read_text(), re.M)
    tests = {
        name for file in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)", file.read_text())
    }

    assert [mode for mode, _ in rows] == [f"{hop}{n}" for hop, last in HOPS.items() for n in range(1, last + 1)]
    assert {test for _, test in rows} - tests == set()
