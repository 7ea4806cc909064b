"""Where figures are kept, with the machine and the versions that they were measured on."""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from statistics import median

LATEST = Path(__file__).parent / "results" / "latest.json"
PACKAGES = ("aiosmtpd", "cryptography", "dramatiq", "pika", "psycopg", "pydantic")


def keep(name: str, figures: dict[str, object]) -> Path:
    """Put a benchmark's figures beside those of the others. Returns the file."""
    known = json.loads(LATEST.read_text()) if LATEST.exists() else {}
    known[name] = {"machine": machine(), **figures}
    LATEST.parent.mkdir(exist_ok=True)
    LATEST.write_text(json.dumps(known, indent=2) + "\n")
    return LATEST.relative_to(Path.cwd()) if LATEST.is_relative_to(Path.cwd()) else LATEST


def machine() -> dict[str, object]:
    """Give what figures depend on, and nothing that names the machine."""
    return {
        "cpus": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {package: version(package) for package in PACKAGES},
    }


def middle(values: list[float]) -> dict[str, float]:
    """Give median, least and most of some runs."""
    return {"median": round(median(values), 4), "min": round(min(values), 4), "max": round(max(values), 4)}


def percentile(values: list[float], share: float) -> float:
    """Give the value below which a share of them lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
