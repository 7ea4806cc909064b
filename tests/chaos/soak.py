"""A soak: a twentieth of the intensity for hours, and what has grown meanwhile."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deploy.local import management
from tests.chaos.nemeses import NEMESES
from tests.chaos.shop import PER_S, Front
from tests.chaos.site import Site

SHARE = 1 / 20
NEMESIS_EVERY_S = 240  # a nemesis and its recovery take about a twentieth of it
MEASURE_EVERY_S = 60
WARM_UP_S = 120  # imports, pools and caches have grown by then
MOST_GROWTH = 1.5
LARGEST = 8  # tables that are printed, of all that are measured
BLOAT = """
SELECT relname, n_live_tup AS live, n_dead_tup AS dead, pg_total_relation_size(relid) AS bytes
FROM pg_stat_user_tables WHERE schemaname = 'public' ORDER BY bytes DESC
"""
BACKENDS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'giftcard-jobs'"


def soak(site: Site, seed: int, hours: float, report: Callable[[str], None]) -> int:
    """Run for hours; print what memory, connections and tables were at the start and are at the end.

    Returns:
        The exit status: 1 when memory or connections have grown by more than half.
    """
    dice, front = random.Random(seed), Front(site, seed, per_s=PER_S * SHARE)
    front.open()
    try:
        time.sleep(min(WARM_UP_S, hours * 3600 / 4))
        first = measure(site)
        end, next_at = time.monotonic() + hours * 3600, time.monotonic() + NEMESIS_EVERY_S
        while time.monotonic() < end:
            time.sleep(min(MEASURE_EVERY_S, max(0.1, end - time.monotonic())))
            if time.monotonic() > next_at:
                name = dice.choice(list(NEMESES))
                report(f"{name}: {NEMESES[name].shoot(site, dice, 5)} hits")
                next_at += NEMESIS_EVERY_S
            report(_short(measure(site)))
        time.sleep(min(60, hours * 3600 / 10))
        return _compare(site, first, measure(site), report)
    finally:
        front.close()


def measure(site: Site) -> dict[str, Any]:
    """Give memory per service in MB, connections to both servers, and all tables, the largest first."""
    with site.connect() as connection:
        tables = connection.execute(BLOAT).fetchall()
        backends = connection.execute(BACKENDS).fetchone() or {}
    return {
        "memory": {program.name: _memory_mb(site.pid(program.name)) for program in site.programs},
        "backends": backends["count"],
        "broker connections": len(management.call(site.api, "GET", "connections")),
        "tables": {row["relname"]: {k: row[k] for k in ("live", "dead", "bytes")} for row in tables},
    }


def _memory_mb(group: int) -> int:
    """Add up what the processes of a group hold in memory."""
    total = 0
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            try:
                if int((place / "stat").read_text().rpartition(")")[2].split()[2]) == group:
                    total += int((place / "statm").read_text().split()[1]) * 4096
            except OSError:  # it has just ended
                continue
    return total // 2**20 if group else 0


def _short(now: dict[str, Any]) -> str:
    memory = sum(now["memory"].values())
    return f"{memory} MB, {now['backends']} backends, {now['broker connections']} broker connections"


def _compare(site: Site, first: dict[str, Any], last: dict[str, Any], report: Callable[[str], None]) -> int:
    (site.directory / "soak.json").write_text(json.dumps({"start": first, "end": last}, indent=2) + "\n")
    grown = []
    for name, was in first["memory"].items():
        report(f"{name:<12} {was} MB at the start, {last['memory'][name]} MB at the end")
        grown += [name] if was and last["memory"][name] > was * MOST_GROWTH else []
    for name in ("backends", "broker connections"):
        report(f"{name:<12} {first[name]} at the start, {last[name]} at the end")
        grown += [name] if last[name] > first[name] * MOST_GROWTH else []
    for name, table in list(last["tables"].items())[:LARGEST]:
        was, kb = (measured["tables"][name]["bytes"] // 1024 for measured in (first, last))
        report(f"{name:<12} {was} kB at the start, {kb} kB at the end: {table['live']} rows, {table['dead']} dead")
    for name in grown:
        report(f"GROWN by more than half: {name}")
    return 1 if grown else 0
