"""What it costs another team's process to import the wheel, each time in a fresh interpreter."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.results import middle

ROOT = Path(__file__).parents[1]
BUDGET_MS = 150
INTERPRETERS = 10  # fresh ones to one operation of other benchmarks would take an hour
A_MODEL = "import pydantic; type('A', (pydantic.BaseModel,), {'__module__': __name__})"
# What a sender imports, and the least that anything of this kind takes: a model of pydantic, and pika.
WAYS = {
    "messages and publisher": "import shared.messages, shared.publisher",
    "messages": "import shared.messages",
    "pydantic, pika alone": f"{A_MODEL}; import pika",
    "pydantic alone": A_MODEL,
}
IMPORT = """
import json, sys, time
sys.path.insert(0, {root!r})
began, cpu = time.perf_counter(), time.process_time()
{statement}
print(json.dumps({{"wall_ms": 1000 * (time.perf_counter() - began), "cpu_ms": 1000 * (time.process_time() - cpu)}}))
"""


def run(times: int, runs: int) -> dict[str, object]:
    """Import the wheel's modules in fresh interpreters, beside what they cannot do without."""
    count = max(1, times // INTERPRETERS)
    print(f"{count} interpreters a run, median of {runs} runs (least to most); budget: {BUDGET_MS} ms\n")
    print(f"  {'import of':24}{'wall ms':>22}{'CPU ms':>22}")
    for statement in WAYS.values():
        _once(statement)  # bytecode and files are there from now on, as on a machine that runs it again
    rows: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for _ in range(runs):
        for way, statement in WAYS.items():  # by turns, so that whatever else the machine does meets all
            rows[way].append(_median(statement, count))
    figures = {way: {kind: middle([row[kind] for row in found]) for kind in found[0]} for way, found in rows.items()}
    for way, figure in figures.items():
        _print(way, figure)
    return {"settings": {"interpreters": count, "runs": runs, "budget_ms": BUDGET_MS}, "imports": figures}


def _median(statement: str, count: int) -> dict[str, float]:
    taken = [_once(statement) for _ in range(count)]
    return {kind: middle([one[kind] for one in taken])["median"] for kind in taken[0]}


def _once(statement: str) -> dict[str, float]:
    code = IMPORT.format(root=str(ROOT), statement=statement)
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def _print(way: str, figure: dict[str, Any]) -> None:
    spread = [f"{f['median']:.0f} ({f['min']:.0f}-{f['max']:.0f})" for f in (figure["wall_ms"], figure["cpu_ms"])]
    print(f"  {way:24}{spread[0]:>22}{spread[1]:>22}", flush=True)
