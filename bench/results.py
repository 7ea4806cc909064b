"""Where figures are kept, with the machine and the versions that they were measured on."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.frame import middle, percentile
from bench.peers import versions

LATEST = Path(__file__).parent / "results" / "latest.json"
PACKAGES = ("dramatiq", "pika", "psycopg", "pydantic")

__all__ = ["LATEST", "keep", "machine", "middle", "percentile", "read"]


def read(path: Path = LATEST) -> dict[str, Any]:
    """Give the figures of a file, with no cases if there is none."""
    return dict(json.loads(path.read_text())) if path.exists() else {"machine": {}, "cases": {}}


def keep(figures: dict[str, dict[str, Any]], here: dict[str, Any], path: Path = LATEST) -> None:
    """Put the figures of some cases beside those of the others, if these are of the same machine and versions."""
    known = read(path)
    others = known["cases"] if known.get("machine") == here else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    cases = dict(sorted({**others, **figures}.items()))
    path.write_text(json.dumps({"machine": here, "cases": cases}, indent=1) + "\n")


def machine(servers: Mapping[str, str]) -> dict[str, Any]:
    """Give what figures depend on, and nothing that names the machine.

    Parameters:
        servers: versions of PostgreSQL and RabbitMQ.
    """
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "kernel": platform.release(),
        "versions": {
            "python": platform.python_version(),
            **servers,
            **{package: version(package) for package in PACKAGES},
            **versions.installed(),
        },
    }


def _cpu() -> str:
    lines: Iterable[str] = Path("/proc/cpuinfo").read_text().splitlines()
    names = (line.partition(":")[2].strip() for line in lines if re.match(r"(model name|Hardware)\s*:", line))
    return next(names, platform.machine())
